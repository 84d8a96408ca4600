"""Comparisons as tests look at them."""

from __future__ import annotations

from perflib.verdicts.change import Change
from perflib.verdicts.comparison import Comparison


def changes_by_metric(comparison: Comparison) -> dict[str, Change]:
    """The comparison's changes by the key of their metric."""
    return {change.metric.key: change for change in comparison.changes}
