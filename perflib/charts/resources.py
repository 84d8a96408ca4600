"""What the target holds and uses over a scenario's time: memory, gauges, descriptors, CPU."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from perflib import stats
from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    MUTED,
    TIME,
    Chart,
    Numbers,
    Window,
    canvas,
    name,
    nothing,
    plain,
    rows_as_dict,
    shade_warmup,
    short,
    styled,
    window,
)
from perflib.metrics.gauges import Curve, curve, known_names, most_changed, name_and_labels, series
from perflib.metrics.processes import Growth, Memory, cpu_time, growth, growth_rates, sampled_names
from perflib.metrics.processes import memory as memory_of
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.windows import span
from perflib.text import number, signed

PROCESSES: Final = 4  # with a line of their own
PANELS: Final = 5  # metrics of the target with a chart of their own
MOST_HELD: Final = 12  # lines in one chart


@styled
def memory(scenario: ScenarioRun) -> Figure:
    """Memory of the target's processes: resident set of all and of each, unique set where it was sampled, the line
    through the troughs."""
    seen = memory_of(scenario)
    if len(seen.t_s) < 2:
        return nothing("Memory of the target", "the target's processes were not sampled (no `start`, no `pids`)")
    at, (start_ns, _) = window(scenario), span(scenario)
    offset_s, found = _offset_s(at, start_ns), growth(scenario)
    figure, axes = canvas("", TIME, "memory, MB")
    axes.plot(seen.t_s + offset_s, seen.rss_bytes / 1e6, color=COLOURS[0], label="resident set (RSS)")
    _each(axes, seen, found, offset_s)
    _unique_set(axes, scenario, offset_s)
    _trough_line(axes, seen, found, offset_s)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0, low - 0.1 * high), high * (1.15 if len(seen.each) == 1 else 1.4))  # room for the legend
    _same_time(axes, scenario, at)
    axes.legend(loc="upper right", ncols=2)
    name(figure, axes, _what_it_did(seen.rss_bytes / 1e6, found))
    _growth_limit(axes, scenario, float(seen.rss_bytes[0]) / 1e6, high)
    return figure


def _what_it_did(rss_mb: NDArray[Any], found: Growth) -> str:
    """A leak with its rate and where it is; else from where to where it went."""
    whole, one = found.whole, found.grew
    if found.verdict != "leak" or one is None:
        return f"{rss_mb[0]:,.0f} MB at the start, {rss_mb[-1]:,.0f} MB at the end, {rss_mb.max():,.0f} MB at most"
    where = "in" if len(found.each) == 1 else "most in"
    return f"Leak: {growth_rates(whole if whole.verdict == 'leak' else one.growth)}, {where} pid {one.process.pid}"


def _each(axes: Axes, seen: Memory, found: Growth, offset_s: float) -> None:
    """The processes that gained or hold most, where there are several."""
    if len(seen.each) < 2:
        return
    held = sorted(found.each, key=lambda one: (-one.gained_bytes, -one.peak_bytes))[:PROCESSES]
    for shade, one in zip((COLOURS[2], COLOURS[3], COLOURS[4], MUTED), held, strict=False):
        axes.plot(seen.t_s + offset_s, seen.each[one.process] / 1e6, color=shade, lw=0.9, label=plain(str(one.process)))


def _unique_set(axes: Axes, scenario: ScenarioRun, offset_s: float) -> None:
    start_ns, stop_ns = span(scenario)
    uss = rows_as_dict(
        scenario.run,
        "select t_ns // 1000000000 as x, sum(uss_bytes) as uss from resources where role = 'target' and uss_bytes is "
        "not null "
        "and name in (select unnest(?)) and t_ns between ? and ? group by x order by x",
        [sampled_names(scenario), start_ns, stop_ns],
    )
    if len(uss["x"]):
        t_s = np.asarray(uss["x"]) - start_ns / 1e9 + offset_s
        axes.plot(
            t_s, np.asarray(uss["uss"]) / 1e6, color=COLOURS[1], marker=".", ls="", ms=4, label="unique set (USS)"
        )


def _trough_line(axes: Axes, seen: Memory, found: Growth, offset_s: float) -> None:
    """The points that tell a leak from a saw-tooth, and their line with its slope."""
    at, lowest = stats.memory_troughs(seen.t_s, seen.rss_bytes)
    slope = found.whole.slope_bytes_per_s
    if not math.isfinite(slope.low) or not math.isfinite(slope.high):
        return
    label = (
        f"troughs: {signed(slope.estimate * 60e-6)} MB/min [{signed(slope.low * 60e-6)}, {signed(slope.high * 60e-6)}]"
    )
    ends = np.array([seen.t_s[0], seen.t_s[-1]])
    line = float(np.median(lowest - slope.estimate * at)) + slope.estimate * ends
    axes.plot(at + offset_s, lowest / 1e6, color=COLOURS[6], marker="v", ms=3, ls="")
    axes.plot(ends + offset_s, line / 1e6, color=COLOURS[6], marker="v", ms=3, lw=1, ls="--", label=label)


def _growth_limit(axes: Axes, scenario: ScenarioRun, start_mb: float, high: float) -> None:
    """Where the memory would be if it had grown by as much as it may, if that is in sight."""
    for objective in scenario.spec.objectives:
        if objective.metric == "memory growth" and objective.limit and start_mb + objective.limit < high * 1.6:
            at = start_mb + objective.limit
            axes.axhline(at, color=LIMIT, ls="--", lw=1)
            axes.set_ylim(top=max(axes.get_ylim()[1], at * 1.12))
            axes.text(0.99, at, f"start + {objective.limit:g} MB ", color=LIMIT, fontsize=7, ha="right", va="bottom",
                      transform=axes.get_yaxis_transform())  # fmt: skip


@styled
def gauges(scenario: ScenarioRun) -> Figure:
    """What the target holds: its open descriptors and threads, and the metrics that it reports, over time.

    Of many metrics those that objectives name are drawn, and those that changed most.
    """
    at = window(scenario)
    names = known_names(scenario)
    held = _held(scenario, [name for name, kind in names.items() if kind == "unknown"])
    curves = _most_telling(scenario, [name for name, kind in names.items() if kind != "unknown"])
    if not held.lines and not curves:
        return nothing("What the target holds", "it was not sampled, and has no `gauges`")
    panels = [held] * bool(held.lines) + curves
    figure = Chart()
    width, height = figure.get_size_inches()
    tall = height * (0.3 + 0.7 * len(panels))
    figure.set_size_inches(width, tall)
    figure.subplots_adjust(top=1 - 0.1 * height / tall, bottom=0.165 * height / tall, hspace=0.14)
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        draw_curve(axes, panel, at.start_ns / 1e9 if at else 0.0)
        _same_time(axes, scenario, at)
    all_axes[-1].set_xlabel(TIME)
    name(figure, all_axes[0], _most_grown(held) if held.lines else f"{curves[0].what}: {_from_to(curves[0])}")
    return figure


def draw_curve(axes: Axes, panel: Curve, zero_s: float) -> None:
    """A metric over time; zero_s: where its axis begins, since the run's start."""
    for shade, (label, (t_s, values)) in zip(COLOURS * 10, panel.lines.items(), strict=False):
        ends = f"{number(values[0])} → {number(values[-1])}" if len(values) else "nothing"
        axes.plot(t_s - zero_s, values, color=shade, label=plain(short(f"{label}: {ends}" if label else ends, 48)))
    axes.set_ylabel(plain(short(panel.what, 30)), fontsize=7)
    axes.yaxis.set_major_formatter(Numbers())
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.25)
    axes.legend(loc="upper right", ncols=2, fontsize=7)


