"""Two Dask workers against two worker processes on this machine: the cost, and whether shards begin together."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import ROOT, perflib_run
from tests.benchmarks.tables import GENERATOR, SERVER, middle, show
from tests.support.timed_servers import free_port, nginx

PAIRS = 4  # at least
USERS = 64
SUITE = """
name = "cluster"
[targets.api]
kind = "http"
url = "{url}"
[[scenarios]]
name = "load"
target = "api"
operations = [{{ name = "get", path = "/" }}]
load = {{ model = "closed", concurrency = {users}, duration_s = {seconds} }}
workers = 2
"""


@dataclass(frozen=True)
class ClusterRun:
    """One run: its rate, the CPU time a request of workers and coordinator, and how far apart the two shards began."""

    rate_per_s: float
    worker_us: float
    coordinator_us: float
    skew_ms: float


def cluster(options: argparse.Namespace) -> None:
    """A closed load of 64 users by two workers, without Dask (A) and with it (B), ABAB, all generators on one core.

    Goals: B reaches at least 0.95 of A's rate, and its shards begin at most 5 ms apart.
    """
    pairs: list[tuple[ClusterRun, ClusterRun]] = []
    with nginx(SERVER) as url, dask(2) as address:
        text = SUITE.format(url=url, users=USERS, seconds=options.seconds)
        for _ in range(max(PAIRS, options.rounds)):
            pairs.append((measure(text), measure(text, "--dask", address)))
    ours, theirs = zip(*pairs, strict=True)
    ratios = middle(b.rate_per_s / a.rate_per_s for a, b in pairs) + " ×"
    show(
        ("two workers", "requests/s", "of ours", "CPU µs a request: workers", "coordinator", "shards begin apart, ms"),
        [
            (
                name,
                middle(m.rate_per_s for m in each),
                of,
                middle(m.worker_us for m in each),
                middle(m.coordinator_us for m in each),
                middle(m.skew_ms for m in each),
            )
            for name, each, of in (("of our own", ours, ""), ("of a Dask cluster", theirs, ratios))
        ],
    )
    print(f"({len(pairs)} pairs of {options.seconds} s; load of the machine after it: {os.getloadavg()[0]:.1f})\n")


def measure(text: str, *words: str) -> ClusterRun:
    """Run the suite by the command line with these options. RuntimeError where a request failed."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = perflib_run(text, GENERATOR, Path(folder), *words)
        figures = run.summary()["scenarios"][0]
        if figures["errors"]:
            raise RuntimeError(f"errors: {figures['errors_by_class']}")
        workers = run.scenario("load").record.workers
        rows, cpu_s = (sum(getattr(worker, key) for worker in workers) for key in ("rows", "cpu_s"))
        spent = "select (max(cpu_ns) - min(cpu_ns)) / 1e9 from resources where role = 'coordinator'"
        return ClusterRun(
            figures["throughput_per_s"], cpu_s / rows * 1e6, run.query(spent).fetchone()[0] / rows * 1e6, _skew_ms(run)
        )


def _skew_ms(run: Any) -> float:
    """How far apart the shards began in true time. All clocks are one here: an offset that was measured is an error."""
    off_ns = {worker: clock.offset_ns for clock in run.scenario("load").record.clocks for worker in clock.workers}
    first = run.query("select worker, min(start_ns) from rows group by worker").fetchall()
    begins = [start_ns + off_ns.get(worker, 0) for worker, start_ns in first]
    return (max(begins) - min(begins)) / 1e6


@contextlib.contextmanager
def dask(workers: int) -> Iterator[str]:
    """A scheduler and Dask workers, on the generator's core. Yields its address."""
    from distributed import Client

    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    worker = ["dask_worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard"]
    started = [_start(scheduler), *(_start(worker) for _ in range(workers))]
    try:
        with Client(address, timeout=60) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address
    finally:
        for process in reversed(started):
            process.kill()
            process.wait(10)


def _start(words: list[str]) -> subprocess.Popen[bytes]:
    command = ["taskset", "-c", str(GENERATOR), sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
