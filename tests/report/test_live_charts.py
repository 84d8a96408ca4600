"""Charts of a page that are drawn again from their data: what they say is what the summary says, by mouse and by
keyboard; without scripts and in print there are pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import perflib
from perflib import charts
from perflib.metrics.parts import GRID
from perflib.report.chart_data import POINTS, chart_data
from perflib.report.render import html
from perflib.report.sections import gallery, section
from perflib.text import number
from perflib.verdicts.comparison import curve
from tests.support.browsing import browser, picture
from tests.support.written import latencies, written

__all__ = ["browser"]
EVIL = "<img src=x onerror=b()>"
OVER_TIME = (charts.response_over_time, charts.throughput, charts.errors_over_time, charts.memory)
SIDES = (("base", 1, 1.0), ("slower", 2, 1.5))
DRAWN = (charts.latency_percentiles, *OVER_TIME)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    """Eight seconds of two operations, of which every fiftieth request fails."""
    return written(
        tmp_path_factory.mktemp("run"),
        latencies(4000, 1),
        operations=("list", EVIL),
        failed=[i % 50 == 0 for i in range(4000)],
        memory_mb=80,
        objectives=["p95 response < 40 ms", "error rate < 1 %"],
    )


@pytest.fixture(scope="module")
def page_file(run: perflib.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a section of charts, as a notebook's cell shows it."""
    shown = section(run.scenario("one"), gallery(DRAWN, run.scenario("one")))
    return page_of(str(shown), tmp_path_factory.mktemp("page"))


def page_of(shown: str, folder: Path) -> Path:
    """A page with what a notebook's cell shows."""
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("execute_result", {"text/html": shown})])
    made = folder / "page.html"
    made.write_text(html(nbformat.v4.new_notebook(cells=[cell]), "Charts"))
    return made


@pytest.fixture
def page(browser: Any, page_file: Path) -> Iterator[Any]:
    """The page, which must ask for nothing and say nothing."""
    opened, asked, said = browser.new_page(viewport={"width": 1300, "height": 900}), [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(page_file.as_uri())
    opened.locator("figure.drawn").nth(len(DRAWN) - 1).wait_for()
    yield opened
    assert said == [] and [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    opened.close()


def points_of(page: Any, chart: int) -> Iterator[str]:
    """What the points of a chart say, one after the other, by the keyboard."""
    pointer = page.locator("figure.drawn").nth(chart).get_by_role("slider")
    pointer.focus()
    for _ in range(int(pointer.get_attribute("aria-valuemax")) + 1):
        pointer.press("ArrowRight")
        yield pointer.get_attribute("aria-valuetext")


@pytest.mark.browser
def test_a_percentile_that_is_pointed_at_is_that_of_the_summary(page: Any, run: perflib.Run) -> None:
    times = {each["name"]: each["response_ms"] for each in run.summary()["scenarios"][0]["operations"]}
    said = {point.partition(":")[0]: point for point in points_of(page, 0)}
    for percentile in ("p50", "p90", "p95", "p99"):
        for name in ("list", EVIL):
            assert f"{name} {number(times[name][percentile])} ms [" in said[percentile]
    axis = json.loads(chart_data(DRAWN[0](run, "one")) or "")["x"]
    box = page.locator("figure.drawn").first.get_by_role("slider").bounding_box()
    share = (-np.log10(0.05) - axis["from"]) / (axis["to"] - axis["from"])
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + 20)
    readout = page.locator("figure.drawn").first.locator(".readout").inner_text().splitlines()
    assert readout[0] == "p95" and readout[1].startswith(f"list: {number(times['list']['p95'])} ms [")
    picture(page, "live-percentiles")


@pytest.mark.browser
def test_both_sides_of_a_comparison_are_read_as_their_figures_say(browser: Any, tmp_path: Path) -> None:
    base, slower = (written(tmp_path / side, latencies(2000, seed) * by) for side, seed, by in SIDES)
    compared = perflib.compare(base, slower, force=True)
    part = compared.parts[0]
    shown = section(compared.heading(part), gallery((charts.shift_function, charts.two_distributions), compared, part))
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(page_of(str(shown), tmp_path).as_uri())
    page.locator("figure.drawn").nth(1).wait_for()
    assert {"p50 margin", "p95 margin"} <= set(page.locator("svg text").all_text_contents())
    shifts = dict(zip(GRID, curve(compared, part), strict=False))
    said = {point.partition(":")[0]: point for point in points_of(page, 0)}
    for q in (0.05, 0.25, 0.5, 0.95):
        bounds = f"[{number(shifts[q].low)} … {number(shifts[q].high)}]".replace("-", "−")
        assert said[f"p{100 * q:g}"] == f"p{100 * q:g}: shift {number(shifts[q].estimate)} % of the base {bounds}"
    points = [re.findall(r"([\d.]+) ms|requests\) ([\d.]+) %", point) for point in points_of(page, 1)]
    assert sum(float(base_share) for (_, (_, base_share), *_) in points) == pytest.approx(100, abs=1)
    peaks = [max(points, key=lambda point, side=side: float(point[side][1]))[0][0] for side in (1, 2)]
    assert 1.1 < float(peaks[1]) / float(peaks[0]) < 2.2, "one and a half times as slow"
    picture(page, "live-comparison")
    page.close()


@pytest.mark.browser
def test_the_bars_of_errors_add_up_to_those_of_the_summary(page: Any, run: perflib.Run) -> None:
    said = [re.fullmatch(r"([\d.]+) s: http_5xx ([\d.]+) /s", point) for point in points_of(page, 3)]
    at_s, rates = (np.array([float(each[group]) for each in said if each]) for group in (1, 2))
    assert len(at_s) == len(said) > 20
    failed = run.summary()["scenarios"][0]["errors"]
    assert float(np.sum(rates) * np.median(np.diff(at_s))) == pytest.approx(failed, rel=0.02) and failed == 80


@pytest.mark.browser
def test_a_stretch_that_is_dragged_over_fills_all_charts_over_time(page: Any) -> None:
    chart, other = page.locator("figure.drawn").nth(1), page.locator("figure.drawn").nth(2)
    ticks = other.locator("svg > text")
    whole = ticks.all_text_contents()
    box = chart.get_by_role("slider").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=4)
    page.mouse.up()
    shown = [float(text) for text in ticks.all_text_contents() if re.fullmatch(r"\d(\.\d+)?", text)]
    assert ticks.all_text_contents() != whole and {2.5, 3.5} <= set(shown)
    assert page.locator("figure.drawn").first.get_by_role("button").is_hidden(), "percentiles are another axis"
    other.get_by_role("slider").press("Escape")
    assert ticks.all_text_contents() == whole
    chart.get_by_role("slider").press("+")
    assert ticks.all_text_contents() != whole
    chart.get_by_role("button", name="Show all").click()
    assert ticks.all_text_contents() == whole


