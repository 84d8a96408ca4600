"""No load hangs and no server that hangs passes: timeouts to the millisecond, patience, dead targets, failed rounds."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.suite.file import from_table
from tests.support.runs import run_quietly
from tests.support.servers import Answer, raw_server, says
from tests.support.suites import suite, table

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
OK = says(GOOD)


def answered(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def silent(connection: socket.socket, number: int) -> bool:
    """Answers nothing for as long as a test may take."""
    time.sleep(5)
    return False


def errors(made: perflib.Run) -> dict[str, int]:
    rows = made.rows(phase=None)
    return {str(k): int(v) for k, v in rows["error"].astype(object).fillna("ok").value_counts().items()}


class HangsAfter:
    """Answers every request until a number of seconds after the first one, and none from then on."""

    def __init__(self, seconds: float, of_connections: int = 10**9) -> None:
        self.seconds, self.hanging, self.began = seconds, of_connections, 0.0
        self.lock = threading.Lock()

    def __call__(self, connection: socket.socket, number: int) -> bool:
        time.sleep(0.001)
        with self.lock:
            self.began = self.began or time.monotonic()
            hangs = time.monotonic() - self.began > self.seconds and (number == 0 or self.hanging > 0)
            self.hanging -= hangs
        if hangs:
            return silent(connection, number)
        connection.sendall(GOOD)
        return True


def test_timeouts_are_exact_at_any_value(tmp_path: Path) -> None:
    timeouts_s = (0.01, 0.037, 0.12, 0.4)
    operations = [{"name": f"{s:g}", "path": "/", "timeout_s": s} for s in timeouts_s]
    with raw_server(silent) as url:
        load = {"model": "closed", "concurrency": 4, "requests": 40}
        target = {"kind": "http", "url": url}
        made = run_quietly(suite(target, operations=operations, order="interleaved", load=load), tmp_path)
    rows = made.rows(phase=None)
    assert set(rows["error"]) == {"timeout"}
    for timeout_s in timeouts_s:
        took_s = rows[rows["operation"] == f"{timeout_s:g}"]["service_ns"] / 1e9
        late_s = took_s - timeout_s
        assert late_s.min() >= 0
        assert late_s.median() < max(0.002, 0.01 * timeout_s)


@pytest.mark.parametrize(
    ("hanging", "timeout_s"), [(4, 1.5), (1, 1.5), (4, 0.3)], ids=["all users", "one of four", "again and again"]
)
def test_a_server_that_hangs_half_way_does_not_pass(hanging: int, timeout_s: float, tmp_path: Path) -> None:
    with raw_server(HangsAfter(1.0, hanging)) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "timeout_s": timeout_s},
                load={"model": "closed", "concurrency": 4, "duration_s": 2},
                objectives=["error rate < 1 %"],
            ),
            tmp_path,
        )
    assert hanging <= errors(made)["timeout"] < 0.05 * len(made.rows(phase=None))
    assert made.verdict == "invalid"
    assert "the target hung" in made.manifest.reasons[0]
    assert f"{hanging} of 4 users were waiting when the load ended" in made.manifest.reasons[0]


def test_a_server_that_hangs_from_the_first_moment_fails_and_is_not_cut_away_as_warm_up(tmp_path: Path) -> None:
    with raw_server(HangsAfter(0.02)) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "timeout_s": 3},
                load={"model": "closed", "concurrency": 2, "duration_s": 2},
                objectives=["error rate < 10 %", "throughput > 1 /s"],
            ),
            tmp_path,
        )
    assert (made.rows()["error"] == "timeout").sum() == 2, "they began in the opening, and hung beyond it"
    assert made.verdict in ("fail", "invalid")


def test_requests_that_were_due_in_the_warm_up_and_hung_beyond_it_are_measured(tmp_path: Path) -> None:
    with raw_server(silent) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "timeout_s": 1.0},
                load={"model": "constant", "rate_per_s": 20, "duration_s": 0.5},
                warmup={"duration_s": 0.5},
            ),
            tmp_path,
        )
    assert len(made.rows()) == len(made.rows(phase=None)) == 20


def test_few_timeouts_of_a_server_that_goes_on_are_just_rows(tmp_path: Path) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        if number == 50:
            return silent(connection, number)
        time.sleep(0.001)
        connection.sendall(GOOD)
        return True

    with raw_server(answer) as url:
        load = {"model": "closed", "concurrency": 4, "duration_s": 2}
        made = run_quietly(suite({"kind": "http", "url": url, "timeout_s": 0.06}, load=load), tmp_path)
    assert errors(made)["timeout"] >= 4
    assert made.status == "complete", made.manifest.reasons


class Away:
    """A server at one port that can be closed with all its connections, and opened again."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def open(self) -> None:
        self.connections: list[socket.socket] = []
        self.server = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, args=(self.server,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for connection in self.connections:
            connection.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                time.sleep(0.002)
                connection.sendall(GOOD)
        except OSError:
            pass


def test_a_target_that_is_away_for_a_while_is_measured(tmp_path: Path) -> None:
    server = Away()
    server.open()
    goes, comes = threading.Timer(2.5, server.close), threading.Timer(4.0, server.open)
    goes.start()
    comes.start()
    load = {"model": "closed", "concurrency": 4, "duration_s": 5}
    made = run_quietly(suite({"kind": "http", "url": f"http://127.0.0.1:{server.port}"}, load=load), tmp_path)
    comes.join()
    server.close()
    found = errors(made)
    assert made.status == "complete", made.manifest.reasons
    assert 4 <= found["connect"] < 60, "a closed load backs off"
    assert made.scenario("one").record.error_texts["connect"]
    rows = made.rows(phase=None)
    assert rows[rows["error"] == "connect"]["end_ns"].max() < rows[rows["ok"]]["end_ns"].max(), "it came back"


def test_patience_ends_a_run_that_nobody_answers(tmp_path: Path) -> None:
    def cut(connection: socket.socket, number: int) -> bool:
        return False

    with raw_server(cut) as url:
        load = {"model": "closed", "concurrency": 2, "duration_s": 60}
        began = time.monotonic()
        made = run_quietly(suite({"kind": "http", "url": url}, load=load, patience_s=1.5), tmp_path)
    assert time.monotonic() - began < 20
    assert made.status == "invalid"
    assert "nothing answered for" in made.manifest.reasons[0]


def test_patience_waits_for_a_request_that_is_only_slow(tmp_path: Path) -> None:
    """One user is answered after three seconds; the others find nobody. Patience would be over after one."""

    def slow(connection: socket.socket, number: int) -> bool:
        time.sleep(3.0)
        connection.sendall(GOOD)
        return True

    with raw_server({"/slow": slow, "/cut": says(keep=False)}) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "timeout_s": 10},
                operations=[{"name": "slow", "path": "/slow"}, {"name": "cut", "path": "/cut", "weight": 4}],
                load={"model": "closed", "concurrency": 6, "duration_s": 4},
                patience_s=2.2,
            ),
            tmp_path,
        )
    assert made.status == "complete", made.manifest.reasons
    assert errors(made)["ok"] >= 1


