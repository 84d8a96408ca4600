"""Answers of unusual shape: what curl reads is read, what is cut is an error, and no head is taken for another's."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import perflib
from tests.support.runs import run_quietly
from tests.support.servers import Answer, raw_server, says
from tests.support.suites import suite

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"
DEEP = b"[" * 200_000
both = pytest.mark.parametrize("keep_alive", [True, False])


def length(body: bytes, *lines: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


def in_pieces(*pieces: bytes) -> Answer:
    return says(*pieces, pause_s=0.003)


def asked(
    answers: dict[str, Answer],
    tmp_path: Path,
    expect: dict[str, Any] | None = None,
    rounds: int = 3,
    keep_alive: bool = True,
) -> Any:
    """The rows of a load that asks for each answer in turn, by operation: {name: [error classes]}."""
    expects = expect or {}
    operations = [
        {"name": name, "path": f"/{name}"} | ({"expect": expects[name]} if name in expects else {}) for name in answers
    ]
    with raw_server({f"/{name}": answer for name, answer in answers.items()}) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "timeout_s": 2, "keep_alive": keep_alive},
                operations=operations,
                order="interleaved",
                load={"model": "closed", "concurrency": 1, "requests": rounds * len(answers)},
            ),
            tmp_path,
        )
    rows = made.rows(phase=None)
    rows["error"] = rows["error"].astype(object).fillna("ok")
    return made, {name: sorted(set(rows[rows["operation"] == name]["error"])) for name in answers}


READ: dict[str, Answer] = {
    "status-line-apart": in_pieces(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n\r\n", b"good"),
    "name-cut-in-two": in_pieces(b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r", b"\ngood"),
    "line-feeds": says(b"HTTP/1.1 200 OK\nContent-Length: 4\nX: 1\n\ngood"),
    "lengths-twice": says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: 1\r\ncontent-length: 4\r\n\r\ngood"),
    "lengths-listed": says(b"HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\ngood"),
    "lengths-cut": in_pieces(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n", b"\r\ngo", b"od"),
    "no-reason": says(b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\ngood"),
    "chunks-and-length": says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n4 \r\ngood\r\n0\r\n\r\n"
    ),
    "until-closed": says(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", b"go", b"od", pause_s=0.003, keep=False),
    "until-closed-line-feeds": says(b"HTTP/1.0 200 OK\n\ngood", keep=False),
    "two-hints-together": says(HINT + b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD),
    "hint-apart": in_pieces(HINT, GOOD),
    "hint-cut": in_pieces(HINT[:30], HINT[30:] + GOOD[:20], GOOD[20:]),
    "hint-until-closed": says(HINT, b"HTTP/1.1 200 OK\r\n\r\ngood", pause_s=0.003, keep=False),
    "byte-order-mark": says(length(b'\xef\xbb\xbf{"a": [1]}')),
    "latin-1": says(length("größe".encode("latin-1"), "Content-Type: text/html; charset=ISO-8859-1")),
    "utf-16": says(length("größe".encode("utf-16"), 'content-type: text/plain;charset="UTF-16"')),
    "unknown-charset": says(length(b"good", "Content-Type: text/plain; charset=zip")),
}
WANTED = {"byte-order-mark": {"json": {"$.a[0]": 1}}, "latin-1": {"contains": "größe"}, "utf-16": {"contains": "größe"}}


@both
def test_what_curl_reads_is_read(keep_alive: bool, tmp_path: Path) -> None:
    made, found = asked(
        READ, tmp_path, {name: WANTED.get(name, {"contains": "good"}) for name in READ}, keep_alive=keep_alive
    )
    assert found == {name: ["ok"] for name in READ}, made.scenario("one").record.error_texts


CUT = {
    "after-a-hint": says(HINT, pause_s=0.003, keep=False),
    "half-after-a-hint": says(HINT, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", pause_s=0.003, keep=False),
    "half-with-the-hint": says(HINT + b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", keep=False),
    "half-line-feeds": says(b"HTTP/1.1 200 OK\nContent-Length: 50\n\nhalf", keep=False),
    "within-a-chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf", keep=False),
    "before-the-last-chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", keep=False),
    "within-the-head": says(b"HTTP/1.1 200 OK\r\nX: 1\r\n", keep=False),
}


@both
def test_a_cut_answer_is_an_error(keep_alive: bool, tmp_path: Path) -> None:
    _, found = asked(CUT, tmp_path, rounds=2, keep_alive=keep_alive)
    assert found == {name: ["reset"] for name in CUT}


@both
def test_answers_that_cannot_be_made_sense_of_end_one_request_each(keep_alive: bool, tmp_path: Path) -> None:
    answers = {
        "deep": says(length(DEEP)),
        "huge-number": says(length(b'{"a": ' + b"9" * 10_000 + b"}")),
        "different-lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\ngood", keep=False),
        "another-protocol": says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "no-http": says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", keep=False),
        "fine": says(length(b'{"a": 1}')),
    }
    made, found = asked(
        answers,
        tmp_path,
        {name: {"json": {"$.a": 1}} for name in ("deep", "huge-number", "fine")},
        keep_alive=keep_alive,
    )
    assert found == {
        "deep": ["check"], "huge-number": ["check"], "different-lengths": ["protocol"],
        "another-protocol": ["protocol"], "no-http": ["protocol"], "fine": ["ok"],
    }  # fmt: skip
    assert "the server switched to another protocol" in made.scenario("one").record.error_texts["protocol"]


@both
def test_whatever_server_timing_says_the_answer_is_good(keep_alive: bool, tmp_path: Path) -> None:
    said = {
        "plain": "db;dur=3, total;dur=12.5",
        "huge": "total;dur=1e300",
        "negative": "total;dur=-5",
        "endless": "total;dur=inf, db;dur=nan",
        "described": 'cache;desc="a, b; dur=7";dur=2',
        "quoted": 'total;dur="4.5"',
        "many": ", ".join(f"n{number};dur={number}" for number in range(2_500)),
        "empty": "",
    }
    answers = {name: says(length(b"x", f"Server-Timing: {text}")) for name, text in said.items()}
    made, found = asked(answers, tmp_path, keep_alive=keep_alive)
    assert found == {name: ["ok"] for name in said}
    server_ms = made.rows(phase=None).groupby("operation", observed=True)["server_ns"].first() / 1e6
    assert server_ms.dropna().to_dict() == {"plain": 12.5, "described": 2.0, "quoted": 4.5, "many": 0.0}
    assert made.spans()["span"].value_counts().drop("connect").max() < 100


@both
def test_an_interim_answer_does_not_stand_for_the_next(keep_alive: bool, tmp_path: Path) -> None:
    """The same hint, with bodies of the same length, before a good answer, a bad one, and no answer at all."""
    bad = b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nnone"
    answers = {
        "good": says(HINT + GOOD),
        "bad": says(HINT + bad),
        "surplus": says(b"\r\n\r\n" + GOOD[:-4] + b"good"),
        "as-long": says(b"\r\n\r\n" + bad),
    }
    _, found = asked(answers, tmp_path, rounds=8, keep_alive=keep_alive)
    assert found == {"good": ["ok"], "bad": ["http_5xx"], "surplus": ["ok"], "as-long": ["http_5xx"]}


@both
def test_lines_that_end_with_line_feeds_alone_are_told_apart(keep_alive: bool, tmp_path: Path) -> None:
    answers = {
        "good": says(b"HTTP/1.1 200 OK\nContent-Length: 4\n\ngood"),
        "bad": says(b"HTTP/1.1 500 No\nContent-Length: 4\n\nbad!"),
    }
    _, found = asked(answers, tmp_path, rounds=8, keep_alive=keep_alive)
    assert found == {"good": ["ok"], "bad": ["http_5xx"]}


def connections_of(tmp_path: Path, keep_alive: bool, answer: Answer, requests: int) -> tuple[perflib.Run, int]:
    seen: set[Any] = set()

    def count(connection: socket.socket, number: int) -> bool:
        seen.add(connection.getpeername())
        return answer(connection, number)

    with raw_server(count) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "keep_alive": keep_alive},
                load={"model": "closed", "concurrency": 2, "requests": requests},
            ),
            tmp_path,
        )
    return made, len(seen)


def test_without_keep_alive_every_request_has_a_connection_of_its_own(tmp_path: Path) -> None:
    made, connections = connections_of(tmp_path / "a", False, says(GOOD), 30)  # the server would keep it
    assert connections == 30 and made.rows(phase=None)["ok"].all()
    made, connections = connections_of(tmp_path / "b", True, says(GOOD), 30)
    assert connections == 2 and made.rows(phase=None)["ok"].all()


def test_only_what_is_safe_is_sent_again_and_the_rest_is_stale(tmp_path: Path) -> None:
    """A server that closes a kept connection as the third request reaches it, without a byte of an answer."""
    heard: list[bytes] = []

    def twice(connection: socket.socket, number: int) -> bool:
        if number == 2:
            return False
        connection.sendall(GOOD)
        return True

    methods = {"get": "GET", "put": "PUT", "post": "POST"}
    for name, method in methods.items():
        heard.clear()
        with raw_server(twice, heard) as url:
            operation = {"name": name, "path": "/x", "method": method, "body": None if name == "get" else "{{n}}"}
            load = {"model": "closed", "concurrency": 1, "requests": 9}
            made = run_quietly(suite({"kind": "http", "url": url}, operations=[operation], load=load), tmp_path / name)
        rows, record = made.rows(phase=None), made.scenario("one").record
        errors = rows["error"].dropna().tolist()
        if name == "post":
            assert errors == ["stale"] * 3
            assert record.resent == 0 and len(heard) == 9
        else:
            assert not errors
            assert record.resent == 4 and len(heard) == 13  # each is on two connections: the 3rd, 5th, 7th, 9th
            assert (made.spans()["span"] == "resent").sum() == 4


@both
def test_an_answer_that_comes_before_the_request_is_whole_is_read(keep_alive: bool, tmp_path: Path) -> None:
    import threading

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                if not connection.recv(1000):
                    continue
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        made = run_quietly(
            suite(
                {"kind": "http", "url": f"http://127.0.0.1:{server.getsockname()[1]}", "keep_alive": keep_alive},
                operations=[{"name": "big", "path": "/", "method": "POST", "body": "x" * 5_000_000}],
                load={"model": "closed", "concurrency": 1, "requests": 4},
            ),
            tmp_path,
        )
    assert made.rows(phase=None)["status"].tolist() == [413] * 4


def test_texts_that_cannot_be_written_are_errors_of_the_template(tmp_path: Path) -> None:
    """A lone surrogate and a number too long to be written, kept from one answer and put into the next request."""
    answers = {
        "/surrogate": says(length(rb'{"v": "\ud800"}')),
        "/number": says(length(json.dumps({"v": "x"}).encode())),
        "/use": says(GOOD),
    }
    with raw_server(answers) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url},
                order="sequence",
                operations=[
                    {"name": "surrogate", "path": "/surrogate", "keep": {"v": "$.v"}},
                    {"name": "use", "path": "/use", "method": "POST", "body": "{v}"},
                    {"name": "good", "path": "/number", "keep": {"v": "$.v"}},
                    {"name": "use it", "path": "/use", "method": "POST", "body": "{v}"},
                ],
                load={"model": "closed", "concurrency": 2, "requests": 24},
            ),
            tmp_path,
        )
    rows = made.rows(phase=None)
    assert rows[rows["operation"] == "use"]["error"].tolist() == ["template"] * 6
    assert rows[rows["operation"] != "use"]["ok"].all()


def test_paths_are_encoded_and_a_header_of_the_operation_replaces_the_targets_in_any_case(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with raw_server(says(GOOD), heard) as url:
        target = {"kind": "http", "url": url, "headers": {"X-Token": "target", "Accept": "text/html"}}
        operation = {
            "name": "x",
            "path": "/a b/é/100%25/{v}?q=ü&r={v}#part",
            "method": "POST",
            "body": "four",
            "headers": {"x-token": "own", "content-length": "4"},
            "data": "v.jsonl",
        }
        (tmp_path / "v.jsonl").write_text('{"v": "a/b c"}\n')
        made = suite(target, operations=[operation], load={"model": "closed", "concurrency": 1, "requests": 1})
        made = replace(made, folder=str(tmp_path))
        run_quietly(made, tmp_path)
    head = heard[0].decode().lower()
    assert head.startswith("post /a%20b/%c3%a9/100%25/a%2fb%20c?q=%c3%bc&r=a%2fb%20c http/1.1\r\n")
    assert head.count("x-token:") == head.count("content-length:") == head.count("accept:") == 1
    assert "x-token: own\r\n" in head and "accept: text/html\r\n" in head
