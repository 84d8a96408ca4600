"""Helpers of the tables: the cores, alternating rounds, medians with their range, Markdown."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from tests.benchmarks.peers import Measured

GENERATOR, SERVER = 0, 1


def rounds(options: argparse.Namespace, measures: dict[str, Callable[[], Measured]]) -> dict[str, list[Measured]]:
    """Each measure once a round, in turn, so that a slow minute of the machine affects all of them."""
    results: dict[str, list[Measured]] = {name: [] for name in measures}
    for _ in range(options.rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def middle(values: Iterable[float]) -> str:
    """The median, with the range in brackets."""
    each = sorted(values)
    digits = "{:,.0f}" if abs(each[-1]) >= 100 else "{:.2f}"
    return f"{digits} [{digits} … {digits}]".format(statistics.median(each), each[0], each[-1])


def ratio(mine: list[Measured], theirs: list[Measured]) -> str:
    """The ratio of the rates, round by round; empty for a tool against itself."""
    return (
        "" if mine is theirs else middle(a.rate_per_s / b.rate_per_s for a, b in zip(mine, theirs, strict=True)) + " ×"
    )


def show(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)
