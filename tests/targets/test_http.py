"""The HTTP target against real sockets: every way to frame an answer, and every way to break one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import perflib
from tests.support.servers import Answer, raw_server, says
from tests.support.suites import suite

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def run(url: str, tmp_path: Path, target: dict[str, Any] | None = None, **scenario: Any) -> perflib.Run:
    made = suite({"kind": "http", "url": url, **(target or {})}, **scenario)
    return perflib.run(made, data=tmp_path, progress=False)


def classes(made: perflib.Run) -> dict[str, int]:
    rows = made.rows(phase=None)
    return {str(k): int(v) for k, v in rows["error"].fillna("ok").value_counts().items()}


GOOD: dict[str, Answer] = {
    "length": says(OK),
    "in small pieces": says(*(OK[i : i + 1] for i in range(len(OK))), pause_s=0.0002),
    "chunked": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n"),
    "empty": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "100 continue first": says(b"HTTP/1.1 100 Continue\r\n\r\n", OK),
    "connection: close": says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", keep=False),
    "HTTP/1.0, ends with its connection": says(b"HTTP/1.0 200 OK\r\n\r\n", b"some body", keep=False),
    "a megabyte": says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000),
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD.keys())
def test_every_framing_is_one_good_row_per_request(answer: Answer, tmp_path: Path) -> None:
    with raw_server(answer) as url:
        made = run(url, tmp_path)
    rows = made.rows(phase=None)
    assert classes(made) == {"ok": 20}
    assert (rows["end_ns"] >= rows["first_byte_ns"]).all()
    assert (rows["first_byte_ns"] >= rows["start_ns"]).all()
    assert (rows["bytes_received"] > 0).all()


def some_fail(connection: socket.socket, number: int) -> bool:
    connection.sendall(OK)
    return number < 2


BAD: dict[str, tuple[Answer, str]] = {
    "garbage": (says(b"\x16\x03\x01 what is this\r\n\r\n", keep=False), "protocol"),
    "closes without a word": (says(keep=False), "reset"),
    "half a body": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", keep=False), "reset"),
    "half a head": (says(b"HTTP/1.1 200 OK\r\nContent-Le", keep=False), "reset"),
    "server error": (says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "http_5xx"),
    "redirect left alone": (
        says(b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n"),
        "http_3xx",
    ),
    "not found": (says(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "http_4xx"),
}


@pytest.mark.parametrize(("answer", "error"), BAD.values(), ids=BAD.keys())
def test_every_broken_answer_is_a_row_with_its_class(answer: Answer, error: str, tmp_path: Path) -> None:
    with raw_server(answer) as url:
        made = run(url, tmp_path, load={"model": "closed", "concurrency": 2, "requests": 8})
    assert classes(made) == {error: 8}


def test_a_server_that_closes_after_some_answers_costs_no_request(tmp_path: Path) -> None:
    with raw_server(some_fail) as url:
        made = run(url, tmp_path, load={"model": "closed", "concurrency": 4, "requests": 120})
    assert classes(made) == {"ok": 120}
    assert set(made.spans()["span"]) == {"connect", "resent"}
    assert made.scenario("one").record.resent == (made.spans()["span"] == "resent").sum() > 0


def test_garbage_after_an_answer_does_not_spoil_the_next(tmp_path: Path) -> None:
    with raw_server(says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")) as url:
        assert classes(run(url, tmp_path)) == {"ok": 20}


@pytest.mark.parametrize("keep_alive", [True, False])
def test_timeouts_are_rows_that_took_that_long(keep_alive: bool, tmp_path: Path) -> None:
    def never(connection: socket.socket, number: int) -> bool:
        import time

        time.sleep(1.0)
        return False

    with raw_server(never) as url:
        target = {"timeout_s": 0.3, "keep_alive": keep_alive}
        made = run(url, tmp_path, target, load={"model": "closed", "concurrency": 4, "requests": 8})
    rows = made.rows(phase=None)
    assert classes(made) == {"timeout": 8}
    assert rows["service_ns"].between(0.3e9, 0.6e9).all()


def test_nobody_at_the_door_ends_the_run_as_invalid(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = run(f"http://127.0.0.1:{probe.getsockname()[1]}", tmp_path)
    assert made.status == "invalid"
    assert "nothing answers" in made.manifest.reasons[0]


def test_head_checks_templates_and_headers_reach_the_server(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nServer-Timing: db;dur=1.5\r\nContent-Length: 18\r\n\r\n" + b'{"state": "ready"}'
        )
        return True

    (tmp_path / "skus.csv").write_text("sku,n\na b/c,1\nd,2\n")
    os.environ["PERFLIB_TEST_TOKEN"] = "s3cret-value"
    import threading

    ready = threading.Event()

    def listen(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            ready.set()
            for _ in range(4):
                heard.append(connection.recv(65536))
                answer(connection, 0)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/base"
        probe_free = {"kind": "http", "url": url, "headers": {"Authorization": "Bearer ${PERFLIB_TEST_TOKEN}"}}
        made = suite(
            probe_free,
            operations=[
                {
                    "name": "buy",
                    "method": "PUT",
                    "path": "/items/{sku}",
                    "json": {"sku": "{sku}", "n": "{n}", "literal": "{{n}}"},
                    "data": "skus.csv",
                    "expect": {"status": 200, "contains": "ready", "json": {"$.state": "ready"}},
                }
            ],
            load={"model": "closed", "concurrency": 1, "requests": 4},
        )
        from dataclasses import replace

        made = replace(made, folder=str(tmp_path))
        # The check that something answers must not take the one connection that `listen` accepts.
        import perflib.load.session as engine

        before, engine.why_unready = engine.why_unready, lambda *_: ""
        try:
            done = perflib.run(made, data=tmp_path / "data", progress=False)
        finally:
            engine.why_unready = before
    assert classes(done) == {"ok": 4}
    assert heard[0].startswith(b"PUT /base/items/a%20b%2Fc HTTP/1.1\r\n")
    assert b"Authorization: Bearer s3cret-value\r\n" in heard[0]
    assert heard[0].endswith(b'\r\n\r\n{"sku":"a b/c","n":"1","literal":"{n}"}')
    assert heard[1].startswith(b"PUT /base/items/d HTTP/1.1\r\n")
    assert done.rows(phase=None)["server_ns"].tolist() == [1_500_000] * 4
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"s3cret-value" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("expect", "error"), [({"status": 404}, "ok"), ({"status": 200}, "check"), ({"contains": "nowhere"}, "http_4xx")]
)
def test_an_expected_status_is_a_good_answer(expect: dict[str, Any], error: str, tmp_path: Path) -> None:
    with raw_server(says(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno")) as url:
        made = run(url, tmp_path, operations=[{"name": "gone", "path": "/gone", "expect": expect}])
    assert classes(made) == {error: 20}


def test_head_answers_have_no_body_to_wait_for(tmp_path: Path) -> None:
    with raw_server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as url:
        made = run(url, tmp_path, operations=[{"name": "head", "method": "HEAD", "path": "/"}])
    assert classes(made) == {"ok": 20}


@contextmanager
def https_server(tmp_path: Path) -> Iterator[str]:
    """A TLS server with a certificate of its own making."""
    import http.server
    import ssl
    import subprocess
    import threading

    certificate = tmp_path / "server.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            certificate,
            "-out",
            tmp_path / "c.pem",
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_text(certificate.read_text() + (tmp_path / "c.pem").read_text())

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_https_is_checked_and_its_parts_are_told_apart(tmp_path: Path) -> None:
    with https_server(tmp_path) as url:
        refused = run(url, tmp_path / "a", load={"model": "closed", "concurrency": 2, "requests": 4})
        trusted = run(
            url, tmp_path / "b", {"verify_tls": False}, load={"model": "closed", "concurrency": 2, "requests": 40}
        )
    assert set(classes(refused)) == {"tls"}
    assert classes(trusted) == {"ok": 40}
    spans = trusted.spans()
    assert sorted(spans["span"].unique()) == ["connect", "tls"]
    assert len(spans) == 4
    first = trusted.rows(phase=None).query("seq in @spans.seq")
    for seq, service_ns in zip(first["seq"], first["service_ns"], strict=True):
        assert 0 < spans[spans["seq"] == seq]["duration_ns"].sum() < service_ns


def test_the_parts_of_a_request_are_where_its_time_went(tmp_path: Path) -> None:
    from perflib.metrics.scenario import breakdown

    def slow(connection: socket.socket, number: int) -> bool:
        time.sleep(0.02)
        connection.sendall(b"HTTP/1.1 200 OK\r\nServer-Timing: db;dur=5, total;dur=18.5\r\nContent-Length: 4\r\n\r\nab")
        time.sleep(0.03)
        connection.sendall(b"cd")
        return True

    with raw_server(slow) as url:
        made = run(
            url, tmp_path, load={"model": "constant", "rate_per_s": 40, "duration_s": 1}, warmup={"duration_s": 0}
        )
    rows, spans = made.rows(phase=None), made.spans()
    assert (rows["server_ns"] == 18_500_000).all()
    assert (spans[spans["span"] == "server:db"]["duration_ns"] == 5_000_000).all()
    assert (spans["span"] == "server:db").sum() == 40
    parts = breakdown(made.scenario("one"))
    assert parts["first byte"][0] == pytest.approx(20, abs=4)
    assert parts["body"][0] == pytest.approx(30, abs=4)
    figure = perflib.charts.breakdown(made, "one")
    assert "The slowest 1 % spend" in str(figure.get_label())


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("size", [0, 1, 70_000, 10_000_000])
def test_bodies_of_every_size_are_counted_to_the_byte(size: int, keep_alive: bool, tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    with raw_server(says(head + b"x" * size)) as url:
        load = {"model": "closed", "concurrency": 2, "requests": 6}
        made = run(url, tmp_path, {"keep_alive": keep_alive}, load=load)
    assert made.rows(phase=None)["ok"].all()
    assert set(made.rows(phase=None)["bytes_received"]) == {len(head) + size}


def test_answers_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    """The same head with a body in two pieces, another status, and another length, in turn on one connection."""
    answers = [
        [OK],
        [OK[:-1], OK[-1:]],
        [b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"],
        [OK],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", b"!"],
    ]

    def turns(connection: socket.socket, number: int) -> bool:
        for piece in answers[number % len(answers)]:
            connection.sendall(piece)
            time.sleep(0.002)
        return True

    with raw_server(turns) as url:
        made = run(url, tmp_path, load={"model": "closed", "concurrency": 1, "requests": 50})
    rows = made.rows(phase=None)
    assert rows["status"].tolist() == [200, 200, 500, 200, 200] * 10
    assert rows["bytes_received"].tolist() == [len(b"".join(pieces)) for pieces in answers] * 10
    apart_ns = (rows["end_ns"] - rows["first_byte_ns"])[rows["seq"] % 5 == 4]
    assert apart_ns.median() > 1e6  # now and then a busy machine reads both pieces at once


def test_a_name_is_looked_up_in_a_span_of_its_own(tmp_path: Path) -> None:
    with raw_server(says(OK)) as url:
        made = run(
            url.replace("127.0.0.1", "localhost"), tmp_path, load={"model": "closed", "concurrency": 2, "requests": 20}
        )
    assert classes(made) == {"ok": 20}
    assert sorted(made.spans()["span"].unique()) == ["connect", "dns"]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_large_body_arrives_whole(keep_alive: bool, tmp_path: Path) -> None:
    body = "".join(f"{number:07d}\n" for number in range(200_000))
    heard: list[bytes] = []
    with raw_server(says(OK), heard) as url:
        operation = {"name": "send", "path": "/", "method": "POST", "body": body}
        load = {"model": "closed", "concurrency": 1, "requests": 3}
        made = run(url, tmp_path, {"keep_alive": keep_alive}, operations=[operation], load=load)
    assert classes(made) == {"ok": 3}
    assert [request.partition(b"\r\n\r\n")[2] for request in heard] == [body.encode()] * 3
