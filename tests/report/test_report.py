"""Reports: four files, one that opens offline, nothing in it that a target could make dangerous."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bs4 import BeautifulSoup

import perflib
from perflib import charts
from perflib.errors import SuiteError
from perflib.report import junit
from perflib.report import render as reports
from perflib.suite.file import from_table
from perflib.text import number
from tests.support.html_pages import ParsedPage
from tests.support.servers import raw_server, says
from tests.support.suites import table
from tests.support.written import latencies, written

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BROKEN = b'HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{"error": "KeyError: id 41"}'


@pytest.fixture(scope="module")
def folder(small_run: perflib.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reports.report(small_run, out=tmp_path_factory.mktemp("report"), title="A <small> run")


def test_the_page_is_whole_small_and_needs_nothing_else(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = ParsedPage(text)
    assert len(text) < 1_000_000
    assert page.tags.count("script") == 1, "what draws the charts"
    assert not [a for a in page.attributes if a[1] in ("src", "href") and not a[2].startswith(("data:image/png", "#"))]
    assert all(len(alt) > 15 for _, key, alt in page.attributes if key == "alt")
    assert page.tags.count("img") >= 11
    assert "A &lt;small&gt; run" in text
    assert "Traceback" not in text
    assert "The suite was made in Python" in text


def test_the_verdict_comes_first_in_words(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "1 of 4 objectives is missed: queries, missing: error rate &lt; 1 %." in text
    assert text.index("objectives is missed") < text.index("What to do next") < text.index("<table")
    assert "first: it misses missing: error rate &lt; 1 %, with 100 %" in text
    assert re.search(r'<details class="scenario" open="">.*?id="s-queries"', text)
    # What is met is folded.
    assert '<details class="scenario"><summary><h3><span aria-hidden="true" class="sign pass">' in text
    markdown = (folder / "report.md").read_text()
    assert markdown.startswith("## ✗ A &lt;small&gt; run: fail\n")
    assert markdown.index("✗ fail") < markdown.index("<details>")


def test_the_beginning_answers_what_was_tested_and_why_it_failed(tmp_path: Path) -> None:
    """The questions of a stranger, in the first 1,500 letters of the page's text and of report.md."""
    with raw_server({"/items": says(OK), "/items/41": says(BROKEN)}) as url:
        made = table(
            operations=[{"name": "list", "path": "/items"}, {"name": "get item", "path": "/items/41"}],
            load={"model": "constant", "rate_per_s": 50, "duration_s": 2},
            objectives=["error rate < 1 %", "p95 < 2 s"],
        )
        made |= {"description": "What a visitor reads on a Monday morning."}
        made["targets"]["api"]["url"] = url
        run = perflib.run(from_table(made), data=tmp_path, progress=False)
    out = reports.report(run, out=tmp_path / "out")
    page = " ".join(BeautifulSoup((out / "report.html").read_text(), "html.parser").main.get_text(" ").split())
    for text in (page, (out / "report.md").read_text()):
        beginning = text[:1500]
        for asked in (
            "What a visitor reads on a Monday morning.", "50 requests/s at equal intervals for 2 s",
            "1 of 2 objectives", "http_5xx", "KeyError: id 41", "get item", url.removeprefix("http://"), "cores",
        ):  # fmt: skip
            assert asked in beginning, (asked, beginning)


def test_summary_and_junit_say_the_same(folder: Path, small_run: perflib.Run) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == json.loads(json.dumps(small_run.summary()))
    assert (summary["schema"], summary["run"], summary["verdict"]) == (1, small_run.id, "fail")
    asked = {"scenario", "operation", "objective", "metric", "unit", "limit", "estimate", "low", "high", "n", "verdict"}
    assert all(asked <= set(objective) for objective in summary["objectives"])
    first = summary["scenarios"][0]
    rows = small_run.rows("queries")
    assert first["requests"] == len(rows)
    assert first["errors"] == (~rows["ok"]).sum() > 0
    good = rows[rows["ok"]]["response_ns"] / 1e6
    assert first["response_ms"]["p50"] == pytest.approx(good.quantile(0.5))
    assert len(good) < 1000 and first["response_ms"]["p99"] is None, "fewer than ten lie beyond it"
    assert first["response_ms"]["mean"] == pytest.approx(good.mean())
    cases = ElementTree.parse(folder / "junit.xml").getroot()
    assert (cases.get("tests"), cases.get("failures"), cases.get("errors")) == ("4", "1", "0")
    words = {(o["scenario"], o["objective"]): o["verdict"] for o in summary["objectives"]}
    for case in cases.iter("testcase"):
        kind = {"pass": [], "fail": ["failure"], "inconclusive": ["skipped"]}[
            words[case.get("classname", ""), case.get("name", "")]
        ]
        assert [child.tag for child in case] == kind


