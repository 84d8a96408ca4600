"""The row schema, and the recorder: packed rows in memory, Parquet part files on disk, at most two seconds behind.

One request is one `pack_into` of a fixed record. When the buffer is full, or once a second, a thread converts it to
columns and writes a part file, which gets its final name only when it is complete.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perflib.store.arrow import array, column, constant, dictionary
from perflib.store.failures import Failures
from perflib.suite.redaction import without_known
from perflib.text import one_line

PHASES: Final = ("warmup", "measure")
NONE_NS: Final = -(2**63)
NONE_STATUS: Final = -1
LONGEST_LABEL: Final = 80
LONGEST_SERIES: Final = 300
UNANSWERED: Final = ("connect", "reset", "tls", "stale", "template", "timeout", "aborted", "unsent")  # by the target

# scheduled, start, first byte, end, sent, received, server (int64) · inflight, status (int32) ·
# operation, error (uint16) · phase
RECORD: Final = struct.Struct("<qqqqqqqiiHHB3x")
_WORDS: Final = RECORD.size // 8
_TIMES: Final = ("scheduled_ns", "start_ns", "first_byte_ns", "end_ns")
_BLOCK: Final = 1024  # rows that are converted at a time: few enough for the processor's cache
ROWS_PER_PART: Final = 65_536
_PIECE: Final = 8_192  # rows that are written at a time, which takes one or two milliseconds
_GROUP: Final = 131_072  # rows per group in files that are read often; one thread reads one group at a time
_BREATH_S: Final = 0.004  # between pieces: time for the event loop to serve all its connections
SECONDS_PER_PART: Final = 1.0
_SIZE: Final = RECORD.size
_FULL: Final = _SIZE * ROWS_PER_PART

_text = pa.dictionary(pa.int32(), pa.string())
ROWS: Final = pa.schema(
    [
        ("scenario", _text),
        ("operation", _text),
        ("phase", _text),
        ("worker", pa.int16()),
        ("seq", pa.int64()),
        ("scheduled_ns", pa.int64()),
        ("start_ns", pa.int64()),
        ("first_byte_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("ok", pa.bool_()),
        ("error", _text),
        ("status", pa.int32()),
        ("bytes_sent", pa.int64()),
        ("bytes_received", pa.int64()),
        ("inflight", pa.int32()),
        ("server_ns", pa.int64()),
    ]
)
RESOURCES: Final = pa.schema([
    ("t_ns", pa.int64()), ("role", _text), ("pid", pa.int32()), ("name", _text), ("rss_bytes", pa.int64()),
    ("uss_bytes", pa.int64()), ("cpu_ns", pa.int64()), ("threads", pa.int32()), ("fds", pa.int32()), ("process", _text),
])  # fmt: skip
SPANS: Final = pa.schema([
    ("worker", pa.int16()), ("seq", pa.int64()), ("span", _text), ("start_ns", pa.int64()), ("duration_ns", pa.int64()),
])  # fmt: skip


GAUGES: Final = pa.schema([
    ("t_ns", pa.int64()), ("target", _text), ("gauge", _text), ("value", pa.float64()), ("kind", _text),
])  # fmt: skip

SAMPLES: Final = pa.schema([
    ("scenario", _text), ("operation", _text), ("worker", pa.int16()), ("seq", pa.int64()), ("t_ns", pa.int64()),
    ("error", _text), ("status", pa.int32()), ("message", pa.string()), ("request", pa.string()), ("head", pa.string()),
    ("body", pa.string()),
])  # fmt: skip

JOURNEYS: Final = pa.schema([
    ("scenario", _text), ("journey", _text), ("phase", _text), ("worker", pa.int16()), ("scheduled_ns", pa.int64()),
    ("start_ns", pa.int64()), ("end_ns", pa.int64()), ("paused_ns", pa.int64()), ("requests", pa.int64()),
    ("ok", pa.bool_()), ("error", _text),
])  # fmt: skip

TABLES: Final = {
    "rows": ROWS, "resources": RESOURCES, "spans": SPANS, "gauges": GAUGES, "samples": SAMPLES, "journeys": JOURNEYS,
}  # fmt: skip


def write_part(pieces: Iterable[pa.Table], schema: pa.Schema, folder: Path, name: str) -> None:
    """Write one part file: zstd, delta-encoded integers, one row group per piece; it gets its final name last.

    The thread sleeps briefly between the pieces. On a busy core, a thread that does not sleep keeps the core for a
    whole tick of the kernel (4 ms at 250 Hz), and the load has to wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.tmp"
    with pq.ParquetWriter(unfinished, schema, **_options(schema)) as writer:
        for piece in pieces:
            writer.write_table(piece)
            time.sleep(_BREATH_S)
    unfinished.replace(folder / f"{name}.parquet")


