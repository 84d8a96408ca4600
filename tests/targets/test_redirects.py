"""Redirects: followed on the same server where the target says so, else an error."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import perflib
from tests.support.runs import run_quietly
from tests.support.servers import Answer, raw_server, says
from tests.support.suites import suite

GOOD = says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")


def to(where: str, status: int = 302, keep: bool = True) -> Answer:
    body = b"moved"
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {where}\r\nContent-Length: {len(body)}\r\n\r\n"
    return says(head.encode() + body, keep=keep)


def run(
    tmp_path: Path,
    answers: dict[str, Answer],
    heard: list[bytes],
    redirects: int,
    keep_alive: bool = True,
    **operation: Any,
) -> perflib.Run:
    with raw_server(answers, heard) as url:
        return run_quietly(
            suite(
                {"kind": "http", "url": url, "redirects": redirects, "keep_alive": keep_alive},
                operations=[{"name": "go", **operation}],
                load={"model": "closed", "concurrency": 1, "requests": 3},
            ),
            tmp_path,
        )


def test_a_redirect_is_followed_hop_by_hop(tmp_path: Path) -> None:
    heard: list[bytes] = []
    answers = {"/login": to("/a b?x=1#top", 303), "/a%20b": to("../home", 301, keep=False), "/home": GOOD}
    made = run(
        tmp_path, answers, heard, 5, path="/login", method="POST", json={"u": 1}, headers={"X-Me": "me"},
        expect={"contains": "good"},
    )  # fmt: skip
    rows = made.rows(phase=None)
    assert rows["ok"].all() and rows["status"].tolist() == [200] * 3
    lines = [head.split(b"\r\n")[0] for head in heard]
    assert lines == [b"POST /login HTTP/1.1", b"GET /a%20b?x=1 HTTP/1.1", b"GET /home HTTP/1.1"] * 3
    assert all(b"X-Me: me" in head for head in heard)
    assert not any(b"Content-" in head for head in heard if head.startswith(b"GET"))
    assert rows["bytes_sent"].tolist() == [sum(map(len, heard[:3]))] * 3
    assert (made.spans()["span"] == "redirect").sum() == 6


def test_the_method_and_the_body_stay_where_the_status_says_so(tmp_path: Path) -> None:
    heard: list[bytes] = []
    made = run(tmp_path, {"/old": to("/new", 307), "/new": GOOD}, heard, 1, path="/old", method="POST", body="hello")
    assert made.rows(phase=None)["ok"].all()
    assert heard[1].startswith(b"POST /new HTTP/1.1\r\n") and heard[1].endswith(b"\r\n\r\nhello")


def test_what_is_not_followed_is_an_error_with_its_reason(tmp_path: Path) -> None:
    cases: dict[str, tuple[Answer, int, str, str]] = {
        "by default": (to("/x"), 0, "http_3xx", ""),
        "a loop": (to("/x"), 4, "redirect", "more than 4 redirects in a row"),
        "elsewhere": (
            to("http://example.org/"),
            4,
            "redirect",
            "it leads to http://example.org, which allow_hosts does not name",
        ),
        "nowhere": (says(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), 4, "redirect", "302 without a Location"),
    }
    for name, (answer, redirects, error, why) in cases.items():
        made = run(tmp_path / name, {"/x": answer}, [], redirects, path="/x")
        assert set(made.rows(phase=None)["error"]) == {error}, name
        assert made.rows(phase=None)["status"].tolist() == [302] * 3
        assert why in str(made.scenario("one").record.error_texts)


def test_a_redirect_that_is_expected_is_a_good_answer(tmp_path: Path) -> None:
    made = run(tmp_path, {"/x": to("/y")}, [], 0, path="/x", expect={"status": 302})
    assert made.rows(phase=None)["ok"].all()


def test_every_hop_of_requests_with_connections_of_their_own_is_part_of_the_time(tmp_path: Path) -> None:
    def late(connection: socket.socket, number: int) -> bool:
        time.sleep(0.05)
        return moved(connection, number)

    moved = to("/home")
    made = run(tmp_path, {"/old": late, "/home": GOOD}, [], 1, keep_alive=False, path="/old")
    assert made.rows(phase=None)["ok"].all()
    assert (made.rows(phase=None)["service_ns"] >= 50e6).all()
    spans = made.spans()
    assert (spans["span"] == "connect").sum() == 6
    assert (spans[spans["span"] == "redirect"]["duration_ns"] >= 50e6).all()
