"""The row schema, and the recorder: packed rows in memory, Parquet part files on disk, never more than two seconds behind.

One request is one `pack_into` of a fixed record. A full buffer, or a second's worth, goes to a thread that turns it into
columns and writes a part; a part has its final name only when it is complete.
"""

from __future__ import annotations

import queue
import struct
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PHASES: Final = ("warmup", "measure")
NONE_NS: Final = -(2**63)
NONE_STATUS: Final = -1

# scheduled, start, first byte, end, sent, received, server (int64) · inflight, status (int32) · operation, error (uint16) · phase
RECORD: Final = struct.Struct("<qqqqqqqiiHHB3x")
_DTYPE: Final = np.dtype({
    "names": ["scheduled_ns", "start_ns", "first_byte_ns", "end_ns", "bytes_sent", "bytes_received", "server_ns",
              "inflight", "status", "operation", "error", "phase"],
    "formats": ["<i8"] * 7 + ["<i4"] * 2 + ["<u2"] * 2 + ["u1"],
    "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 60, 64, 66, 68],
    "itemsize": RECORD.size,
})  # fmt: skip
ROWS_PER_PART: Final = 65_536
SECONDS_PER_PART: Final = 1.0

_text = pa.dictionary(pa.int32(), pa.string())
ROWS: Final = pa.schema([
    ("scenario", _text), ("operation", _text), ("phase", _text), ("worker", pa.int16()), ("seq", pa.int64()),
    ("scheduled_ns", pa.int64()), ("start_ns", pa.int64()), ("first_byte_ns", pa.int64()), ("end_ns", pa.int64()),
    ("ok", pa.bool_()), ("error", _text), ("status", pa.int32()), ("bytes_sent", pa.int64()), ("bytes_received", pa.int64()),
    ("inflight", pa.int32()), ("server_ns", pa.int64()),
])  # fmt: skip
RESOURCES: Final = pa.schema([
    ("t_ns", pa.int64()), ("role", _text), ("pid", pa.int32()), ("name", _text), ("rss_bytes", pa.int64()),
    ("uss_bytes", pa.int64()), ("cpu_ns", pa.int64()), ("threads", pa.int32()), ("fds", pa.int32()),
])  # fmt: skip
SPANS: Final = pa.schema([
    ("worker", pa.int16()), ("seq", pa.int64()), ("span", _text), ("start_ns", pa.int64()), ("duration_ns", pa.int64()),
])  # fmt: skip


def write_part(table: pa.Table, folder: Path, name: str) -> None:
    """Write one part file: zstd, delta-encoded integers, its final name last."""
    integers = [f.name for f in table.schema if pa.types.is_integer(f.type)]
    texts = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.tmp"
    pq.write_table(
        table, unfinished, compression="zstd", use_dictionary=texts, write_statistics=True,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
    )  # fmt: skip
    unfinished.replace(folder / f"{name}.parquet")


