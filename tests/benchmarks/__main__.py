"""`python -m tests.benchmarks [TABLE…]`: prints tables of ratios against other tools, measured in turn within this run.

Tables: closed, variants, memory, callables, schedule, stall, queue, mcp, aa, neighbour, analysis, cluster, panel,
journeys. The server runs on core 1 and the load generator on core 0. Figures are medians of the rounds, with their
range in brackets.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from perflib import stats
from tests.benchmarks import functions
from tests.benchmarks.analysis import analysis
from tests.benchmarks.cluster import cluster
from tests.benchmarks.journeys import journeys
from tests.benchmarks.mcp import mcp
from tests.benchmarks.panel import panel
from tests.benchmarks.peers import AB, AB_CLOSE, H2LOAD, HEY, K6, LOCUST, PEERS, Measured, perflib_run, wrk
from tests.benchmarks.tables import GENERATOR, SERVER, middle, ratio, rounds, show
from tests.benchmarks.trials import aa, neighbour
from tests.support.timed_servers import nginx, started, waits_s

HTTP = """
name = "benchmark"
[targets.api]
kind = "http"
url = "{url}"
{target}
[[scenarios]]
name = "load"
target = "api"
operations = [{operations}]
load = {{ {load} }}
workers = 1
"""
GET = '{ name = "get", path = "/" }'


def suite(url: str, load: str, operations: str = GET, target: str = "") -> str:
    return HTTP.format(url=url, load=load, operations=operations, target=target)


def closed(options: argparse.Namespace) -> None:
    """HTTP in a closed loop: 64 keep-alive connections, a simple GET; perflib writes every request as a row."""
    tools = [wrk(), AB, H2LOAD, HEY, K6, LOCUST]
    with nginx(SERVER) as url:
        results = rounds(
            options,
            {"perflib": lambda: ours(suite(url, f'model = "closed", concurrency = 64, duration_s = {options.seconds}'))}
            | {
                tool.name: lambda tool=tool: tool.measure(url, 64, options.seconds, GENERATOR)
                for tool in tools
                if tool.installed
            },
        )  # type: ignore[misc]
    for tool in tools:
        if not tool.installed:
            print(f"({tool.name} is not installed: see tests/benchmarks/setup.sh)")
    show(
        ("tool", "requests/s", "perflib makes", "CPU µs a request", "peak RSS MB"),
        [
            (
                name,
                middle(m.rate_per_s for m in measured),
                ratio(results["perflib"], measured),
                middle(m.cpu_us_per_request for m in measured),
                middle(m.rss_mb for m in measured),
            )
            for name, measured in results.items()
        ],
    )
    pair = list(zip(results["perflib"], results["wrk"], strict=True))
    cpu = middle(a.cpu_us_per_request / b.cpu_us_per_request for a, b in pair)
    print(f"CPU per request, perflib's worker / wrk: {cpu}\n")


WEIGHTED = '{ name = "list", path = "/items", weight = 3 }, { name = "one", path = "/items/7" }'
TEMPLATED = (
    '{ name = "buy", method = "POST", path = "/orders/{sku}", json = { sku = "{sku}", n = 1 }, data = "skus.csv" }'
)
CHECKED = '{ name = "get", path = "/", expect = { status = 200, json = { "$.state" = "ready" } } }'
LUA_WEIGHTED = 'request = function() return wrk.format("GET", math.random(4) < 4 and "/items" or "/items/7") end'
LUA_TEMPLATED = """n = 0
request = function() n = n % 1000 + 1
  local body = '{"sku":"sku-' .. n .. '","n":1}'
  return wrk.format("POST", "/orders/sku-" .. n, { ["Content-Type"] = "application/json" }, body) end"""
LUA_CHECKED = """bad = 0
response = function(status, headers, body)
  if status ~= 200 or not string.find(body, "ready") then bad = bad + 1 end end"""


def variants(options: argparse.Namespace) -> None:
    """The same with weighted operations, bodies from a template and data, checked answers, and without keep-alive."""
    load = f'model = "closed", concurrency = 64, duration_s = {options.seconds}'
    table = []
    with nginx(SERVER) as url:
        for name, text, peer in (
            ("weighted operations", suite(url, load, WEIGHTED), wrk(LUA_WEIGHTED)),
            ("templated bodies", suite(url, load, TEMPLATED), wrk(LUA_TEMPLATED)),
            ("checks on status and body", suite(url, load, CHECKED), wrk(LUA_CHECKED)),
            ("keep-alive off", suite(url, load, target="keep_alive = false"), AB_CLOSE),
        ):
            results = rounds(
                options,
                {
                    "perflib": lambda text=text: ours(text),
                    peer.name: lambda peer=peer: peer.measure(url, 64, options.seconds, GENERATOR),
                },
            )  # type: ignore[misc]
            mine, theirs = results["perflib"], results[peer.name]
            table.append(
                (
                    name,
                    middle(m.rate_per_s for m in mine),
                    peer.name,
                    middle(m.rate_per_s for m in theirs),
                    ratio(mine, theirs),
                )
            )
    show(("closed loop, 64 connections", "perflib /s", "peer", "peer /s", "perflib makes"), table)


def memory(options: argparse.Namespace) -> None:
    """One long run: the generator's memory from start to end, bytes a row on disk, pauses while parts are written."""
    with nginx(SERVER) as url, tempfile.TemporaryDirectory() as folder:
        run, _ = perflib_run(
            suite(url, f'model = "closed", concurrency = 64, requests = {options.rows}'), GENERATOR, Path(folder)
        )
        rss = run.query(
            "select rss_bytes / 1e6 as mb from resources where role = 'generator' order by t_ns"
        ).fetchnumpy()["mb"]
        on_disk = sum(part.stat().st_size for part in (run.path / "rows").glob("*.parquet"))
        (rows,) = run.query("select count(*) from rows").fetchone()
        health = run.scenario("load").record.workers[0]
        tenth = max(1, len(rss) // 10)
        show(
            ("figure", "measured"),
            [
                ("rows", f"{rows:,}"),
                ("bytes a row on disk", f"{on_disk / rows:.2f}"),
                ("generator's RSS, peak MB", f"{rss.max():.0f}"),
                (
                    "generator's RSS, second and last tenth, MB",
                    f"{np.median(rss[tenth : 2 * tenth]):.0f}, {np.median(rss[-tenth:]):.0f}",
                ),
                (
                    "event-loop pause, ms: p50, p99, p99.9, max",
                    ", ".join(f"{health.loop_pause_ms[k]:.2f}" for k in ("p50", "p99", "p99_9", "max")),
                ),
            ],
        )


def callables(options: argparse.Namespace) -> None:
    """What perflib adds to a call that does nothing, and how two workers compare with one for a call that spins."""
    table = []
    for name in ("nothing", "nothing_async"):
        calls, empty = [], []
        for _ in range(options.rounds):
            empty.append(empty_loop(name))
            calls.append(1e6 / call_rate(name, 1, 1, options.seconds))
        table.append(
            (name, middle(calls), middle(empty), middle(a - b for a, b in zip(calls, empty, strict=True)), pyperf(name))
        )
    show(("function", "µs a call", "µs in an empty loop", "µs the harness adds", "µs a call by pyperf"), table)
    for name in ("spin",):
        pairs = [
            (call_rate(name, 2, 2, options.seconds, core=None), call_rate(name, 1, 1, options.seconds, core=None))
            for _ in range(options.rounds)
        ]
        print(f"two workers / one worker, a function that spins 100 µs: {middle(a / b for a, b in pairs)}\n")


def pyperf(name: str) -> str:
    """µs a call as pyperf measures it; it times loops and not single calls, so it adds nothing to a call."""
    if name.endswith("async"):
        call = [
            "--setup",
            f"import asyncio; from tests.benchmarks.functions import {name} as f; loop = asyncio.new_event_loop()",
            "loop.run_until_complete(f())",
        ]
    else:
        call = ["--setup", f"from tests.benchmarks.functions import {name} as f", "f()"]
    command = [
        "taskset",
        "-c",
        str(GENERATOR),
        str(PEERS / "python"),
        "-m",
        "pyperf",
        "timeit",
        "--fast",
        "--inherit-environ",
        "PYTHONPATH",
        *call,
    ]
    root = str(Path(__file__).parents[2])
    text = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=root, env=os.environ | {"PYTHONPATH": root}
    ).stdout
    match = re.search(r"Mean \+- std dev: ([\d.]+) (ns|us|ms)", text)
    return f"{float(match[1]) * {'ns': 1e-3, 'us': 1.0, 'ms': 1e3}[match[2]]:.3f}" if match else "–"


