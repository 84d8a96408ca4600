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
_STEEPNESS: Final = (3.0, 4.5, 7.0)  # of an S-curve: how many times its own width its middle lies from the beginning
_AROUND: Final = 4  # blocks on either side
_TRIMMED: Final = 0.1  # of each block's values, on either side
_CERTAIN: Final = (
    14.0  # twice the log-likelihood that a warm-up must gain over none: about 1 in 1,000 for three parameters
)


@dataclass(frozen=True)
class WarmupEnd:
    """`index`: the first value that belongs to the steady state. `settled`: whether there is one."""

    index: int
    settled: bool


def warmup_end(values: Values, tolerance: float = TOLERANCE) -> WarmupEnd:
    """The first of the values, in order of time, from which their level is within `tolerance` (relative) of the steady one.

    Trimmed means of up to 400 equal blocks, cleared of lone spikes by a running median, are fitted with a steady level that is
    approached by a step, a ramp, a parabola, an exponential, a hyperbola or an S-curve, from above or below, whichever explains
    them best (least squares, weighted for noise that grows with the level); the cut is where the fit comes within the tolerance. What is left is searched
    again, so that warm-ups of several stages are cut. A warm-up must explain more than chance would, given the autocorrelation.
    MSER-5 (White 1997) finds steps as well, but not the end of gradual warm-ups (tests/benchmarks/calibration.py compares).
    Assumes a warm-up of about one of these shapes: the end of others is found less exactly. Where a series is short for its autocorrelation, so that its noise hides the tail, gradual ends are inexact too.
    Not settled: a cut beyond the half (`index` is then the half), or a trend (99 %) of more than twice the tolerance after it.
    Fewer than 40 values cannot tell: index 0, not settled. Constant values are settled from 0. Raises ValueError for NaN or
    infinite values.
    """
    x = np.asarray(values, float)
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    n = len(x)
    if n < FEWEST_VALUES:
        return WarmupEnd(0, False)
    size = max(1, n // BLOCKS)
    blocks = _blocks(x, size)
    cut = 0
    for stage in range(3):
        more = _cut(blocks[cut:], tolerance, 2 * tolerance if stage else tolerance)
        cut += more
        if more == 0 or cut > len(blocks) // 2:
            break
    if cut > len(blocks) // 2:
        return WarmupEnd(n // 2, False)
    return WarmupEnd(cut * size, not _drifts(blocks[cut:], 2 * tolerance))


def _blocks(x: Floats, size: int) -> Floats:
    """Trimmed means of blocks of `size` values, each the median of itself and its neighbours."""
    ordered = np.sort(x[: len(x) // size * size].reshape(-1, size), axis=1)
    trim = int(size * _TRIMMED)
    means = ordered[:, trim : size - trim].mean(axis=1)
    padded = np.concatenate((means[:1], means, means[-1:]))
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1))


def _cut(blocks: Floats, tolerance: float, material: float) -> int:
    """The first block within the tolerance of the best fit's steady level; 0 for chance, or where no block is off by `material`."""
    n = len(blocks)
    shapes = _shapes(n)
    weights = 1 / _smooth(blocks) ** 2
    weights /= weights.mean()
    losses, levels, excesses = _fits(blocks, shapes, weights)
    best = int(np.argmin(losses))
    fitted = levels[best] + excesses[best] * shapes[best]
    none = float(weights @ (blocks - weights @ blocks / weights.sum()) ** 2)
    if none <= 1e-18 * float(weights @ blocks**2):
        return 0
    worth = effective_sample_size((blocks - fitted) * np.sqrt(weights))
    if worth * math.log(none / max(float(losses[best]), 1e-12 * none)) < _CERTAIN:
        return 0
    off = np.abs(excesses[best] * shapes[best]) / max(abs(float(levels[best])), 1e-300)
    if off[0] <= material:
        return 0
    within = off <= tolerance
    return int(np.argmax(within)) if within[-1] else n


def _smooth(blocks: Floats) -> Floats:
    """The level around each block, of the highest one, which its noise is taken to grow with: running means, never near zero."""
    padded = np.pad(np.abs(blocks), _AROUND, mode="edge")
    means = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1).mean(axis=1)
    means /= means.max() or 1.0
    return np.asarray(np.maximum(means, max(0.1 * float(np.median(means)), 1e-6)))


def _shapes(n: int) -> Floats:
    """Warm-ups from 1 to 0 over n blocks at many lengths, a row each: steps, ramps, parabolas, exponentials, hyperbolas, S-curves."""
    t = np.arange(n) + 0.5
    ends = np.arange(1, max(2, int(0.7 * n)))[:, None]
    decays, tails = (np.geomspace(least, n / 2, 200)[:, None] for least in (0.5, 0.1))
    ramps = np.clip(1 - t / ends, 0, 1)
    hyperbolas = tails * np.log1p(1 / (tails + t - 0.5))  # the mean of 1/(1 + t/tail) over each block
    curves = [0.5 - 0.5 * np.tanh(steep / 2 * (t / ends[::2] - 1)) for steep in _STEEPNESS]
    return np.concatenate((t < ends, ramps, ramps**2, np.exp(-t / decays), hyperbolas, *curves)).astype(float)


def _fits(blocks: Floats, shapes: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Loss, steady level and excess of the weighted least-squares line of the blocks on each shape."""
    total = weights.sum()
    shape_means, mean = shapes @ weights / total, float(weights @ blocks) / total
    cross = shapes @ (weights * (blocks - mean))
    spread = np.maximum(shapes**2 @ weights - total * shape_means**2, 1e-300)
    excesses = cross / spread
    losses = np.maximum(float(weights @ (blocks - mean) ** 2) - cross**2 / spread, 0.0)
    return losses, mean - excesses * shape_means, excesses


def _drifts(blocks: Floats, material: float) -> bool:
    """Is there a trend, by an interval of 99 %, and is it more than `material` of the level over the whole?"""
    change = trend(np.arange(len(blocks)), blocks, 0.99).change
    significant = change.low > 0 or change.high < 0
    return significant and abs(change.estimate) > material * abs(float(blocks.mean()))
