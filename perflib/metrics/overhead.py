"""The overhead ladder: the same operation called in several ways, each compared with the one that it extends.

A round calls every operation once, in random order, and differences are taken within rounds, so that a slow moment of
the machine affects all operations alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.errors import RunError
from perflib.stats import Interval
from perflib.store.recording import Recording, ScenarioRun
from perflib.text import number

Values = NDArray[np.float64]
BELOW: Final = {
    "tool layer": "direct",
    "in memory": "tool layer",
    "stdio": "in memory",
    "stdio, SDK": "stdio",
    "HTTP": "stdio",
    "HTTP, SDK": "HTTP",
    "SSE": "HTTP",
    "SSE, SDK": "SSE",
    "REST": "direct",
    "session per call": "HTTP",
    "session per call, SDK": "session per call",
}
_WAYS: Final = ("direct", "tool layer", "HTTP", "HTTP, SDK")
_COMPARED: Final = (*_WAYS, "REST", "session per call")


@dataclass(frozen=True)
class Rung:
    """One way: its response time, ms, and how much more it takes than the way it builds on, pair by pair."""

    operation: str
    p50: Interval
    p99: Interval
    below: str | None
    more: Interval | None
    requests: int


@dataclass(frozen=True)
class Part:
    """A share of what a call over MCP takes, ms: the median over the rounds."""

    name: str
    takes: Interval


def rounds(scenario: ScenarioRun) -> dict[str, dict[str, Values]]:
    """Response and server times, ms, of every operation by round; only rounds in which all succeeded.

    Server time is NaN where none was said.
    """
    names = list(scenario.operations)
    rows = scenario.run.query(
        "with each as (select *, (row_number() over (partition by worker order by seq) - 1) // ? as round from rows "
        "where scenario = ? and phase = 'measure'), "
        "whole as (select worker, round from each group by all having count(*) = ? and bool_and(ok)) "
        "select operation, response_ns / 1e6 as response, server_ns / 1e6 as server from each join whole using "
        "(worker, round) order by worker, round, seq",
        [len(names), scenario.name, len(names)],
    ).df()
    first = len(rows) // len(names) // 20  # the first rounds connect, and warm what is cold
    found = {}
    for name in names:
        mine = rows[rows["operation"] == name]
        found[name] = {key: mine[key].to_numpy(float)[first:] for key in ("response", "server")}
    return found


def is_ladder(scenario: ScenarioRun) -> bool:
    """Whether the operations of a scenario are the ways that the sentence about the overhead compares."""
    return {*scenario.operations} >= {*_COMPARED}


def ladder_of(run: Recording) -> ScenarioRun:
    """The first scenario that is a ladder. Raises RunError where there is none."""
    for scenario in run.scenarios:
        if is_ladder(scenario):
            return scenario
    raise RunError(
        "no scenario of this run has every way to call the service", where=run.id, mend="make one: perflib run overhead"
    )


def rungs(scenario: ScenarioRun, below: dict[str, str] | None = None) -> list[Rung]:
    """Every operation in the suite's order."""
    times, under = rounds(scenario), BELOW if below is None else below
    made = []
    for name, values in times.items():
        taken, base = values["response"], under.get(name)
        more = stats.paired_difference(times[base]["response"], taken) if base in times else None
        p50, p99 = (stats.quantile_interval(taken, q) for q in (0.5, 0.99))
        made.append(Rung(name, p50, p99, base if more else None, more, len(taken)))
    return made


def parts(scenario: ScenarioRun) -> list[Part]:
    """What a call over streamable HTTP by the SDK's client is made of, from the inside out; nothing where a way is
    missing."""
    times = rounds(scenario)
    if not times.keys() >= set(_WAYS):
        return []

    def median(values: Values) -> Interval:
        known = values[np.isfinite(values)]
        return stats.quantile_interval(known, 0.5)

    direct, layer, http, sdk = (times[name] for name in _WAYS)
    return [
        Part("the function itself", median(direct["response"])),
        Part("the server's tool layer", median(layer["response"] - direct["response"])),
        Part("the server's handling of messages", median(http["server"] - layer["response"])),
        Part("HTTP: the server's stack, sockets, our client", median(http["response"] - http["server"])),
        Part("the SDK's client", median(sdk["response"] - http["response"])),
    ]


def sentence(scenario: ScenarioRun) -> str:
    """What MCP costs over a direct call and over REST, and which part of it is whose.

    Raises RunError for a scenario that is no ladder.
    """
    if not is_ladder(scenario):
        ways, where = ", ".join(_COMPARED), f"{scenario.run.id}, {scenario.name}"
        raise RunError(f"not every way is among its operations: {ways}", where=where, mend="perflib run overhead")
    times = {name: values["response"] for name, values in rounds(scenario).items()}
    if not len(times["direct"]):
        return "There is no round in which every way succeeded: there is nothing to compare."
    over = stats.paired_difference(times["direct"], times["HTTP"])
    rest = stats.paired_difference(times["REST"], times["HTTP"])
    client = stats.paired_difference(times["HTTP"], times["HTTP, SDK"])
    session = stats.paired_difference(times["HTTP"], times["session per call"])
    return (
        f"A call over MCP (streamable HTTP) takes {with_bounds(over)} ms more than the direct call and "
        f"{with_bounds(rest)} ms more than the same over REST; the SDK's client adds {with_bounds(client)} ms to that, "
        f"and a new session for every call {with_bounds(session)} ms. "
        f"Of a call by the SDK's client {_shares(parts(scenario))}."
    )


def _shares(found: list[Part]) -> str:
    """12 % are the function itself, 30 % …"""
    whole = sum(max(part.takes.estimate, 0.0) for part in found)
    each = [f"{100 * max(part.takes.estimate, 0.0) / whole:.0f} % is {part.name}" for part in found]
    return f"{', '.join(each[:-1])} and {each[-1]}"


def with_bounds(interval: Interval) -> str:
    """1.23 [1.2, 1.26]"""
    return f"{number(interval.estimate)} [{number(interval.low)} … {number(interval.high)}]"
