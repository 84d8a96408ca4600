"""Real servers that close kept connections while their users think: no false error, as other clients have none."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests

from tests.support.runs import run_quietly
from tests.support.suites import suite

ASGI = """
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
NODE = """
const server = require("http").createServer((request, response) => response.end("ok"));
server.keepAliveTimeout = 1000;
server.keepAliveTimeoutBuffer = 0;
server.listen(Number(process.argv[1]), "127.0.0.1");
"""
NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  keepalive_timeout 1s 0;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""
USERS, SECONDS = 20, 5


def commands(port: int, folder: Path) -> dict[str, list[str]]:
    (folder / "asgi_app.py").write_text(ASGI)
    (folder / "wsgi_app.py").write_text(WSGI)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    found: dict[str, list[str]] = {}
    at = ["--app-dir", str(folder), "--port", str(port), "--log-level", "error"]
    found["uvicorn"] = [sys.executable, "-m", "uvicorn", "asgi_app:app", "--timeout-keep-alive", "1", *at]
    if importlib.util.find_spec("gunicorn"):
        bind = ["--chdir", str(folder), "-b", f"127.0.0.1:{port}", "--log-level", "error"]
        threads = ["--threads", str(USERS + 5), "--keep-alive", "1"]
        found["gunicorn"] = [sys.executable, "-m", "gunicorn", *threads, *bind, "wsgi_app:app"]
    if node := shutil.which("node"):
        found["node"] = [node, "-e", NODE, str(port)]
    if nginx := shutil.which("nginx"):
        found["nginx"] = [nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    return found


@contextlib.contextmanager
def serving(name: str, folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = commands(port, folder).get(name)
    if command is None:
        pytest.skip(f"{name} is not installed")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until and process.poll() is None, f"{name} does not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def errors_of_httpx(url: str) -> int:
    """What httpx counts with users that think for as long as the server keeps a connection."""

    async def user(client: httpx.AsyncClient) -> int:
        errors = 0
        for _ in range(SECONDS):
            try:
                errors += (await client.get(url)).status_code != 200
            except httpx.HTTPError:
                errors += 1
            await asyncio.sleep(1.0)
        return errors

    async with httpx.AsyncClient(trust_env=False) as client:
        return sum(await asyncio.gather(*(user(client) for _ in range(USERS))))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uvicorn", "gunicorn", "node", "nginx"])
def test_a_server_that_closes_idle_connections_is_accused_of_nothing(name: str, tmp_path: Path) -> None:
    load = {"model": "closed", "concurrency": USERS, "duration_s": SECONDS, "think_time_s": 1.0}
    with serving(name, tmp_path) as url:
        theirs = asyncio.run(errors_of_httpx(url))
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(url).status_code == 200
        made = run_quietly(suite({"kind": "http", "url": url}, load=load), tmp_path)
    rows = made.rows(phase=None)
    assert len(rows) >= USERS * (SECONDS - 1)
    assert int((~rows["ok"]).sum()) == 0, f"httpx has {theirs} errors here; {made.scenario('one').record.error_texts}"


def test_uvicorn_that_closes_after_a_second_costs_no_request(tmp_path: Path) -> None:
    """The same in short: each user's second request comes just as the server closes its connection."""
    with serving("uvicorn", tmp_path) as url:
        load = {"model": "closed", "concurrency": 60, "duration_s": 1.5, "think_time_s": 1.001}
        made = run_quietly(suite({"kind": "http", "url": url}, load=load), tmp_path)
    rows = made.rows(phase=None)
    assert len(rows) >= 100
    assert rows["ok"].all(), made.scenario("one").record.error_texts