def _held(scenario: ScenarioRun, names: list[str]) -> Curve:
    """Counts of what the target holds: numbers without a kind that it reports, and its descriptors and threads."""
    start, stop = span(scenario)
    rows = scenario.run.query(
        "select t_ns // 1000000000 as t_s, max(fds), max(threads) from resources where role = 'target' "
        "and name in (select unnest(?)) and t_ns between ? and ? group by t_s order by t_s",
        [sampled_names(scenario), start, stop],
    ).fetchall()
    lines = {each.name: (each.t_s, each.values) for each in series(scenario, names)[:MOST_HELD]}
    if rows:
        t_s, fds, threads = (np.array(column, float) for column in zip(*rows, strict=True))
        lines |= {"descriptors": (t_s, fds), "threads": (t_s, threads)}
    return Curve("held", "count", lines)


def _most_telling(scenario: ScenarioRun, names: list[str]) -> list[Curve]:
    """The metrics that objectives name, and then those that changed most."""
    asked = {name_and_labels(o.gauge)[0] for o in (*scenario.spec.objectives, *scenario.spec.figures) if o.gauge}
    chosen = [name for name in names if name in asked] + most_changed(scenario, 6 * PANELS)
    curves = [one for one in (curve(scenario, name) for name in dict.fromkeys(chosen)) if one.lines]
    ranked = sorted(curves, key=lambda one: (one.name not in asked, -one.change))
    return [one for one in ranked if one.name in asked or one.change > 0][:PANELS]


