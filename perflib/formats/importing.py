"""A run made from the results of another tool.

    path = import_files(["results.csv"], "data", objectives=["p95 response < 250 ms"])

The files are read in pieces, so that memory is bounded: first as tables of times since 1970, and then, when the first
request is known, as rows of a run. Nothing is written to the data folder before all files have been read.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perflib.formats.base import REQUESTS, FormatError, head_of
from perflib.formats.registry import format_of
from perflib.formats.summaries import save
from perflib.formats.summary_files import summary_of
from perflib.store.manifest import RunDirectory
from perflib.store.records import FailureRecord, ImportRecord, ScenarioRecord, Segment, TimeRecord, WorkerRecord
from perflib.store.runs import data_folder
from perflib.store.schema import ROWS, ROWS_PER_PART, label, write_part
from perflib.suite.file import from_plain
from perflib.suite.model import Suite
from perflib.suite.plain import redacted

MOST_OPERATIONS: Final = 200  # of a scenario; the rarest of more are taken together
OTHERS: Final = "others"
_SERVER: Final = re.compile(r"\b[a-z]+://[^/\s]+(?=/)")
_SINCE_1970: Final = 10**18  # ns: a later time is a date


@dataclass
class _Seen:
    """What has been read so far. `requests` counts by scenario, operation and class of error."""

    requests: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    first_ns: dict[str, int] = field(default_factory=dict)
    last_ns: dict[str, int] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        grouped = table.group_by(["scenario", "operation", "error"]).aggregate(
            [("start_ns", "min"), ("end_ns", "max"), ([], "count_all")]
        )
        for each in grouped.to_pylist():
            scenario = each["scenario"]
            self.requests[scenario, each["operation"], each["error"]] += each["count_all"]
            self.first_ns[scenario] = min(each["start_ns_min"], self.first_ns.get(scenario, each["start_ns_min"]))
            self.last_ns[scenario] = max(each["end_ns_max"], self.last_ns.get(scenario, each["end_ns_max"]))

    def operations(self, scenario: str) -> list[str]:
        """The names of a scenario's operations in the order in which they came; the rarest of many are OTHERS."""
        counted: Counter[str] = Counter()
        for (of, operation, _), n in self.requests.items():
            if of == scenario:
                counted[operation] += n
        if len(counted) <= MOST_OPERATIONS:
            return list(counted)
        return [*(name for name, _ in counted.most_common(MOST_OPERATIONS - 1)), OTHERS]


@dataclass(frozen=True)
class _Asked:
    """What the user says about the run."""

    name: str
    objectives: Sequence[str]
    warmup_s: float
    command: str

    def suite(self, scenarios: dict[str, list[str]]) -> Suite:
        """The suite that stands for what the other tool has run. Its load is not known: it is what was recorded."""
        each = [
            {
                "name": scenario,
                "operations": [{"name": operation} for operation in operations],
                "target": "imported",
                "load": {"model": "replay", "starts": "another tool's results"},
                "objectives": list(self.objectives),
                **({"warmup": {"duration_s": self.warmup_s}} if self.warmup_s else {}),
            }
            for scenario, operations in scenarios.items()
        ]
        targets = {"imported": {"kind": "callable", "function": "imported:requests"}}
        plain = {"name": self.name, "targets": targets, "scenarios": each}
        return from_plain(plain, where="the imported run")


