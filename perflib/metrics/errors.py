"""Which measured requests of a scenario failed: by operation and class of error, when, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perflib.metrics.source import source
from perflib.metrics.totals import totals
from perflib.store.cache import once
from perflib.store.recording import ScenarioRun

MOMENTS: Final = 40  # of equal length, from the scenario's start to its last answer


@dataclass(frozen=True)
class Failed:
    """The requests of one operation that failed with one class of error.

    of_requests: how many the operation had in all; first_s, last_s: since the scenario's start
    moments: how many failed in each of MOMENTS; statuses, workers: of which answers, by which workers of the load
    """

    operation: str
    error: str
    requests: int
    of_requests: int
    first_s: float
    last_s: float
    moments: tuple[int, ...]
    statuses: frozenset[int]
    workers: frozenset[int]

    @property
    def share(self) -> float:
        """Of the operation's requests, 0…1."""
        return self.requests / max(self.of_requests, 1)


@once
def failed(scenario: ScenarioRun) -> list[Failed]:
    """Those of a scenario, the most frequent first."""
    start_ns, stop_ns = _span(scenario)
    moment_ns = max(1, -(-(stop_ns - start_ns) // MOMENTS))
    rows = scenario.run.query(
        "select operation, error, least(greatest((end_ns - ?) // ?, 0), ?) as moment, count(*), min(end_ns), "
        "max(end_ns), list(distinct status), list(distinct worker) from measured where scenario = ? and not ok "
        "group by operation, error, moment",
        [start_ns, moment_ns, MOMENTS - 1, scenario.name],
    ).fetchall()
    groups: dict[tuple[str, str], list[tuple[int, int, int, int, list[int], list[int]]]] = {}
    for operation, error, *cell in rows:
        groups.setdefault((str(operation), str(error)), []).append(tuple(cell))
    found = []
    for (operation, error), cells in groups.items():
        at, counts, first, last, statuses, workers = zip(*cells, strict=True)
        by_moment = dict(zip(at, counts, strict=True))
        known = operation if operation in scenario.operations else None
        found.append(
            Failed(
                operation=operation,
                error=error,
                requests=sum(counts),
                of_requests=source(scenario, operation=known).requests,
                first_s=(min(first) - start_ns) / 1e9,
                last_s=(max(last) - start_ns) / 1e9,
                moments=tuple(by_moment.get(moment, 0) for moment in range(MOMENTS)),
                statuses=frozenset(each for some in statuses for each in some if each is not None),
                workers=frozenset(each for some in workers for each in some if each is not None),
            )
        )
    return sorted(found, key=lambda each: (-each.requests, each.operation, each.error))


def _span(scenario: ScenarioRun) -> tuple[int, int]:
    """The time that the scenario's charts show, ns."""
    of = totals(scenario)
    start_ns = scenario.record.start_ns or of.first_due_ns or 0
    return start_ns, max(of.last_end_ns or 0, start_ns)
