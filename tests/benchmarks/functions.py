"""Functions whose harness cost is measured."""

from __future__ import annotations

import time
from typing import Final

SUITE: Final = """
name = "callables"
[targets.f]
kind = "callable"
function = "tests.benchmarks.functions:{name}"
[[scenarios]]
name = "load"
target = "f"
operations = [{{ name = "call" }}]
load = {{ {load} }}
workers = {workers}
"""


def suite(name: str, load: str, workers: int) -> str:
    """A suite that calls one of the functions below."""
    return SUITE.format(name=name, load=load, workers=workers)


def nothing() -> None:
    pass


async def nothing_async() -> None:
    pass


def spin() -> None:
    until = time.perf_counter_ns() + 100_000
    while time.perf_counter_ns() < until:
        pass