def empty_loop(name: str, calls: int = 300_000) -> float:
    """µs a call of a plain loop."""
    import asyncio

    from tests.benchmarks import functions

    function = getattr(functions, name)

    async def loop() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            await function()
        return time.perf_counter() - began

    if name.endswith("async"):
        return asyncio.run(loop()) / calls * 1e6
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - began) / calls * 1e6


def call_rate(name: str, workers: int, users: int, seconds: int, core: int | None = GENERATOR) -> float:
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        text = functions.suite(name, f'model = "closed", concurrency = {users}, duration_s = {seconds}', workers)
        os.environ["PYTHONPATH"] = str(root)
        run, _ = perflib_run(text, core, Path(folder))
        return float(run.summary()["scenarios"][0]["throughput_per_s"])


def schedule(options: argparse.Namespace) -> None:
    """An open load: whether the rate is achieved, how late requests are sent, and the CPU time that takes."""
    table = []
    with nginx(SERVER) as url:
        for rate in (1000, 5000):
            for _ in range(options.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    load = f'model = "constant", rate_per_s = {rate}, duration_s = {options.seconds * 2}'
                    run, _ = perflib_run(suite(url, load), GENERATOR, Path(folder))
                    late = run.query("select (start_ns - scheduled_ns) / 1e3 as us from measured").fetchnumpy()["us"]
                    begun = run.query("select start_ns from measured order by start_ns").fetchnumpy()["start_ns"]
                    health = run.scenario("load").record.workers[0]
                    achieved = (len(begun) - 1) / ((begun[-1] - begun[0]) / 1e9)
                    table.append(
                        (
                            f"{rate:,}",
                            f"{achieved / rate - 1:+.3%}",
                            f"{np.median(late):.0f}",
                            f"{np.quantile(late, 0.99):.0f}",
                            f"{late.max():,.0f}",
                            f"{late.min():.0f}",
                            f"{health.cpu_s / health.wall_s:.0%}",
                        )
                    )
    show(("rate /s", "achieved", "late µs: p50", "p99", "max", "min", "CPU of a core"), table)


def stall(options: argparse.Namespace) -> None:
    """Percentiles by each tool when a server of 1 ms freezes once for 2 s, at 500 requests/s intended for 20 s."""
    truth = {0.9: 1.0, 0.95: 1001.0, 0.99: 1801.0, 0.999: 1981.0}
    table = [("truth", "10,000", *(f"{ms:,.0f}" for ms in truth.values()), "")]
    with started("freeze", "0.001", "8", "2", core=SERVER) as url, tempfile.TemporaryDirectory() as folder:
        run, _ = perflib_run(
            suite(url, 'model = "constant", rate_per_s = 500, duration_s = 20').replace(
                "workers = 1", "workers = 1\nwarmup = { duration_s = 0 }"
            ),
            GENERATOR,
            Path(folder),
        )
        response = run.query("select response_ns / 1e6 as ms from rows where ok").fetchnumpy()["ms"]
        table.append(("perflib", f"{len(response):,}", *(f"{np.quantile(response, q):,.1f}" for q in truth), ""))
    with tempfile.TemporaryDirectory() as folder:
        for name, note, command, read in stall_peers(Path(folder)):
            with started("freeze", "0.001", "8", "2", core=SERVER) as url:
                table.append((name, *peer_stall(command, read, url), note))
    show(("tool", "answers", "p90 ms", "p95", "p99", "p99.9", ""), table)


Answers = Callable[[str], tuple[int, dict[float, float]]]  # output → answers, milliseconds by percentile


def stall_peers(folder: Path) -> list[tuple[str, str, list[str], Answers]]:
    """Other tools that send 500 requests a second for 20 s; wrk, which has no rate, keeps 50 connections busy."""
    peers: list[tuple[str, str, list[str], Answers]] = [
        ("hey", "50 users × 10 /s", ["hey", "-cpus", "1", "-z", "20s", "-c", "50", "-q", "10", "{url}"], read_hey),
        ("wrk", "closed, 50 connections", ["wrk", "-t1", "-c50", "-d20s", "--latency", "{url}"], read_wrk),
    ]
    for users in (50, 2000):
        script = folder / f"k6-{users}.js"
        script.write_text(
            "import http from 'k6/http';\n"
            "export const options = { discardResponseBodies: true,\n"
            "  summaryTrendStats: ['p(90)', 'p(95)', 'p(99)', 'p(99.9)'],\n"
            "  scenarios: { s: { executor: 'constant-arrival-rate', rate: 500, duration: '20s',\n"
            f"    preAllocatedVUs: {users}, maxVUs: {users} }} }} }};\n"
            "export default function () { http.get(__ENV.URL); }\n"
        )
        peers.append(
            (
                f"k6, {users:,} VUs",
                "constant-arrival-rate",
                [str(PEERS / "k6"), "run", "--quiet", "-e", "URL={url}", str(script)],
                read_k6,
            )
        )
    return peers


def peer_stall(command: list[str], read: Answers, url: str) -> tuple[str, ...]:
    text = subprocess.run(
        ["taskset", "-c", str(GENERATOR), *(part.replace("{url}", url) for part in command)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    answers, at = read(text)
    return f"{answers:,}", *(f"{at[q]:,.1f}" if q in at else "–" for q in (90.0, 95.0, 99.0, 99.9))


def read_hey(text: str) -> tuple[int, dict[float, float]]:
    at = {float(q): float(s) * 1e3 for q, s in re.findall(r"(\d+)% in ([0-9.]+) secs", text)}
    return sum(int(n) for n in re.findall(r"\[200\]\s+(\d+)", text)), at


def read_wrk(text: str) -> tuple[int, dict[float, float]]:
    factor = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    at = {float(q): float(t) * factor[unit] for q, t, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)", text)}
    return sum(int(n) for n in re.findall(r"(\d+) requests in", text)), at


def read_k6(text: str) -> tuple[int, dict[float, float]]:
    factor = {"µs": 1e-3, "ms": 1.0, "s": 1e3}
    line = next((line for line in text.splitlines() if "http_req_duration" in line), "")
    at = {float(q): float(t) * factor[unit] for q, t, unit in re.findall(r"p\(([\d.]+)\)=([\d.]+)(µs|ms|s)", line)}
    return sum(int(n) for n in re.findall(r"http_reqs[.\s]*:\s+(\d+)", text)), at


def queue(options: argparse.Namespace) -> None:
    """Poisson arrivals at a server of fixed service time D; the mean wait is ρD / (2(1 − ρ)) (Pollaczek–Khinchine)."""
    table = []
    for load in (0.5, 0.7, 0.9):
        with started("queue", "0.004", core=SERVER) as url, tempfile.TemporaryDirectory() as folder:
            full, _ = perflib_run(
                suite(url, f'model = "closed", concurrency = 4, duration_s = {options.seconds}'),
                GENERATOR,
                Path(folder),
            )
            # How long a request occupies the server, reading and writing included.
            service_s = 1 / full.summary()["scenarios"][0]["throughput_per_s"]
            text = suite(url, f'model = "poisson", rate_per_s = {load / service_s}, duration_s = {options.seconds * 8}')
            run, _ = perflib_run(text, GENERATOR, Path(folder))
            response = run.query("select response_ns / 1e6 as ms from measured order by scheduled_ns").fetchnumpy()[
                "ms"
            ]
            alone = run.query(
                "select quantile_cont(response_ns, 0.5) / 1e6 from measured where inflight = 1"
            ).fetchone()[0]
            wait = stats.mean_interval(response - alone)
            truth = load * service_s / (2 * (1 - load)) * 1e3
            arrivals_s = run.query("select scheduled_ns / 1e9 as t from measured order by 1").fetchnumpy()["t"]
            drawn = waits_s(arrivals_s, service_s).mean() * 1e3
            holds = "yes" if wait.low <= truth <= wait.high else "no"
            table.append(
                (
                    f"{load}",
                    f"{service_s * 1e3:.3f}",
                    f"{truth:.3f}",
                    f"{drawn:.3f}",
                    f"{wait.estimate:.3f}",
                    f"{wait.low:.3f} … {wait.high:.3f}",
                    holds,
                )
            )
    show(
        ("ρ", "D, ms", "true mean wait, ms", "of these arrivals", "measured", "95 % interval", "holds the truth"), table
    )


def ours(text: str) -> Measured:
    """perflib on one core: the rate of good answers, the CPU time of its worker, the generator's peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "skus.csv").write_text("sku\n" + "\n".join(f"sku-{n}" for n in range(1000)))
        run, _ = perflib_run(text, GENERATOR, Path(folder))
        figures = run.summary()["scenarios"][0]
        health = run.scenario("load").record.workers[0]
        if figures["errors"]:
            raise RuntimeError(f"errors: {figures['errors_by_class']}")
        rss = run.query("select max(rss_bytes) / 1e6 from resources where role = 'generator'").fetchone()[0]
        return Measured(figures["throughput_per_s"], health.cpu_s / health.rows * 1e6, rss)


TABLES = {
    table.__name__: table
    for table in (
        closed,
        variants,
        memory,
        callables,
        schedule,
        stall,
        queue,
        mcp,
        aa,
        neighbour,
        analysis,
        cluster,
        panel,
        journeys,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"default: all of {', '.join(TABLES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the memory table")
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(float(n)) for n in text.split(",")],
        default=[1_000_000, 10_000_000],
        metavar="N,…",
        help="rows of the analysis table's runs, as 1e6,1e7,1e8",
    )
    options = parser.parse_args()
    unknown = set(options.tables) - set(TABLES)
    if unknown:
        parser.error(f"no table {sorted(unknown)[0]!r}; there are {', '.join(TABLES)}")
    for name in options.tables or TABLES:
        print(f"## {name}\n{TABLES[name].__doc__}\n", flush=True)
        TABLES[name](options)


if __name__ == "__main__":
    main()
