"""Recordings: the files of a run, opened for reading, with its rows as pandas DataFrames or through DuckDB.

run = open_recording("latest")
run.rows(scenario="browse")                    # DataFrame: the schema's columns + service_ns, response_ns
run.sql("select operation, count(*) from measured group by 1")
run.manifest.host.cpu; run.scenario("browse").record.segments; run.scenario("browse").spec.load

Tables for `sql`: rows (every row), measured (phase "measure", without the default warm-up), resources, spans, gauges,
samples (of requests that failed), journeys, measured_journeys.
`perflib.verdicts.run.Run` is a recording with verdicts.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from perflib.errors import RunError
from perflib.store import damage
from perflib.store.cache import load_or_compute, stamp
from perflib.store.database import DUE, connected, parts, quoted, row_counts
from perflib.store.lease import is_written
from perflib.store.manifest import FILE, Manifest, read_manifest, version
from perflib.store.records import ScenarioRecord
from perflib.suite.file import from_plain
from perflib.suite.variants import sided

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from perflib.store.warmup import Cut
    from perflib.suite.model import Scenario, Suite

FINAL: Final = ("complete", "interrupted", "invalid")
IN_MEMORY_ROWS: Final = 1_000_000
CACHED_ROWS: Final = 50_000
_LOOKS: Final = 4  # at a run that is compacted meanwhile, which changes run.json twice
_Value = TypeVar("_Value")
_TIMES: Final = {
    "rows": f", end_ns - start_ns as service_ns, end_ns - {DUE} as response_ns",
    "journeys": f", end_ns - start_ns - paused_ns as service_ns, end_ns - {DUE} - paused_ns as response_ns, "
    f"end_ns - {DUE} as elapsed_ns",
}  # columns that are computed; a user's own pauses are no part of what a journey takes, but of what elapses


class ScenarioRun:
    """One scenario of a run: its definition (`spec`), what happened (`record`), and the run, which has its rows."""

    def __init__(self, run: Recording, record: ScenarioRecord) -> None:
        self.run, self.record, self.name = run, record, record.name

    @cached_property
    def spec(self) -> Scenario:
        """The scenario of the suite, as it was run. Raises RunError if the suite has none of this name."""
        for scenario in self.run.suite.scenarios:
            if scenario.name == self.name:
                return scenario
        raise RunError(f"scenario {self.name!r} is not in its suite", where=self.run.id, mend="choose another run")

    @cached_property
    def operations(self) -> list[str]:
        """Names of its operations, in the suite's order, and then those of requests that functions make."""
        names = [operation.name for operation in self.spec.operations]
        return [*names, *(name for name in self.record.operations if name not in (*names, *self.journeys))]

    @cached_property
    def journeys(self) -> list[str]:
        """What its journeys are called in objectives, in the suite's order."""
        return list(self.spec.flows)

    @property
    def warmup_end_ns(self) -> int:
        """Where its measured part begins if the suite sets no warm-up, in ns on the run's clock; 0 if it sets one."""
        return dict(self.run.cuts).get(self.name, 0)

    def rows(self, columns: Sequence[str] | None = None, phase: str | None = "measure") -> pd.DataFrame:
        """The rows of this scenario: see `Recording.rows`."""
        return self.run.rows(self.name, columns, phase)

    def samples(self) -> pd.DataFrame:
        """The samples of its requests that failed: see `Recording.samples`."""
        return self.run.samples(self.name)

    def cached(self, name: str, find: Callable[[], Any], *about: object) -> Any:
        """The result of `find` for this scenario (JSON). For runs with many rows it is cached on disk, until the rows
        or the values in `about` change."""
        run = self.run
        depends_on = stamp((), run.fingerprint, run.warmups, self.record, self.spec, *about)
        return load_or_compute(
            run.path, f"{name}-{run.cache_name(self.name)}", depends_on, find, lambda _: run.is_cached
        )

    def __repr__(self) -> str:
        return f"<ScenarioRun {self.name} of {self.run.id}: {self.record.status}>"


