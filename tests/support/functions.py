"""Functions that worker processes import by name and call as a target: "tests.support.functions:nap"."""

from __future__ import annotations

import asyncio
import os
import time


async def nap() -> dict[str, int]:
    await asyncio.sleep(0.05)
    return {"id": 1}


def nap_in_a_thread() -> None:
    time.sleep(0.05)


def fast(n: str) -> None:
    time.sleep(0.001)


def slow(n: str) -> None:
    time.sleep(0.004)


async def nothing_async() -> None:
    """Return at once."""


async def block_the_loop() -> None:
    """Hold the worker's event loop up for 2 ms."""
    time.sleep(0.002)


_is_slow: bool | None = None


async def slow_in_one_worker() -> None:
    """Take 20 ms in the worker that is the first to make the file named by SLOW_ONE, 4 ms in the others."""
    global _is_slow
    if _is_slow is None:
        try:
            os.close(os.open(os.environ["SLOW_ONE"], os.O_CREAT | os.O_EXCL))
            _is_slow = True
        except FileExistsError:
            _is_slow = False
    await asyncio.sleep(0.02 if _is_slow else 0.004)


def added(seconds: float, times: list[int], label: str = "x") -> float:
    """Adds some numbers."""
    return seconds + sum(times)
