"""Samples of requests that failed: taken by the workers, bounded, without secrets, and read as a table."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.store.baselines import set_baseline
from perflib.store.compaction import compact
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

SECRET = "s3cr3t-w0rd"


def answer(body: bytes, status: str = "500 Internal Server Error", head: str = "") -> Any:
    return says(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)


def samples_of(made: perflib.Run) -> dict[str, Any]:
    """The first sample of each operation, as a table."""
    frame = made.samples()
    return {str(row["operation"]): row for row in frame.groupby("operation", observed=True).head(1).to_dict("records")}


BODIES = {
    "detail": (b'{"detail": "KeyError: id 41"}', "KeyError: id 41"),
    "nested": (b'{"error": {"code": 5, "message": "no stock"}}', "no stock"),
    "page": (b"<html><head><title>Bad thing</title></head><body>x</body></html>", "Bad thing"),
    "traceback": (b"Traceback (most recent call last):\n  File x\nValueError: odd\n", "ValueError: odd"),
    "words": (b"out of \x1b[31mpaper\x00!", "out of paper !"),
    "nothing": (b"", "500 Internal Server Error"),
    "long": (b'{"rows": "' + b"x" * 5000 + b'"}', '{"rows": "xxx'),
}


def test_what_a_failed_request_was_answered_is_in_the_samples(tmp_path: Path) -> None:
    answers = {f"/{name}": answer(body) for name, (body, _) in BODIES.items()}
    packed = gzip.compress(b'{"message": "packed"}')
    answers["/gzip"] = answer(packed, head="Content-Encoding: gzip\r\n")
    chunks = b"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nno u\r\n7\r\npstream\r\n0\r\n\r\n"
    answers["/chunks"] = says(chunks)
    answers["/check"] = answer(b"bad luck", "200 OK")
    operations = [{"name": path[1:], "path": path} for path in answers]
    operations[-1] |= {"expect": {"contains": "good"}, "weight": 5}
    with raw_server(answers) as url:
        load = {"model": "closed", "concurrency": 2, "requests": 400}
        made = run_quietly(suite({"kind": "http", "url": url}, operations=operations, load=load), tmp_path)
    first = samples_of(made)
    expected = {name: said for name, (_, said) in BODIES.items()} | {"gzip": "packed", "chunks": "no upstream"}
    assert {name: first[name]["message"][: len(said)] for name, said in expected.items()} == expected
    assert first["detail"]["head"].startswith("HTTP/1.1 500 Internal Server Error\nContent-Length")
    assert first["detail"]["body"] == BODIES["detail"][0].decode()
    assert first["detail"]["request"] == "GET /detail HTTP/1.1" and first["detail"]["status"] == 500
    assert first["chunks"]["body"] == "no upstream" and len(first["long"]["body"]) <= 2048
    assert (first["check"]["error"], first["check"]["body"]) == ("check", "bad luck")
    assert made.samples().groupby("operation", observed=True).size().max() == 20, "and no more"
    joined = made.sql("select r.error = s.error as same from samples s join rows r using (scenario, worker, seq)")
    assert len(joined) == len(made.samples()) and joined["same"].all(), "a sample is that of its row"
    (line,) = made.scenario("one").record.trouble
    assert (
        line.startswith("400 errors: ")
        and "× check 'the answer does not contain \"good\"' in `check`" in line
        and "4 more kinds" in line
    )
    compact(made)
    again = perflib.open_run(made.path)
    assert len(again.samples("one")) == len(made.samples())
    assert len(set_baseline("main", again, tmp_path / "data").samples()) == len(made.samples())


def test_answers_whose_heads_are_known_are_sampled_as_well(tmp_path: Path) -> None:
    """Operation b begins to fail when the head of its answers has long been known from operation a."""
    calls = iter(range(10**9))

    def late(connection: Any, number: int) -> bool:
        fine = next(calls) < 40
        return bool((answer(b"same", "200 OK") if fine else answer(b"same"))(connection, number))

    operations = [{"name": "a", "path": "/a", "weight": 2}, {"name": "b", "path": "/b"}]
    with raw_server({"/a": answer(b"same"), "/b": late}) as url:
        load = {"model": "closed", "concurrency": 1, "requests": 400}
        made = run_quietly(suite({"kind": "http", "url": url}, operations=operations, load=load), tmp_path)
    taken = made.samples()
    assert taken.groupby("operation", observed=True).size().to_dict() == {"a": 20, "b": 20}
    assert set(taken["body"]) == {"same"}
    counts = {failure.operation: failure.requests for failure in made.scenario("one").record.failures}
    rows = made.rows(phase=None)
    assert counts == rows[~rows["ok"]].groupby("operation", observed=True).size().to_dict()


def test_no_secret_reaches_the_files_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", SECRET)
    echoed = f'{{"detail": "bad {SECRET}", "token": "{SECRET}2", "user": "ann"}} Bearer {SECRET}3 csrf={SECRET}4'
    denied = answer(echoed.encode(), "403 Forbidden", f"Set-Cookie: sid={SECRET}5; Path=/\r\n")
    operation = {"name": "get", "path": "/get?access_token={token}&page=7", "keep": {}}
    login = {"name": "login", "path": "/login", "keep": {"token": "$.token"}, "expect": {"status": 200}}
    with raw_server({"/get": denied, "/login": answer(f'{{"token": "{SECRET}6"}}'.encode(), "200 OK")}) as url:
        target = {"kind": "http", "url": url, "headers": {"X-Api-Key": "${API_KEY}"}}
        load = {"model": "closed", "concurrency": 1, "requests": 10}
        made = run_quietly(suite(target, operations=[login, operation], order="sequence", load=load), tmp_path)
    sample = samples_of(made)["get"]
    assert sample["request"] == "GET /get?access_token=•••&page=7 HTTP/1.1"
    assert '"user": "ann"' in sample["body"] and "bad •••" in sample["body"]
    everything = " ".join(made.samples().astype(str).to_numpy().ravel()) + (made.path / "run.json").read_text()
    assert SECRET not in everything


def test_failures_without_an_answer_have_their_reason(tmp_path: Path) -> None:
    operations = [
        {"name": "cut", "path": "/cut", "method": "POST"},
        {"name": "half", "path": "/half"},
        {"name": "unbuilt", "path": "/x", "headers": {"X-Id": "{id}"}},
    ]
    keeps = {"name": "keeps", "path": "/keeps", "keep": {"id": "$.id"}}
    half = says(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nonly this", keep=False)
    answers = {"/cut": says(keep=False), "/half": half, "/keeps": answer(b'{"name": "ann"}', "200 OK")}
    with raw_server(answers) as url:
        load = {"model": "closed", "concurrency": 1, "requests": 8}
        made = run_quietly(
            suite({"kind": "http", "url": url}, operations=[keeps, *operations], order="sequence", load=load), tmp_path
        )
    first = samples_of(made)
    assert first["unbuilt"]["error"] == "template" and first["unbuilt"]["message"] == "nothing fills {id}"
    assert first["cut"]["request"] == "POST /cut HTTP/1.1" and first["cut"]["head"] == ""
    assert first["half"]["error"] == "reset" and first["half"]["body"] == "only this"
    assert first["keeps"]["error"] == "check" and first["keeps"]["body"] == '{"name": "ann"}'
