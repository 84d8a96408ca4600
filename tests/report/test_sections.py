"""What the cells of a notebook are made of: tables that are DataFrames as well, and sections that compose them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

import perflib
from perflib import charts
from perflib.report.markdown import of_run
from perflib.report.sections import CHARTS, gallery, section, sections
from perflib.text.html import Heading, View, render
from tests.support.html_pages import ParsedPage
from tests.support.written import latencies, written

EVIL = '<script>alert("1")</script>|`@all`'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    """One scenario of two operations, with failures and a target whose memory was sampled."""
    return written(
        tmp_path_factory.mktemp("run"),
        latencies(4000, 1),
        operations=("list", "buy"),
        failed=[i % 50 == 0 for i in range(4000)],
        memory_mb=80,
        objectives=["p95 response < 1 ms", "error rate < 50 %"],
    )


def test_a_table_has_the_figures_that_it_shows(run: perflib.Run) -> None:
    scenario, summary = run.scenario("one"), run.summary()
    objectives = run.objectives().frame
    assert list(objectives["verdict"]) == [v.verdict for v in run.verdicts()] == ["fail", "pass"]
    assert list(objectives["estimate"]) == [o["estimate"] for o in summary["objectives"]]
    percentiles = scenario.percentiles().frame.set_index("operation")
    assert list(percentiles.index) == ["all", "list", "buy"]
    assert percentiles.loc["all", "p95_ms"] == summary["scenarios"][0]["response_ms"]["p95"]
    failed = scenario.errors().frame.iloc[0]
    assert tuple(failed[:5]) == ("http_5xx", "list", 80, 2000, 4.0)
    ended_s = (scenario.rows().query("not ok")["end_ns"] - 1_000_000) / 1e9
    assert (failed["first_s"], failed["last_s"]) == (ended_s.min(), ended_s.max())
    assert scenario.memory().frame["peak_mb"].iloc[0] == summary["scenarios"][0]["memory_mb"]["peak"]
    for whole, part in ((run.memory(), scenario.memory()), (run.percentiles(), scenario.percentiles())):
        assert whole.frame.drop(columns="scenario").equals(part.frame) and str(part) in str(whole)
    assert list(run.errors().frame["scenario"]) == ["one"]
    assert run.load().frame["model"].iloc[0] == scenario.spec.load.model
    assert len(run.load_generator().frame) in (0, 1) and "Machine" in set(run.machine().frame["fact"])


def test_a_section_shows_whatever_a_notebook_shows_and_text_stays_text(run: perflib.Run) -> None:
    scenario = run.scenario("one")
    parts = (charts.throughput(scenario), charts.inflight(scenario), scenario.errors(), EVIL, None, "", scenario.rows())
    page = str(section(scenario, *parts))
    assert ParsedPage(page).tags.count("img") == 2 and page.count('class="charts"') == 1, "side by side"
    assert "script" not in ParsedPage(page).tags and "&lt;script&gt;" in page
    assert page.startswith('<details class="scenario" open>') and 'id="s-one"' in page, "what is missed is open"
    assert page.index("<img") < page.index("Errors of one") < page.index("&lt;script") < page.index("response_ns")
    assert 'id="s-mine"' in str(section("mine")) and " open" not in str(section("mine"))
    assert section(scenario)._repr_html_().endswith(str(section(scenario)))


def test_a_chart_is_drawn_where_it_has_something_to_show(run: perflib.Run) -> None:
    drawn = [charts.capacity_times, charts.throughput, charts.memory, charts.gauges, charts.errors_over_time]
    assert [draw.func for draw in gallery(drawn, run.scenario("one")).draws] == [drawn[1], drawn[2], drawn[4]]


def test_a_page_has_few_charts_and_the_urgent_ones_all(run: perflib.Run) -> None:
    scenario, drawn = run.scenario("one"), [charts.throughput] * 9
    made = [section(Heading(str(i), word), gallery(drawn, scenario)) for i, word in enumerate(["pass"] * 30 + ["fail"])]
    whole = sections("Many", made, of=40, rest="are left out")
    counts = [each.galleries[0].most for each in made]
    assert counts[-1] == 9 and sum(counts) == CHARTS and min(counts) >= 3
    whole.values["sections"] = []  # what it says needs no chart
    assert "not every scenario has all of its charts" in str(whole) and "9 more scenarios are left out." in str(whole)


def test_what_a_template_asks_for_and_has_not_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'interval' is undefined"):
        render("interval")
    with pytest.raises(jinja2.UndefinedError, match="'sentence' is undefined"):
        View("overhead/conclusion")._repr_html_()


def test_every_value_of_a_comment_stays_text(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(50, 1), scenario=EVIL, reasons=[EVIL], status="invalid")
    comment = of_run(run, EVIL)
    assert "<script" not in comment and "@all" not in comment and "`'" not in comment
    assert comment.startswith("## ! &lt;script&gt;") and comment.count("\\|'@\u200ball'") == 4
