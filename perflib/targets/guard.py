"""`python -I guard.py COMMAND…`: runs a target's command, and ends it when the coordinator is gone.

Its stdin is a pipe from the coordinator. When that closes, for whatever reason (a kill -9 too), the command's whole
process group is terminated, and killed if it does not end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import NoReturn

TERMINATE_S = 5.0


def main() -> NoReturn:
    """Exit code: that of the command."""
    own_group = {"start_new_session": True} if os.name == "posix" else {}
    try:
        process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, **own_group)  # type: ignore[call-overload]
    except OSError as error:
        print(f"cannot start {sys.argv[1]!r}: {error.strerror}", file=sys.stderr)
        os._exit(127)
    threading.Thread(target=_watch, args=(process,), daemon=True).start()
    code = process.wait()
    os._exit(code if code >= 0 else 128 - code)


def _watch(process: subprocess.Popen[bytes]) -> None:
    sys.stdin.buffer.read()
    _signal(process, signal.SIGTERM)
    until = time.monotonic() + TERMINATE_S
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    _signal(process, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        if os.name == "posix":
            os.killpg(process.pid, number)
        else:
            process.terminate()
    except (ProcessLookupError, PermissionError):
        pass


if __name__ == "__main__":
    main()
