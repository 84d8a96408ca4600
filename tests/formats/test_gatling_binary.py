"""Gatling's binary log, as its own writer writes it."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import pytest

import perflib
from perflib.formats.base import FormatError
from perflib.formats.importing import import_files
from perflib.formats.registry import format_of
from tests.support import exports
from tests.support.exports import REQUESTS, START_MS, Request
from tests.support.gatling import UNASKED, BinaryLog, binary_log


def imported(content: bytes, folder: Path, name: str = "simulation.log") -> perflib.Run:
    (folder / name).write_bytes(content)
    return perflib.open_run(import_files([folder / name], folder / "data"))


def test_it_has_the_same_requests_as_the_log_in_text(tmp_path: Path) -> None:
    binary = imported(binary_log(), tmp_path)
    assert binary.manifest.imported and binary.manifest.imported.format == "gatling-binary"
    text = imported(exports.gatling().encode(), tmp_path, "text.log")
    packed = imported(gzip.compress(binary_log()), tmp_path, "simulation.log.gz")
    rows = binary.rows(phase=None)
    assert len(rows) == len(REQUESTS) and rows.equals(text.rows(phase=None)) and rows.equals(packed.rows(phase=None))
    assert binary.summary()["scenarios"] == text.summary()["scenarios"]
    assert perflib.compare(text, binary).verdict != "fail"


def test_names_in_two_bytes_and_messages_that_came_unasked(tmp_path: Path) -> None:
    log = BinaryLog(scenarios=("Kauf – schnell", "b"), assertions=0)
    for number, name in enumerate(("kaufen – jetzt", "", UNASKED, "kaufen – jetzt")):
        log.request(Request(number, 5.0, name or "list", 200 if number else 0), (), "" if number else "ReadTimeout")
    rows = imported(log.content, tmp_path).rows(phase=None)
    assert sorted(rows["operation"].astype(str)) == ["kaufen – jetzt", "kaufen – jetzt", "list"]
    assert rows["error"].dropna().tolist() == ["timeout"]


GOOD = binary_log(REQUESTS[:4])
RUN = len(BinaryLog().content)  # bytes of the record at the beginning


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD[:-3], rf"byte {len(GOOD) - 9:,}: the file ends within a record: it was cut"),
        (GOOD[: RUN - 2], "the file ends within a record"),
        (GOOD[:RUN] + b"\x09" + GOOD[RUN:], rf"byte {RUN}: a record of the unknown kind 9"),
        (GOOD[:RUN] + b"\1\xff\xff\xff\xff", rf"byte {RUN + 1}: -1 groups"),
        (GOOD[:RUN] + b"\4\0\0\0\1\x7f\xff\xff\xff", rf"byte {RUN + 5}: 2,147,483,647 bytes of text"),
        (GOOD[:RUN] + b"\4\0\0\0\1\0\0\0\1a\7", rf"byte {RUN + 10}: a text has the unknown encoding 7"),
        (GOOD[:RUN] + b"\4\xff\xff\xff\xf0", rf"byte {RUN + 1}: text number 16 was not written before"),
        (GOOD.replace(struct.pack(">q", START_MS), bytes(8)), "the run began at an impossible time"),
        (gzip.compress(binary_log())[:-20], "cannot be read"),
        (GOOD[:RUN], "it has no requests"),
    ],
    ids=range(10),
)
def test_a_damaged_log_is_one_line_with_the_byte(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        imported(content, tmp_path)
    assert "\n" not in str(caught.value) and re.search(r"simulation\.log", str(caught.value))
    assert not list((tmp_path / "data").glob("runs/*"))


def test_every_cut_is_noticed_or_ends_a_record(tmp_path: Path) -> None:
    """As is every changed byte: it is refused in one line, or other requests are read."""
    kept = 0
    for end in range(RUN + 1, len(GOOD), 3):
        for content in (GOOD[:end], GOOD[:end] + bytes([GOOD[end] ^ 0xFF]) + GOOD[end + 1 :]):
            (tmp_path / "simulation.log").write_bytes(content)
            found, head = format_of(tmp_path / "simulation.log")
            try:
                kept += sum(map(len, found.read(tmp_path / "simulation.log", head)))
            except FormatError as error:
                assert "\n" not in str(error)
    assert kept
