"""Whole runs for tests: started in this process, or by the command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import perflib
from tests.support.suites import pings

LONG_SUITE = (
    pings("long", {"steady": 'model = "constant", rate_per_s = 100, duration_s = 60'})
    + 'objectives = ["p95 response < 200 ms"]\n'
)


def run_quietly(suite: Any, tmp_path: Path, **options: Any) -> perflib.Run:
    """Run a suite in this process, its data below `tmp_path`, without a view of its progress."""
    return perflib.run(suite, data=tmp_path / "data", progress=False, **options)


def start_perflib_run(tmp_path: Path, suite: str) -> subprocess.Popen[str]:
    """`perflib run` on the text of a suite, in a process of its own that goes on."""
    (tmp_path / "s.toml").write_text(suite)
    command = [sys.executable, "-m", "perflib", "run", "s.toml"]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(tmp_path: Path, seconds: float) -> perflib.Run:
    """The newest run, so many seconds after its first rows were written."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if list(tmp_path.glob("data/runs/*/rows/*.parquet")):
            time.sleep(seconds)
            return perflib.open_run("latest", tmp_path / "data")
        time.sleep(0.05)
    raise AssertionError("no rows came")
