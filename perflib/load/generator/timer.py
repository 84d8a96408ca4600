"""A timer that wakes an event loop at an absolute time of the monotonic clock, to within tens of microseconds.

On Linux a timerfd, since `loop.call_at` rounds to a millisecond and uvloop's fires early; elsewhere `call_later`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC, _ABSOLUTE = 1, 0o2000000 | 0o4000, 1
_ITIMERSPEC: Final = struct.Struct("@qqqq")


class Timer:
    """Timer(loop, callback).set(when_ns): calls back once at or after that time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._fd = _timerfd() if sys.platform == "linux" else -1
        self._handle: asyncio.TimerHandle | None = None
        if self._fd >= 0:
            loop.add_reader(self._fd, self._fired)
            self._libc = ctypes.CDLL(None)

    def set(self, when_ns: int) -> None:
        """Call back at this time, and no more at one that was set before."""
        if self._fd >= 0:
            spec = _ITIMERSPEC.pack(0, 0, *divmod(max(when_ns, 1), 1_000_000_000))
            self._libc.timerfd_settime(self._fd, _ABSOLUTE, spec, None)
        else:
            delay_s = max(0.0, (when_ns - time.monotonic_ns()) / 1e9)
            self._handle = self._loop.call_later(delay_s, self._callback)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._handle is not None:
            self._handle.cancel()

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set again meanwhile
        self._callback()


def _timerfd() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC))
