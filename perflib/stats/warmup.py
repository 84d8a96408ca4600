"""The end of the warm-up: the point from which a series stays at its steady level."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.change_points import course
from perflib.stats.intervals import Values, effective_sample_size
from perflib.stats.trend import trend

Floats = NDArray[np.float64]
BLOCKS: Final = 400  # equal blocks that the series is averaged over
FEWEST_VALUES: Final = 40  # fewer show no warm-up
TOLERANCE: Final = 0.05  # of the steady level: closer than this is steady
_STEEPNESS: Final = np.geomspace(
    2.5, 10, 12
)  # of S-curves: the distance of the middle from the start, in widths of the curve
_TRIMMED: Final = 0.05  # the share of a block's values that is left out on either side
_SPIKE: Final = 6.0  # usual deviations from the median around it that make a block a spike
_NEAR: Final = 2  # blocks on either side, for that median
_STEPS: Final = 3  # iterations of Gauss–Newton
_RESOLUTION: Final = 0.02  # the relative distance of neighbouring lengths among the shapes
_CERTAIN: Final = 14.0  # twice the log-likelihood that a warm-up must gain over none: 1 in 1,000 for three parameters
_LIKELY: Final = (
    5.0  # twice the log-likelihood that an end may lose to the best one: 95 %, the shape being chosen as well
)

_PARTS, _EARLY_PARTS = 12, 9  # of a warm-up: the early ones must be off the steady level, the others may be near it
_OFF: Final = 0.25  # by at least this share of what the fit says
_PIECES: Final = 150  # of what follows the warm-up, whose levels are compared
_SHORTEST: Final = 0.06  # the share of them that a level needs


@dataclass(frozen=True)
class WarmupEnd:
    """index: the first value that belongs to the steady state, with its interval `low` to `high`, 95 %.

    settled: whether the series reaches a steady state.
    """

    index: int
    settled: bool
    low: int
    high: int


def warmup_end(values: Values, tolerance: float = TOLERANCE) -> WarmupEnd:
    """The first value from which a series stays within `tolerance` of its steady level, as a share of that level.

    >>> stats.warmup_end(np.concatenate([np.linspace(80, 20, 200), times_ms])).settled
    True

    values: positive, in order of time, shape (n,). A value that is not positive counts as the smallest positive one.

    The series is averaged: logarithms of trimmed geometric means of up to 400 equal blocks, without spikes of single
    blocks (Hampel 1974). To these is fitted a steady level that is approached, from above or below, by a step, a
    ramp, a parabola, an exponential, a hyperbola or an S-curve, whichever explains them best by least squares. The
    end is where the fit comes within the tolerance. Its interval, 95 %, is that of all fits that are about as likely,
    given the autocorrelation (profile likelihood: Venzon & Moolgavkar 1988). What follows is searched again, so that
    a warm-up of several stages is cut as a whole. A warm-up must explain significantly more than no warm-up does, and
    last from the first value on: a disturbance that begins later is none, and is left out where it hides one. Without
    a warm-up, index, low and high are 0. MSER-5 (White 1997) finds steps as well, but not the end of gradual warm-ups
    (tests/benchmarks/calibration.py compares).

    Assumes a warm-up of about one of these shapes. Where noise hides the tail of a gradual one, the interval is wide.
    Not settled: an end beyond half of the series (`index` is then the half and `high` the whole); or after it a trend
    (99 %) of more than twice the tolerance, or a change of level (`change_points`, 99.9 %) of more than that,
    which lasts. Fewer than 40 values: index 0, not settled. Constant values: settled from
    0 on. Raises ValueError for NaN and infinite values.
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
        end = _cut(blocks[cut:], tolerance, 2 * tolerance if stage else tolerance)
        if end is None and not stage and (calm := _calmed(blocks)) is not None:
            end = _cut(calm, tolerance, tolerance)
        if end is None or (stage and end[1] == 0):  # the rest of a gradual warm-up is not another stage
            break
        cut, low, high = (cut + blocks_more for blocks_more in end)
        if cut > len(blocks) // 2:
            return WarmupEnd(n // 2, False, min(low * size, n // 2), n)
    settled = not _drifts(np.exp(blocks[cut:]), 2 * tolerance) and not _changes_level(blocks[cut:], 2 * tolerance)
    return WarmupEnd(cut * size, settled, low * size, min(high * size, n))


def _blocks(x: Floats, size: int) -> Floats:
    """Logarithms of trimmed geometric means of blocks of `size` values; spikes become the median around them."""
    logs = np.log(np.maximum(x, x[x > 0].min(initial=math.inf))) if (x > 0).any() else np.zeros(len(x))
    ordered = np.sort(logs[: len(x) // size * size].reshape(-1, size), axis=1)
    trim = int(size * _TRIMMED)
    means = ordered[:, trim : size - trim].mean(axis=1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(means, _NEAR, mode="edge"), 2 * _NEAR + 1)
    usual = np.median(around, axis=1)
    deviations = np.abs(means - usual)
    return np.asarray(np.where(deviations > _SPIKE * 1.4826 * np.median(deviations), usual, means))


def _cut(blocks: Floats, tolerance: float, material: float) -> tuple[int, int, int] | None:
    """The end of a warm-up and its interval, as numbers of blocks; None where there is none.

    The end is the first block within the tolerance of the best fit's steady level, the interval the first and the
    last such block of all likely fits. There is no warm-up where chance explains it, where the first block is off by
    `material` at most, or where the best fit lasts beyond blocks at the steady level.
    """
    chance = float(((blocks - blocks.mean()) ** 2).sum())
    if chance <= 1e-18 * max(1.0, float(blocks @ blocks)):
        return None
    shapes = _shapes(len(blocks))
    excesses, residuals, slopes = _fits(blocks, shapes)
    losses = np.maximum((residuals**2).sum(axis=1), 1e-12 * chance)
    best = int(np.argmin(losses))
    n_effective = effective_sample_size(residuals[best])
    if n_effective * math.log(chance / losses[best]) < _CERTAIN or abs(excesses[best] * shapes[best, 0]) <= material:
        return None
    fitted = np.log(1 + excesses[best] * shapes[best])
    if _is_idle(fitted + residuals[best], fitted, int(_ends(shapes, excesses, tolerance)[best])):
        return None
    return _with_interval(shapes, excesses, slopes, losses, n_effective, tolerance)


def _with_interval(
    shapes: Floats, excesses: Floats, slopes: Floats, losses: Floats, n_effective: float, tolerance: float
) -> tuple[int, int, int]:
    """The end of the best fit, and the first and the last end of all likely ones, as numbers of blocks."""
    n = shapes.shape[1]
    room = losses.min() * math.exp(_LIKELY / n_effective) - losses
    likely = room >= 0
    shapes, excesses, room = shapes[likely], excesses[likely], room[likely]
    ends = _ends(shapes, excesses, tolerance)
    first_half = np.where(
        ends <= n // 2, room, room - room.max() - 1
    )  # preferred, where any fit that ends there is likely
    end = int(ends[np.argmax(first_half)])
    off = np.sqrt(room / np.maximum(slopes[likely].var(axis=1) * n, 1e-12))
    others = [_ends(shapes, np.maximum(excesses + by, -1), tolerance) for by in (-off, off)]
    low, high = float(np.min(others)) * (1 - _RESOLUTION), float(np.max(others)) * (1 + _RESOLUTION)
    return end, min(end, math.floor(low)), max(end, math.ceil(high))


def _shapes(n: int) -> Floats:
    """Warm-ups that fall from 1 to 0 over n blocks, of every shape and many lengths: shape (warm-ups, n)."""
    t = np.arange(n) + 0.5
    ends = np.arange(1, max(2, int(0.7 * n)))[:, None]
    decays, tails = (np.geomspace(least, n / 2, 200)[:, None] for least in (0.5, 0.1))
    ramps = np.clip(1 - t / ends, 0, 1)
    hyperbolas = tails * np.log1p(1 / (tails + t - 0.5))  # the mean of 1/(1 + t/tail) over each block
    middles = np.geomspace(1, max(2, 0.7 * n), 80)[:, None]
    curves = [0.5 - 0.5 * np.tanh(steep / 2 * (t / middles - 1)) for steep in _STEEPNESS]
    return np.concatenate((t < ends, ramps, ramps**2, np.exp(-t / decays), hyperbolas, *curves)).astype(float)


def _fits(blocks: Floats, shapes: Floats) -> tuple[Floats, Floats, Floats]:
    """Fits `blocks = level + log(1 + excess × shape)` for each shape, by least squares (Gauss–Newton).

    Returns the excesses, shape (warm-ups,), the residuals, and their slopes by the excess, shape (warm-ups, n).
    """
    covariances = shapes @ (blocks - blocks.mean()) / len(blocks)
    excesses = np.expm1(np.clip(covariances / np.maximum(shapes.var(axis=1), 1e-12), -4, 4))
    for _ in range(_STEPS):
        residuals, slopes = _residuals(blocks, shapes, excesses)
        steps = (slopes * residuals).mean(axis=1) / np.maximum(slopes.var(axis=1), 1e-12)
        excesses += np.clip(steps, -0.5 * (1 + excesses), 1 + excesses)  # stays above −1
    return (excesses, *_residuals(blocks, shapes, excesses))


def _residuals(blocks: Floats, shapes: Floats, excesses: Floats) -> tuple[Floats, Floats]:
    """The residuals of the blocks at these excesses, and their slopes by the excess."""
    heights = 1 + excesses[:, None] * shapes
    left = blocks - np.log(heights)
    return left - left.mean(axis=1, keepdims=True), shapes / heights


def _ends(shapes: Floats, excesses: Floats, tolerance: float) -> NDArray[np.int64]:
    """For each warm-up the first block that is within the tolerance of the steady level; n where none is."""
    within = np.abs(excesses[:, None] * shapes) <= tolerance
    return np.asarray(np.where(within[:, -1], within.argmax(axis=1), shapes.shape[1]))


def _calmed(blocks: Floats) -> Floats | None:
    """The blocks without disturbances: stretches far off the median that neither begin nor end the series.

    None where there is no such stretch.
    """
    usual = float(np.median(blocks))
    distances = np.abs(blocks - usual)
    far = distances > _SPIKE * 1.4826 * np.median(distances)
    edges = np.flatnonzero(np.diff(far)) + 1
    if len(edges) < 2:
        return None
    calmed = blocks.copy()
    for first, last in itertools.pairwise(edges.tolist()):
        if far[first]:
            calmed[first:last] = usual
    return calmed


def _is_idle(observed: Floats, fitted: Floats, end: int) -> bool:
    """Whether a piece of a fitted warm-up, before its last quarter, is surely hardly off the steady level."""
    noise = float((observed - fitted).std())
    edges = np.linspace(0, end, _PARTS + 1).round().astype(int)[: _EARLY_PARTS + 1]
    for first, last in itertools.pairwise(edges.tolist()):
        if last > first:
            fit, off = float(fitted[first:last].mean()), float(observed[first:last].mean())
            if off * math.copysign(1, fit) + 2 * noise / math.sqrt(last - first) < _OFF * abs(fit):
                return True
    return False


def _changes_level(blocks: Floats, material: float) -> bool:
    """Whether the level changes by more than `material`, for a share of the time that is no mere disturbance."""
    size = max(1, len(blocks) // _PIECES)
    pieces = np.median(blocks[: len(blocks) // size * size].reshape(-1, size), axis=1)
    confirmed = max(3, math.ceil(_SHORTEST * len(pieces)))
    found = course(pieces, max_p_value=0.001, confirmed=confirmed, smallest=0.0, smallest_shift=math.log1p(material))
    return bool(found.changes)


def _drifts(blocks: Floats, material: float) -> bool:
    """Whether there is a trend, by its 99 % interval, that changes the level by more than the share `material`."""
    change = trend(np.arange(len(blocks)), blocks, 0.99).change
    significant = change.low > 0 or change.high < 0
    return significant and abs(change.estimate) > material * abs(float(blocks.mean()))
