"""Answers built to harm are one bad answer each: the next request is good, nothing freezes, grows or ends."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import perflib
from perflib.load import gauges, session
from perflib.load.tryout import try_suite
from perflib.suite.model import Target
from perflib.targets import process
from perflib.targets.http.lane import HttpLane
from perflib.targets.mcp.events import Events
from tests.support import hostile
from tests.support.command_line import perflib_process
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite


def test_there_are_enough_kinds() -> None:
    assert hostile.kinds() >= 64


def test_of_http(tmp_path: Path) -> None:
    run = hostile.http_run(tmp_path)
    assert hostile.harm_done(run) == []
    bad = run.rows(phase=None).query("not operation.str.startswith('good ')")
    assert not bad["ok"].any(), "and none of them is taken for what was expected"


@pytest.mark.parametrize("transport", ["sse", "stdio", pytest.param("http", marks=pytest.mark.slow)])
def test_of_mcp(transport: str, tmp_path: Path) -> None:
    run = hostile.mcp_run(tmp_path, transport)
    assert hostile.harm_done(run) == []
    about = run.manifest.targets["it"].model_dump()
    assert about["server"]["name"] == "hostile" and len(str(about)) < 10_000


def test_a_head_that_drips_byte_by_byte_is_read_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each byte has the head searched and copied anew, this takes a minute."""
    parse = HttpLane._parse

    def byte_by_byte(lane: HttpLane, data: bytes, now: int) -> None:  # a socket would put the bytes together again
        for at in range(len(data)):
            parse(lane, data[at : at + 1], now)

    monkeypatch.setattr(HttpLane, "_parse", byte_by_byte)
    lines = b"\r\n".join(b"X-%d: %b" % (number, b"x" * 100) for number in range(2_000))
    with raw_server(says(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 2\r\n\r\nok" % lines)) as url:
        (tried,) = try_suite(suite({"kind": "http", "url": url, "timeout_s": 60}))
    assert tried.error == "" and tried.bytes_received > 200_000
    assert tried.milliseconds < 8_000


def test_readiness_and_gauges_take_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOOK_S", 0.3)
    monkeypatch.setattr(gauges, "TIMEOUT_S", 0.3)
    with hostile.http_server() as url, ThreadPoolExecutor(8) as pool:
        paths = [f"/{number}" for number in range(len(hostile.HTTP))]
        specs = [Target(kind="http", url=url, ready={"http": path}, gauges=path) for path in paths]
        began = time.monotonic()
        said = list(pool.map(process.why_unready, specs))
        readers = [gauges.Reader(spec, spec.gauges[0]) for spec in specs]
        numbers = list(pool.map(gauges.Reader.read, readers))
    assert time.monotonic() - began < 30
    assert all(why == why.strip() and why.isprintable() and len(why) < 300 for why in said)
    assert sum(bool(why) for why in said) > 20 and numbers == [[]] * len(paths)
    assert all(len(reader.problem) < 300 for reader in readers)


def test_what_is_not_http_is_one_line_and_an_invalid_run(tmp_path: Path) -> None:
    with raw_server(says(b"SSH-2.0-OpenSSH\r\n", keep=False)) as url:
        (tmp_path / "s.toml").write_text(
            f'name = "s"\n[targets.api]\nkind = "http"\nurl = "{url}"\nready = {{ http = "/up" }}\n[[scenarios]]\n'
            'name = "one"\ntarget = "api"\noperations = [{ name = "ping", path = "/" }]\n'
            'load = { model = "closed", concurrency = 1, requests = 1 }\n'
        )
        done = perflib_process("run", "s.toml", cwd=tmp_path)
    run = perflib.open_run("latest", tmp_path / "data")
    assert done.returncode == 4 and run.status == "invalid" and "Traceback" not in done.stderr
    assert "not an HTTP answer" in run.manifest.reasons[0] and run.manifest.reasons[0] in done.stderr


def test_readiness_checks_certificates_as_the_load_does_and_takes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    with raw_server(says(moved)) as url:
        began = time.monotonic()
        assert process.why_unready(Target(kind="http", url=url, ready={"http": "/"})) == ""
        assert time.monotonic() - began < 1, "it follows no redirect to another host"
        plain = Target(kind="http", url=url.replace("http:", "https:"), ready={"http": "/"})
        assert process.why_unready(plain) and process.why_unready(replace(plain, verify_tls=False))  # type: ignore[call-arg]


def test_a_started_target_elsewhere_is_not_looked_at(tmp_path: Path) -> None:
    target = {
        "kind": "http",
        "url": "http://192.0.2.1:{port}",
        "start": ["{python}", "-c", "import time; time.sleep(9)"],
    }
    run = run_quietly(suite(target), tmp_path)
    assert run.status == "invalid" and "allow_hosts" in run.manifest.reasons[0]


def test_any_exception_makes_a_run_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("whatever \x1b[2J it is")

    monkeypatch.setattr(session, "Loading", broken)
    with raw_server(says(b"")) as url:
        run = run_quietly(suite({"kind": "http", "url": url}), tmp_path)
    assert run.status == "invalid" and run.verdict == "invalid"
    assert run.manifest.reasons == ["RuntimeError: whatever  it is (see logs/perflib.log)"]
    assert "in broken" in (run.path / "logs" / "perflib.log").read_text()


def test_events_are_read_in_linear_time_and_bounded() -> None:
    events, began = Events(), time.monotonic()
    for _ in range(200_000):
        assert events.feed(b"data: {") == []
    assert time.monotonic() - began < 5, "small pieces of a long event"
    assert Events().feed(b"data: 1\r\n\r\n:x\n\ndata: 2\ndata: 3\n\ndata: [4]\n\n") == [1, None, [4]]
    pieces = Events()
    whole = b'data: {"a":1}\r\n\r\ndata: 2\n\n'
    assert [m for i in range(len(whole)) for m in pieces.feed(whole[i : i + 1])] == [{"a": 1}, 2]
    with pytest.raises(ValueError, match="more than 20,000 events"):
        Events().feed(b":\n\n" * 30_000)