def import_files(
    files: Sequence[str | Path],
    data: str | Path | None = None,
    *,
    wanted: str | None = None,
    name: str | None = None,
    objectives: Sequence[str] = (),
    warmup_s: float = 0.0,
    command: str = "",
) -> Path:
    """Make a run of files of one format, and return its folder.

    wanted      the format or the tool; default: by the content of the files
    name        the name of its suite, by which runs are compared; default: that of the tool
    objectives  what must hold in each scenario
    warmup_s    how much of the beginning is not measured

    Raises FormatError for a file that cannot be read, SuiteError for an objective.
    """
    paths = [Path(file) for file in files]
    if (summary := summary_of(paths[0], head_of(paths[0]), wanted)) is not None:
        if len(paths) > 1 or warmup_s:
            what = "a file of figures alone is a run by itself, without a warm-up to leave out"
            raise FormatError(what, where=str(paths[0]), mend="import each file as a run of its own")
        figures, began_s = summary
        return save(figures, data=data, name=name, command=command, objectives=objectives, began_s=began_s)
    kinds = [format_of(path, wanted) for path in paths]
    (found, head), others = (
        kinds[0],
        [path for path, (each, _) in zip(paths, kinds, strict=True) if each != kinds[0][0]],
    )
    if others:
        what = f"not of the same format as {paths[0].name}, {found.name}"
        raise FormatError(what, where=str(others[0]), mend="import each format as a run of its own")
    asked = _Asked(name or found.tool.lower(), objectives, warmup_s, command)
    asked.suite({"default": ["request"]})  # a wrong objective is refused before the files are read
    with tempfile.TemporaryDirectory(prefix="perflib-import-") as folder:
        read = Path(folder, "requests.parquet")
        seen, time = _Seen(), found.time(head)
        with pq.ParquetWriter(read, REQUESTS) as writer:
            for path, (_, its_head) in zip(paths, kinds, strict=True):
                if found.time(its_head) != time:
                    what = "its times are written in other steps than those of the first file"
                    raise FormatError(what, where=str(path), mend="import it as a run of its own")
                for table in _checked(path, found.read(path, its_head), time):
                    seen.add(table)
                    writer.write_table(table)
        if not seen.requests:
            raise FormatError("it has no requests", where=str(paths[0]), mend="name a file with results")
        if len(paths) > 1 and min(seen.first_ns.values()) < _SINCE_1970:
            what = f"{found.tool} does not say on which day a file's requests were sent, so that files cannot be joined"
            raise FormatError(what, where=str(paths[1]), mend="import each file as a run of its own")
        about = ImportRecord(
            tool=found.tool, format=found.name, files=[path.name for path in paths], time=time,
            all_requests=found.all_requests, notes=list(found.notes),
        )  # fmt: skip
        return _write(read, seen, data_folder(data), about, asked)


def _checked(path: Path, tables: Iterator[pa.Table], time: TimeRecord) -> Iterator[pa.Table]:
    """The tables, if their times are possible. Requests of unknown times are laid one after the other."""
    count, now = 0, 0
    for table in tables:
        start, end = (table[name].to_numpy(zero_copy_only=False) for name in ("start_ns", "end_ns"))
        wrong = np.isnan(start.astype(float)) | np.isnan(end.astype(float)) | (end < start)
        if wrong.any():
            what = f"request {count + int(np.flatnonzero(wrong)[0]) + 1:,} has no time, or ends before it begins"
            raise FormatError(what, where=str(path), mend="import the complete file, as the tool wrote it")
        if not time.clock_ns and len(table):
            ends = now + np.cumsum(end - start)
            yield _with(table, start_ns=pa.array(ends - (end - start)), end_ns=pa.array(ends))
            now = int(ends[-1])
        else:
            yield table
        count += len(table)


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _write(read: Path, seen: _Seen, data: Path, about: ImportRecord, asked: _Asked) -> Path:
    """Write the run. If that fails, nothing of it is left."""
    t0_ns = min(seen.first_ns.values())
    names = {scenario: _named(seen.operations(scenario)) for scenario in seen.first_ns}
    titles = {scenario: _name(scenario) for scenario in names}
    for scenario, operations in names.items():
        if OTHERS in operations and len(operations) == MOST_OPERATIONS:
            rest = f"requests beyond the {MOST_OPERATIONS - 1} most frequent names are together {OTHERS!r}"
            about.notes.append(f"{titles[scenario]}: {rest}")
    began = datetime.fromtimestamp(t0_ns / 1e9, UTC) if t0_ns > _SINCE_1970 else datetime.now(UTC)
    suite = asked.suite({titles[scenario]: list(dict.fromkeys(each.values())) for scenario, each in names.items()})
    started_at = began.isoformat(timespec="milliseconds")
    directory = RunDirectory(data, suite=redacted(suite), command=asked.command, started_at=started_at, imported=about)
    try:
        _write_rows(read, directory.path, t0_ns, names, titles, asked.warmup_s)
        manifest = directory.manifest
        manifest.scenarios = [
            _record(seen, scenario, names[scenario], titles[scenario], t0_ns, asked.warmup_s, about.time)
            for scenario in names
        ]
        manifest.stopped_ns = max(scenario.stop_ns or 0 for scenario in manifest.scenarios)
        manifest.status = "complete"
        directory.save(durable=True)
    except BaseException:
        shutil.rmtree(directory.path, ignore_errors=True)
        raise
    return directory.path


