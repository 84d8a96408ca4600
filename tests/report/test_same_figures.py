"""Every figure of a run that is shown in several places is the same in all of them, to the printed digit."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from perflib import charts
from perflib.metrics.source import Rows
from perflib.notebook.explorer import Explorer
from perflib.report.render import report
from perflib.stats import Interval
from perflib.stats.intervals import scaled
from perflib.text import number
from perflib.verdicts.comparison import compare
from perflib.verdicts.run import Run
from tests.support.command_line import invoke
from tests.support.written import latencies, written

OBJECTIVES = (
    "p50 response < 500 ms",
    "p95 response < 500 ms",
    "p99 response < 11.2 ms",
    "p99.9 response < 900 ms",
    "search: p99 response < 400 ms",
    "mean response < 500 ms",
    "max response < 9000 ms",
    "error rate < 5 %",
    "throughput > 10 /s",
)
Place = str
Figure = tuple[str, str]  # of which operation ("all" for the scenario), which figure: p95, throughput …
Shown = Iterator[tuple[Place, Figure, str]]
TESTED_COLUMNS = {
    "Requests": "requests", "Errors": "errors", "Good answers /s": "throughput", "p50 ms": "p50", "p95 ms": "p95",
    "p99 ms": "p99",
}  # fmt: skip
PAGE_COLUMNS = {"Requests": "requests", "Errors": "errors", "Good answers /s": "throughput", "p99.9": "p99.9"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Requests of two operations of which some fail, too few for a p99.9, with a warm-up that is left out."""
    data = tmp_path_factory.mktemp("data")
    failed = [number % 97 == 0 for number in range(3000)]
    return written(
        data, latencies(3000, 1), operations=("search", "buy"), failed=failed, objectives=OBJECTIVES, warmup_s=0.5
    )


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(run, out=tmp_path_factory.mktemp("report"))


def in_summary(folder: Path) -> Shown:
    summary = json.loads((folder / "summary.json").read_text())
    (scenario,) = summary["scenarios"]
    for part, name in ((scenario, "all"), *((each, each["name"]) for each in scenario["operations"])):
        yield "summary", (name, "requests"), f"{part['requests']:,}"
        yield "summary", (name, "errors"), f"{part['errors']:,}"
        yield "summary", (name, "throughput"), number(part["throughput_per_s"])
        for key, value in part["response_ms"].items():
            yield "summary", (name, key.replace("_", ".")), number(value)
    for objective in summary["objectives"]:
        yield "summary, objective", _asked(objective["objective"]), number(objective["estimate"])


def _asked(objective: str) -> Figure:
    operation, _, rest = objective.rpartition(": ")
    return operation or "all", rest.split(" < ")[0].split(" > ")[0].removesuffix(" response")


def _bare(text: str) -> str:
    """Without unit; an open bound says that there is no estimate."""
    plain = re.sub(r" (ms|/s|%)$", "", text.strip())
    return "–" if plain.startswith(("≥", "≤")) else plain


def on_page(folder: Path) -> Shown:
    page = BeautifulSoup((folder / "report.html").read_text(), "html.parser")
    for table in page.find_all("table"):
        caption = table.caption.get_text()
        head, *rows = [[cell.get_text(" ", strip=True) for cell in row.find_all(("th", "td"))] for row in table("tr")]
        for row in rows:
            cells = dict(zip(head, row, strict=False))
            if caption.startswith("Figures of"):
                for column, value in cells.items():
                    if (key := PAGE_COLUMNS.get(column, column)) not in ("Operation", "Time"):
                        yield "page, figures", (cells["Operation"], key), value
            elif caption == "What was tested":
                for column, value in cells.items():
                    if column in TESTED_COLUMNS:
                        yield "page, tested", ("all", TESTED_COLUMNS[column]), value.partition(" ")[0]
            elif caption.startswith("Objectives"):
                objective = next(asked for asked in OBJECTIVES if asked in cells["Objective"])
                if cells["Objective"].partition(" ")[2].startswith(objective):
                    observed = re.split(r"(?<=ms|/s| %) ", cells["Observed, 95 % interval"])[0]
                    yield "page, objectives", _asked(objective), _bare(observed)
    summaries = [each.get_text(" ", strip=True) for each in page.select("details.scenario > summary")]
    yield from _in_words("page, heading", " ".join(summaries))
    for image in page.find_all("img"):
        yield from _in_words("page, chart", image["alt"])


