"""The command line in processes that are killed, paired or limited, and what is left of them afterwards."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

GONE_S = 20.0  # after which a process that is still there is an orphan
END_S = 90.0  # within which a command ends whose helper was killed
PRELOADED = ["perflib.cli", "perflib.experiments.run", "perflib.experiments.ab", "perflib.verdicts.history"]
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
SUITE = """
name = "campaign"
[targets.api]
kind = "http"
url = "http://127.0.0.1:{port}"
start = ["{python}", "server.py", "{port}"]
ready = { timeout_s = 60 }
[[scenarios]]
name = "steady"
target = "api"
warmup = { duration_s = 0.1 }
load = { model = "constant", rate_per_s = 100, duration_s = 3 }
operations = [{ name = "get", path = "/" }]
objectives = ["error rate < 50 %"]
"""


def prepare(folder: Path) -> None:
    """Write a suite with its server into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.py").write_text(SERVER)
    (folder / "s.toml").write_text(SUITE)


def start(folder: Path, arguments: Sequence[str], limits: Sequence[tuple[int, int]] = ()) -> BaseProcess:
    """`perflib ARGUMENTS` in a folder, forked from a process that has imported it, so that it begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_perflib, args=(str(folder), list(arguments), list(limits)))
    process.start()
    return process


def _perflib(folder: str, arguments: list[str], limits: list[tuple[int, int]]) -> None:
    import resource

    os.setsid()
    os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    out = os.open("printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    for limit, value in limits:
        resource.setrlimit(limit, (value, value))
    from perflib.cli import main

    main(arguments)


def whole(folder: Path, *arguments: str) -> int | None:
    """Run a command to its end: its exit code."""
    process = start(folder, arguments)
    process.join(END_S)
    return process.exitcode


def victim_of(process: BaseProcess, role: str) -> int | None:
    """The process of a run with this role: coordinator, worker, watcher, keeper, target; None while there is none."""
    if role == "coordinator":
        return process.pid
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            words = " ".join(child.cmdline())
            above = " ".join(child.parent().cmdline()) if child.parent() else ""
            is_guard = "guard.py" in words
            found = (
                "worker" if "generator.worker" in words
                else "watcher" if is_guard and "guard.py" not in above
                else "keeper" if is_guard
                else "target" if "server.py" in words
                else ""
            )  # fmt: skip
            if found == role:
                return child.pid
    return None


def kill(pid: int | None) -> bool:
    """Whether there was such a process to kill."""
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def orphans(folder: Path, wait_s: float = GONE_S) -> list[str]:
    """The processes that still work in this folder after a while; they are killed then."""
    until = time.monotonic() + wait_s
    while left := [process for process in psutil.process_iter() if _is_in(process, folder)]:
        if time.monotonic() > until:
            said = []
            for process in left:
                with contextlib.suppress(psutil.Error):
                    said.append(" ".join(process.cmdline())[:200])
                    process.kill()
            return said
        time.sleep(0.1)
    return []


def _is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return (
            process.pid != os.getpid() and Path(process.cwd()).is_relative_to(folder) and process.status() != "zombie"
        )
    except (psutil.Error, OSError):
        return False


def printed(folder: Path) -> str:
    """What the commands in this folder have printed."""
    file = folder / "printed.txt"
    return file.read_text("utf-8", "replace") if file.exists() else ""