def test_a_dead_target_of_ours_is_named_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(
        "import http.server, sys, threading\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n"
        "    def log_message(self, *words): pass\n"
        "def die():\n"
        "    print('the disk is full\\nno space for the journal', file=sys.stderr, flush=True)\n"
        "    import os; os._exit(7)\n"
        "threading.Timer(3, die).start()\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()\n"
    )
    made = table(load={"model": "constant", "rate_per_s": 20, "duration_s": 30})
    made["targets"]["api"] |= {
        "url": "http://127.0.0.1:{port}",
        "start": ["{python}", str(tmp_path / "server.py"), "{port}"],
    }
    began = time.monotonic()
    run = run_quietly(from_table(made), tmp_path)
    assert time.monotonic() - began < 15
    assert run.status == "invalid"
    (reason,) = run.manifest.reasons
    assert "target 'api' died: exit code 7; its last words: the disk is full / no space for the journal" in reason


LOGIN = {"name": "login", "method": "POST", "path": "/login", "json": {"u": 1}, "keep": {"token": "$.token"}}
ME = {"name": "me", "path": "/me", "headers": {"X-Token": "{token}"}}


def login_that_fails_often() -> Answer:
    calls = iter(range(10**9))

    def answer(connection: socket.socket, number: int) -> bool:
        bad = next(calls) % 3 == 2
        connection.sendall(answered(b"", "503 Busy") if bad else answered(b'{"token": "t"}'))
        return True

    return answer


@pytest.mark.parametrize(
    "load",
    [
        {"model": "closed", "concurrency": 3, "requests": 60},
        {"model": "closed", "concurrency": 3, "duration_s": 1, "think_time_s": 0.05},
        {"model": "closed", "concurrency": 3, "duration_s": 1.0, "think_time_s": 30},
    ],
    ids=["requests", "think time", "long think time"],
)
@pytest.mark.parametrize("targets", [1, 2])
def test_a_missing_value_ends_one_request_and_no_user(load: dict[str, Any], targets: int, tmp_path: Path) -> None:
    with raw_server({"/login": login_that_fails_often(), "/me": OK}) as url:
        made = table(order="sequence", operations=[LOGIN, ME | {"target": f"api{targets}"}], load=load, target="api1")
        made["targets"] = {f"api{n}": {"kind": "http", "url": url} for n in range(1, targets + 1)}
        began = time.monotonic()
        run = run_quietly(from_table(made), tmp_path)
    assert time.monotonic() - began < 15, "and not the 30 s that a user thinks"
    assert run.status == "complete", run.manifest.reasons
    found, rows = errors(run), run.rows(phase=None)
    if "requests" in load:
        assert len(rows) == 60
    if load.get("think_time_s", 0) < 1:
        failed = (rows["operation"] == "login") & ~rows["ok"]
        assert found["http_5xx"] == failed.sum() >= 3
        assert failed.sum() - 3 <= found["template"] <= failed.sum()
        assert set(run.scenario("one").record.error_texts["template"]) == {"nothing fills {token}"}


def test_a_preparation_that_fails_now_and_then_is_made_again(tmp_path: Path) -> None:
    with raw_server({"/login": login_that_fails_often(), "/me": OK}) as url:
        load = {"model": "closed", "concurrency": 3, "requests": 100}
        made = suite({"kind": "http", "url": url}, prepare=[LOGIN], operations=[ME], load=load)
        run = run_quietly(made, tmp_path)
    assert run.rows(phase=None)["ok"].sum() == 100
    prepared = run.scenario("one").record.prepare
    assert prepared.requests - prepared.failed == 100
    assert prepared.failed >= 40


def test_data_that_runs_out_ends_the_run_with_a_reason(tmp_path: Path) -> None:
    with raw_server({"/login": says(answered(b'{"token": "t"}')), "/me": OK}) as url:
        made = suite(
            {"kind": "http", "url": url},
            prepare=[LOGIN | {"count": 20}],
            operations=[ME, ME | {"name": "me too"}],
            order="sequence",
            load={"model": "closed", "concurrency": 2, "duration_s": 20},
        )
        began = time.monotonic()
        run = run_quietly(made, tmp_path)
    assert time.monotonic() - began < 15
    assert run.status == "invalid"
    assert "the prepared data ran out" in run.manifest.reasons[0]