def test_junit_has_all_that_the_schemas_of_ant_and_jenkins_want(folder: Path, small_run: perflib.Run) -> None:
    root = ElementTree.parse(folder / "junit.xml").getroot()
    wanted = {"name", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"}
    assert set(root.attrib) == wanted
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", root.get("timestamp", ""))
    tags = [child.tag for child in root]
    assert tags == ["properties", *["testcase"] * int(root.get("tests", 0)), "system-out", "system-err"]
    for case in root.iter("testcase"):
        assert set(case.attrib) == {"classname", "name", "time"}
        assert all({"message", "type"} == set(child.attrib) for child in case if child.tag in ("failure", "error"))
    told = {each.get("name"): each.get("value") for each in root.iter("property")}
    assert told["run"] == small_run.id and {"commit", "machine", "target api"} <= set(told)
    assert sum(float(case.get("time", 0)) for case in root.iter("testcase")) == pytest.approx(
        float(root.get("time", 0)), abs=0.01
    )
    said = root.findtext("system-out") or ""
    for verdict in filter(lambda each: each.judged, small_run.verdicts()):  # those that passed too
        assert f"{verdict.objective.text}: observed {verdict.observed[0]}" in said


def test_what_a_target_says_stays_text(tmp_path: Path) -> None:
    """A class name, an operation's name and a description that would be markup, in every file."""
    evil = "<img src=x onerror=alert(1)>"

    class Evil(Exception):
        pass

    Evil.__name__ = evil + "|`@all`"

    def fails() -> None:
        raise Evil(evil)

    suite = perflib.Suite(
        name=f"n {evil}",
        targets={"f": perflib.Target(kind="callable", function=fails, in_process=True)},
        scenarios=[
            perflib.Scenario(
                name=f"s {evil}",
                description=evil,
                target="f",
                operations=[perflib.Operation(name=f"o {evil}")],
                load=perflib.Load(model="closed", concurrency=2, requests=40),
                objectives=["error rate < 1 %"],
            )
        ],
    )
    run = perflib.run(suite, data=tmp_path, progress=False)
    assert run.rows(phase=None)["error"].str.contains("onerror").all()
    out = reports.report(run, out=tmp_path / "out")
    page = ParsedPage((out / "report.html").read_text())
    assert not [a for a in page.attributes if a[1].startswith("on") or (a[1] == "src" and not a[2].startswith("data:"))]
    markdown = (out / "report.md").read_text()
    prose = re.sub(r"`[^`\n]*`", "", markdown)  # nothing is markup in a code span
    assert "<img" not in prose and "@all" not in prose
    assert evil in ElementTree.parse(out / "junit.xml").getroot().get("name", "")


def test_an_invalid_run_says_so_everywhere(tmp_path: Path) -> None:
    made = table(objectives=["p95 response < 5 ms"])
    made["targets"]["api"] = {"kind": "http", "url": "http://127.0.0.1:9"}
    run = perflib.run(from_table(made), data=tmp_path, progress=False)
    out = reports.report(run, out=tmp_path / "out")
    assert json.loads((out / "summary.json").read_text())["verdict"] == "invalid"
    assert (
        "This run is invalid: targets.api: nothing answers at http://127.0.0.1:9" in (out / "report.html").read_text()
    )
    assert (out / "report.md").read_text().startswith("## ! tested: invalid")
    assert ElementTree.parse(out / "junit.xml").getroot().get("errors") == "1"


def test_too_few_requests_for_a_percentile_are_no_number(tmp_path: Path) -> None:
    run = written(
        tmp_path, latencies(300, 3), objectives=["p99 response < 1 s", "p99 response < 1 ms", "p95 response < 1 s"]
    )
    few, slow, enough = run.verdicts()
    assert few.verdict == "inconclusive" and few.needs_more is not None and few.needs_more >= 68
    assert math.isnan(few.interval.estimate) and few.margin is None and few.as_dict()["estimate"] is None
    assert few.observed[0] == f"≥ {number(few.interval.low)} ms" and few.observed[1].endswith("∞")
    assert slow.verdict == "fail", "its lower bound is beyond the limit: no further request would change that"
    assert enough.verdict == "pass" or enough.needs_more
    page = str(run.scenario("one").percentiles())
    assert "fewer than ten requests lie beyond that percentile" in page
    assert run.summary()["scenarios"][0]["response_ms"]["p99"] is None
    assert re.search(r"95 % within [\d.]+ ms \(300 requests\)", charts.latency_percentiles(run, "one").get_label())
    one = written(tmp_path, latencies(5, 3))
    assert charts.latency_percentiles(one, "one").get_label() == "5 requests: too few for a percentile"


def test_an_inconclusive_objective_says_how_much_more_it_takes(tmp_path: Path) -> None:
    with raw_server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as url:
        made = table(objectives=["error rate < 1 %"], load={"model": "closed", "concurrency": 2, "requests": 100})
        made["targets"]["api"]["url"] = url
        run = perflib.run(from_table(made), data=tmp_path, progress=False)
    (verdict,) = run.verdicts()
    assert verdict.verdict == "inconclusive"
    assert verdict.needs_more is not None
    assert 150 < verdict.needs_more < 600  # no error in 368 requests is what puts the upper bound below 1 %
    assert f"about {verdict.needs_more:,} more requests" in verdict.reason


def test_a_baseline_stands_beside_it(small_run: perflib.Run, tmp_path: Path) -> None:
    out = reports.report(small_run, baseline=small_run, out=tmp_path / "out")
    assert f"Beside {small_run.id}" in (out / "report.html").read_text()


def test_an_unknown_parameter_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"no parameter .runn.*known: run \(str\), baseline"):
        reports.execute("report", {"runn": "x"}, tmp_path / "x.ipynb")


