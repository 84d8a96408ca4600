"""Other load generators, each as one command that loads a URL in a closed loop, and how to read its output."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers" / "bin"


@dataclass(frozen=True)
class Measured:
    """One tool in one round."""

    rate_per_s: float
    cpu_us_per_request: float
    rss_mb: float


@dataclass(frozen=True)
class Tool:
    """A tool, its command line, `command(url, connections, seconds, folder)`, and `rate(output)`, in requests/s."""

    name: str
    command: Callable[[str, int, int, Path], list[str]]
    rate: Callable[[str], float]

    @property
    def installed(self) -> bool:
        return shutil.which(self.command("", 1, 1, Path(tempfile.gettempdir()))[0]) is not None

    def measure(self, url: str, connections: int, seconds: int, core: int) -> Measured:
        """Run it on one core. CPU time and memory are those of the whole process, its start included."""
        with tempfile.TemporaryDirectory() as folder:
            command = ["taskset", "-c", str(core), *self.command(url, connections, seconds, Path(folder))]
            # A small process starts it: the peak that the kernel reports for a child begins with that of its parent.
            ran = subprocess.run(
                [sys.executable, "-IS", "-c", _STARTER, *command],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"K6_NO_USAGE_REPORT": "true"},
            )
        text, _, usage = ran.stdout.rpartition("\n")
        cpu_s, rss_kb = map(float, usage.split())
        rate = self.rate(text)
        return Measured(rate, cpu_s / max(rate * seconds, 1) * 1e6, rss_kb / 1024)


_STARTER = """
import resource, subprocess, sys
ran = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
sys.stdout.buffer.write(ran.stdout)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
sys.stdout.write(f"\\n{used.ru_utime + used.ru_stime} {used.ru_maxrss}")
"""


def rate_by(pattern: str) -> Callable[[str], float]:
    """A function that reads a rate from a tool's output, as the first group of a regular expression."""

    def rate(text: str) -> float:
        match = re.search(pattern, text)
        if match is None:
            raise RuntimeError(f"cannot read a rate from: {text[-600:]}")
        return float(match[1].replace(",", ""))

    return rate


def wrk(script: str = "") -> Tool:
    """With a Lua script for anything but a plain GET."""

    def command(url: str, connections: int, seconds: int, folder: Path) -> list[str]:
        lua = folder / "script.lua"
        if script:
            lua.write_text(script)
        return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *(["-s", str(lua)] if script else []), url]

    return Tool("wrk", command, rate_by(r"Requests/sec:\s+([\d.]+)"))


HEY = Tool(
    "hey",
    lambda url, c, s, _: ["hey", "-cpus", "1", "-z", f"{s}s", "-c", str(c), url],
    rate_by(r"Requests/sec:\s+([\d.]+)"),
)
AB = Tool(
    "ab -k",
    lambda url, c, s, _: ["ab", "-q", "-k", "-t", str(s), "-n", "100000000", "-c", str(c), url + "/"],
    rate_by(r"Requests per second:\s+([\d.]+)"),
)
AB_CLOSE = Tool(
    "ab",
    lambda url, c, s, _: ["ab", "-q", "-t", str(s), "-n", "100000000", "-c", str(c), url + "/"],
    rate_by(r"Requests per second:\s+([\d.]+)"),
)
H2LOAD = Tool(
    "h2load --h1",
    lambda url, c, s, _: ["h2load", "--h1", "-t1", f"-c{c}", f"-D{s}", url],
    rate_by(r"finished in [\d.]+m?s, ([\d.]+) req/s"),
)


def _k6(url: str, connections: int, seconds: int, folder: Path) -> list[str]:
    (folder / "script.js").write_text(
        "import http from 'k6/http';\n"
        f"export const options = {{ vus: {connections}, duration: '{seconds}s', discardResponseBodies: true }};\n"
        f"export default function () {{ http.get('{url}/'); }}\n"
    )
    return [str(PEERS / "k6"), "run", "--quiet", str(folder / "script.js")]


def _locust(url: str, connections: int, seconds: int, folder: Path) -> list[str]:
    (folder / "locustfile.py").write_text(
        "from locust import FastHttpUser, task\n\n\n"
        "class User(FastHttpUser):\n    @task\n    def get(self):\n        self.client.get('/')\n"
    )
    return [
        str(PEERS / "locust"),
        "-f",
        str(folder / "locustfile.py"),
        "--headless",
        "-u",
        str(connections),
        "-r",
        str(connections),
        "-t",
        f"{seconds}s",
        "-H",
        url,
        "--only-summary",
        "--json",
        "--loglevel",
        "ERROR",
    ]


def _locust_rate(text: str) -> float:
    entries = json.loads(text[text.index("[") : text.rindex("]") + 1])
    first, last = min(e["start_time"] for e in entries), max(e["last_request_timestamp"] for e in entries)
    return float(sum(e["num_requests"] for e in entries) / (last - first))


K6 = Tool("k6", _k6, rate_by(r"http_reqs[.\s]*:\s+\d+\s+([\d.]+)/s"))
LOCUST = Tool("Locust FastHttpUser", _locust, _locust_rate)


def perflib_run(suite: str, core: int | None, folder: Path, *options: str) -> tuple[object, float]:
    """Run a suite by the command line, all of perflib on one core. Returns the Run and the wall time, s."""
    import perflib

    (folder / "suite.toml").write_text(suite)
    pin = ["taskset", "-c", str(core)] if core is not None else []
    began = time.monotonic()
    ran = subprocess.run(
        [*pin, sys.executable, "-m", "perflib", "run", "suite.toml", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if not ran.stdout.strip():
        raise RuntimeError(ran.stderr)
    return perflib.open_run(ran.stdout.split()[-1], folder / "data"), time.monotonic() - began
