"""What is wrong with the rows of a run: times that cannot be, and rows that are missing or doubled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb

SLACK_NS: Final = 1_000_000_000

Query = Callable[..., "duckdb.DuckDBPyConnection"]  # SQL and its values → the cursor: `Recording.query`


def impossible(query: Query, stopped_ns: int | None) -> int:
    """The number of rows that end before they begin, or lie outside the run, which ended at `stopped_ns`.

    The cause is a clock that was set during the run.
    """
    last_ns = stopped_ns + SLACK_NS if stopped_ns else 2**63 - 1
    least, first, last = query("select min(end_ns - start_ns), min(start_ns), max(end_ns) from rows").fetchone() or (
        (0,) * 3
    )
    if min(least or 0, first or 0) >= 0 and (last or 0) <= last_ns:
        return 0
    wrong = "end_ns < start_ns or start_ns < 0 or end_ns > ?"
    (rows,) = query(f"select count(*) from rows where {wrong}", [last_ns]).fetchone() or (0,)
    return int(rows)


def miscounted(query: Query, counted: Mapping[str, dict[int, int]]) -> list[str]:
    """Sentences about scenarios whose rows are not those that their workers counted: {scenario: {worker: rows}}."""
    found: dict[str, dict[int, tuple[int, int]]] = {}
    each = "select scenario, worker, count(*), sum(seq)::hugeint from rows group by all"
    for scenario, worker, rows, seqs in query(each).fetchall():
        found.setdefault(scenario, {})[worker] = (rows, seqs)
    said = ((name, _miscount(workers, found.get(name, {}))) for name, workers in counted.items())
    return [f"scenario {name!r} has {what}" for name, what in said if what]


def _miscount(counted: dict[int, int], found: dict[int, tuple[int, int]]) -> str:
    """What differs between the rows that workers counted, and (rows, sum of their numbers) in the files; "" if nothing.

    A worker numbers its rows from 0 on, so that n rows, each once, have the sum n (n - 1) / 2.
    """
    rows = {worker: found.get(worker, (0, 0))[0] for worker in counted}
    total, expected = sum(rows.values()), sum(counted.values())
    if rows == counted:
        once = all(found.get(worker, (0, 0))[1] == n * (n - 1) // 2 for worker, n in counted.items())
        return (
            "" if once else f"{total:,} rows, but not each of them once: part files are missing, and others are doubled"
        )
    cause = "doubled" if total > expected else "missing"
    return f"{total:,} rows, but its workers wrote {expected:,}: part files are {cause}"