def write_file(table: pa.Table, path: Path) -> None:
    """Write a table as one file with large row groups, and wait until it is on disk."""
    pq.write_table(table, path, row_group_size=_GROUP, **_options(table.schema))
    with path.open("rb+") as written:
        os.fsync(written.fileno())


def table_of(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Few rows, as tuples in the schema's order, as a table. (Requests of workers are never tuples: see Recorder.)"""
    arrays = [column(values, field.type) for field, values in zip(schema, zip(*rows, strict=True), strict=True)]
    return pa.table(arrays, schema=schema)


def warm_up(table: pa.Table) -> None:
    """Write a part to memory before the load begins, because the first write imports modules and is slow."""
    pq.write_table(table, pa.BufferOutputStream(), **_options(table.schema))


def _options(schema: pa.Schema) -> dict[str, Any]:
    """Options of the Parquet writer. Only times and the scenario have statistics, by which readers skip parts.

    Pages have checksums, so that a reader notices a bit that has changed on the disk.
    """
    integers = [f.name for f in schema if pa.types.is_integer(f.type)]
    return {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": [f.name for f in schema if pa.types.is_dictionary(f.type)],
        "write_statistics": [f.name for f in schema if f.name.endswith("_ns") or f.name == "scenario"],
        "column_encoding": dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
    }


# records, how many, the first one's seq, spans, samples, journeys
_Part = tuple[bytearray, int, int, list[tuple[int, str, int, int]], list[tuple[Any, ...]], list[tuple[Any, ...]]]


class Recorder:
    """Records the rows of one worker. `add` is the hot path; `tick` passes on a part; `close` writes the rest.

    recorder = Recorder(run_dir, worker=0, scenario="browse", operations=["list", "buy"], t0_ns=t0)
    recorder.add(scheduled, start, first_byte, end, sent, received, server, inflight, status, operation, error, phase)
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        worker: int,
        scenario: str,
        operations: list[str],
        t0_ns: int,
        failures: Failures | None = None,
    ) -> None:
        self.worker, self.scenario, self.operations, self.t0_ns = worker, scenario, operations, t0_ns
        self.errors: dict[str, int] = {"": 0}
        self.error_counts: list[int] = [0]
        self.failures = failures or Failures()
        self.failure: BaseException | None = None
        self._folder, self._parts, self._first_seq = run_dir, 0, 0
        self._used = 0
        self._spans: list[tuple[int, str, int, int]] = []
        self._samples: list[tuple[Any, ...]] = []
        self._journeys: list[tuple[Any, ...]] = []
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(3):
            self._free.put(bytearray(_FULL))
        self._buffer = self._free.get()
        self._full: queue.SimpleQueue[_Part | threading.Event | None] = queue.SimpleQueue()
        self._pack = RECORD.pack_into
        warm_up(self._table(self._buffer, 1, 0))
        self._thread = threading.Thread(target=self._write_parts, name="rows", daemon=True)
        self._thread.start()

    @classmethod
    def discarding(cls, operations: list[str]) -> Recorder:
        """A recorder that counts rows and errors and writes nothing, for requests that are not measured."""
        return _Counter(Path(), worker=0, scenario="", operations=operations, t0_ns=0)

    @property
    def count(self) -> int:
        """Rows so far; the next one's seq."""
        return self._first_seq + self._used // _SIZE

    @property
    def errors_by_class(self) -> dict[str, int]:
        """The number of failed requests by error class."""
        return {name: n for name, n in zip(self.errors, self.error_counts, strict=True) if name and n}

    def error_code(self, error: str) -> int:
        """The code of an error class in a packed row; 0 means no error."""
        code = self.errors.get(error)
        if code is None:
            error = label(error)
            code = self.errors.get(error)
        if code is None:
            code = self.errors[error] = len(self.errors)
            self.error_counts.append(0)
        return code

    def explain(self, error: str, text: str) -> None:
        """Say why the request that is added next fails with this class of error."""
        self.failures.explain(self.error_code(error), text)

    def error_name(self, error: int) -> str:
        """The class of error with this code."""
        return list(self.errors)[error]

    def failure_records(self) -> list[dict[str, Any]]:
        """How many requests of each operation failed with each class of error, and why."""
        return list(self.failures.records(self.operations, list(self.errors)))

    def sample(
        self, operation: int, error: int, status: int, message: str, request: str, head: str, body: str, t_ns: int
    ) -> None:
        """Record a sample of the request that is added next, which failed."""
        self.failures.sampled(operation, error)
        self._samples.append((
            self.scenario, self.operations[operation], self.worker, self.count, t_ns - self.t0_ns,
            self.error_name(error), None if status == NONE_STATUS else status, message, request, head, body,
        ))  # fmt: skip

    def add(
        self, scheduled_ns: int, start_ns: int, first_byte_ns: int, end_ns: int, bytes_sent: int, bytes_received: int,
        server_ns: int, inflight: int, status: int, operation: int, error: int, phase: int,
    ) -> None:  # fmt: skip
        """Record one request, with readings of the monotonic clock (NONE_NS and NONE_STATUS stand for null)."""
        used = self._used
        self._pack(
            self._buffer,
            used,
            scheduled_ns,
            start_ns,
            first_byte_ns,
            end_ns,
            bytes_sent,
            bytes_received,
            server_ns,
            inflight,
            status,
            operation,
            error,
            phase,
        )
        if error:
            self.error_counts[error] += 1
            self.failures.add(operation, error)
        self._used = used = used + _SIZE
        if used == _FULL:
            self.tick()

    def span(self, name: str, start_ns: int, duration_ns: int) -> None:
        """Record a part (`connect`, `tls`, `db`…) of the request that is added next."""
        self._spans.append((self.count, name, start_ns, duration_ns))

    def journey(
        self, name: str, scheduled_ns: int, start_ns: int, end_ns: int, paused_ns: int, requests: int, error: int,
        phase: int,
    ) -> None:  # fmt: skip
        """Record a journey that is over, with readings of the monotonic clock."""
        t0_ns = self.t0_ns
        self._journeys.append((
            self.scenario, name, PHASES[phase], self.worker, None if scheduled_ns == NONE_NS else scheduled_ns - t0_ns,
            start_ns - t0_ns, end_ns - t0_ns, paused_ns, requests, not error, self.error_name(error) if error else None,
        ))  # fmt: skip

    def tick(self) -> None:
        """Pass the rows so far to the writer. Waits only if the disk is three parts behind."""
        if self._used or self._journeys:
            spans, self._spans = self._spans, []
            samples, self._samples = self._samples, []
            journeys, self._journeys = self._journeys, []
            self._full.put((self._buffer, self._used // _SIZE, self._first_seq, spans, samples, journeys))
            self._first_seq, self._used = self.count, 0
            self._buffer = self._free.get()

    def flush(self) -> None:
        """Return when all rows so far are on disk."""
        self.tick()
        written = threading.Event()
        self._full.put(written)
        written.wait()

    def close(self) -> None:
        """Write the remaining rows. Raises the error of the writer, for example a full disk."""
        self.tick()
        self._full.put(None)
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _write_parts(self) -> None:
        while (part := self._full.get()) is not None:
            if isinstance(part, threading.Event):
                part.set()
                continue
            buffer, rows, first_seq, spans, samples, journeys = part
            if self.failure is None:
                try:
                    name = f"part-{self.worker:04d}-{self._parts:06d}"
                    if journeys:  # first: who sees the rows of a part sees its journeys
                        write_part([table_of(journeys, JOURNEYS)], JOURNEYS, self._folder / "journeys", name)
                    if rows:
                        write_part(self._pieces(buffer, rows, first_seq), ROWS, self._folder / "rows", name)
                    if spans:
                        write_part([self._span_table(spans)], SPANS, self._folder / "spans", name)
                    if samples:
                        write_part([table_of(samples, SAMPLES)], SAMPLES, self._folder / "samples", name)
                    self._parts += 1
                except Exception as error:  # a full disk, say; `close` raises it
                    self.failure = error
            self._free.put(buffer)

    def _pieces(self, buffer: bytearray, rows: int, first_seq: int) -> Iterator[pa.Table]:
        for first in range(0, rows, _PIECE):
            piece = memoryview(buffer)[first * _SIZE :]
            yield self._table(piece, min(_PIECE, rows - first), first_seq + first)

    def _table(self, buffer: bytearray | memoryview, rows: int, first_seq: int) -> pa.Table:
        packed = _columns(buffer, rows)
        failed = packed["error"] != 0
        columns = {
            "scenario": constant(self.scenario, rows),
            "operation": dictionary(packed["operation"], self.operations),
            "phase": dictionary(packed["phase"], list(PHASES)),
            "worker": array(np.full(rows, self.worker, np.int16)),
            "seq": array(np.arange(first_seq, first_seq + rows, dtype=np.int64)),
            "ok": array(~failed),
            "error": dictionary(packed["error"], list(self.errors), null=~failed),
            "status": array(packed["status"], packed["status"] == NONE_STATUS),
            "bytes_sent": array(packed["bytes_sent"]),
            "bytes_received": array(packed["bytes_received"]),
            "inflight": array(packed["inflight"]),
            "server_ns": array(packed["server_ns"], packed["server_ns"] == NONE_NS),
        }
        for name in _TIMES:
            columns[name] = array(packed[name] - self.t0_ns, packed[name] == NONE_NS)
        return pa.table([columns[field.name] for field in ROWS], schema=ROWS)

    def _span_table(self, spans: list[tuple[int, str, int, int]]) -> pa.Table:
        seq, names, starts, durations = zip(*spans, strict=True)
        labels = {name: label(name) for name in set(names)}
        known = sorted(set(labels.values()))
        codes = np.array([known.index(labels[name]) for name in names])
        columns = [
            array(np.full(len(seq), self.worker, np.int16)),
            array(np.array(seq, np.int64)),
            dictionary(codes, known),
            array(np.array(starts, np.int64) - self.t0_ns),
            array(np.array(durations, np.int64)),
        ]
        return pa.table(columns, schema=SPANS)


def label(text: str) -> str:
    """A name that others chose, like that of a span, of a gauge or of an exception: one line without secrets."""
    return one_line(without_known(text), LONGEST_LABEL) or "–"


def series_label(name: str, labels: Mapping[str, str]) -> str:
    """The name of a series of metrics with its labels in order, `name{a="b"}`; "" where it is longer than a name may
    be, because a shortened one would be that of another series."""
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    text = one_line(without_known(f"{name}{{{inner}}}" if inner else name), LONGEST_SERIES)
    return "" if text.endswith("…") else text


class _Counter(Recorder):
    """Discards every part instead of writing it."""

    def tick(self) -> None:
        self._first_seq, self._used = self.count, 0
        self._spans.clear()
        self._samples.clear()
        self._journeys.clear()

    def span(self, name: str, start_ns: int, duration_ns: int) -> None:
        pass


def _columns(buffer: bytearray | memoryview, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Packed rows as one contiguous array per field."""
    packed = np.frombuffer(buffer, np.int64, count=rows * _WORDS).reshape(rows, _WORDS)
    words = np.empty((_WORDS, rows), np.int64)
    for first in range(0, rows, _BLOCK):
        words[:, first : first + _BLOCK] = packed[first : first + _BLOCK].T
    halves, codes = words[7].view(np.int32).reshape(rows, 2), words[8].view(np.uint16).reshape(rows, 4)
    names = (*_TIMES, "bytes_sent", "bytes_received", "server_ns")
    columns = dict(zip(names, words, strict=False))
    columns |= {"inflight": halves[:, 0].copy(), "status": halves[:, 1].copy()}
    return columns | {
        "operation": codes[:, 0],
        "error": codes[:, 1],
        "phase": codes[:, 2],
    }  # the phase's high byte is 0
