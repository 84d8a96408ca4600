"""Worker processes are started here, the first one of a command ahead of its job.

Half of the time from `perflib run` to its first request is Python importing modules, once in the coordinator and once
in the worker. Where the worker is started first, both import at the same time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_ahead: list[tuple[subprocess.Popen[bytes], dict[str, str], Path]] = []  # with its environment and working directory


@contextlib.contextmanager
def started_ahead() -> Iterator[None]:
    """Start a worker process for the first job of this block. At its end the process is killed if no job used it."""
    environment, folder = dict(os.environ), Path.cwd()
    _ahead.append((_started(environment), environment, folder))
    try:
        yield
    finally:
        _end_those_left()


def worker_process(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process that waits for its job on stdin: the one that was started ahead, if it has this very environment."""
    if _ahead and _ahead[0][1:] == (dict(environment), Path.cwd()):
        return _ahead.pop()[0]
    return _started(environment)


def _started(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "perflib.load.generator.worker"],  # not from the working directory
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        start_new_session=os.name == "posix",  # a Ctrl-C reaches the coordinator alone
    )


def _end_those_left() -> None:
    for process, _, _ in _ahead:
        process.kill()
        process.communicate()
    _ahead.clear()