def _named(operations: Sequence[str]) -> dict[str, str]:
    """What each operation is called in the run: in short, without secrets, and without the server if it is the only
    one. Colons separate an objective from its operation, and can be in no name."""
    servers = {server for operation in operations for server in _SERVER.findall(operation)}
    return {each: _name(_SERVER.sub("", each) if len(servers) == 1 else each) for each in operations}


def _name(text: str) -> str:
    return label(text.replace("://", " ").replace(":", "-"))


def _write_rows(
    read: Path, folder: Path, t0_ns: int, names: dict[str, dict[str, str]], titles: dict[str, str], warmup_s: float
) -> None:
    numbers = Counter[str]()
    until_ns = round(warmup_s * 1e9)
    file = pq.ParquetFile(read)
    for part, batch in enumerate(file.iter_batches(ROWS_PER_PART)):
        table, pieces = pa.table(batch), []
        for worker, scenario in enumerate(names):
            mine = table.filter(pc.equal(table["scenario"], scenario))
            if len(mine):
                pieces.append(
                    _rows(mine, worker, numbers[scenario], t0_ns, names[scenario], titles[scenario], until_ns)
                )
                numbers[scenario] += len(mine)
        write_part(pieces, ROWS, folder / "rows", f"part-0000-{part:06d}")


def _rows(
    table: pa.Table, worker: int, first_seq: int, t0_ns: int, names: dict[str, str], title: str, until_ns: int
) -> pa.Table:
    """Requests of one scenario as rows of a run."""
    n = len(table)
    start = pc.subtract(table["start_ns"], t0_ns)
    texts = pc.dictionary_encode(table["operation"]).combine_chunks()
    known = pa.array([names.get(text, OTHERS) for text in texts.dictionary.to_pylist()], pa.string())
    columns = {
        "scenario": pa.array([title]).dictionary_encode().take(pa.array(np.zeros(n, np.int32))),
        "operation": known.take(texts.indices).dictionary_encode(),
        "phase": pc.if_else(pc.less(start, until_ns), "warmup", "measure").combine_chunks().dictionary_encode(),
        "worker": pa.array(np.full(n, worker, np.int16)),
        "seq": pa.array(np.arange(first_seq, first_seq + n, dtype=np.int64)),
        "start_ns": start,
        "first_byte_ns": pc.subtract(table["first_byte_ns"], t0_ns),
        "end_ns": pc.subtract(table["end_ns"], t0_ns),
        "ok": pc.is_null(table["error"]),
        "error": table["error"].combine_chunks().dictionary_encode(),
        "status": table["status"],
        "bytes_sent": pc.fill_null(table["bytes_sent"], 0),
        "bytes_received": pc.fill_null(table["bytes_received"], 0),
        "inflight": pa.nulls(n, pa.int32()),
    }
    return pa.table([columns.get(f.name, pa.nulls(n, f.type)) for f in ROWS], schema=ROWS)


def _record(
    seen: _Seen, scenario: str, names: dict[str, str], title: str, t0_ns: int, warmup_s: float, time: TimeRecord
) -> ScenarioRecord:
    start, stop = seen.first_ns[scenario] - t0_ns, seen.last_ns[scenario] - t0_ns
    stop = max(stop, start + 1) + (time.clock_ns if time.clock_ns > 1 else 0)
    edges = [start, min(max(start, round(warmup_s * 1e9)), stop), stop]
    segments = [
        Segment(phase=phase, start_ns=begin, stop_ns=end)
        for phase, (begin, end) in zip(("warmup", "measure"), pairwise(edges), strict=True)
        if end > begin
    ]
    record = ScenarioRecord(name=title, status="complete", start_ns=start, stop_ns=stop, segments=segments)
    counted = {key[1:]: n for key, n in seen.requests.items() if key[0] == scenario}
    errors = {key: n for key, n in counted.items() if key[1] is not None}
    for (operation, error), n in errors.items():
        record.add_failure(FailureRecord(operation=names.get(operation, OTHERS), error=error or "", requests=n))
    number = list(seen.first_ns).index(scenario)
    record.workers = [WorkerRecord(worker=number, rows=sum(counted.values()), errors=sum(errors.values()))]
    return record
