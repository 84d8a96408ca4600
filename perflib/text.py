"""How figures and tables are written, everywhere the same: three or four significant digits, the unit, the interval."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perflib.metrics.processes import Growth
    from perflib.stats import MemoryGrowth
    from perflib.verdicts.change import Change
    from perflib.verdicts.verdict import Verdict

SIGNS: Final = {"pass": "✓", "fail": "✗", "inconclusive": "?", "invalid": "!", "shown": "·"}


def number(value: float | None) -> str:
    """number(1234.5) == "1,234", number(0.12345) == "0.1235"; what is not finite as what it is."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def ms(value: float) -> str:
    """A time in ms, three significant digits: 0.123, 1.23, 123, 1,230."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def a_while(seconds: float) -> str:
    """How long something takes, rounded up: 25 s, 6 min, 1,200 h."""
    return (
        f"{math.ceil(seconds)} s"
        if seconds < 120
        else f"{math.ceil(seconds / 60):,} min"
        if seconds < 7200
        else f"{math.ceil(seconds / 3600):,} h"
    )


def observed(verdict: Verdict) -> tuple[str, str]:
    """An objective's figure with its unit, and its interval; of a percentile that too few requests decide only what bounds it."""
    interval, objective = verdict.interval, verdict.objective
    if interval.n == 0:
        return "–", "–"
    seen = objective.metric == "inflight" or objective.statistic == "max"  # a maximum of what was seen
    bounds = "exact" if seen else f"{number(interval.low)} … {number(interval.high)}"
    if not math.isnan(interval.estimate):
        figure = number(interval.estimate)
    elif math.isfinite(interval.low):
        figure = f"≥ {number(interval.low)}"
    elif math.isfinite(interval.high):
        figure = f"≤ {number(interval.high)}"
    else:
        return "–", bounds
    return f"{figure} {objective.unit}".strip(), bounds


def grew(growth: Growth, *, speeds: bool = True) -> str:
    """Which process's memory grew and by how much, and that of all together with how fast it grew; "" where none did."""
    one, whole = growth.grew, growth.whole
    rises = whole.slope_bytes_per_s.low > 0
    fast = f": {per_time(whole)}" if speeds else ""
    total = f"{number(whole.growth_mb.estimate)} MB"
    if one is None:
        return f"its processes together grew by {total}, and none by itself{fast}" if rises else ""
    said = f"{one.process} {'came meanwhile and holds' if one.came else 'grew by'} {number(one.gained_bytes * 1e-6)} MB"
    if not rises:
        return said
    return f"{said}{fast}" if len(growth.each) == 1 else f"{said}; all together by {total}{fast}"


def per_time(of: MemoryGrowth) -> str:
    """How fast memory grows: per hour, and per 1,000 requests where that is known."""
    each = of.per_1000_requests_mb
    requests = f", {number(each.estimate)} MB per 1,000 requests" if math.isfinite(each.low) else ""
    return f"{number(of.per_hour_mb.estimate)} MB per hour{requests}"


def signed(value: float) -> str:
    """signed(4.217) == "+4.2", signed(123.4) == "+123"; never "−0.0"."""
    if not math.isfinite(value):
        return number(value)
    text = f"{value:+,.0f}" if abs(value) >= 99.95 else f"{value:+.1f}" if abs(value) >= 0.995 else f"{value:+.2f}"
    return text.replace("-", "−") if any(c in "123456789" for c in text) else "0"


def percent(change: Change) -> str:
    """A change as it is judged: "+4.2 %", "+0.30 points"."""
    return f"{signed(change.shown.estimate)} {change.metric.margin_unit}" if change.told else ""


def moved(change: Change) -> tuple[str, str, str, str]:
    """Base, candidate, change and its interval, as a table shows them."""
    shown, unit = change.shown, change.metric.unit
    sides = ["–" if math.isnan(v) else f"{number(v)} {unit}" for v in (change.base, change.candidate)]
    low = "open" if shown.low <= -100 else signed(shown.low)  # nothing falls by more than all there is
    high = "open" if math.isinf(shown.high) else signed(shown.high)
    bounds = "–" if math.isnan(shown.estimate) else f"{low} … {high}"
    return sides[0], sides[1], percent(change) or "–", bounds


def table(rows: list[dict[str, Any]]) -> str:
    """Rows under their keys, in columns as wide as they need."""
    cells = [list(rows[0]), *([str(row[key]) for key in rows[0]] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: Any, most: int) -> str:
    """Somebody else's text as one printable line of at most so many characters: no escapes, no control characters."""
    plain = _ESCAPES.sub("", "" if text is None else str(text)[: 10 * most])
    plain = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]")
