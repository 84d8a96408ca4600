"""MCP: perflib's lean client against the official SDK's, on a canned server in C and on the reference service.

python -m tests.benchmarks.mcp --seconds S --protocol P bare URL|COMMAND…     the SDK's client alone, without perflib
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import ROOT, Measured, Tool, perflib_run, wrk
from tests.benchmarks.tables import GENERATOR, SERVER, middle, rounds, show

SOURCE = Path(__file__).with_name("canned.c")
IN_FLIGHT = 16
PROTOCOLS = ("2025-11-25", "2026-07-28")
LEAN, SDK, BARE = "perflib", 'perflib, client = "sdk"', "the SDK alone"
SUITE = """
name = "benchmark"
[targets.api]
kind = "mcp"
{where}
client = "{client}"
protocol = "{protocol}"
[[scenarios]]
name = "load"
target = "api"
operations = [{{ name = "call", tool = "{tool}", arguments = {arguments} }}]
load = {{ model = "closed", concurrency = {concurrency}, duration_s = {seconds} }}
workers = 1
"""
ADD = {"tool": "add", "arguments": "{ a = 1, b = 2 }"}
PING = {"tool": "ping", "arguments": "{}"}


def mcp(options: argparse.Namespace) -> None:
    """MCP tool calls, 16 in flight, by the lean client, by the SDK's client in perflib, and by the SDK alone."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("(there is no C compiler to build the canned server with: its tables are left out)\n")
    else:
        with tempfile.TemporaryDirectory() as folder:
            canned = str(Path(folder) / "canned")
            subprocess.run([compiler, "-O2", "-o", canned, str(SOURCE)], check=True)
            over_http(options, canned)
            over_stdio(options, canned)
    in_flight(options)


def over_http(options: argparse.Namespace, canned: str) -> None:
    table: list[tuple[str, ...]] = []
    for answers in ("json", "sse"):
        with printed_url(["taskset", "-c", str(SERVER), canned, answers]) as url:
            limit = ceiling(url)
            if limit.installed:
                most = limit.measure(url, IN_FLIGHT, options.seconds, GENERATOR).rate_per_s
                print(f"(wrk, {IN_FLIGHT} connections, is answered {most:,.0f} calls/s as {answers.upper()})")
            for protocol in PROTOCOLS:
                table += clients(options, f'url = "{url}"', protocol, f"HTTP, {answers.upper()}", [url])
    print()
    show(HEAD, table)


def over_stdio(options: argparse.Namespace, canned: str) -> None:
    command = ["taskset", "-c", str(SERVER), canned, "stdio"]
    where = f"command = {json.dumps(command)}"
    show(HEAD, [line for protocol in PROTOCOLS for line in clients(options, where, protocol, "stdio", command)])


HEAD = ("canned server", "client", "calls/s", "perflib makes", "CPU µs a call", "perflib takes")


def clients(
    options: argparse.Namespace, where: str, protocol: str, how: str, server: list[str]
) -> Iterator[tuple[str, ...]]:
    """A table's lines for one transport and era."""
    results = rounds(options, {
        LEAN: lambda: ours("lean", where, protocol, options.seconds),
        SDK: lambda: ours("sdk", where, protocol, options.seconds),
        BARE: lambda: bare(server, protocol, options.seconds),
    })  # fmt: skip
    mine = results[LEAN]
    for name, each in results.items():
        pairs = list(zip(mine, each, strict=True))
        faster = f"{middle(a.rate_per_s / b.rate_per_s for a, b in pairs)} ×"
        cheaper = f"1/{middle(b.cpu_us_per_request / a.cpu_us_per_request for a, b in pairs)}"
        yield (f"{how}, {protocol}", name, middle(m.rate_per_s for m in each), "" if each is mine else faster,
               middle(m.cpu_us_per_request for m in each), "" if each is mine else cheaper)  # fmt: skip


def ours(client: str, where: str, protocol: str, seconds: int) -> Measured:
    """perflib on one core: its rate from the rows, the CPU of its worker."""
    figures, worker = measured(
        SUITE.format(where=where, client=client, protocol=protocol, concurrency=IN_FLIGHT, seconds=seconds, **ADD)
    )
    if figures["errors"]:
        raise RuntimeError(f"errors: {figures['errors_by_class']}")
    return Measured(figures["throughput_per_s"], worker.cpu_s / worker.rows * 1e6, 0.0)


