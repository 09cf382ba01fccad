"""The rules of incidents, with random runs: in order, in any order, and twice."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from windsock.incidents.outages import OUTAGE_PIPELINES, find_outage, hold_back, open_outage
from windsock.incidents.summaries import MAX_SUMMARISED, summarise_late
from windsock.incidents.transitions import Event, Incident, Transition, apply

BEGIN = datetime(2026, 12, 1, tzinfo=UTC)
PIPELINE = UUID(int=1)
FINGERPRINTS = (UUID(int=101), UUID(int=102))


class History:
    """All incidents of one pipeline, as a worker keeps them: a transition that was applied is not applied again."""

    def __init__(self) -> None:
        self.incidents: dict[UUID, Incident] = {}
        self.events: list[Event] = []
        self.successes: list[Transition] = []
        self.applied: set[UUID] = set()

    @property
    def newest(self) -> Incident | None:
        return next(reversed(self.incidents.values()), None)

    def apply(self, transition: Transition) -> list[Event]:
        if transition.id in self.applied and not transition.is_applied:
            return []
        self.applied.add(transition.id)
        if transition.to_status == "success":
            self.successes.append(transition)
        incident, events = apply(transition, self.newest, uuid4())
        if incident is not None:
            self.incidents[incident.id] = incident
        self.events += events
        return events

    def superseded_at(self, run: UUID, run_at: datetime) -> datetime | None:
        later = (row.happened_at for row in self.successes if row.run_at > run_at or row.run_id == run)
        return max(later, default=None)


def end(
    number: int,
    minute: float,
    status: Literal["failed", "success"] = "failed",
    *,
    fingerprint: UUID | None = None,
    history: History | None = None,
    is_late: bool = False,
) -> Transition:
    """The run with this number ends at this minute."""
    run, run_at = UUID(int=1_000 + number), BEGIN + timedelta(minutes=number)
    return Transition(
        id=uuid4(),
        pipeline_id=PIPELINE,
        run_id=run,
        run_at=run_at,
        to_status=status,
        happened_at=BEGIN + timedelta(minutes=minute),
        fingerprint_id=fingerprint,
        superseded_at=history.superseded_at(run, run_at) if history else None,
        is_late=is_late,
    )


def acknowledged(fingerprint: UUID | None = None, occurrences: int = 1, **more: object) -> History:
    history = History()
    for number in range(occurrences):
        history.apply(end(number, number, fingerprint=fingerprint))
    incident = history.newest
    assert incident is not None
    incident.state, incident.acknowledged_at, incident.acknowledged_occurrences = "acknowledged", BEGIN, occurrences
    for name, value in more.items():
        setattr(incident, name, value)
    return history


def state(history: History) -> str:
    assert history.newest is not None
    return history.newest.state


RUNS = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from(["failed", "success"]), st.sampled_from([None, *FINGERPRINTS])),
    min_size=1,
    max_size=30,
)


@given(runs=RUNS, order=st.randoms(use_true_random=False), repeats=st.booleans())
def test_random_transitions_in_any_order_leave_at_most_one_unresolved_incident(
    runs: list[tuple[int, Literal["failed", "success"], UUID | None]], order: object, repeats: bool
) -> None:
    history = History()
    ends = [(run, minute, status, mark) for minute, (run, status, mark) in enumerate(runs)]
    order.shuffle(ends)  # type: ignore[attr-defined]
    failures = 0
    for run, minute, status, mark in ends:
        transition = end(run, minute, status, fingerprint=mark, history=history)
        events = history.apply(transition)
        failures += sum(event.kind in {"opened", "failed_again", "reopened"} for event in events)
        if repeats:
            assert history.apply(transition) == []
        assert sum(incident.is_unresolved for incident in history.incidents.values()) <= 1
    assert sum(incident.occurrences for incident in history.incidents.values()) == failures
    history.apply(end(9, len(runs) + 1, "success", history=history))
    assert not any(incident.is_unresolved for incident in history.incidents.values())


@given(runs=RUNS)
def test_transitions_in_their_order_leave_open_what_failed_last(
    runs: list[tuple[int, Literal["failed", "success"], UUID | None]],
) -> None:
    """An incident is unresolved if and only if no run from the latest failed one on has succeeded since."""
    history = History()
    latest: int | None = None
    for minute, (run, status, mark) in enumerate(runs):
        history.apply(end(run, minute, status, fingerprint=mark, history=history))
        if status == "failed":
            latest = run if latest is None else max(latest, run)
        elif latest is not None and run >= latest:
            latest = None
        assert any(incident.is_unresolved for incident in history.incidents.values()) == (latest is not None)


def test_acknowledgement_survives_the_same_error_and_ends_with_another() -> None:
    history = acknowledged(FINGERPRINTS[0])
    history.apply(end(1, 1, fingerprint=FINGERPRINTS[0]))
    assert state(history) == "acknowledged"
    events = history.apply(end(2, 2, fingerprint=FINGERPRINTS[1]))
    assert [event.kind for event in events] == ["failed_again", "fingerprint_changed", "acknowledgement_ended"]
    assert state(history) == "open"


def test_fingerprint_that_becomes_available_later_is_taken_over_without_ending_acknowledgement() -> None:
    history = acknowledged()
    history.apply(
        Transition(
            id=uuid4(), pipeline_id=PIPELINE, run_id=UUID(int=1_000), run_at=BEGIN, to_status="failed",
            happened_at=BEGIN, fingerprint_id=FINGERPRINTS[0], is_applied=True,
        )
    )  # fmt: skip
    assert state(history) == "acknowledged"
    assert history.newest is not None
    assert (history.newest.fingerprint_id, history.newest.occurrences) == (FINGERPRINTS[0], 1)


def test_ten_times_the_occurrences_end_an_acknowledgement() -> None:
    history = acknowledged(occurrences=2)
    for number in range(2, 19):
        history.apply(end(number, number))
    assert state(history) == "acknowledged"
    history.apply(end(19, 19))
    assert state(history) == "open"


def test_acknowledgement_until_success_ends_with_it() -> None:
    history = acknowledged(acknowledged_until=BEGIN + timedelta(days=1))
    history.apply(end(1, 1, "success"))
    history.apply(end(2, 2))
    assert state(history) == "open"


def test_acknowledgement_until_a_time_covers_a_regression_before_it() -> None:
    for hours, expected in ((2, "acknowledged"), (0, "open")):
        until = BEGIN + timedelta(hours=hours)
        history = acknowledged(acknowledged_until=until, acknowledged_until_success=False)
        history.apply(end(1, 1, "success"))
        history.apply(end(2, 2))
        assert state(history) == expected


def test_regression_with_another_fingerprint_opens_another_incident() -> None:
    history = History()
    history.apply(end(0, 0, fingerprint=FINGERPRINTS[0]))
    history.apply(end(1, 1, "success"))
    history.apply(end(2, 2, fingerprint=FINGERPRINTS[1]))
    assert [incident.state for incident in history.incidents.values()] == ["resolved", "open"]


def test_snoozed_incident_stays_snoozed_until_success() -> None:
    history = History()
    history.apply(end(0, 0))
    assert history.newest is not None
    history.newest.state, history.newest.snoozed_until = "snoozed", BEGIN + timedelta(hours=1)
    history.apply(end(1, 1))
    assert state(history) == "snoozed"
    history.apply(end(2, 2, "success"))
    assert state(history) == "resolved"
    assert [row.snoozed_until for row in history.incidents.values()] == [None]


@given(seconds=st.lists(st.integers(0, 600), min_size=1, max_size=25))
def test_outage_is_five_incidents_within_two_minutes(seconds: list[int]) -> None:
    rows = [
        Incident(id=uuid4(), pipeline_id=uuid4(), state="open", opened_at=at, last_failed_at=at)
        for at in (BEGIN + timedelta(seconds=second) for second in seconds)
    ]
    members = {row.id for row in find_outage(rows, {row.id for row in rows})}
    for row in rows:
        near = [
            other
            for first in rows
            if timedelta(0) <= row.opened_at - first.opened_at <= timedelta(minutes=2)
            for other in [
                [each for each in rows if timedelta(0) <= each.opened_at - first.opened_at <= timedelta(minutes=2)]
            ]
            if len(other) >= OUTAGE_PIPELINES
        ]
        assert (row.id in members) == bool(near)


def test_outage_counts_each_incident_once() -> None:
    rows = [
        Incident(id=uuid4(), pipeline_id=uuid4(), state="open", opened_at=BEGIN, last_failed_at=BEGIN) for _ in range(5)
    ]
    outage, _ = open_outage(uuid4(), rows)
    assert len(hold_back(outage, rows)) == 5
    assert hold_back(outage, rows) == []
    assert outage.occurrences == 5


def test_late_failures_are_one_summary_and_late_recoveries_of_others_are_not_part_of_it() -> None:
    before, late = History(), History()
    before.apply(end(0, 0))
    transitions = [end(1, 1, "success", is_late=True), end(2, 2, is_late=True), end(3, 3, "success", is_late=True)]
    events = before.apply(transitions[0]) + late.apply(transitions[1]) + late.apply(transitions[2])
    queue = [event for event in summarise_late(transitions, events) if not event.is_late]
    assert [event.kind for event in queue] == ["resolved", "late_summary"]
    assert (queue[1].details["failed"], queue[1].details["succeeded"]) == (1, 2)


def test_each_of_many_late_incidents_is_named_by_one_summary() -> None:
    transitions = [end(number, number, is_late=True) for number in range(2 * MAX_SUMMARISED + 1)]
    events = [event for transition in transitions for event in apply(transition, None, uuid4())[1]]
    summaries = [event for event in summarise_late(transitions, events) if event.kind == "late_summary"]
    named = [row.details["incident_ids"] for row in summaries]
    assert [len(ids) for ids in named] == [MAX_SUMMARISED, MAX_SUMMARISED, 1]
    assert [id_ for ids in named for id_ in ids] == [str(event.incident_id) for event in events]
    assert {(row.happened_at, row.details["opened"]) for row in summaries} == {(events[-1].happened_at, len(events))}
