"""Rows that are missing, doubled or changed on the disk are named, and decide nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import cli
from perflib.errors import RunError
from perflib.store import recording
from perflib.store.manifest import write_manifest
from perflib.store.records import WorkerRecord
from perflib.store.schema import ROWS_PER_PART
from tests.support.written import latencies, written

OBJECTIVES = ("p95 response < 1 ms", "p95 response < 100 ms", "error rate < 50 %", "throughput >= 1 /s")
REQUESTS = ROWS_PER_PART + 3_000  # two part files


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    run = written(tmp_path_factory.mktemp("made"), latencies(REQUESTS, 1), objectives=OBJECTIVES)
    run.manifest.scenarios[0].workers = [WorkerRecord(worker=0, rows=REQUESTS)]
    write_manifest(run.path, run.manifest)
    return perflib.Run(run.path)


@pytest.fixture
def run(original: perflib.Run, tmp_path: Path) -> perflib.Run:
    return perflib.Run(Path(shutil.copytree(original.path, tmp_path / "data" / "runs" / original.id)))


def part(run: perflib.Run, number: int) -> Path:
    return run.path / "rows" / f"part-0000-{number:06d}.parquet"


def change_a_bit(path: Path) -> None:
    """Change one bit within a page of the column of ends, as a disk may."""
    column = pq.read_metadata(path).row_group(0).column(8)
    assert column.path_in_schema == "end_ns"
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    path.write_bytes(content)


def checked(run: perflib.Run) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["check", str(run.path)], standalone_mode=False)
    assert result.exception is None, result.exception
    return int(result.return_value), result.output


def test_a_sound_run_has_no_damage_and_is_decided(run: perflib.Run) -> None:
    assert run.damage == []
    assert [verdict.verdict for verdict in run.verdicts()] == ["fail", "pass", "pass", "pass"]


def test_a_missing_part_decides_nothing(run: perflib.Run) -> None:
    part(run, 1).unlink()
    said = f"scenario 'one' has {ROWS_PER_PART:,} rows, but its workers wrote {REQUESTS:,}: part files are missing"
    assert perflib.Run(run.path).damage == [said]
    code, text = checked(run)
    assert code == 3 and said in text
    assert [verdict.verdict for verdict in perflib.Run(run.path).verdicts()] == ["inconclusive"] * 4


def test_all_parts_missing_decide_nothing(run: perflib.Run) -> None:
    shutil.rmtree(run.path / "rows")
    code, text = checked(run)
    assert code == 3 and f"has 0 rows, but its workers wrote {REQUESTS:,}" in text


def test_a_doubled_part_decides_nothing(run: perflib.Run) -> None:
    shutil.copy(part(run, 1), part(run, 7))
    code, text = checked(run)
    assert code == 3 and "part files are doubled" in text


def test_a_doubled_part_in_place_of_another_of_its_size_decides_nothing(run: perflib.Run) -> None:
    half = pq.read_table(part(run, 1))
    for number, first in ((1, 0), (2, 0)):  # the second half is that of the first
        pq.write_table(half.slice(first, 1_500), part(run, number))
    code, text = checked(run)
    assert code == 3 and "not each of them once" in text


def test_rows_of_a_lost_worker_are_not_compared(run: perflib.Run) -> None:
    run.manifest.scenarios[0].workers = []
    write_manifest(run.path, run.manifest)
    assert perflib.Run(run.path).damage == []


@pytest.mark.parametrize("many", [False, True])
def test_a_bit_that_changed_on_the_disk_decides_nothing(
    run: perflib.Run, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    if many:
        monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 1_000)
    change_a_bit(part(run, 1))
    code, text = checked(run)
    assert code == 3 and "the content of rows/part-0000-000001.parquet is missing: it cannot be read" in text
    compared = perflib.compare(perflib.Run(run.path), perflib.Run(run.path))
    assert compared.verdict == "inconclusive"


def test_a_part_with_columns_of_other_types_decides_nothing(run: perflib.Run) -> None:
    table = pq.read_table(part(run, 1))
    at = table.schema.get_field_index("end_ns")
    pq.write_table(table.set_column(at, "end_ns", table["end_ns"].cast("string")), part(run, 1))
    code, text = checked(run)
    assert code == 3 and "part-0000-000001.parquet" in text


def test_what_was_checked_is_cached_until_a_file_changes(run: perflib.Run) -> None:
    assert run.damage == [] and run.is_cached
    assert len(list((run.path / "counts").glob("parts-*.json"))) == 1
    change_a_bit(part(run, 0))
    assert perflib.Run(run.path).corrupt == ["rows/part-0000-000000.parquet"]


def test_text_that_is_no_utf_8_is_one_line(run: perflib.Run) -> None:
    table = pq.read_table(part(run, 0))
    wrong = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string()).dictionary_encode()
    place = table.schema.get_field_index("operation")
    pq.write_table(table.set_column(place, pa.field("operation", wrong.type), wrong), part(run, 0))
    for command in ("check", "show"):
        done = CliRunner().invoke(cli, [command, run.id, "--data", str(run.path.parents[1])])
        assert isinstance(done.exception, RunError | SystemExit)
        assert "hold text that is not UTF-8; restore its files from a copy" in f"{done.exception}{done.output}"
