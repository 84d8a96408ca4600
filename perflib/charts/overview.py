"""All scenarios of a run in one chart."""

from __future__ import annotations

from matplotlib.figure import Figure

from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    MUTED,
    RESPONSE,
    canvas,
    limits_of,
    log_scale,
    name,
    nothing,
    plain,
    plainly_styled,
    short,
)
from perflib.metrics.scenario import scenario_figures
from perflib.store.recording import Recording, ScenarioRun
from perflib.text import number

_MARKS = (("p50", "|"), ("p95", "o"), ("p99", ">"))
_TITLE = "Response times of the scenarios"


@plainly_styled
def overview(run: Recording) -> Figure:
    """The median, p95 and p99 response time, ms, of every scenario, and the limits that its objectives set to them."""
    rows = [(scenario, scenario_figures(scenario)["response_ms"]) for scenario in run.scenarios]
    rows = [(scenario, times) for scenario, times in rows if times["p50"]]
    if not rows:
        return nothing(_TITLE, "no request was answered")
    figure, axes = canvas("", RESPONSE, "")
    figure.set_figheight(max(2.2, 1.4 + 0.28 * len(rows)))
    places = [*range(len(rows) - 1, -1, -1)]
    for place, (scenario, times) in zip(places, rows, strict=True):
        shown, limits = [times[key] for key, _ in _MARKS if times[key]], _limits(scenario)
        axes.hlines(place, shown[0], shown[-1], color=COLOURS[0], lw=2, alpha=0.5)
        axes.plot(limits, [place] * len(limits), marker="x", ls="", color=LIMIT)
    for key, mark in _MARKS:
        at = [(times[key], place) for place, (_, times) in zip(places, rows, strict=True) if times[key]]
        axes.plot(*zip(*at, strict=True), marker=mark, ls="", color=COLOURS[0], label=key) if at else None
    if any(_limits(scenario) for scenario, _ in rows):
        axes.plot([], [], marker="x", ls="", color=LIMIT, label="limit of an objective")
    axes.set_yticks(places, [plain(short(scenario.name)) for scenario, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=MUTED, alpha=0.15)
    log_scale(axes, "x")
    figure.legend(loc="lower center", ncols=4)
    letters = max(len(short(scenario.name)) for scenario, _ in rows)
    figure.subplots_adjust(
        left=max(0.12, 0.03 + 0.0115 * letters),
        bottom=min(0.42, 0.62 / figure.get_figheight() + 0.1),
        top=1 - 0.3 / figure.get_figheight(),
    )
    slowest, times = max(rows, key=lambda row: row[1]["p95"] or row[1]["p50"])
    label = "p95" if times["p95"] else "p50"
    name(figure, axes, f"The slowest is {short(slowest.name)}: {label} {number(times[label])} ms")
    return figure


def _limits(scenario: ScenarioRun) -> list[float]:
    """The limits, ms, that objectives set to percentiles of all of the scenario's response times."""
    whole = (each for each in limits_of(scenario, "response") if each.operation is None and each.stage is None)
    return [float(each.limit or 0) for each in whole if each.q is not None]
