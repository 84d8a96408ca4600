"""Webhooks are told of what is confirmed, and of nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import cli
from perflib.report.webhook import MOST, notify
from tests.support.suites import suite


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    """A webhook's URL, and the texts that it was sent."""
    told: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200 if self.path == "/secret" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/secret", told
    server.shutdown()
    server.server_close()


def test_a_check_tells_of_what_is_missed_and_not_of_what_is_unclear(
    hook: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, told = hook
    objectives = ["success < 50 %", "error rate < 0.001 %", "error rate < 90 %"]
    load = {"model": "closed", "concurrency": 1, "requests": 400}
    made = suite(
        {"kind": "callable", "function": "json:loads"},
        operations=[{"name": "call", "args": ["1"]}],
        load=load,
        objectives=objectives,
    )
    run = perflib.run(made, data=tmp_path, progress=False)
    monkeypatch.setenv("HOOK", url)
    done = CliRunner().invoke(
        cli, ["check", run.id, "--data", str(tmp_path), "--notify", "${HOOK}"], standalone_mode=False
    )
    assert done.return_value == 1, done.output
    (text,) = told
    assert "success &lt; 50 %" in text  # as Slack wants it
    assert "error rate" not in text


def test_nothing_is_sent_where_nothing_was_found(hook: tuple[str, list[str]]) -> None:
    url, told = hook
    notify(url, "all is well", [])
    assert told == []
    notify(url, "much is not", [f"figure {i}" for i in range(MOST + 5)])
    assert told[0].splitlines()[0] == "much is not"
    assert told[0].splitlines()[-1] == "… and 5 more"


def test_a_webhook_that_refuses_is_said_without_its_secret(
    hook: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = hook
    notify(url.replace("/secret", "/other-secret"), "x", ["y"])
    notify("http://127.0.0.1:9/other-secret", "x", ["y"])
    said = capsys.readouterr().err
    assert said.count("the webhook did not take it") == 2
    assert "500" in said
    assert "secret" not in said
