"""The state of the load generator itself: CPU, pauses of its event loop, garbage collections."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any, Final

INTERVAL_S: Final = 0.01


class Health:
    """Measures while there is load: start() … stop(), as often as needed; then summary()."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._pauses_ns = loop, []  # type: tuple[asyncio.AbstractEventLoop, list[int]]
        self._handle: asyncio.TimerHandle | None = None
        self._collections = self._collecting_ns = self._collection_began_ns = 0
        self._spent = (0.0, 0.0, 0.0)
        self._own_pauses_ns = 0  # in which the loop itself was at work

    def start(self) -> None:
        """Measure until `stop`. May be called again after it."""
        self._began = self._now()
        gc.callbacks.append(self._collected)
        self._called_at_ns, self._cpu_s = time.monotonic_ns(), _thread_time()
        self._handle = self._loop.call_later(INTERVAL_S, self._call_back)

    def stop(self) -> None:
        wall_s, cpu_s, loop_s = (now - then for now, then in zip(self._now(), self._began, strict=True))
        self._spent = (self._spent[0] + wall_s, self._spent[1] + cpu_s, self._spent[2] + loop_s)
        if self._handle is not None:
            self._handle.cancel()
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def summary(self) -> dict[str, Any]:
        import numpy as np

        pauses_ms = np.array(self._pauses_ns or [0]) / 1e6
        wall_s, cpu_s, loop_s = self._spent
        return {
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "loop_cpu_s": loop_s,
            "loop_pause_ms": {"p50": float(np.quantile(pauses_ms, 0.5)), "p99": float(np.quantile(pauses_ms, 0.99)),
                              "p99_9": float(np.quantile(pauses_ms, 0.999)), "max": float(pauses_ms.max())},
            "own_pause_share": self._own_pauses_ns / max(1, sum(self._pauses_ns)),
            "gc_count": self._collections,
            "gc_ms": self._collecting_ns / 1e6,
        }  # fmt: skip

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.monotonic(), time.process_time(), _thread_time()

    def _call_back(self) -> None:
        """Measure how late the event loop called back. Its timers round to a millisecond."""
        now, cpu_s = time.monotonic_ns(), _thread_time()
        pause_ns = max(0, now - self._called_at_ns - int(INTERVAL_S * 1e9))
        self._pauses_ns.append(pause_ns)
        if (cpu_s - self._cpu_s) * 1e9 > pause_ns / 2:
            self._own_pauses_ns += pause_ns
        self._called_at_ns, self._cpu_s = now, cpu_s
        self._handle = self._loop.call_later(INTERVAL_S, self._call_back)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collection_began_ns = time.monotonic_ns()
        else:
            self._collections += 1
            self._collecting_ns += time.monotonic_ns() - self._collection_began_ns


def late_ms(counts: list[int]) -> dict[str, float]:
    """Quantiles of lateness from counts by powers of two of a nanosecond: upper bounds, at most twice too large."""
    import numpy as np

    total, below = sum(counts), np.cumsum(counts)
    exponents = {
        name: int(np.searchsorted(below, share * total)) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    return {name: 2**k / 1e6 if total else 0.0 for name, k in exponents.items()}


def _thread_time() -> float:
    return time.thread_time() if threading.current_thread() is threading.main_thread() else 0.0
