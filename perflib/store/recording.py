"""Runs: open, list, remove; their rows as pandas or through DuckDB.

run = open_run("latest")
run.rows(scenario="browse")                    # DataFrame: the schema's columns + service_ns, response_ns
run.sql("select operation, count(*) from measured group by 1")
run.manifest["host"]; run.summary(); run.verdicts()

Tables for `sql`: rows (every row), measured (phase "measure", the default warm-up cut away), resources, spans, gauges.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perflib.errors import RunError
from perflib.store import remote
from perflib.store.cache import kept, stamp
from perflib.store.database import connected, parts, quoted, row_counts

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from perflib.store.warmup import Cut
    from perflib.verdicts.verdict import Verdict

FINAL: Final = ("complete", "interrupted", "invalid")
IN_MEMORY_ROWS: Final = 1_000_000
KEPT_ROWS: Final = 50_000
SLACK_NS: Final = 1_000_000_000
SIDES: Final = ("a", "b")  # of an A/B


def sided(name: str, side: str) -> str:
    """The name that a side's target or scenario has in the run: "browse@a"."""
    return f"{name}@{side}"


def data_folder(data: str | Path | None = None) -> Path:
    """The folder of the runs: as given, else data/ in the working directory; a notebook's is the one beside notebooks/.

    For a URL the folder on this machine that mirrors it.
    """
    if remote.is_url(data):
        return remote.cache(data)
    if data is not None:
        return Path(data)
    here = Path.cwd()
    return Path("..", "data") if here.name == "notebooks" else Path("data")


