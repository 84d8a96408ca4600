"""Sections of a page, as a notebook composes them: charts, tables and text under a heading that can be folded.

section(scenario, charts.throughput(scenario), scenario.percentiles(), "Any text")
section("My own", gallery([charts.throughput, charts.memory], scenario), a_dataframe)
sections("Scenarios", (section(scenario, scenario.errors()) for scenario in run.most_urgent()))

A part is whatever a notebook shows: a Figure, a table of the run's, a DataFrame, text; None is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from markupsafe import Markup
from matplotlib.figure import Figure

from perflib import charts
from perflib.charts.together import together
from perflib.metrics.scenario import scenario_figures
from perflib.metrics.selection import Selection
from perflib.metrics.totals import constant_inflight, totals
from perflib.report.pictures import picture
from perflib.store.recording import ScenarioRun
from perflib.text.html import NOTEBOOK_STYLE, Heading, View, render
from perflib.verdicts.comparison import Comparison

CHARTS: Final = 100  # on one page: about a megabyte
SMALL_CHARTS: Final = 120  # of a history: each takes a few kilobytes


class Headed(Protocol):
    """What has a section: a scenario of a run, a series of a history."""

    @property
    def heading(self) -> Heading: ...


class Gallery:
    """Charts side by side, which are drawn when they are shown, and no more than `most` of them."""

    def __init__(self, draws: Iterable[Callable[[], Figure]], *, kind: str = "") -> None:
        self.draws, self.kind = list(draws), kind
        self.most = len(self.draws)

    @property
    def pictures(self) -> list[View]:
        return [picture(draw()) for draw in self.draws[: self.most]]

    def __html__(self) -> str:
        return render("gallery", pictures=self.pictures, kind=self.kind)

    def _repr_html_(self) -> str:
        return NOTEBOOK_STYLE + str(self.__html__())


class Section(View):
    """A heading that can be folded, and what is under it."""

    def __init__(self, heading: Heading, parts: list[Any]) -> None:
        super().__init__("section", heading=heading, parts=parts)
        self.heading = heading
        self.galleries = [part for part in parts if isinstance(part, Gallery)]


def section(of: Headed | Heading | str, *parts: Any) -> Section:
    """What is under the heading of a scenario, of a series, or a text; Figures that follow each other side by side."""
    heading = Heading(of) if isinstance(of, str) else of if isinstance(of, Heading) else of.heading
    shown: list[Any] = []
    for part in map(_shown, parts):
        if isinstance(part, Gallery) and shown and isinstance(shown[-1], Gallery):
            shown[-1] = Gallery([*shown[-1].draws, *part.draws])
        elif not isinstance(part, str | None) or part:
            shown.append(part)
    return Section(heading, shown)


def sections(
    title: str,
    found: Iterable[Section],
    *,
    of: int = 0,
    noun: str = "scenario",
    rest: str = "were met and are left out here; their figures are in summary.json",
    side_by_side: bool = False,
) -> View:
    """Sections under a title. A page stays small: where charts are many, those of what was met are fewer.

    of: how many there are in all, where only some are `found`; `noun` and `rest` say what is left out
    """
    made = list(found)
    wanted = sum(len(gallery.draws) for each in made for gallery in each.galleries)
    _share(made, CHARTS)
    drawn = sum(gallery.most for each in made for gallery in each.galleries)
    return View(
        "sections",
        title=title,
        sections=made,
        fewer=drawn < wanted,
        left_out=max(of - len(made), 0),
        noun=noun,
        rest=rest,
        kind="pairs" if side_by_side else "",
    )


def gallery(drawn: Iterable[Callable[..., Figure]], *what: Any) -> Gallery:
    """Those of these charts that have something to show of a scenario, of a series, or of a comparison and its part."""
    return Gallery(partial(draw, *what) for draw in drawn if draw not in _SHOWS or _SHOWS[draw](*what))


def small_multiples(title: str, draw: Callable[..., Figure], items: Sequence[Any], said: str = "") -> View:
    """The same small chart of each of these, side by side under one title, with a sentence about them."""
    drawn = Gallery((partial(draw, item, small=True) for item in items[:SMALL_CHARTS]), kind="small")
    return View("small_multiples", title=title, said=said, drawn=drawn, left_out=max(len(items) - SMALL_CHARTS, 0))


def _shown(part: Any) -> Any:
    """A part as a template takes it."""
    if isinstance(part, Figure):
        return Gallery([lambda: part])
    if part is None or isinstance(part, str) or hasattr(part, "__html__"):
        return part
    return Markup(part._repr_html_()) if hasattr(part, "_repr_html_") else str(part)


def _share(made: list[Section], most: int) -> None:
    """Give each section its share of the charts: the urgent ones all, the others a share of what is left."""
    ordered = sorted(made, key=lambda each: not each.heading.urgent)
    for index, each in enumerate(ordered):
        share = most if each.heading.urgent else most // (len(ordered) - index)
        for gallery in each.galleries:
            gallery.most = min(share, len(gallery.draws))
            share, most = share - gallery.most, most - gallery.most


def _is_decided(compared: Comparison, part: Selection) -> bool:
    return compared.heading(part).word == "pass"


def _has_times(compared: Comparison, part: Selection) -> bool:
    return any(change.part == part and change.metric.key == "p50" for change in compared.changes)


def _is_stepped(scenario: ScenarioRun) -> bool:
    return scenario.spec.load.model == "steps"


# When a chart has something to show; the others always have.
_SHOWS: Final[dict[Callable[..., Figure], Callable[..., Any]]] = {
    charts.capacity_throughput: _is_stepped,
    charts.capacity_times: _is_stepped,
    charts.paired_differences: lambda scenario: any(
        objective.metric == "median difference" for objective in scenario.spec.objectives
    ),
    charts.overview: lambda run: len(run.scenarios) > 1,
    charts.scenarios_together: together,
    charts.inflight: lambda scenario: totals(scenario).max_inflight is not None and constant_inflight(scenario) is None,
    charts.response_by_inflight: lambda scenario: totals(scenario).max_inflight is not None,
    charts.breakdown: lambda scenario: scenario_figures(scenario)["timed_parts"],
    charts.errors_over_time: lambda scenario: scenario_figures(scenario)["errors"],
    charts.memory: lambda scenario: scenario_figures(scenario)["memory_mb"],
    charts.cpu: lambda scenario: scenario_figures(scenario)["memory_mb"],
    charts.gauges: lambda scenario: scenario.run.query(
        "select 1 from gauges group by target, gauge having min(value) < max(value) limit 1"
    ).fetchone(),
    charts.shift_function: _has_times,
    charts.forest: lambda compared, part: not (_has_times(compared, part) and _is_decided(compared, part)),
    charts.two_distributions: lambda compared, part: _has_times(compared, part) and not _is_decided(compared, part),
}
