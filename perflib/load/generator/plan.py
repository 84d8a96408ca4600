"""Divides a scenario's load into segments, and each among workers; orders of operations. Pure functions with seeds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from perflib.load.generator import arrivals
from perflib.suite.load import ClosedLoad, ConstantLoad, Load, RampLoad, SpikeLoad, StagesLoad, StepsLoad, UsersLoad
from perflib.suite.model import Scenario

TURN_SEEDS: Final = 1_000  # between turns, so that neighbouring seeds have no turn in common


@dataclass(frozen=True)
class Segment:
    """A part of the load, which starts when the requests of the part before are over.

    stage       its number, where the load has stages or blocks
    operation   the number of its only operation, where it has one
    warmup_ns   the warm-up that an open segment begins with
    turn        its number, in an A/B where each side takes turns
    """

    load: Load
    phase: str = "measure"
    stage: int | None = None
    operation: int | None = None
    warmup_ns: int = 0
    turn: int | None = None

    def chunks(self, seed: int, folder: str) -> Iterator[arrivals.Offsets]:
        """Starts of an open segment, warm-up included."""
        measured = arrivals.schedule(self.load, seed + TURN_SEEDS * (self.turn or 0), folder)
        if not self.warmup_ns:
            return measured
        warm = arrivals.schedule(warmup_load(self.load, self.warmup_ns / 1e9), seed + 1, folder)
        return itertools.chain(warm, arrivals.shifted(measured, self.warmup_ns))


def segments(scenario: Scenario, seed: int) -> list[Segment]:
    """The segments of a scenario in order, a warm-up first. In closed models each stage and block is one."""
    load, warm_s = scenario.load, scenario.warmup_s
    if scenario.order == "blocks":
        measured = _blocks(scenario, seed)
    elif isinstance(load, StagesLoad) and not load.is_open:
        measured = [Segment(part, stage=number) for number, part in enumerate(load.stages, 1)]
    else:
        measured = [Segment(load)]
    if not warm_s:
        return measured
    if measured[0].load.is_open:
        return [replace(measured[0], warmup_ns=int(warm_s * 1e9)), *measured[1:]]
    return [Segment(warmup_load(measured[0].load, warm_s), phase="warmup"), *measured]


def turn(scenario: Scenario, number: int) -> Segment:
    """The segment of a turn in an A/B: the warm-up first, then the load, with other random arrivals each turn."""
    warm_s = scenario.warmup_s
    if number == 0 and warm_s:
        return Segment(warmup_load(scenario.load, warm_s), phase="warmup", turn=0)
    return Segment(scenario.load, turn=number)


def warmup_load(load: Load, seconds: float) -> Load:
    """The load of a warm-up: the same users, or the rate that the measured load begins with."""
    first = load.parts()[0]
    if first.is_steady:
        return first.lasting(seconds)
    if isinstance(first, UsersLoad):
        return ClosedLoad(concurrency=max(1, first.start_users), duration_s=seconds)
    rate = 1.0
    if isinstance(first, SpikeLoad):
        rate = first.rate_per_s
    elif isinstance(first, RampLoad | StepsLoad):
        rate = first.from_per_s or first.to_per_s
    return ConstantLoad(rate_per_s=max(rate, 1 / seconds), duration_s=seconds)


def share(total: int, index: int, of: int) -> int:
    """The share number `index` of `of` nearly equal shares, which add up to the total."""
    return total // of + (index < total % of)


def share_of_rounds(total: int, size: int, index: int, of: int) -> int:
    """The same where `size` requests are a round: whole rounds are shared, and one share has what remains."""
    rounds = total // size
    return share(rounds, index, of) * size + (total % size if index == rounds % of else 0)


def weighted(weights: list[float], rng: random.Random) -> Iterator[int]:
    """Indexes at random by weight, drawn many at a time."""
    indexes = range(len(weights))
    while True:
        yield from rng.choices(indexes, weights, k=4096)


def rounds(count: int, rng: random.Random) -> Iterator[int]:
    """Every index once, in random order, again and again."""
    order = list(range(count))
    while True:
        rng.shuffle(order)
        yield from order


def _blocks(scenario: Scenario, seed: int) -> list[Segment]:
    """One operation at a time; the order within each round is drawn, so that drift favours none."""
    count = len(scenario.operations)
    total = max(1, round((scenario.load.seconds() or 0.0) / (scenario.block_s * count)))
    block = scenario.load.lasting(scenario.block_s)
    order = itertools.islice(rounds(count, random.Random(seed)), total * count)
    return [Segment(block, stage=number, operation=index) for number, index in enumerate(order, 1)]