def _most_grown(held: Curve) -> str:
    grown = {label: float(values[-1] - values[0]) for label, (_, values) in held.lines.items()}
    most = max(grown, key=lambda label: grown[label])
    return f"Most grown: {most}, by {grown[most]:g}" if grown[most] > 0 else "Nothing that it holds has grown"


def _from_to(one: Curve) -> str:
    values = np.concatenate([line[1] for line in one.lines.values()])
    return f"{number(values.min())} to {number(values.max())}"


@styled
def cpu(scenario: ScenarioRun) -> Figure:
    """CPU of the target and of the load generator, in cores: the growth of their CPU time from step to step."""
    at, (start, stop) = window(scenario), span(scenario)
    workers = [f"worker {w.worker}" for w in scenario.record.workers]
    figure, axes = canvas("", TIME, "CPU, cores")
    means, highest = {}, 0.0
    for role, names, shade in (
        ("target", sampled_names(scenario), COLOURS[0]),
        ("generator", workers, COLOURS[1]),
    ):
        t_s, used_s = _cpu_time(scenario.run, role, names, start, stop)
        if len(t_s) < 3:
            continue
        cores = np.diff(used_s) / np.diff(t_s)
        axes.stairs(cores, t_s + _offset_s(at, start), baseline=None, color=shade, label=role, lw=1.5)
        means[role] = float((used_s[-1] - used_s[0]) / (t_s[-1] - t_s[0]))
        highest = max(highest, float(cores.max()))
    if not means:
        return nothing("CPU", "too short to be sampled")
    axes.set_ylim(0, highest * 1.25 or 1)
    _same_time(axes, scenario, at)
    axes.legend(loc="upper right", ncols=2)
    said = " and ".join(f"the {role} {mean:.2f}" for role, mean in means.items())
    name(figure, axes, f"{said[0].upper()}{said[1:]} cores on average")
    return figure


def _offset_s(at: Window | None, start_ns: int) -> float:
    """From the scenario's start, where the charts begin, to that of its measured part, where its samples do."""
    return (start_ns - at.start_ns) / 1e9 if at else 0.0


def _same_time(axes: Axes, scenario: ScenarioRun, at: Window | None) -> None:
    """The time axis, and the marks on it, of the scenario's other charts."""
    if at:
        shade_warmup(axes, scenario, at)


def _cpu_time(
    run: Recording, role: str, names: list[str], start_ns: int, stop_ns: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """CPU time of a role's processes together at equal steps: seconds since the start, seconds of CPU."""
    found = cpu_time(run, role, names, start_ns, stop_ns)
    first_ns, last_ns = found.span_ns
    at_ns = np.arange(first_ns, last_ns + 1, 1e9 if last_ns - first_ns >= 8e9 else 0.25e9)
    return (at_ns - start_ns) / 1e9, found.used_s(at_ns)