@pytest.mark.browser
def test_print_and_a_reader_without_scripts_have_the_pictures(browser: Any, page: Any, page_file: Path) -> None:
    page.emulate_media(media="print")
    plain = browser.new_page(java_script_enabled=False)
    plain.goto(page_file.as_uri())
    for shown in (page, plain):
        assert shown.locator("figure.chart > img:visible").count() == len(DRAWN)
        assert shown.locator(".plot:visible").count() == 0
    plain.close()


def test_a_page_runs_its_one_script_and_no_other(page_file: Path) -> None:
    text = page_file.read_text()
    assert text.count("<script") == 1 and "eval(" not in text and ".innerHTML" not in text
    (policy,) = re.findall(r'content="(default-src[^"]+)" http-equiv="Content-Security-Policy"', text)
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    assert policy.startswith(allowed) and re.fullmatch(r"[\w+/=]{44}'", policy.removeprefix(allowed))
    assert "<script" not in html(nbformat.v4.new_notebook(cells=[]), "Nothing")


def test_data_are_bounded_and_of_charts_with_an_axis_to_read_alone(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(30_000, 1), rate_per_s=100, memory_mb=90)
    for draw in (charts.latency_percentiles, charts.response_over_time, charts.memory, charts.cpu):
        data = chart_data(draw(run, "one"))
        assert data and len(data) < 12_000
        made = json.loads(data)
        assert all(len(each["y"]) == len(made["xs"][each["x"]]) <= POINTS for each in made["series"])
    drawn = charts.cpu(run, "one").axes[0].patches[0].get_data().values
    shown = made["series"][0]["y"]
    assert len(drawn) > POINTS and (min(shown), max(shown)) == pytest.approx((min(drawn), max(drawn)), rel=1e-5)
    assert chart_data(charts.response_by_inflight(run, "one")) is None
    assert chart_data(charts.overview(run)) is None, "its rows are scenarios"
    assert chart_data(charts.gauges(run.rows("one"))) is None, "there is nothing to draw"