def test_latest_points_to_the_last_report(small_run: perflib.Run, tmp_path: Path) -> None:
    folder = reports.report(small_run)
    assert folder == Path("reports") / small_run.id
    assert (tmp_path / "reports" / "latest" / "report.html").read_text() == (folder / "report.html").read_text()


def test_a_damaged_part_is_named_and_left_out(small_run: perflib.Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(small_run.path, copy)
    part = sorted((copy / "rows").glob("*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:100])
    run: Any = perflib.open_run(copy)
    assert run.corrupt == [f"rows/{part.name}"]
    assert 0 < len(run.rows(phase=None)) < len(small_run.rows(phase=None))
    assert part.name in str(run.machine())
    judged = [verdict for verdict in run.verdicts() if verdict.judged]
    assert {verdict.verdict for verdict in judged} == {"inconclusive"}, "what is missing may have decided"
    assert any(part.name in verdict.reason for verdict in judged)
    assert part.name in junit.of_run(run)


def test_without_a_browser_the_pdf_is_one_line_and_the_rest_is_written(
    small_run: perflib.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perflib.cli import main

    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(SystemExit) as ended:
        main(["report", str(small_run.path), "--out", str(tmp_path / "out"), "--pdf"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "a PDF needs Chromium, and there is none here; install Chromium" in said
    assert len(said.splitlines()) == 1
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "report.md", "summary.json", "junit.xml"} <= written
    assert "report.pdf" not in written


def many_scenarios(data: Path, count: int) -> perflib.Run:
    """A run whose scenarios all have the same requests; the last one misses its objective."""
    run = written(
        data,
        latencies(600, 1),
        operations=("list", "get", "buy"),
        memory_mb=80,
        failed=[i % 50 == 0 for i in range(600)],
    )
    (part,) = sorted((run.path / "rows").glob("part-*.parquet"))
    rows, manifest = pq.read_table(part), json.loads((run.path / "run.json").read_text())
    (spec,), (entry,) = manifest["suite"]["scenarios"], manifest["scenarios"]
    at, field = rows.schema.get_field_index("scenario"), rows.schema.field("scenario")
    names = [f"scenario {i} of a large suite" for i in range(count)]
    for name in names:
        column = pa.array([name] * len(rows)).cast(field.type)
        pq.write_table(rows.set_column(at, field, column), part.with_name(f"part-{name[9:11].strip()}-1.parquet"))
    part.unlink()
    limits = ["p95 response < 100 ms", "throughput > 100 /s", "error rate < 50 %"]
    manifest["suite"]["scenarios"] = [{**spec, "name": name, "objectives": limits} for name in names]
    manifest["suite"]["scenarios"][-1]["objectives"] = ["p95 response < 1 ms"]
    manifest["scenarios"] = [{**entry, "name": name} for name in names]
    (run.path / "run.json").write_text(json.dumps(manifest))
    return perflib.open_run(run.path)


@pytest.mark.slow
def test_a_large_suite_is_a_small_page_that_says_what_it_left_out(tmp_path: Path) -> None:
    out = reports.report(many_scenarios(tmp_path, 64), out=tmp_path / "out")
    text = (out / "report.html").read_text()
    assert 500_000 < len(text) < 2_000_000
    assert "1 of 190 objectives is missed: scenario 63 of a large suite" in text
    assert "not every scenario has all of its charts" in text
    assert "4 more scenarios were met and are left out here" in text
    urgent = text[text.index('id="s-scenario.20.63') :]
    assert urgent[: urgent.index("</details>")].count("<img") >= 6  # what is missed has all its charts
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= ids
    assert len(json.loads((out / "summary.json").read_text())["scenarios"]) == 64