def _in_words(place: Place, text: str) -> Shown:
    patterns = {
        "p50": r"[Hh]alf within ([\d.,]+) ms",
        "p99": r"(?:99 % within|p99) ([\d.,]+) ms",
        "throughput": r"([\d.,]+) good answers",
        "errors": r"([\d,]+) (?:of [\d,]+ requests failed|errors)",
        "requests": r"(?:of |^|: )([\d,]+) requests(?: failed|, )",
    }
    for key, pattern in patterns.items():
        for value in re.findall(pattern, text):
            yield place, ("all", key), value


def in_markdown(folder: Path) -> Shown:
    for line in (folder / "report.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| one |"):
            names = ("requests", "errors", "throughput", "p50", "p95", "p99")
            for key, value in zip(names, cells[2:8], strict=True):
                yield "markdown, figures", ("all", key), value.partition(" (")[0]
        elif line.startswith("| ") and ": " in cells[1]:
            objective = cells[1].partition(": ")[2].replace("&lt;", "<").replace("&gt;", ">")
            yield "markdown, objectives", _asked(objective), _bare(cells[2].partition(" [")[0])


def on_terminal(run: Run) -> Shown:
    data = ["--data", str(run.path.parents[1])]
    head, line = (re.split(r"\s{2,}", text) for text in invoke("show", run.id, *data).stdout.splitlines()[1:3])
    for column, value in list(zip(head, line, strict=True))[1:]:
        yield "show", ("all", {"/s": "throughput"}.get(column, column.removesuffix(" ms"))), value
    for text in invoke("check", run.id, *data).stdout.splitlines()[1:-1]:
        _, objective, observed, *_ = re.split(r"\s{2,}", text)
        yield "check", _asked(objective), _bare(observed.partition(" [")[0])


def in_comparison(run: Run) -> Shown:
    compared = compare(run.path, run.path)
    for change in compared.changes:
        figure = (change.part.operation or "all", change.metric.name.removesuffix(" response"))
        base, candidate, *_ = change.cells
        yield "compare, base", figure, _bare(base)
        yield "compare, candidate", figure, _bare(candidate)


def in_explorer(run: Run) -> Shown:
    explored = Explorer(run)
    for operation in (None, "search", "buy"):
        for key, share in (("p50", 50.0), ("p95", 95.0), ("p99", 99.0)):
            low_ms, _ = explored.choose(operation=operation, band=(share, 100.0)).limits_ms
            yield "explorer", (operation or "all", key), number(low_ms)


def in_charts(run: Run) -> Shown:
    for draw in (charts.latency_percentiles, charts.throughput, charts.errors_over_time):
        yield from _in_words("chart", draw(run, "one").get_label())


def everywhere(run: Run, folder: Path) -> dict[Figure, dict[str, set[Place]]]:
    """Of every figure, what is written for it and where."""
    shown: dict[Figure, dict[str, set[Place]]] = defaultdict(lambda: defaultdict(set))
    ways: Any = (
        in_summary(folder), on_page(folder), in_markdown(folder), on_terminal(run), in_comparison(run),
        in_explorer(run), in_charts(run),
    )  # fmt: skip
    for way in ways:
        for place, figure, text in way:
            shown[figure][text].add(place)
    return shown


def different(shown: dict[Figure, dict[str, set[Place]]]) -> dict[Figure, dict[str, set[Place]]]:
    return {figure: dict(texts) for figure, texts in shown.items() if len(texts) > 1}


def test_a_figure_is_the_same_wherever_it_is_shown(run: Run, folder: Path) -> None:
    shown = everywhere(run, folder)
    assert not different(shown)
    places = {place for texts in shown.values() for each in texts.values() for place in each}
    assert places == {
        "summary", "summary, objective", "page, tested", "page, figures", "page, objectives", "page, heading",
        "page, chart",
        "markdown, figures", "markdown, objectives", "show", "check", "compare, base", "compare, candidate",
        "explorer", "chart",
    }  # fmt: skip
    often = {figure for figure, texts in shown.items() if len(next(iter(texts.values()))) >= 5}
    wanted = ("p50", "p95", "p99", "throughput", "errors", "requests")
    assert {("all", name) for name in wanted} <= often


def test_a_planted_difference_is_found(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Rows.quantiles

    def other(self: Rows, *args: Any) -> tuple[Interval, ...]:
        return tuple(scaled(each, 1.001) for each in plain(self, *args))

    monkeypatch.setattr(Rows, "quantiles", other)  # the page, made before, says what was right
    found = different(everywhere(Run(run.path), folder))
    assert "page, figures" in set.union(*found["all", "p95"].values())
