"""Rows and part files: the schema exactly, nothing lost, nothing unfinished under a final name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perflib.store.schema import NONE_NS, NONE_STATUS, RECORD, RESOURCES, ROWS, ROWS_PER_PART, SPANS, Recorder


def make(folder: Path, count: int) -> Recorder:
    recorder = Recorder(folder, worker=3, scenario="s", operations=["a", "b"], t0_ns=1000)
    for i in range(count):
        error = recorder.error_code("http_5xx") if i % 5 == 0 else 0
        recorder.add(
            NONE_NS if i % 2 else 1000 + i,
            2000 + i,
            NONE_NS if i % 3 else 2500 + i,
            3000 + i,
            10,
            20,
            NONE_NS,
            i % 7,
            NONE_STATUS if i % 4 else 200,
            i % 2,
            error,
            1,
        )
    return recorder


def test_rows_come_back_as_they_were_given(tmp_path: Path) -> None:
    recorder = make(tmp_path, 100)
    recorder.span("connect", 2000, 55)
    recorder.add(NONE_NS, 5000, NONE_NS, 6000, 1, 2, 777, 1, 200, 0, 0, 0)
    recorder.close()
    rows = pq.read_table(tmp_path / "rows")
    assert [(f.name, f.type) for f in pq.read_schema(next((tmp_path / "rows").glob("*.parquet")))] == [
        (f.name, f.type) for f in ROWS
    ]
    found = rows.to_pylist()
    assert len(found) == 101
    assert found[0] == {
        "scenario": "s",
        "operation": "a",
        "phase": "measure",
        "worker": 3,
        "seq": 0,
        "scheduled_ns": 0,
        "start_ns": 1000,
        "first_byte_ns": 1500,
        "end_ns": 2000,
        "ok": False,
        "error": "http_5xx",
        "status": 200,
        "bytes_sent": 10,
        "bytes_received": 20,
        "inflight": 0,
        "server_ns": None,
    }
    assert (
        found[1]["scheduled_ns"],
        found[1]["first_byte_ns"],
        found[1]["status"],
        found[1]["ok"],
        found[1]["error"],
    ) == (None, None, None, True, None)
    assert [r["seq"] for r in found] == list(range(101))
    assert (found[100]["phase"], found[100]["server_ns"]) == ("warmup", 777)
    (span,) = pq.read_table(tmp_path / "spans").to_pylist()
    assert span == {"worker": 3, "seq": 100, "span": "connect", "start_ns": 1000, "duration_ns": 55}


def test_schemas_are_those_of_the_contract() -> None:
    text = pa.dictionary(pa.int32(), pa.string())
    assert ROWS.field("worker").type == pa.int16()
    assert ROWS.field("status").type == ROWS.field("inflight").type == pa.int32()
    assert ROWS.field("phase").type == ROWS.field("error").type == text
    assert RESOURCES.names == [
        "t_ns",
        "role",
        "pid",
        "name",
        "rss_bytes",
        "uss_bytes",
        "cpu_ns",
        "threads",
        "fds",
        "process",
    ]
    assert SPANS.names == ["worker", "seq", "span", "start_ns", "duration_ns"]


def test_a_full_buffer_goes_to_disk_by_itself_and_small(tmp_path: Path) -> None:
    recorder = make(tmp_path, ROWS_PER_PART * 2 + 10)
    recorder.close()
    parts = sorted((tmp_path / "rows").iterdir())
    assert [p.name for p in parts] == [
        "part-0003-000000.parquet",
        "part-0003-000001.parquet",
        "part-0003-000002.parquet",
    ]
    assert pq.read_table(tmp_path / "rows").num_rows == ROWS_PER_PART * 2 + 10
    assert parts[0].stat().st_size / ROWS_PER_PART < 8
    described = pq.ParquetFile(parts[0]).metadata.row_group(0).column(6)
    assert described.compression == "ZSTD"
    assert "DELTA_BINARY_PACKED" in described.encodings
    assert RECORD.size == 72


def test_what_the_disk_refuses_is_raised_at_the_end(tmp_path: Path) -> None:
    blocked = tmp_path / "rows"
    blocked.write_text("a file where the folder should be")
    recorder = make(tmp_path, 10)
    try:
        recorder.close()
    except OSError:
        assert recorder.count == 10
    else:
        raise AssertionError("the failure was swallowed")


def test_discarding_counts_without_writing(tmp_path: Path) -> None:
    recorder = Recorder.discarding(["a"])
    for _ in range(ROWS_PER_PART + 5):
        recorder.add(NONE_NS, 0, NONE_NS, 1, 0, 0, NONE_NS, 1, 200, 0, 0, 1)
    recorder.close()
    assert recorder.count == ROWS_PER_PART + 5
    assert not list(tmp_path.iterdir())
