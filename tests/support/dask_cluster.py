"""A Dask cluster of two "machines" on this one, of which the second has another clock."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
AHEAD_S = 3600
HAS_OTHER_CLOCK = shutil.which("unshare") is not None and subprocess.run(
    ["unshare", "--time", "--monotonic", "1", "true"], capture_output=True, check=False
).returncode == 0  # fmt: skip


class DaskCluster:
    """A scheduler and two workers; the second one's clock is an hour ahead where this machine can do that."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self.workers = [self.worker(), self.worker(ahead=HAS_OTHER_CLOCK)]

    def worker(self, ahead: bool = False) -> subprocess.Popen[bytes]:
        return self._start("worker", self.address, "--nthreads", "2", "--no-nanny", "--no-dashboard", ahead=ahead)

    def _start(self, *words: str, ahead: bool = False) -> subprocess.Popen[bytes]:
        before = ["unshare", "--time", "--monotonic", str(AHEAD_S)] if ahead else []
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [
            *before,
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler" if words[0] == "scheduler" else "distributed.cli.dask_worker",
            *words[1:],
        ]
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
