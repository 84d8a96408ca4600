"""When requests start: one pure function with a seed per open load model.

Each yields sorted arrays of offsets from the start of the load, int64 ns, of at most CHUNK, so that a long schedule
takes no memory. A closed model has no schedule: its users start the next request when the last one is answered.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.errors import SuiteError
from perflib.suite.data_file import START_COLUMN
from perflib.suite.load import (
    ConstantLoad,
    Load,
    PoissonLoad,
    RampLoad,
    ReplayLoad,
    SpikeLoad,
    StagesLoad,
    StepsLoad,
)

Offsets = NDArray[np.int64]
CHUNK: Final = 65_536


def schedule(load: Load, seed: int = 0, folder: str = "") -> Iterator[Offsets]:
    """The starts of an open load. schedule(Load(model="constant", rate_per_s=2, duration_s=1)) → [0, 500_000_000]."""
    return _starts(load, np.random.default_rng(seed), folder)


def shard(chunks: Iterator[Offsets], index: int, of: int) -> Iterator[Offsets]:
    """Every `of`-th start, beginning with the `index`-th: the shards of all workers together are the schedule."""
    seen = 0
    for chunk in chunks:
        first = (index - seen) % of
        seen += len(chunk)
        yield chunk[first::of]


def shifted(chunks: Iterator[Offsets], by_ns: int) -> Iterator[Offsets]:
    """The same starts, later."""
    return (chunk + by_ns for chunk in chunks)


def length_ns(load: Load, folder: str = "") -> int:
    """How long an open load offers requests, ns."""
    if isinstance(load, ReplayLoad):
        starts = _recorded(load, folder)
        return int(starts[-1] * 1e9) + 1 if len(starts) else 0
    return int(sum(part.seconds() or 0.0 for part in load.parts()) * 1e9)


def peak_rate_per_s(load: Load, folder: str = "") -> float:
    """The highest rate that one part of an open load asks for; of recorded starts, the most in any one second."""
    if isinstance(load, ReplayLoad):
        starts = np.array(_recorded(load, folder))
        return float(np.max(np.arange(1, len(starts) + 1) - np.searchsorted(starts, starts - 1.0, "right"), initial=0))
    return load.highest_rate_per_s


def _starts(load: Load, rng: np.random.Generator, folder: str) -> Iterator[Offsets]:
    match load:
        case ConstantLoad():
            return _constant(load.rate_per_s, load.duration_s)
        case PoissonLoad():
            return _poisson(load, rng)
        case RampLoad():
            return _ramp(load)
        case SpikeLoad():
            return _spike(load)
        case StepsLoad():
            return _rates([(rate, load.step_s) for rate in load.rates_per_s()])
        case StagesLoad():
            return _stages(load, rng, folder)
        case ReplayLoad():
            return _replay(load, folder)
    raise TypeError(f"load model {load.model!r} has no schedule")


def _constant(rate_per_s: float, seconds: float) -> Iterator[Offsets]:
    return _inverse(math.floor(rate_per_s * seconds + 1e-9), lambda k: k / rate_per_s)


def _poisson(load: PoissonLoad, rng: np.random.Generator) -> Iterator[Offsets]:
    rate, duration, at = load.rate_per_s, load.duration_s, 0.0
    while at < duration:
        times = at + np.cumsum(rng.exponential(1 / rate, min(CHUNK, max(16, int(rate * duration * 1.1)))))
        at = float(times[-1])
        yield (times[times < duration] * 1e9).astype(np.int64)


def _ramp(load: RampLoad) -> Iterator[Offsets]:
    """The k-th start is where the integral of the rate, a t + (b − a) t² / 2T, reaches k."""
    a, b, duration = load.from_per_s, load.to_per_s, load.duration_s
    count = math.floor((a + b) / 2 * duration + 1e-9)
    if a == b:
        return _inverse(count, lambda k: k / a)
    slope = (b - a) / duration
    return _inverse(count, lambda k: (np.sqrt(np.maximum(a * a + 2 * slope * k, 0.0)) - a) / slope)


def _stages(load: StagesLoad, rng: np.random.Generator, folder: str) -> Iterator[Offsets]:
    at = 0
    for stage in load.stages:
        yield from shifted(_starts(stage, rng, folder), at)
        at += length_ns(stage, folder)


def _spike(load: SpikeLoad) -> Iterator[Offsets]:
    after_s = load.duration_s - load.spike_at_s - load.spike_s
    return _rates(
        [(load.rate_per_s, load.spike_at_s), (load.spike_rate_per_s, load.spike_s), (load.rate_per_s, after_s)]
    )


def _replay(load: ReplayLoad, folder: str) -> Iterator[Offsets]:
    starts = (np.array(_recorded(load, folder)) * 1e9).astype(np.int64)
    return (starts[i : i + CHUNK] for i in range(0, len(starts), CHUNK))


def _recorded(load: ReplayLoad, folder: str) -> list[float]:
    """Recorded starts, s, as fast as wanted: given in the suite, or the first column of a CSV file."""
    if not isinstance(load.starts, str):
        return sorted(start / load.speed for start in load.starts)
    path = Path(folder) / load.starts
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            starts = (row[0] for row in csv.reader(lines) if row and not row[0].startswith(("#", START_COLUMN)))
            return sorted(float(start) / load.speed for start in starts)
    except (OSError, ValueError) as error:
        raise SuiteError(
            f"cannot read starts: {error}", where=str(path), mend="one number a line, seconds since the start"
        ) from None


def _rates(pieces: list[tuple[float, float]]) -> Iterator[Offsets]:
    """Constant rates one after the other: (rate_per_s, seconds) each."""
    at, parts = 0.0, []
    for rate, seconds in pieces:
        if rate > 0 and rate * seconds >= 1:
            parts.append(shifted(_constant(rate, seconds), int(at * 1e9)))
        at += seconds
    return chain.from_iterable(parts)


def _inverse(count: int, time_s: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Iterator[Offsets]:
    """Starts 0…count−1 from the function that says when the k-th is due."""
    for first in range(0, count, CHUNK):
        k = np.arange(first, min(first + CHUNK, count), dtype=np.float64)
        yield np.rint(time_s(k) * 1e9).astype(np.int64)
