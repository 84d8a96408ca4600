"""Comparisons as tests look at them."""

from __future__ import annotations

from perflib.metrics.parts import METRICS
from perflib.verdicts.change import Change
from perflib.verdicts.comparison import Comparison

EVERY_FIGURE: dict[str, float | None] = {key: metric.margin for key, metric in METRICS.items()}
"""The usual margin of every figure, also of those that are judged only if they are asked for."""


def changes_by_metric(comparison: Comparison) -> dict[str, Change]:
    """The comparison's changes by the key of their metric."""
    return {change.metric.key: change for change in comparison.changes}
