"""`python -I guard.py COMMAND…`: runs a target's command, copies what it prints without secrets, and ends it with
all that it started when the coordinator is gone, or when this process is killed itself.

Its stdin is a pipe from the coordinator: one line, a JSON list of the secrets, and then nothing. When that closes, for
whatever reason (a kill -9 too), the command and all its descendants are terminated, and killed if they do not end.

It is two processes: a watcher, which the coordinator starts, and its child, the keeper, which runs the command. Each
ends everything when the other one is killed. On Linux both adopt orphans (PR_SET_CHILD_SUBREAPER), so that descendants
which left the process group or the session are found as well, and the command itself is killed by the kernel with the
keeper (PR_SET_PDEATHSIG). Elsewhere only the process group is ended, which a daemon has left.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

TERMINATE_S: Final = 5.0
LOOK_S: Final = 0.5  # between two looks at whether the parent is still there
TAIL_S: Final = 1.0  # for the last output of a command that has ended, while another process holds its pipe
LONGEST_LINE_BYTES: Final = 65_536
REDACTED: Final = "•••".encode()
KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)


def main() -> NoReturn:
    """Exit code: that of the command; 128 + n where signal n ended it."""
    parent = os.getppid()
    secrets = [text.encode("utf-8", "surrogatepass") for text in json.loads(sys.stdin.buffer.readline() or b"[]")]
    if os.name != "posix":
        _keep(sys.argv[1:], secrets, 0, parent)
    adopt_orphans()
    below, above = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(above)
        os.dup2(below, 0)
        _keep(sys.argv[1:], secrets, 0, os.getppid())
    os.close(below)
    _close_output()
    _watch(keeper, above, parent)


def _watch(keeper: int, above: int, parent: int) -> NoReturn:
    """Wait for the keeper, tell it when the coordinator is gone, and end what it leaves behind."""

    def tell() -> None:
        _wait_for_end(0, parent)
        os.close(above)

    threading.Thread(target=tell, daemon=True).start()
    _, status = os.waitpid(keeper, 0)
    end_descendants(KILL)
    os._exit(_as_shell(os.waitstatus_to_exitcode(status)))


def _keep(command: list[str], secrets: list[bytes], pipe: int, parent: int) -> NoReturn:
    """Run the command until it ends, or until the pipe does."""
    adopt_orphans()
    own_group: dict[str, Any] = (
        {"start_new_session": True, "preexec_fn": die_with_parent()} if os.name == "posix" else {}
    )
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **own_group
        )
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error.strerror}", file=sys.stderr)
        os._exit(127)
    assert process.stdout is not None
    copying = threading.Thread(
        target=copy_without, args=(process.stdout.fileno(), lambda data: os.write(1, data), secrets), daemon=True
    )
    copying.start()
    threading.Thread(target=_end_with, args=(process, pipe, parent), daemon=True).start()
    code = process.wait()
    end_descendants(KILL)
    copying.join(TAIL_S)
    os._exit(_as_shell(code))


def _as_shell(code: int) -> int:
    """A return code as a shell gives it: 128 + n after signal n."""
    return code if code >= 0 else 128 - code


def _end_with(process: subprocess.Popen[bytes], pipe: int, parent: int) -> None:
    """End the command when the pipe or the parent has ended: first its group and its descendants are asked to."""
    _wait_for_end(pipe, parent)
    if os.name != "posix":
        process.terminate()
        return
    _signal_group(process.pid, signal.SIGTERM)
    end_descendants(signal.SIGTERM, outside=process.pid)
    until = time.monotonic() + TERMINATE_S
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    _signal_group(process.pid, KILL)
    end_descendants(KILL)


def _wait_for_end(pipe: int, parent: int) -> None:
    """Return when the pipe ends, or when this process has got another parent."""
    if os.name != "posix":
        os.read(pipe, 1)
        return
    while os.getppid() == parent:
        if select.select([pipe], [], [], LOOK_S)[0] and not os.read(pipe, 4096):
            return


def copy_without(source: int, write: Callable[[bytes], object], secrets: Iterable[bytes]) -> None:
    """Copy lines from a file descriptor until it ends, without secrets. A line that is too long is cut in two."""
    rest, known = b"", list(secrets)
    overlap = max(map(len, known), default=0)
    while True:
        try:
            data = os.read(source, LONGEST_LINE_BYTES)
        except OSError:
            data = b""
        whole, newline, rest = (rest + data).rpartition(b"\n") if data else (rest, b"", b"")
        if len(rest) > 2 * LONGEST_LINE_BYTES + overlap:
            cleared = _without(rest, known)
            whole, newline, rest = (
                whole + newline + cleared[: -overlap or None],
                b"",
                cleared[-overlap:] * bool(overlap),
            )
        with contextlib.suppress(OSError):  # a full disk does not end the target
            write(_without(whole + newline, known))
        if not data:
            return


def _without(data: bytes, secrets: list[bytes]) -> bytes:
    for secret in secrets:
        data = data.replace(secret, REDACTED)
    return data


def die_with_parent() -> Callable[[], None] | None:
    """What a child calls before it becomes another program, so that the kernel kills it with this process; else None.

    Linux counts the thread that starts the child as the parent: that must not end before the child should.
    """
    prctl = _prctl()
    if prctl is None:
        return None
    return lambda: prctl(_SET_PDEATHSIG, int(KILL), 0, 0, 0) and None


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end, where the system has that."""
    if (prctl := _prctl()) is not None:
        prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prctl() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None


def end_descendants(number: int, outside: int = 0) -> None:
    """Signal all descendants of this process, outside of a group if one is given; kills until none is left."""
    for _ in range(50):
        found = _descendants(os.getpid())
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if not outside or os.getpgid(pid) != outside:
                    os.kill(pid, number)
        if not found or number != KILL:
            return
        time.sleep(0.01)


def _descendants(of: int) -> list[int]:
    """The processes below this one, as /proc has them; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_bytes().rpartition(b") ")[2].split(b" ", 2)[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found, left = [], [of]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _close_output() -> None:
    """Point stdout and stderr of the watcher to nowhere: the keeper alone writes the log."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


if __name__ == "__main__":
    main()
