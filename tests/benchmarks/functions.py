"""Functions whose harness cost is measured."""

from __future__ import annotations

import time


def nothing() -> None:
    pass


async def nothing_async() -> None:
    pass


def spin() -> None:
    until = time.perf_counter_ns() + 100_000
    while time.perf_counter_ns() < until:
        pass
