"""The time until an answer begins: a figure of its own, for streams, row by row and from counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from perflib import Run
from perflib.store import recording
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

STREAM = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\none\r\n", b"0\r\n\r\n", pause_s=0.04)


def test_a_stream_begins_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(STREAM) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url},
                operations=[{"name": "stream", "path": "/"}],
                load={"model": "closed", "concurrency": 4, "requests": 400},
                objectives=["p90 first byte < 60 ms", "p90 response < 60 ms"],
            ),
            tmp_path,
        )
    rows = made.rows("one")
    wanted = ((rows["first_byte_ns"] - rows["start_ns"]) / 1e6).quantile(0.9)
    early, whole = made.verdicts()
    assert (
        early.interval.estimate == pytest.approx(wanted)
        and early.verdict == "pass"
        and early.objective.name == "p90 first byte"
    )
    assert whole.verdict == "fail" and whole.interval.estimate > 75
    monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 10)
    counted = Run(made.path).verdicts()[0]
    assert counted.interval.estimate == pytest.approx(wanted, rel=0.002) and counted.verdict == "pass"