class Run:
    """The reading side: one finished, broken or still running run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest: dict[str, Any] = json.loads((path / "run.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"cannot read run.json: {error}", where=str(path), mend="choose another run: perflib runs"
            ) from None

    @property
    def id(self) -> str:
        return str(self.manifest["run"])

    @property
    def reference(self) -> str:
        """What `open_run` finds it by, from any folder."""
        return str(self.path.resolve())

    @property
    def status(self) -> str:
        """running | complete | interrupted | invalid, and "incomplete" for one whose process died while it ran."""
        status = str(self.manifest["status"])
        return "incomplete" if status == "running" and not self._alive() else status

    @property
    def scenarios(self) -> list[dict[str, Any]]:
        """What is known of each scenario that was started: name, start_ns, stop_ns, segments, workers."""
        return list(self.manifest["scenarios"])

    def scenario(self, name: str) -> dict[str, Any]:
        """One of them. Raises RunError where it did not run."""
        for entry in self.scenarios:
            if entry["name"] == name:
                return dict(entry)
        there = ", ".join(entry["name"] for entry in self.scenarios)
        raise RunError(f"no scenario {name!r} in this run", where=self.id, mend=f"there are {there}")

    def spec(self, name: str) -> dict[str, Any]:
        """The suite's table of one scenario, as it was run."""
        return next(dict(s) for s in self.manifest["suite"]["scenarios"] if s["name"] == name)

    def rows(
        self, scenario: str | None = None, columns: Sequence[str] | None = None, phase: str | None = "measure"
    ) -> pd.DataFrame:
        """Rows in order of their end. phase: "measure" (warm-up cut away), "warmup" (all that is not measured) or None (all)."""
        chosen = ", ".join(f'"{c}"' for c in columns) if columns else "*"
        table = {"measure": "measured", "warmup": "(select * from rows except select * from measured)", None: "rows"}[
            phase
        ]
        where, values = ("where scenario = ?", [scenario]) if scenario else ("", [])
        return self.query(f"select {chosen} from {table} {where} order by end_ns, worker, seq", values).df()

    def sql(self, query: str) -> pd.DataFrame:
        """DuckDB over rows, measured, resources, spans and gauges."""
        import duckdb

        try:
            return self.query(query).df()
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise RunError(first, where="sql", mend="tables are rows, measured, resources, spans, gauges") from None

    def query(self, query: str, values: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """The same as a DuckDB cursor: .df(), .fetchnumpy(), .fetchone()."""
        return self._database.cursor().execute(query, list(values))

    def resources(self) -> pd.DataFrame:
        """Samples of the target's and the generator's processes, in order of time."""
        return self.query("select * from resources order by t_ns, role, pid").df()

    def spans(self) -> pd.DataFrame:
        return self.query("select * from spans order by worker, seq, start_ns").df()

    def gauges(self) -> pd.DataFrame:
        """What targets said of themselves (`gauges`): t_ns, target, gauge, value."""
        return self.query("select * from gauges order by t_ns, target, gauge").df()

    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        from perflib.metrics.scenario import summary

        return summary(self)

    def verdicts(self) -> list[Verdict]:
        """One per objective, in the suite's order."""
        return list(self._verdicts)

    @cached_property
    def _verdicts(self) -> list[Verdict]:
        from perflib.verdicts.verdict import verdicts

        return verdicts(self)

    def rows_sha256(self) -> str:
        """What the rows are, in one word: the digest of their part files' names and bytes."""
        digest = hashlib.sha256()
        for path in sorted((self.path / "rows").glob("part-*.parquet")):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def corrupt(self) -> list[str]:
        """Part files that cannot be read; they are left out of every figure."""
        return [str(path.relative_to(self.path)) for path, rows in self.parts if rows is None]

    @cached_property
    def impossible(self) -> int:
        """Rows whose times cannot be: they end before they begin, or lie outside the run. A clock was set while they were made."""
        stopped_ns = self.manifest.get("stopped_ns")
        last_ns = stopped_ns + SLACK_NS if stopped_ns else 2**63 - 1

        def find() -> int:
            least, first, last = self.query(
                "select min(end_ns - start_ns), min(start_ns), max(end_ns) from rows"
            ).fetchone() or (0, 0, 0)
            if min(least or 0, first or 0) >= 0 and (last or 0) <= last_ns:
                return 0
            wrong = "end_ns < start_ns or start_ns < 0 or end_ns > ?"
            return int((self.query(f"select count(*) from rows where {wrong}", [last_ns]).fetchone() or (0,))[0])

        of = stamp((), self.fingerprint, last_ns)
        return int(kept(self.path, f"impossible-{self._named()}", of, find, lambda _: self.keeps))

    @property
    def damage(self) -> list[str]:
        """What is wrong with its rows, in words: nothing passes where something is."""
        said = []
        if self.corrupt:
            more = f" and {len(self.corrupt) - 3} more" if len(self.corrupt) > 3 else ""
            said.append(f"what {', '.join(self.corrupt[:3])}{more} held is missing: it cannot be read")
        if self.impossible:
            said.append(f"{self.impossible:,} requests end before they begin, or lie outside the run: a clock was set")
        return said

    @cached_property
    def parts(self) -> list[tuple[Path, int | None]]:
        """Every part file with how many rows it has, None for one that cannot be read."""
        kinds = ("rows", "resources", "spans", "gauges")
        found = {path for kind in kinds for path in (self.path / kind).glob("part-*.parquet")}
        if replacing := self.manifest.get("replacing"):  # a `compact` that was cut short after its switch
            new = [self.path / name for name in replacing["new"]]
            found -= {self.path / name for name in replacing["old"]}
            found |= {path.with_name(f".{path.name}") for path in new if not path.exists()}
        ordered = sorted(found, key=lambda path: (kinds.index(path.parent.name), path.name))
        of = stamp(ordered)
        rows = kept(
            self.path,
            "parts",
            of,
            lambda: row_counts(ordered),
            lambda rows: self.status in FINAL and sum(n or 0 for n in rows) > IN_MEMORY_ROWS,
        )
        return list(zip(ordered, rows, strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """Of its part files as they are."""
        return stamp(path for path, _ in self.parts)

    @cached_property
    def many(self) -> bool:
        """More rows than are computed one by one: figures come from counts (counts.py)."""
        return self._count > IN_MEMORY_ROWS

    @property
    def keeps(self) -> bool:
        """Whether what is found in its rows is kept beside them: a look at them takes a while, and they will not change."""
        return self._count > KEPT_ROWS and self.status in FINAL

    def kept(self, name: str, scenario: str, find: Callable[[], Any], *about: object) -> Any:
        """What `find` gives of a scenario (JSON); of many rows found once, and again when they or what it is `about` change."""
        of = stamp((), self.fingerprint, self.cuts, self.scenario(scenario), self.spec(scenario), *about)
        return kept(self.path, f"{name}-{self._named(scenario)}", of, find, lambda _: self.keeps)

    def _named(self, *what: str) -> str:
        """For the name of a file: this run, or side of one, and a part of it."""
        return stamp((), self.id, *what)[:8]

    @cached_property
    def _count(self) -> int:
        return sum(rows or 0 for path, rows in self.parts if path.parent.name == "rows")

    def _alive(self) -> bool:
        import psutil

        process = self.manifest.get("process", {})
        try:
            return bool(abs(psutil.Process(process["pid"]).create_time() - process["created"]) < 1)
        except (psutil.Error, KeyError):
            return False

    @property
    def cuts(self) -> list[tuple[str, int]]:
        """Where the measured part of each scenario begins whose suite gives no warm-up: (scenario, ns)."""
        return [(name, cut.at_ns) for name, cut in self.warmups.items()]

    @property
    def unsettled(self) -> list[str]:
        """Scenarios whose response times never settled at a level."""
        return [name for name, cut in self.warmups.items() if not cut.settled]

    @cached_property
    def warmups(self) -> dict[str, Cut]:
        """The warm-ups that were found, by scenario; none where the suite names them."""
        from perflib.store.warmup import Cut, cut

        specs = {entry["name"]: self.spec(entry["name"]) for entry in self.scenarios}

        def find() -> dict[str, Cut]:
            each = {entry["name"]: cut(self._tables, entry, specs[entry["name"]]) for entry in self.scenarios}
            return {name: found for name, found in each.items() if found is not None}

        of = stamp((), self.fingerprint, self.scenarios, specs)
        found = kept(self.path, f"warmups-{self._named()}", of, find, lambda _: self.keeps)
        return {name: Cut(*each) for name, each in found.items()}

    @cached_property
    def is_measured(self) -> str:
        """What makes a row a measured one, in SQL."""
        begins = " ".join(f"when {quoted(name)} then {int(cut_ns)}" for name, cut_ns in self.cuts)
        begun = f" and coalesce(scheduled_ns, start_ns) >= case scenario {begins} else 0 end" if begins else ""
        return f"phase = 'measure'{begun}"

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        """The tables, and `measured`."""
        database = self._tables
        database.execute(f"create view measured as select * from rows where {self.is_measured}")
        return database

    @cached_property
    def _tables(self) -> duckdb.DuckDBPyConnection:
        from perflib.store import schema as schema

        database = connected()
        for kind, columns in schema.TABLES.items():
            found = [(path, rows) for path, rows in self.parts if path.parent.name == kind and rows is not None]
            files = [path for path, _ in found]
            # Few rows in many small parts are read once; many rows stay on disk.
            made = "table" if sum(rows for _, rows in found) <= IN_MEMORY_ROWS else "view"
            source = parts(files, columns)
            extra = (
                ", end_ns - start_ns as service_ns, end_ns - coalesce(scheduled_ns, start_ns) as response_ns"
                if kind == "rows"
                else ""
            )
            database.execute(f"create {made} {kind} as select *{extra} from {self._chosen(kind, source)}")
        return database

    def _chosen(self, kind: str, source: str) -> str:
        """What of a table's rows belongs to this run."""
        return source

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.status}, {len(self.scenarios)} scenarios>"

    def _repr_html_(self) -> str:
        from perflib.notebook import cards

        return cards.of_run(self)


class Variant(Run):
    """One side of an A/B as a run of its own: its scenarios, under their plain names, and its rows."""

    def __init__(self, path: Path, side: str) -> None:
        super().__init__(path)
        self.side = side
        if "ab" not in self.manifest:
            raise RunError(f"{self.id} is no A/B and has no side {side!r}", mend="leave the @ and what follows out")
        suite, of_both = self.manifest["suite"], self.manifest
        self._ours = [s["name"] for s in suite["scenarios"] if s["name"].endswith(sided("", side))]
        self.manifest = {
            **of_both,
            "run": sided(of_both["run"], side),
            "suite": {**suite, "scenarios": self._plain(suite["scenarios"])},
            "scenarios": self._plain(of_both["scenarios"]),
        }

    @property
    def reference(self) -> str:
        return sided(super().reference, self.side)

    def _plain(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        end = sided("", self.side)
        return [{**entry, "name": entry["name"].removesuffix(end)} for entry in entries if entry["name"] in self._ours]

    def _chosen(self, kind: str, source: str) -> str:
        if kind != "rows":
            return source
        end = sided("", self.side)
        return f"(select * replace (scenario[:-{len(end) + 1}] as scenario) from {source} where scenario like '%{end}')"


def open_run(which: str | Path = "latest", data: str | Path | None = None, *, rows: bool = True) -> Run:
    """A run by id, by path, or the latest; with @a or @b one side of an A/B. Raises RunError where there is none.

    data: a folder, or a URL; then the run's files that are not on this machine are fetched first, without `rows` only its run.json.
    """
    whole, at, side = str(which).rpartition("@")
    if at and side in SIDES and not Path(which).is_dir():
        return Variant(open_run(whole, data).path, side)
    if isinstance(which, Path) or os.sep in which or (Path(which) / "run.json").is_file():
        return Run(Path(which))
    folder = data_folder(data) / "runs"
    if which == "latest":
        known = run_ids(data)
        if not known:
            raise RunError(
                "there are no runs", where=str(data if remote.is_url(data) else folder), mend="make one: perflib run"
            )
        which = known[-1]
    if remote.is_url(data):
        remote.Store(data).fetch(which, folder / which, rows=rows)
    if not (folder / which / "run.json").is_file():
        raise RunError(f"no run {which!r}", where=str(folder), mend="list them: perflib runs")
    return Run(folder / which)


def run_ids(data: str | Path | None = None) -> list[str]:
    """Ids of the runs there are, oldest first."""
    if remote.is_url(data):
        return remote.Store(data).ids()
    return [
        path.parent.name
        for path in sorted(
            (data_folder(data) / "runs").glob("*/run.json"),
            key=lambda p: (p.parent.name[:15], p.parent.stat().st_ctime_ns),
        )
    ]


def remove_run(which: str, data: str | Path | None = None) -> Run:
    """Delete a run directory. Raises RunError for one that still runs."""
    remote.folder_only(data, "rm")
    run = open_run(which, data)
    if run.status == "running":
        raise RunError(f"{run.id} is still running", mend="stop it first")
    shutil.rmtree(run.path)
    return run
