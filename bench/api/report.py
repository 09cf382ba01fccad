"""What was measured, as tables; and the bars that were set, with whether they are reached."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api.load import Measured
    from bench.api.seeding import Fleet

COMPARED = (
    ("pipelines, uncached", "Airflow, dags", 20.0),
    ("runs of a pipeline, uncached", "Airflow, dagRuns", 20.0),
    ("pipelines, 304", "static baseline, bare", 0.5),
    ("pipelines, 304", "static baseline, routed", 0.5),
    ("pipelines, 304", "static baseline, as Windsock serves", 0.5),
    ("pipelines, uncached", "pipelines, conventional", 4.0),
)
Medians = dict[tuple[str, int], "Measured"]


def format_table(size: str, machine: str, fleet: Fleet, medians: Medians, memory: dict[str, float]) -> str:
    """A section of docs/benchmarks.md."""
    counts = ", ".join(f"{many:,} {table}" for table, many in fleet.counts.items())
    lines = [
        f"### Size {size}",
        "",
        f"{counts}; seeded in {fleet.seconds['all']:.0f} s. {machine}.",
        "",
        "| asked for | connections | requests/s | p50 ms | p95 ms | p99 ms | server CPU ms | database CPU ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, connections), entry in sorted(
        medians.items(), key=lambda item: (_place(item[0][0], medians), item[0][1])
    ):
        lines.append(
            f"| {name} | {connections} | {entry.requests_per_second:,.0f} | {entry.p50:.1f} | {entry.p95:.1f} |"
            f" {entry.p99:.1f} | {entry.server_cpu:.2f} | {entry.database_cpu:.2f} |"
        )
    lines += [
        "",
        "Resident memory afterwards, MB: " + ", ".join(f"{name} {mb:.0f}" for name, mb in memory.items()) + ".",
    ]
    return "\n".join(lines)


def _place(name: str, medians: Medians) -> int:
    return [item for item, _ in medians].index(name)


def bars(medians: Medians) -> str:
    """Only those of which both sides were measured."""

    def ratio(item: str, other: str, connections: int) -> float | None:
        mine, theirs = medians.get((item, connections)), medians.get((other, connections))
        return mine.requests_per_second / theirs.requests_per_second if mine and theirs else None

    def p95(name: str) -> float | None:
        response = medians.get((name, 1))
        return response.p95 if response else None

    def p50s(item: str, other: str) -> float | None:
        mine, theirs = medians.get((item, 1)), medians.get((other, 1))
        return mine.p50 / theirs.p50 if mine and theirs else None

    deep = next((name for name, _ in medians if name.endswith("by cursor")), "")
    wanted: list[tuple[str, float | None, float, bool]] = [
        ("pipelines uncached, p95 at 1 connection, ms", p95("pipelines, uncached"), 40, False),
        *(
            (f"{name} ÷ {other}, {connections} connections", ratio(name, other, connections), least, True)
            for name, other, least in COMPARED
            for connections in (1, 8, 32)
        ),
        (f"{deep}, p50 ÷ page 1", p50s(deep, "runs of the space, page 1"), 2, False),
        ("run with 1,000 task runs, p95 ms", p95("run with 1,000 task runs"), 60, False),
        ("run with 10,000 task runs, p95 ms", p95("run with 10,000 task runs"), 500, False),
        ("365 days ÷ 1 day, p50", p50s("pipelines, 365 days", "pipelines, 1 day"), 3, False),
    ]  # fmt: skip
    lines = ["| bar | measured | wanted | reached |", "|---|---|---|---|"]
    for what, value, bound, is_least in wanted:
        if value is not None:
            reached = value >= bound if is_least else value <= bound
            lines.append(
                f"| {what} | {value:.2f} | {'≥' if is_least else '≤'} {bound:g} | {'yes' if reached else '**no**'} |"
            )
    return "\n".join(lines)


def written(page: str, size: str, section: str, of_bars: str) -> str:
    """The page with this section in place of that of the same size; with size L, for which they are, the bars too."""
    page = _replaced(page, re.compile(rf"### Size {size}\n.*?(?=\n##)", re.DOTALL), section + "\n")
    return _replaced(page, re.compile(r"\| bar \|.*?(?=\n\n)", re.DOTALL), of_bars) if size == "L" else page


def _replaced(page: str, what: re.Pattern[str], by: str) -> str:
    found = what.search(page)
    if not found:
        raise ValueError(f"nothing to replace: {what.pattern}")
    return page[: found.start()] + by + page[found.end() :]
