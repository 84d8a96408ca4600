"""A DataFrame of rows as a run, so that the charts also draw selected, joined or imported rows.

charts.throughput(run.rows("browse").query("worker == 0"))

Only the rows are known. Limits, warm-up, events, memory and CPU are missing, because only a run has them.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perflib.errors import RunError
from perflib.store.database import empty
from perflib.store.manifest import Manifest
from perflib.store.recording import Recording
from perflib.store.records import ScenarioRecord
from perflib.suite.file import from_plain
from perflib.suite.model import Suite

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from perflib.store.warmup import Cut

NEEDED: Final = ("start_ns", "end_ns", "ok")
_ASSUMED: Final = {"scenario": "rows", "operation": "all", "phase": "measure"}


class FrameRun(Recording):
    """A run of the given rows; missing columns of the schema are null."""

    def __init__(self, rows: pd.DataFrame) -> None:
        missing = [column for column in NEEDED if column not in rows]
        if missing:
            raise RunError(f"rows without {', '.join(missing)}", where="DataFrame", mend="take them from run.rows(...)")
        if rows.empty:
            raise RunError("there are no rows", where="DataFrame", mend="widen what you selected")
        self.path, self.side, self._frame = Path(), None, rows
        records = [ScenarioRecord(name=name, status="complete") for name in self._names("scenario")]
        suite = {
            "name": "rows",
            "targets": {"rows": {"kind": "callable", "function": "rows:rows"}},
            "scenarios": list(map(self._spec, self._names("scenario"))),
        }
        self.manifest = Manifest(run="rows", status="complete", suite=suite, scenarios=records)

    @cached_property
    def suite(self) -> Suite:
        """Scenarios with the names that occur in the rows."""
        return from_plain(self.manifest.suite, where="DataFrame")

    def _names(self, column: str, scenario: str | None = None) -> list[str]:
        if column not in self._frame:
            return [_ASSUMED[column]]
        rows = self._frame
        if scenario is not None and "scenario" in rows:
            rows = rows[rows["scenario"].astype(str) == scenario]
        return sorted(map(str, rows[column].unique()))

    def _spec(self, scenario: str) -> dict[str, Any]:
        scheduled = "scheduled_ns" in self._frame and bool(self._frame["scheduled_ns"].notna().any())
        operations = [{"name": name, "target": "rows"} for name in self._names("operation", scenario)]
        load = (
            {"model": "replay", "starts": [0.0]} if scheduled else {"model": "closed", "concurrency": 1, "requests": 1}
        )
        return {"name": scenario, "operations": operations, "load": load}

    @cached_property
    def parts(self) -> list[tuple[Path, int | None]]:
        return []

    @cached_property
    def warmups(self) -> dict[str, Cut]:
        return {}

    @cached_property
    def _tables(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        from perflib.store import schema as schema

        database = duckdb.connect()
        for kind, columns in schema.TABLES.items():
            database.execute(f"create table {kind} as from {empty(columns)}")
        given = [field.name for field in schema.ROWS if field.name in self._frame]
        database.register("given", self._frame[given].astype({c: str for c in _ASSUMED if c in given}))
        database.execute(f"insert into rows ({', '.join(given)}) select {', '.join(given)} from given")
        for column, value in _ASSUMED.items():
            database.execute(f"update rows set {column} = ? where {column} is null", [value])
        database.execute("alter table rows add column service_ns bigint")
        database.execute("alter table rows add column response_ns bigint")
        database.execute(
            "update rows set service_ns = end_ns - start_ns, response_ns = end_ns - coalesce(scheduled_ns, start_ns)"
        )
        return database
