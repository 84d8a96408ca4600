"""The overhead of MCP, step by step: `python -m tests.benchmarks.ladder [--seconds 5] [--out docs/mcp-overhead.md]`.

One tool, which adds two numbers, by three servers' frameworks, over every transport, at 1 and 50 users, called by
perflib's own client and by the official Python SDK's. What it needs is installed by tests/benchmarks/setup.sh.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from perflib.metrics.source import source
from perflib.stats import Interval
from perflib.text import number
from tests.benchmarks.peers import PEERS, ROOT, perflib_run
from tests.benchmarks.tables import GENERATOR, SERVER

HERE = Path(__file__).parent
PACKAGES = ROOT / ".venv-peers"
LEGACY, MODERN = "2025-11-25", "2026-07-28"
NS_PER_MS = 1e6
CLIENTS = ("lean", "sdk")
USERS = (1, 50)
SUITE = """
name = "ladder"
[targets.server]
kind = "mcp"
{where}
client = "{client}"
protocol = "{protocol}"
ready = {{ timeout_s = 30 }}
"""
SCENARIO = """
[[scenarios]]
name = "{users} users"
target = "server"
operations = [{{ name = "add", tool = "add", arguments = {{ a = 1, b = 2 }} }}]
load = {{ model = "closed", concurrency = {users}, duration_s = {seconds} }}
workers = 1
"""
HEAD = (
    "| transport, protocol | users | calls/s | p50 ms | p99 ms | server's memory, MB | client's CPU, µs a call "
    "| SDK's client: calls/s | SDK's client: p50 ms | SDK's client: CPU, µs a call |"
)


@dataclass(frozen=True)
class Framework:
    """What a server is written with: its name with version, its command, and the protocols that it speaks."""

    name: str
    command: tuple[str, ...]
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Way:
    """How a client reaches a server. `arguments`: those of the server's command; empty for stdio."""

    name: str
    protocol: str
    arguments: tuple[str, ...] = ()


WAYS = (
    Way("stdio", LEGACY),
    Way("HTTP, JSON, with sessions", LEGACY, ("json", "stateful")),
    Way("HTTP, JSON, without sessions", LEGACY, ("json", "stateless")),
    Way("HTTP, SSE, with sessions", LEGACY, ("sse", "stateful")),
    Way("HTTP, SSE, without sessions", LEGACY, ("sse", "stateless")),
    Way("stdio", MODERN),
    Way("HTTP, JSON", MODERN, ("json", "stateless")),
    Way("HTTP, SSE", MODERN, ("sse", "stateless")),
)


def frameworks() -> Iterator[Framework]:
    """Those that are installed."""
    yield Framework(f"Python SDK {version('mcp')}", (sys.executable, str(HERE / "python_sdk.py")), (LEGACY, MODERN))
    python = PEERS / "python"
    asked = [str(python), "-c", "import fastmcp; print(fastmcp.__version__)"]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False) if python.exists() else None
    if ran is not None and not ran.returncode:
        yield Framework(f"FastMCP {ran.stdout.strip()}", (str(python), str(HERE / "fast_mcp.py")), (LEGACY, MODERN))
    package = PACKAGES / "node_modules/@modelcontextprotocol/sdk/package.json"
    if package.exists():
        name = f"TypeScript SDK {json.loads(package.read_text())['version']}"
        yield Framework(name, ("node", str(HERE / "typescript.mjs")), (LEGACY,))


@dataclass(frozen=True)
class Measured:
    """One way at one number of users by one client, as cells of a table."""

    calls_per_s: str
    p50_ms: str
    p99_ms: str
    server_mb: str
    client_us: str


def measured(framework: Framework, way: Way, client: str, seconds: int) -> list[Measured]:
    """At each number of users. Raises RuntimeError where a call failed."""
    command = ["taskset", "-c", str(SERVER), *framework.command]
    if way.arguments:
        started = json.dumps([*command, "http", "{port}", *way.arguments])
        where = f'url = "http://127.0.0.1:{{port}}/mcp"\nstart = {started}'
    else:
        where = f"command = {json.dumps([*command, 'stdio'])}"
    suite = SUITE.format(where=where, client=client, protocol=way.protocol)
    suite += "".join(SCENARIO.format(users=users, seconds=seconds) for users in USERS)
    with tempfile.TemporaryDirectory() as folder:
        run: Any = perflib_run(suite, GENERATOR, Path(folder))[0]
        return [_measured(run.scenario(f"{users} users"), figures) for users, figures in _figures(run)]


def _figures(run: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for users, figures in zip(USERS, run.summary()["scenarios"], strict=True):
        if figures["errors"] or not figures["requests"]:
            raise RuntimeError(
                f"{figures['errors']} of {figures['requests']} calls failed: {figures['errors_by_class']}"
            )
        yield users, figures


def _measured(scenario: Any, figures: dict[str, Any]) -> Measured:
    rows, worker, memory = source(scenario), scenario.record.workers[0], figures["memory_mb"]
    p50, p99 = rows.quantiles((0.5, 0.99))
    cpu_us = worker.cpu_s / worker.rows * 1e6
    return Measured(
        _cell(rows.throughput()),
        _cell(p50, NS_PER_MS),
        _cell(p99, NS_PER_MS),
        number(memory["peak"]) if memory else "–",
        number(cpu_us),
    )


def _cell(interval: Interval, unit: float = 1) -> str:
    low, estimate, high = (value / unit for value in (interval.low, interval.estimate, interval.high))
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{number(estimate)} [open]"
    return f"{number(estimate)} [{number(low)} … {number(high)}]"


def table(framework: Framework, seconds: int) -> str:
    """The framework's Markdown table: a line for each way and number of users."""
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for way in (way for way in WAYS if way.protocol in framework.protocols):
        ours, theirs = (measured(framework, way, client, seconds) for client in CLIENTS)
        for users, lean, sdk in zip(USERS, ours, theirs, strict=True):
            cells = (
                f"{way.name}, {way.protocol}", users, lean.calls_per_s, lean.p50_ms, lean.p99_ms, lean.server_mb,
                lean.client_us, sdk.calls_per_s, sdk.p50_ms, sdk.client_us,
            )  # fmt: skip
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def page(seconds: int) -> str:
    """The whole page of the documentation."""
    tables = [f"## {framework.name}\n\n{table(framework, seconds)}" for framework in frameworks()]
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    intro = (HERE / "page.md").read_text().format(machine=machine, date=date.today(), seconds=seconds)
    return intro + "\n" + "\n\n".join(tables) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ladder")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--out", type=Path, help="the page's file; without, it is printed")
    options = parser.parse_args()
    os.environ["NODE_PACKAGES"] = str(PACKAGES)
    text = page(options.seconds)
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
