"""Files that k6, Locust, hey and pyperf write, against a server that counts and an independent computation.

The tools are not installed with perflib: a test skips where its tool is missing.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import perflib
from perflib.formats.importing import import_files

pytestmark = pytest.mark.slow
K6_SCRIPT = """
import http from 'k6/http';
export const options = { vus: 2, duration: '2s' };
export default function () {
  http.get('URL/good', { tags: { name: 'good' } });
  http.get('URL/flaky', { tags: { name: 'flaky' } });
}
"""
LOCUST_FILE = """
from locust import HttpUser, constant, events, task
from locust.contrib.csv_request_logger import CsvRequestLogger

@events.init.add_listener
def on_init(environment, **options):
    CsvRequestLogger("requests.csv").register(environment)

class User(HttpUser):
    wait_time = constant(0)

    @task
    def good(self):
        self.client.get("/good")

    @task
    def flaky(self):
        self.client.get("/flaky")
"""


class Counting:
    """A server that counts what it answers, by path and status. Every tenth request to /flaky is refused."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        lock, answers = threading.Lock(), self.answers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                time.sleep(0.003)
                with lock:
                    number = sum(n for (path, _), n in answers.items() if path == self.path)
                    status = 503 if self.path == "/flaky" and number % 10 == 9 else 200
                    answers[self.path, status] += 1
                head = f"HTTP/1.1 {status} Answer\r\nContent-Length: 2\r\n\r\nok"  # in one piece
                self.wfile.write(head.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def failed(self) -> int:
        return sum(n for (_, status), n in self.answers.items() if status != 200)


@pytest.fixture
def server() -> Iterator[Counting]:
    counting = Counting()
    thread = threading.Thread(target=counting.server.serve_forever, daemon=True)
    thread.start()
    yield counting
    counting.server.shutdown()
    counting.server.server_close()
    thread.join()


def _tool(name: str) -> str:
    """The path of a tool: in the folder that PERFLIB_PEERS names, or installed."""
    folder = os.environ.get("PERFLIB_PEERS", "")
    found = shutil.which(name, path=folder) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; PERFLIB_PEERS may name a folder that has it")
    return found


def _run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False).stdout


def _imported(path: Path) -> perflib.Run:
    return perflib.open_run(import_files([path], path.parent / "data"))


def _agree(run: perflib.Run, requests: int, failed: int, good_ms: list[float]) -> None:
    rows = run.rows(phase=None)
    assert (len(rows), int((~rows["ok"]).sum())) == (requests, failed)
    found = np.percentile(rows["response_ns"][rows["ok"]] / 1e6, [50, 95, 99])
    assert found == pytest.approx(np.percentile(good_ms, [50, 95, 99]), abs=1e-6)
    shown = run.summary()["scenarios"][0]["response_ms"]
    assert [shown["p50"], shown["p95"]] == pytest.approx(np.percentile(good_ms, [50, 95]), abs=1e-6)


def test_k6(server: Counting, tmp_path: Path) -> None:
    (tmp_path / "t.js").write_text(K6_SCRIPT.replace("URL", server.url))
    _run(
        tmp_path,
        _tool("k6"),
        "run",
        "-q",
        "--out",
        "csv=a.csv",
        "--out",
        "csv=b.csv.gz",
        "--out",
        "json=c.json",
        "t.js",
    )
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    times = [row for row in rows if row["metric_name"] == "http_req_duration"]
    good = [float(row["metric_value"]) for row in times if row["status"] == "200"]
    assert len(times) == server.answers.total()
    for name in ("a.csv", "b.csv.gz", "c.json"):
        _agree(_imported(tmp_path / name), server.answers.total(), server.failed, good)


def test_locust(server: Counting, tmp_path: Path) -> None:
    (tmp_path / "locustfile.py").write_text(LOCUST_FILE)
    _run(
        tmp_path,
        _tool("locust"),
        "--headless",
        "-u",
        "2",
        "-r",
        "2",
        "-t",
        "3s",
        "-H",
        server.url,
        "--stop-timeout",
        "5",
    )
    rows = list(csv.DictReader((tmp_path / "requests.csv").open()))
    good = [float(row["response_time_ms"]) for row in rows if not row["exception"]]
    assert len(rows) == server.answers.total()
    _agree(_imported(tmp_path / "requests.csv"), server.answers.total(), server.failed, good)


def test_hey(server: Counting, tmp_path: Path) -> None:
    text = _run(tmp_path, _tool("hey"), "-n", "600", "-c", "2", "-o", "csv", f"{server.url}/flaky")
    (tmp_path / "hey.csv").write_text(text)
    good = [
        float(row["response-time"]) * 1e3 for row in csv.DictReader(text.splitlines()) if row["status-code"] == "200"
    ]
    assert server.answers.total() == 600
    _agree(_imported(tmp_path / "hey.csv"), 600, server.failed, good)


def test_pyperf(tmp_path: Path) -> None:
    _run(tmp_path, _tool("pyperf"), "timeit", "-p", "2", "-n", "5", "-w", "1", "-o", "b.json", "sum(range(1000))")
    content = json.loads((tmp_path / "b.json").read_text())
    values = [value for run in content["benchmarks"][0]["runs"] for value in run.get("values", ())]
    rows = _imported(tmp_path / "b.json").rows(phase=None)
    assert rows["response_ns"].tolist() == [round(value * 1e9) for value in values]
