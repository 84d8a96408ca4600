"""Where does the warm-up end? The cut after which a series stays at its steady level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Values, effective_sample_size
from perflib.stats.trend import trend

Floats = NDArray[np.float64]
BLOCKS: Final = 400
FEWEST_VALUES: Final = 40
TOLERANCE: Final = 0.05
_STEEPNESS: Final = np.geomspace(2.5, 10, 12)  # of an S-curve: its middle lies so many times its own width in
_TRIMMED: Final = 0.05  # of each block's values, on either side
_LONE: Final = 6.0  # times the usual deviation from the median around it makes a block a spike
_NEAR: Final = 2  # blocks on either side
_STEPS: Final = 3  # of Gauss-Newton
_RESOLUTION: Final = 0.02  # how close to each other the shapes lie
_CERTAIN: Final = 14.0  # twice the log-likelihood that a warm-up must gain over none: 1 in 1,000 for three parameters
_LIKELY: Final = 5.0  # twice the log-likelihood that an end may lose to the best: 95 %, the shape being chosen as well


@dataclass(frozen=True)
class WarmupEnd:
    """`index`: the first value that belongs to the steady state, `low` to `high` its interval. `settled`: whether there is one."""

    index: int
    settled: bool
    low: int
    high: int


def warmup_end(values: Values, tolerance: float = TOLERANCE) -> WarmupEnd:
    """The first of the values, in order of time, from which their level is within `tolerance` (relative) of the steady one.

    The logarithms of trimmed geometric means of up to 400 equal blocks, cleared of lone spikes (Hampel 1974), are fitted with a steady
    level that is approached by a step, a ramp, a parabola, an exponential, a hyperbola or an S-curve, from above or below, whichever
    explains them best (least squares, so that noise grows with the level); the cut is where the fit comes within the tolerance, its
    interval (95 %) that of all fits that are about as likely, given the autocorrelation (profile likelihood: Venzon & Moolgavkar 1988).
    What is left is searched again, so that warm-ups of several stages are cut. A warm-up must explain more than chance would.
    MSER-5 (White 1997) finds steps as well, but not the end of gradual warm-ups (tests/benchmarks/calibration.py compares).
    Assumes positive values (what is not counts as the least that is) and a warm-up of about one of these shapes. Where the
    noise hides a gradual warm-up's tail, its end is inexact, and the interval says so: 0 to 0 where there is none.
    Not settled: a cut beyond the half (`index` is then the half, `high` the whole), or a trend (99 %) of more than twice the tolerance
    after it. Fewer than 40 values cannot tell: index 0, not settled. Constant values are settled from 0. Raises ValueError for NaN or
    infinite values.
    """
    x = np.asarray(values, float)
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    n = len(x)
    if n < FEWEST_VALUES:
        return WarmupEnd(0, False, 0, n)
    size = max(1, n // BLOCKS)
    blocks = _blocks(x, size)
    cut = low = high = 0
    for stage in range(3):
        found = _cut(blocks[cut:], tolerance, 2 * tolerance if stage else tolerance)
        if found is None or (stage and found[1] == 0):  # what is left of a gradual one is no further one
            break
        cut, low, high = (cut + more for more in found)
        if cut > len(blocks) // 2:
            return WarmupEnd(n // 2, False, min(low * size, n // 2), n)
    return WarmupEnd(cut * size, not _drifts(np.exp(blocks[cut:]), 2 * tolerance), low * size, min(high * size, n))


def _blocks(x: Floats, size: int) -> Floats:
    """Logarithms of trimmed geometric means of blocks of `size` values, spikes of a single block replaced by the median around it."""
    logs = np.log(np.maximum(x, x[x > 0].min(initial=math.inf))) if (x > 0).any() else np.zeros(len(x))
    ordered = np.sort(logs[: len(x) // size * size].reshape(-1, size), axis=1)
    trim = int(size * _TRIMMED)
    means = ordered[:, trim : size - trim].mean(axis=1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(means, _NEAR, mode="edge"), 2 * _NEAR + 1)
    usual = np.median(around, axis=1)
    deviations = np.abs(means - usual)
    return np.asarray(np.where(deviations > _LONE * 1.4826 * np.median(deviations), usual, means))


def _cut(blocks: Floats, tolerance: float, material: float) -> tuple[int, int, int] | None:
    """The first block within the tolerance of the best fit's steady level, then the first and last one of all likely fits; None for
    chance, or where no block is off by `material`."""
    n, chance = len(blocks), float(((blocks - blocks.mean()) ** 2).sum())
    if chance <= 1e-18 * max(1.0, float(blocks @ blocks)):
        return None
    shapes = _shapes(n)
    excesses, residuals, slopes = _fits(blocks, shapes)
    losses = np.maximum((residuals**2).sum(axis=1), 1e-12 * chance)
    best = int(np.argmin(losses))
    worth = effective_sample_size(residuals[best])
    if worth * math.log(chance / losses[best]) < _CERTAIN or abs(excesses[best] * shapes[best, 0]) <= material:
        return None
    room = losses[best] * math.exp(_LIKELY / worth) - losses
    likely = room >= 0
    shapes, excesses, room = shapes[likely], excesses[likely], room[likely]
    ends = _ends(shapes, excesses, tolerance)
    first_half = np.where(ends <= n // 2, room, room - room.max() - 1)  # preferred, where that is likely at all
    end = int(ends[np.argmax(first_half)])
    off = np.sqrt(room / np.maximum(slopes[likely].var(axis=1) * n, 1e-12))
    others = [_ends(shapes, np.maximum(excesses + by, -1), tolerance) for by in (-off, off)]
    low, high = float(np.min(others)) * (1 - _RESOLUTION), float(np.max(others)) * (1 + _RESOLUTION)
    return end, min(end, math.floor(low)), max(end, math.ceil(high))


def _shapes(n: int) -> Floats:
    """Warm-ups from 1 to 0 over n blocks at many lengths, a row each: steps, ramps, parabolas, exponentials, hyperbolas, S-curves."""
    t = np.arange(n) + 0.5
    ends = np.arange(1, max(2, int(0.7 * n)))[:, None]
    decays, tails = (np.geomspace(least, n / 2, 200)[:, None] for least in (0.5, 0.1))
    ramps = np.clip(1 - t / ends, 0, 1)
    hyperbolas = tails * np.log1p(1 / (tails + t - 0.5))  # the mean of 1/(1 + t/tail) over each block
    middles = np.geomspace(1, max(2, 0.7 * n), 80)[:, None]
    curves = [0.5 - 0.5 * np.tanh(steep / 2 * (t / middles - 1)) for steep in _STEEPNESS]
    return np.concatenate((t < ends, ramps, ramps**2, np.exp(-t / decays), hyperbolas, *curves)).astype(float)


def _fits(blocks: Floats, shapes: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares of `blocks = level + log(1 + excess × shape)` for each shape (Gauss-Newton): the excesses, the residuals and their
    slopes by the excess."""
    covariances = shapes @ (blocks - blocks.mean()) / len(blocks)
    excesses = np.expm1(np.clip(covariances / np.maximum(shapes.var(axis=1), 1e-12), -4, 4))
    for _ in range(_STEPS):
        residuals, slopes = _against(blocks, shapes, excesses)
        steps = (slopes * residuals).mean(axis=1) / np.maximum(slopes.var(axis=1), 1e-12)
        excesses += np.clip(steps, -0.5 * (1 + excesses), 1 + excesses)  # stays above −1
    return (excesses, *_against(blocks, shapes, excesses))


def _against(blocks: Floats, shapes: Floats, excesses: Floats) -> tuple[Floats, Floats]:
    """What is left of the blocks at these excesses, and its slopes."""
    heights = 1 + excesses[:, None] * shapes
    left = blocks - np.log(heights)
    return left - left.mean(axis=1, keepdims=True), shapes / heights


def _ends(shapes: Floats, excesses: Floats, tolerance: float) -> NDArray[np.int64]:
    """The first block of each that is within the tolerance of its steady level; all blocks where none is."""
    within = np.abs(excesses[:, None] * shapes) <= tolerance
    return np.asarray(np.where(within[:, -1], within.argmax(axis=1), shapes.shape[1]))


def _drifts(blocks: Floats, material: float) -> bool:
    """Is there a trend, by an interval of 99 %, and is it more than `material` of the level over the whole?"""
    change = trend(np.arange(len(blocks)), blocks, 0.99).change
    significant = change.low > 0 or change.high < 0
    return significant and abs(change.estimate) > material * abs(float(blocks.mean()))
