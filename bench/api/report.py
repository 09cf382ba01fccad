"""Formats what was measured, and compares it with the budgets of docs/benchmarks.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.api.ingest import Stored
    from bench.api.load import Measured
    from bench.api.seeding import Fleet

RATIOS = (
    ("pipelines, uncached", "Airflow, dags", 1, 15.0),
    ("pipelines, uncached", "pipelines, conventional", 1, 4.0),
    *(("pipelines, 304", "static baseline, as Windsock serves", connections, 0.4) for connections in (1, 8, 32)),
)
"""Least ratios of requests per second, by the number of connections."""
MEDIANS = (
    ("pipelines, uncached", 12.0),
    ("runs of a pipeline, uncached", 5.0),
    ("pipelines, sort=-failed_count", 70.0),
)
"""Most milliseconds of the p50 at one connection."""
PAGE_P50, PAGE_P95 = 35.0, 80.0
ROWS_AT_ONCE, ROWS_PER_SECOND = 1_000, {"task runs": 15_000.0, "runs": 8_000.0}
WAL_AT_ONCE, WAL_BYTES = 10_000, 1_200.0
WHOLE_NUMBERS_FROM = 1_000.0
Medians = dict[tuple[str, int], "Measured"]


def format_table(machine: str, fleet: Fleet, medians: Medians, memory: dict[str, float]) -> str:
    """Return the table of a size in docs/benchmarks.md."""
    counts = ", ".join(f"{many:,} {table}" for table, many in fleet.counts.items())
    lines = [
        f"{counts}; seeded in {fleet.seconds['all']:.0f} s. {machine}.",
        "",
        "| request | connections | requests/s | p50 ms | p95 ms | p99 ms | server CPU ms | database CPU ms |",
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


def format_budgets(
    medians: Medians, latencies: Mapping[str, tuple[float, float]], stored: Sequence[Stored], page: str
) -> str:
    """Return the table of budgets, without those that were not measured.

    `latencies`: p50 and p95 of each page of the web interface; `page`: the one that has a budget.
    """
    rows = [*_latency_rows(medians, latencies, page), *_ratio_rows(medians), *_storing_rows(stored)]
    return "\n".join(["| budget | measured | bound | met |", "|---|---|---|---|", *rows])


def _latency_rows(medians: Medians, latencies: Mapping[str, tuple[float, float]], page: str) -> Iterator[str]:
    for name, bound in MEDIANS:
        if measured := medians.get((name, 1)):
            yield _budget_row(f"{name}, p50 ms", measured.p50, bound)
    if page in latencies:
        for what, value, bound in zip(("p50", "p95"), latencies[page], (PAGE_P50, PAGE_P95), strict=True):
            yield _budget_row(f"web interface, {page}, {what} ms", value, bound)


def _ratio_rows(medians: Medians) -> Iterator[str]:
    for name, other, connections, bound in RATIOS:
        measured, compared = medians.get((name, connections)), medians.get((other, connections))
        if measured and compared:
            ratio = measured.requests_per_second / compared.requests_per_second
            at = f"{connections} connection{'s' if connections > 1 else ''}"
            yield _budget_row(f"{name} ÷ {other}, {at}", ratio, bound, is_least=True)


def _storing_rows(stored: Sequence[Stored]) -> Iterator[str]:
    for item in stored:
        at = f"{item.at_once:,} per transaction"
        if item.at_once == ROWS_AT_ONCE:
            what = f"storing changed {item.what}, {at}, rows/s"
            yield _budget_row(what, item.rows_per_second, ROWS_PER_SECOND[item.what], is_least=True)
        if item.what == "runs" and item.at_once == WAL_AT_ONCE:
            yield _budget_row(f"WAL bytes per changed run, {at}", item.wal, WAL_BYTES)


def _budget_row(what: str, value: float, bound: float, *, is_least: bool = False) -> str:
    is_met = value >= bound if is_least else value <= bound
    sign, digits = "≥" if is_least else "≤", 2 if bound < WHOLE_NUMBERS_FROM else 0
    return f"| {what} | {value:,.{digits}f} | {sign} {bound:,g} | {'yes' if is_met else '**no**'} |"


def replace_sections(page: str, sections: Mapping[str, str]) -> str:
    """Replace the text between `<!-- name -->` and `<!-- /name -->` of each section that is not empty."""
    for name, section in sections.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- /{name} -->)", re.DOTALL)
        found = pattern.search(page)
        if found is None:
            raise ValueError(f"the page has no section {name}")
        if section:
            start, end = found.span()
            page = page[:start] + section.strip() + page[end:]
    return page