def measured(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scenario's figures, and its worker's."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = perflib_run(text, GENERATOR, Path(folder))
        return run.summary()["scenarios"][0], run.scenario("load").record.workers[0]  # type: ignore[attr-defined]


def bare(server: list[str], protocol: str, seconds: int) -> Measured:
    """The SDK's client in a process of its own, used as in its documentation, but with its cache off."""
    options = ["--seconds", str(seconds), "--protocol", protocol, "bare", *server]
    command = ["taskset", "-c", str(GENERATOR), sys.executable, "-m", "tests.benchmarks.mcp", *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    said = json.loads(ran.stdout)
    return Measured(said["calls"] / said["wall_s"], said["cpu_s"] / said["calls"] * 1e6, 0.0)


def in_flight(options: argparse.Namespace) -> None:
    """100 and 200 calls in flight on the reference service."""
    table = []
    command = ["taskset", "-c", str(SERVER), sys.executable, "-m", "perflib.service", "--http", "0"]
    with printed_url(command) as url:
        for path, how in (("/mcp", "JSON"), ("/mcp-sse", "SSE")):
            for protocol in PROTOCOLS:
                for concurrency in (100, 200):
                    figures, _ = measured(
                        SUITE.format(
                            where=f'url = "{url}{path}"',
                            client="lean",
                            protocol=protocol,
                            concurrency=concurrency,
                            seconds=options.seconds,
                            **PING,
                        )
                    )
                    table.append(
                        (
                            f"HTTP, {how}, {protocol}",
                            concurrency,
                            f"{figures['requests']:,}",
                            figures["errors"],
                            f"{figures['throughput_per_s']:,.0f}",
                            "–" if (p99 := figures["response_ms"]["p99"]) is None else f"{p99:,.0f}",
                        )
                    )
    show(("reference service", "in flight", "calls", "errors", "calls/s", "p99 ms"), table)


def ceiling(url: str) -> Tool:
    """wrk, to show that the canned server is not the bottleneck."""
    body = '{"jsonrpc":"2.0","id":1000000007,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}'
    return wrk(
        'wrk.method = "POST" wrk.headers["Content-Type"] = "application/json" '
        f"wrk.headers['Mcp-Session-Id'] = 'canned' wrk.body = '{body}'"
    )


@contextlib.contextmanager
def printed_url(command: list[str]) -> Iterator[str]:
    """A server that prints its URL as the last word of its first line, until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


async def calls(server: Any, protocol: str, seconds: float) -> dict[str, float]:
    """IN_FLIGHT tasks that call a tool again and again with one client of the SDK."""
    from mcp import Client

    mode: Any = protocol if protocol >= "2026" else "legacy"
    async with Client(server, mode=mode, cache=None) as client:
        await client.call_tool("add", {"a": 1, "b": 2})
        done, began, cpu_s = 0, time.monotonic(), time.process_time()

        async def user() -> None:
            nonlocal done
            while time.monotonic() - began < seconds:
                answer = await client.call_tool("add", {"a": 1, "b": 2})
                assert not answer.is_error
                done += 1

        await asyncio.gather(*(user() for _ in range(IN_FLIGHT)))
        return {"calls": done, "wall_s": time.monotonic() - began, "cpu_s": time.process_time() - cpu_s}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mcp", description=__doc__)
    parser.add_argument("what", choices=["bare"])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--protocol", default=PROTOCOLS[-1])
    parser.add_argument("server", nargs=argparse.REMAINDER, metavar="URL|COMMAND")
    options = parser.parse_args()
    from mcp import StdioServerParameters

    logging.getLogger().setLevel(logging.ERROR)  # the SDK logs a line for every request
    for name in ("mcp", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    first, *rest = options.server
    server: Any = first if first.startswith("http") else StdioServerParameters(command=first, args=rest)
    print(json.dumps(asyncio.run(calls(server, options.protocol, options.seconds))))


if __name__ == "__main__":
    main()