class Recorder:
    """Takes the rows of one worker. `add` is the hot path; `tick` hands over a part; `close` writes the rest.

    recorder = Recorder(run_dir, worker=0, scenario="browse", operations=["list", "buy"], t0_ns=t0)
    recorder.add(scheduled, start, first_byte, end, sent, received, server, inflight, status, operation, error, phase)
    """

    def __init__(self, run_dir: Path, *, worker: int, scenario: str, operations: list[str], t0_ns: int) -> None:
        self.worker, self.scenario, self.operations, self.t0_ns = worker, scenario, operations, t0_ns
        self.count = 0
        self.errors: dict[str, int] = {"": 0}
        self.error_counts: list[int] = [0]
        self.failure: BaseException | None = None
        self._folder, self._parts, self._first_seq = run_dir, 0, 0
        self._used, self._size = 0, RECORD.size
        self._spans: list[tuple[int, str, int, int]] = []
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(3):
            self._free.put(bytearray(RECORD.size * ROWS_PER_PART))
        self._buffer = self._free.get()
        self._full: queue.SimpleQueue[tuple[bytearray, int, int, list[tuple[int, str, int, int]]] | None] = (
            queue.SimpleQueue()
        )
        self._pack = RECORD.pack_into
        self._thread = threading.Thread(target=self._write_parts, name="rows", daemon=True)
        self._thread.start()

    @classmethod
    def discarding(cls, operations: list[str]) -> Recorder:
        """One that counts rows and errors and writes nothing: for requests that are not measured."""
        return _Counter(Path(), worker=0, scenario="", operations=operations, t0_ns=0)

    def error_code(self, error: str) -> int:
        """The small number that stands for an error class in a packed row; 0 is none."""
        code = self.errors.get(error)
        if code is None:
            code = self.errors[error] = len(self.errors)
            self.error_counts.append(0)
        return code

    def add(
        self, scheduled_ns: int, start_ns: int, first_byte_ns: int, end_ns: int, bytes_sent: int, bytes_received: int,
        server_ns: int, inflight: int, status: int, operation: int, error: int, phase: int,
    ) -> None:  # fmt: skip
        """One request, with clock readings of the monotonic clock (NONE_NS and NONE_STATUS stand for null)."""
        used = self._used
        self._pack(self._buffer, used, scheduled_ns, start_ns, first_byte_ns, end_ns, bytes_sent, bytes_received, server_ns,
                   inflight, status, operation, error, phase)  # fmt: skip
        self.count += 1
        self.error_counts[error] += 1
        self._used = used = used + self._size
        if used == len(self._buffer):
            self.tick()

    def span(self, name: str, start_ns: int, duration_ns: int) -> None:
        """A part of the request that is added next: `connect`, `tls`, `db`…"""
        self._spans.append((self.count, name, start_ns, duration_ns))

    def tick(self) -> None:
        """Hand what there is to the writer. Waits only when the disk is three parts behind."""
        if self._used:
            spans, self._spans = self._spans, []
            self._full.put((self._buffer, self._used // self._size, self._first_seq, spans))
            self._first_seq = self.count
            self._used = 0
            self._buffer = self._free.get()

    def close(self) -> None:
        """Write what is left. Raises what the writer met (a full disk, say)."""
        self.tick()
        self._full.put(None)
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _write_parts(self) -> None:
        while (part := self._full.get()) is not None:
            buffer, rows, first_seq, spans = part
            if self.failure is None:
                try:
                    name = f"part-{self.worker:04d}-{self._parts:06d}"
                    write_part(self._table(buffer, rows, first_seq), self._folder / "rows", name)
                    if spans:
                        write_part(self._span_table(spans), self._folder / "spans", name)
                    self._parts += 1
                except OSError as error:
                    self.failure = error
            self._free.put(buffer)

    def _table(self, buffer: bytearray, rows: int, first_seq: int) -> pa.Table:
        packed = np.frombuffer(buffer, _DTYPE, count=rows)
        failed = packed["error"] != 0
        columns = {
            "scenario": _constant(self.scenario, rows),
            "operation": _dictionary(packed["operation"], self.operations),
            "phase": _dictionary(packed["phase"], list(PHASES)),
            "worker": pa.array(np.full(rows, self.worker, np.int16)),
            "seq": pa.array(np.arange(first_seq, first_seq + rows, dtype=np.int64)),
            "ok": pa.array(~failed),
            "error": _dictionary(packed["error"], list(self.errors), null=~failed),
            "status": pa.array(packed["status"], mask=packed["status"] == NONE_STATUS),
            "bytes_sent": pa.array(packed["bytes_sent"]),
            "bytes_received": pa.array(packed["bytes_received"]),
            "inflight": pa.array(packed["inflight"]),
            "server_ns": pa.array(packed["server_ns"], mask=packed["server_ns"] == NONE_NS),
        }
        for name in ("scheduled_ns", "start_ns", "first_byte_ns", "end_ns"):
            columns[name] = pa.array(packed[name] - self.t0_ns, mask=packed[name] == NONE_NS)
        return pa.table([columns[field.name] for field in ROWS], schema=ROWS)

    def _span_table(self, spans: list[tuple[int, str, int, int]]) -> pa.Table:
        seq, names, starts, durations = zip(*spans, strict=True)
        columns: list[Any] = [
            np.full(len(seq), self.worker, np.int16), seq, pa.array(names).dictionary_encode(),
            np.array(starts, np.int64) - self.t0_ns, durations,
        ]  # fmt: skip
        return pa.table([pa.array(c) if not isinstance(c, pa.Array) else c for c in columns], schema=SPANS)


class _Counter(Recorder):
    """Forgets every part instead of writing it."""

    def tick(self) -> None:
        self._used = 0
        self._spans.clear()

    def span(self, name: str, start_ns: int, duration_ns: int) -> None:
        pass


def _dictionary(
    codes: np.ndarray[Any, Any], names: list[str], null: np.ndarray[Any, Any] | None = None
) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=null), pa.array(names, pa.string()))


def _constant(name: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([name]))
