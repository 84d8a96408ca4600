"""Journeys of three requests: steps in TOML and functions, beside single operations and other tools."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Final

from tests.benchmarks.peers import K6, LOCUST, PEERS, Measured, Tool, perflib_run, rate_by
from tests.benchmarks.tables import GENERATOR, SERVER, middle, ratio, rounds, show
from tests.support.timed_servers import nginx

USERS: Final = 64
NAMES: Final = ("list", "item", "back")
_SUITE: Final = """
name = "journeys"
targets.api = {{ kind = "http", url = "{url}" }}
[[scenarios]]
name = "load"
target = "api"
load = {{ model = "closed", concurrency = {users}, duration_s = {seconds} }}
workers = 1
{more}
"""
_OPERATIONS: Final = "operations = [" + ", ".join(f'{{ name = "{name}", path = "/" }}' for name in NAMES) + "]\n"
_OURS: Final = {
    "perflib, single operations": _OPERATIONS,
    "perflib, steps": f'{_OPERATIONS}order = "sequence"\n',
    "perflib, a function": 'journeys = [{ name = "visit", function = "visits:visit" }]\n',
}
_FUNCTION: Final = "async def visit(user):\n" + "".join(f'    await user.get("/", name="{name}")\n' for name in NAMES)
_AIOHTTP: Final = """
import asyncio, sys, time
import aiohttp

async def user(url, until):
    made = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        while time.monotonic() < until:
            for _ in range({requests}):
                async with session.get(url + "/") as answer:
                    await answer.read()
                made += 1
    return made

async def main(url, users, seconds):
    began = time.monotonic()
    made = sum(await asyncio.gather(*(user(url, began + seconds) for _ in range(users))))
    print(f"rate: {{made / (time.monotonic() - began)}}")

asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
"""


def journeys(options: argparse.Namespace) -> None:
    """64 users whose journey is three GETs, on one core; each request is a row of perflib's, each journey another."""
    tools = [
        Tool("Locust FastHttpUser", _locust, LOCUST.rate),
        Tool("k6", _k6, K6.rate),
        Tool("aiohttp", _aiohttp, rate_by(r"rate: ([\d.]+)")),
    ]
    there = [tool for tool in tools if tool.installed]
    with nginx(SERVER) as url:
        results = rounds(
            options,
            {name: lambda more=more: _ours(url, options.seconds, more) for name, more in _OURS.items()}
            | {tool.name: lambda tool=tool: tool.measure(url, USERS, options.seconds, GENERATOR) for tool in there},
        )  # type: ignore[misc]
    for tool in tools:
        if not tool.installed:
            print(f"({tool.name} is not installed: see tests/benchmarks/setup.sh)")
    single, function = results["perflib, single operations"], results["perflib, a function"]
    show(
        ("tool", "requests/s", "of single operations", "a function makes", "CPU µs a request"),
        [
            (
                name,
                middle(m.rate_per_s for m in measured),
                ratio(measured, single),
                ratio(function, measured),
                middle(m.cpu_us_per_request for m in measured),
            )
            for name, measured in results.items()
        ],
    )


def _ours(url: str, seconds: int, more: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "visits.py").write_text(_FUNCTION)
        suite = _SUITE.format(url=url, users=USERS, seconds=seconds, more=more)
        run, _ = perflib_run(suite, GENERATOR, Path(folder))
        figures = run.summary()["scenarios"][0]
        if figures["errors"] or (figures["journeys"] and not figures["journeys"][0]["requests"]):
            raise RuntimeError(f"errors: {json.dumps(figures, default=str)[:600]}")
        health = run.scenario("load").record.workers[0]
        rss = run.query("select max(rss_bytes) / 1e6 from resources where role = 'generator'").fetchone()[0]
        return Measured(figures["throughput_per_s"], health.cpu_s / health.rows * 1e6, rss)


def _k6(url: str, users: int, seconds: int, folder: Path) -> list[str]:
    gets = " ".join(f"http.get('{url}/', {{ tags: {{ name: '{name}' }} }});" for name in NAMES)
    (folder / "script.js").write_text(
        "import http from 'k6/http';\n"
        f"export const options = {{ vus: {users}, duration: '{seconds}s', discardResponseBodies: true }};\n"
        f"export default function () {{ {gets} }}\n"
    )
    return [str(PEERS / "k6"), "run", "--quiet", str(folder / "script.js")]


def _locust(url: str, users: int, seconds: int, folder: Path) -> list[str]:
    gets = "".join(f"        self.client.get('/', name='{name}')\n" for name in NAMES)
    (folder / "locustfile.py").write_text(
        f"from locust import FastHttpUser, task\n\n\nclass User(FastHttpUser):\n    @task\n    def visit(self):\n{gets}"
    )
    file, count = str(folder / "locustfile.py"), str(users)
    options = ["--headless", "-u", count, "-r", count, "-t", f"{seconds}s", "-H", url, "--only-summary", "--json"]
    return [str(PEERS / "locust"), "-f", file, *options, "--loglevel", "ERROR"]


def _aiohttp(url: str, users: int, seconds: int, folder: Path) -> list[str]:
    (folder / "client.py").write_text(_AIOHTTP.format(requests=len(NAMES)))
    return [str(PEERS / "python"), str(folder / "client.py"), url, str(users), str(seconds)]