class Recording:
    """A run on disk, finished, broken or in progress; with `side`, one side of an A/B test as a separate run.

    Raises RunError if the folder has no run, or if a side is requested and the run is no A/B test.
    """

    def __init__(self, path: Path, side: str | None = None) -> None:
        self.path, self.side = path, side
        self._version = version(path)
        self.manifest: Manifest = read_manifest(path)
        if side is not None:
            self._take_side(side)

    def _take_side(self, side: str) -> None:
        """Reduce the manifest to the scenarios of one side, under their plain names."""
        if self.manifest.ab is None:
            raise RunError(f"{self.id} is no A/B test and has no side {side!r}", mend="remove the @ and what follows")
        end, suite = sided("", side), self.manifest.suite
        specs = [
            {**spec, "name": spec["name"].removesuffix(end)}
            for spec in suite["scenarios"]
            if spec["name"].endswith(end)
        ]
        records = [
            record.model_copy(update={"name": record.name.removesuffix(end)})
            for record in self.manifest.scenarios
            if record.name.endswith(end)
        ]
        self.manifest = self.manifest.model_copy(
            update={"run": sided(self.manifest.run, side), "suite": {**suite, "scenarios": specs}, "scenarios": records}
        )

    @property
    def id(self) -> str:
        return self.manifest.run

    @property
    def reference(self) -> str:
        """The absolute path, with the side, that `open_run` accepts in any folder."""
        whole = str(self.path.resolve())
        return sided(whole, self.side) if self.side else whole

    @property
    def status(self) -> str:
        """running | complete | interrupted | invalid, or "incomplete" if its process died during the run."""
        status = self.manifest.status
        return "incomplete" if status == "running" and not self._alive() else status

    @cached_property
    def suite(self) -> Suite:
        """The suite of the run, without secrets and with names of functions."""
        return from_plain(self.manifest.suite, where=str(self.path / FILE))

    @cached_property
    def scenarios(self) -> Sequence[ScenarioRun]:
        """The scenarios that were started, in order."""
        return [ScenarioRun(self, record) for record in self.manifest.scenarios]

    def scenario(self, name: str) -> ScenarioRun:
        """One scenario, by name. Raises RunError if it did not run."""
        for scenario in self.scenarios:
            if scenario.name == name:
                return scenario
        there = ", ".join(scenario.name for scenario in self.scenarios)
        raise RunError(f"no scenario {name!r} in this run", where=self.id, mend=f"there are {there}")

    def only_scenario(self) -> ScenarioRun:
        """The only scenario. Raises RunError if there are several, or none."""
        if len(self.scenarios) != 1:
            there = ", ".join(scenario.name for scenario in self.scenarios)
            raise RunError(
                "which of its scenarios?", where=self.id, mend=f"name one of {there}" if there else "it has none"
            )
        return self.scenarios[0]

    def rows(
        self, scenario: str | None = None, columns: Sequence[str] | None = None, phase: str | None = "measure"
    ) -> pd.DataFrame:
        """Rows in order of their end. phase: "measure" (without warm-up), "warmup" (all other rows) or None (all)."""
        chosen = ", ".join(f'"{c}"' for c in columns) if columns else "*"
        table = {"measure": "measured", "warmup": "(select * from rows except select * from measured)", None: "rows"}[
            phase
        ]
        where, values = ("where scenario = ?", [scenario]) if scenario else ("", [])
        return self.query(f"select {chosen} from {table} {where} order by end_ns, worker, seq", values).df()

    def sql(self, query: str) -> pd.DataFrame:
        """DuckDB over rows, measured, resources, spans, gauges, samples, journeys and measured_journeys."""
        import duckdb

        try:
            return self.query(query).df()
        except duckdb.Error as error:
            from perflib.store.schema import TABLES

            first = str(error).splitlines()[0]
            mend = f"tables are {', '.join(('measured', 'measured_journeys', *TABLES))}"
            raise RunError(first, where="sql", mend=mend) from None

    def query(self, query: str, values: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """The result of a query as a DuckDB cursor: .df(), .fetchnumpy(), .fetchone()."""
        return self._read(lambda: self._database.cursor().execute(query, list(values)))

    def resources(self) -> pd.DataFrame:
        """Samples of the target's and the generator's processes, in order of time."""
        return self.query("select * from resources order by t_ns, role, pid").df()

    def spans(self) -> pd.DataFrame:
        return self.query("select * from spans order by worker, seq, start_ns").df()

    def gauges(self) -> pd.DataFrame:
        """Numbers that targets reported about themselves (`gauges`): t_ns, target, gauge, value."""
        return self.query("select * from gauges order by t_ns, target, gauge").df()

    def samples(self, scenario: str | None = None) -> pd.DataFrame:
        """The first requests of each operation that failed with each class of error, with what was answered."""
        where, values = ("where scenario = ?", [scenario]) if scenario else ("", [])
        return self.query(f"select * from samples {where} order by t_ns, worker, seq", values).df()

    def rows_sha256(self) -> str:
        """A digest of the names and sizes of the part files, which identifies the rows."""

        def find() -> str:
            digest = hashlib.sha256()
            for path in sorted((self.path / "rows").glob("part-*.parquet")):
                digest.update(f"{path.name} {path.stat().st_size}\n".encode())
                digest.update(path.read_bytes())
            return digest.hexdigest()

        return self._read(find)

    @property
    def corrupt(self) -> list[str]:
        """Part files that cannot be read; their rows are missing in every figure."""
        return [str(path.relative_to(self.path)) for path, rows in self.parts if rows is None]

    @cached_property
    def impossible(self) -> int:
        """The number of rows with impossible times: they end before they begin, or lie outside the run.

        The cause is a clock that was set during the run.
        """
        stopped_ns = self.manifest.stopped_ns
        of = stamp((), self.fingerprint, stopped_ns)
        find = partial(damage.impossible, self.query, stopped_ns)
        return int(load_or_compute(self.path, f"impossible-{self.cache_name()}", of, find, lambda _: self.is_cached))

    @cached_property
    def miscounted(self) -> list[str]:
        """Sentences about scenarios whose rows are not those that their workers counted: parts are missing, or doubled.

        A worker that was lost has counted nothing, and its rows are not compared.
        """
        counted = {
            scenario.name: {
                worker.worker: worker.rows for worker in scenario.workers if "rows" in worker.model_fields_set
            }
            for scenario in self.manifest.scenarios
        }
        if self.status == "running" or not any(counted.values()):
            return []

        of, find = stamp((), self.fingerprint, counted), partial(damage.miscounted, self.query, counted)
        return list(load_or_compute(self.path, f"miscounted-{self.cache_name()}", of, find, lambda _: self.is_cached))

    @property
    def damage(self) -> list[str]:
        """Sentences about damaged rows. If there are any, nothing is decided."""
        sentences = []
        if self.corrupt:
            more = f" and {len(self.corrupt) - 3} more" if len(self.corrupt) > 3 else ""
            sentences.append(f"the content of {', '.join(self.corrupt[:3])}{more} is missing: it cannot be read")
        else:
            sentences += self.miscounted
        if self.impossible:
            sentences.append(
                f"{self.impossible:,} requests end before they begin, or lie outside the run, because a clock was set"
            )
        return sentences

    @cached_property
    def parts(self) -> list[tuple[Path, int | None]]:
        """Every part file with its number of rows, or None if it cannot be read.

        Once the run has ended, every file is read whole, and its pages are compared with their checksums.
        """
        return self._read(self._parts)

    def _parts(self) -> list[tuple[Path, int | None]]:
        """Raises FileNotFoundError where a file is replaced meanwhile."""
        from perflib.store.schema import TABLES

        ordered = self._listed(tuple(TABLES))
        schemas = None if self.status == "running" else TABLES
        rows = load_or_compute(
            self.path,
            "parts",
            stamp(ordered, schemas is None),
            lambda: row_counts(ordered, schemas),
            lambda rows: self.status in FINAL and sum(n or 0 for n in rows) > CACHED_ROWS,
        )
        for path, number in zip(ordered, rows, strict=True):
            if number is None:
                path.stat()  # damaged, or gone?
        return list(zip(ordered, rows, strict=True))

    def _listed(self, kinds: Sequence[str]) -> list[Path]:
        """The part files, without those that are replaced. run.json says which these are, so it is read before and
        after; raises FileNotFoundError where it changed meanwhile."""
        replacing = self.manifest.replacing
        found = {path for kind in kinds for path in (self.path / kind).glob("part-*.parquet")}
        if replacing:  # a `compact` that goes on just now, or was interrupted after its switch
            new = [self.path / name for name in replacing.new]
            found -= {self.path / name for name in replacing.old}
            found |= {path.with_name(f".{path.name}") for path in new if not path.exists()}
        if version(self.path) != self._version and read_manifest(self.path).replacing != replacing:
            raise FileNotFoundError(errno.ENOENT, "files were replaced while they were listed", str(self.path))
        return sorted(found, key=lambda path: (kinds.index(path.parent.name), path.name))

    def _read(self, read: Callable[[], _Value]) -> _Value:
        """What `read` returns. Where it finds part files gone, as those that `compact` replaces are, it looks again, at
        the run's new state. Raises RunError where files are gone each time."""
        gone = ""
        for look in range(_LOOKS):
            try:
                if look:
                    self._look_again()
                return read()
            except Exception as error:
                if not _is_gone(error) or self._has_its_files():
                    raise
                gone = str(error).splitlines()[0]
        mend = "wait until nothing changes the run, and do it again"
        raise RunError(f"its files cannot be read: {gone}", where=self.id, mend=mend)

    def _has_its_files(self) -> bool:
        """Whether the files that were listed are all still there, so that another file was not found."""
        return "parts" in vars(self) and all(path.exists() for path, _ in self.parts)

    def _look_again(self) -> None:
        """List the part files anew, and have the database read them."""
        for name in ("parts", "fingerprint"):
            vars(self).pop(name, None)
        self._version = version(self.path)
        self.manifest.replacing = read_manifest(self.path).replacing
        if "_tables" in vars(self):
            self._fill(self._tables)

    @cached_property
    def fingerprint(self) -> str:
        """A fingerprint of its part files."""
        return self._read(lambda: stamp(path for path, _ in self.parts))

    @cached_property
    def many(self) -> bool:
        """Whether figures are computed from a histogram instead of single rows, because there are many."""
        return self._count > IN_MEMORY_ROWS

    @property
    def is_cached(self) -> bool:
        """Whether results computed from its rows are cached on disk: there are many rows, and they will not change."""
        return self._count > CACHED_ROWS and self.status in FINAL

    def cache_name(self, *what: str) -> str:
        """Part of the name of a cache file: the run or its side, and a part of it."""
        return stamp((), self.id, *what)[:8]

    @cached_property
    def _count(self) -> int:
        return sum(rows or 0 for path, rows in self.parts if path.parent.name == "rows")

    def _alive(self) -> bool:
        """Whether the process that writes the run is alive. Runs of early versions have no lease, and a pid only."""
        import psutil

        written = is_written(self.path)
        if written is not None:
            return written
        process = self.manifest.process
        try:
            return process is not None and abs(psutil.Process(process.pid).create_time() - process.created) < 1
        except psutil.Error:
            return False

    @property
    def cuts(self) -> list[tuple[str, int]]:
        """Where the measured part begins, as (scenario, ns), for the scenarios without a warm-up in the suite."""
        return [(name, cut.at_ns) for name, cut in self.warmups.items()]

    @property
    def unsettled(self) -> list[str]:
        """Scenarios whose response times never reached a steady level."""
        return [name for name, cut in self.warmups.items() if not cut.settled]

    @cached_property
    def warmups(self) -> dict[str, Cut]:
        """The estimated warm-ups by scenario, without those that the suite sets."""
        from perflib.store.warmup import Cut, cut

        def find() -> dict[str, Cut]:
            each = self._read(lambda: {each.name: cut(self._tables, each.record, each.spec) for each in self.scenarios})
            return {name: end for name, end in each.items() if end is not None}

        depends_on = stamp((), self.fingerprint, self.manifest.scenarios, self.manifest.suite["scenarios"])
        cuts = load_or_compute(self.path, f"warmups-{self.cache_name()}", depends_on, find, lambda _: self.is_cached)
        return {name: Cut(*each) for name, each in cuts.items()}

    @cached_property
    def is_measured(self) -> str:
        """What makes a row a measured one, in SQL: see `warmup.is_measured`."""
        from perflib.store import warmup

        return warmup.is_measured([scenario.record for scenario in self.scenarios], self.warmups)

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        """The database with all tables and the views `measured` and `measured_journeys`."""
        database = self._tables
        database.execute(f"create view measured as select * from rows where {self.is_measured}")
        begins = " ".join(f"when {quoted(name)} then {cut.at_ns}" for name, cut in self.warmups.items())
        begun = f"and {DUE} >= case scenario {begins} else 0 end" if begins else ""
        database.execute(f"create view measured_journeys as from journeys where phase = 'measure' {begun}")
        return database

    @cached_property
    def _tables(self) -> duckdb.DuckDBPyConnection:
        database = connected()
        self._fill(database)
        return database

    def _fill(self, database: duckdb.DuckDBPyConnection) -> None:
        """Make the tables of the part files."""
        from perflib.store import schema as schema

        for kind, columns in schema.TABLES.items():
            readable = [(path, rows) for path, rows in self.parts if path.parent.name == kind and rows is not None]
            files = [path for path, _ in readable]
            # Few rows are read into memory once; many rows stay on disk.
            relation = "table" if sum(rows for _, rows in readable) <= IN_MEMORY_ROWS else "view"
            source = parts(files, columns)
            extra = _TIMES.get(kind, "")
            try:
                database.execute(
                    f"create or replace {relation} {kind} as select *{extra} from {self._chosen(kind, source)}"
                )
            except Exception as error:
                if type(error).__name__ != "InvalidInputException":
                    raise
                mend = "restore its files from a copy, or make the run again"
                raise RunError(f"its {kind} hold text that is not UTF-8", where=self.id, mend=mend) from None

    def _chosen(self, kind: str, source: str) -> str:
        """The rows of a table that belong to this run, or to its side."""
        if kind not in ("rows", "samples", "journeys") or self.side is None:
            return source
        end = sided("", self.side)
        return f"(select * replace (scenario[:-{len(end) + 1}] as scenario) from {source} where scenario like '%{end}')"

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.status}, {len(self.scenarios)} scenarios>"


def _is_gone(error: Exception) -> bool:
    """Whether a file was not there, as Python or DuckDB says it."""
    return isinstance(error, FileNotFoundError) or type(error).__name__ == "IOException"
