"""Targets that perflib starts itself: their port, their process under a guard, their readiness and their end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from perflib.errors import TargetError
from perflib.suite.environment import from_environment
from perflib.suite.redaction import known_secrets, struck_out
from perflib.suite.target import McpTargetSpec, Target
from perflib.targets import guard
from perflib.targets.connection import Address
from perflib.targets.exchange import accepts, get
from perflib.text import one_line

LAST_LINES: Final = 3  # of its log, that say why a target ended
LOOK_S: Final = 2.0  # that one look at whether it is ready may take, in total
LONGEST_READY_BYTES: Final = 1_000_000


class StartedTarget:
    """One started command. `spec` has its port filled in; `pids` are its processes, the guard left out."""

    def __init__(self, name: str, spec: Target, *, log: Path, folder: str) -> None:
        self.name, self.log, self._folder = name, log, folder
        self._seen: list[int] = []  # its processes, each the first of its group
        self.spec = fill_port(spec)
        where = f"targets.{name}"
        env = {**os.environ, **{key: from_environment(value, f"{where}.env.{key}") for key, value in spec.env.items()}}
        command = [from_environment(part, f"{where}.start") for part in self.spec.start]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, *command],  # it needs the standard library only
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=str(Path(folder) / spec.cwd) if spec.cwd else folder or None,
                env=env,
                start_new_session=os.name == "posix",
            )
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already, which `wait_ready` says
            self._guard.stdin.write(json.dumps(known_secrets()).encode() + b"\n")
            self._guard.stdin.flush()

    @property
    def pids(self) -> list[int]:
        try:
            below = psutil.Process(self._guard.pid).children()
            self._seen = [
                child.pid for keeper in below for child in (keeper.children() if os.name == "posix" else [keeper])
            ]
        except psutil.Error:
            return []
        return self._seen

    @property
    def alive(self) -> bool:
        return self._guard.poll() is None

    def wait_ready(self) -> None:
        """Return when it answers. Raises TargetError with the last line of its log where it does not in time."""
        until, why = time.monotonic() + self.spec.ready.timeout_s, ""
        while time.monotonic() < until:
            if not self.alive:
                raise TargetError(
                    f"it ended with code {self._guard.returncode} before it was ready{self._last_words()}",
                    where=f"targets.{self.name}",
                    mend=f"its output is in {self.log}",
                )
            why = why_unready(self.spec, self._folder)
            if not why:
                return
            time.sleep(0.05)
        self.stop()
        raise TargetError(
            f"not ready after {self.spec.ready.timeout_s:g} s ({why}){self._last_words()}",
            where=f"targets.{self.name}",
            mend=f"its output is in {self.log}; raise ready.timeout_s if it is only slow",
        )

    def stop(self) -> int | None:
        """End it and all that it started; its exit code."""
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        try:
            return self._guard.wait(10)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            return None
        finally:
            self._end_groups()

    def _end_groups(self) -> None:
        """Kill what is left of the target's processes where the guard was killed, and could not do so itself."""
        for pid in self._seen if os.name == "posix" else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def describe_end(self) -> str:
        """How it ended: its exit code, or the signal that ended it, and the last lines of its log."""
        code = self._guard.returncode
        how = f"exit code {code}"
        if code is not None and code > 128:  # as a shell says it; see guard
            with contextlib.suppress(ValueError):
                how = f"ended by {signal.Signals(code - 128).name}"
        lines = [line.strip()[:200] for line in self._log_lines()[-LAST_LINES:]]
        return f"{how}; its last words: {' / '.join(lines)}" if lines else f"{how}, and it wrote nothing"

    def _last_words(self) -> str:
        lines = self._log_lines()
        return f": {lines[-1][:200]}" if lines else ""

    def _log_lines(self) -> list[str]:
        return [line for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]


def why_unready(spec: Target, folder: str = "") -> str:
    """Why a target may not be loaded yet, in a line; "" where its ready path answers below 400, or its port accepts.

    It is reached as the load reaches it.
    """
    try:
        address = Address.of(spec, "url", folder)
        if not address.host:
            return ""
        if spec.ready.http:
            status, _ = get(address, spec.ready.http, timeout_s=LOOK_S, most_bytes=LONGEST_READY_BYTES)
            return "" if status < 400 else f"{spec.ready.http} answers with status {status}"
        accepts(address, LOOK_S)
    except (OSError, ValueError) as error:
        return one_line(struck_out(str(error) or "no answer in time"), 200)
    return ""


def fill_port(spec: Target) -> Target:
    """{port} is one free port, {python} this interpreter, in the url, the start command and its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        values = {"port": str(probe.getsockname()[1]), "python": sys.executable}

    def fill(text: str) -> str:
        return re.sub(r"\{(port|python)\}", lambda match: values[match[1]], text)

    env = {key: fill(value) for key, value in spec.env.items()}
    filled = replace(spec, url=fill(spec.url) if spec.url else None, start=tuple(map(fill, spec.start)), env=env)
    return replace(filled, command=tuple(map(fill, filled.command))) if isinstance(filled, McpTargetSpec) else filled
