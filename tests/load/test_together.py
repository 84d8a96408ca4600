"""Scenarios that run at the same time: each has its own load and verdicts, and what ends one by force ends all."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import perflib
from perflib import charts
from perflib.errors import SuiteError
from perflib.load.validity import doubts
from perflib.suite.file import parse_suite, select
from tests.support.runs import run_quietly, start_perflib_run, wait_for_rows
from tests.support.servers import raw_server, says
from tests.support.suites import suite as one_suite
from tests.support.worker_health import CALM_MACHINE, HEALTHY_WORKER, OPEN_LOAD

OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
BAD = says(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")
SUITE = """
name = "both"
targets.api = { kind = "http", url = "URL" }
[[scenarios]]
name = "front"
target = "api"
operations = [{ name = "list", path = "/" }]
load = { model = "constant", rate_per_s = 100, duration_s = 2 }
objectives = ["success >= 90 %", "p95 response < 5 s"]
with = ["back"]
[[scenarios]]
name = "alone"
target = "api"
operations = [{ name = "once", path = "/" }]
load = { model = "closed", concurrency = 1, requests = 3 }
[[scenarios]]
name = "back"
target = "api"
at_s = 1
operations = [{ name = "sync", path = "/sync" }]
load = { model = "constant", rate_per_s = 50, duration_s = 2 }
objectives = ["success >= 90 %"]
"""


def suite(url: str = "http://127.0.0.1:9", **changes: str) -> perflib.Suite:
    text = SUITE
    for old, new in {"URL": url, **changes}.items():
        assert old in text
        text = text.replace(old, new)
    return parse_suite(text, where="s.toml", folder="")


def test_two_scenarios_overlap_from_their_starts_on_and_each_is_judged_as_if_alone(tmp_path: Path) -> None:
    with raw_server(OK) as url:
        together = run_quietly(suite(url), tmp_path)
        apart = run_quietly(suite(url, **{'with = ["back"]\n': "", "at_s = 1\n": ""}), tmp_path)
    assert together.status == apart.status == "complete"
    front, back, alone = (together.scenario(name) for name in ("front", "back", "alone"))
    assert (back.record.start_ns or 0) - (front.record.start_ns or 0) == 1_000_000_000
    assert (back.record.start_ns or 0) < (front.record.stop_ns or 0) < (alone.record.start_ns or 0)
    for run in (together, apart):
        counts = run.rows(phase=None)["scenario"].value_counts()
        assert dict(counts) == {"front": 200, "back": 100, "alone": 3}
        assert {(v.scenario, v.verdict) for v in run.verdicts()} == {("front", "pass"), ("back", "pass")}
    assert front.record.workers[0].worker != back.record.workers[0].worker
    title = charts.scenarios_together(together).get_label()
    assert title.startswith("front: median ") and title.endswith("beside back")
    assert "no two scenarios" in str([text.get_text() for text in charts.scenarios_together(apart).axes[0].texts])


def test_a_scenario_that_is_aborted_ends_those_beside_it(tmp_path: Path) -> None:
    aborts = 'path = "/sync" }]\nabort_on = "error rate > 50 % for 1 s"'
    changes = {"duration_s = 2": "duration_s = 60", 'path = "/sync" }]': aborts}
    with raw_server({"/": OK, "/sync": BAD}) as url:
        run = run_quietly(suite(url, **changes), tmp_path)
    assert run.status == "invalid" and [record.name for record in run.manifest.scenarios] == ["front", "back"]
    assert [record.status for record in run.manifest.scenarios] == ["aborted", "aborted"]
    (reason,) = run.manifest.reasons
    assert reason.startswith("scenario 'back': error rate > 50 %")
    assert 100 < len(run.rows("front", phase=None)) < 1500


def test_an_interrupt_ends_all_and_keeps_their_rows(tmp_path: Path) -> None:
    with raw_server(OK) as url:
        text = SUITE.replace("URL", url).replace("duration_s = 2", "duration_s = 60").replace("at_s = 1", "at_s = 0")
        process = start_perflib_run(tmp_path, text)
        wait_for_rows(tmp_path, 1.0)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    run = perflib.open_run("latest", tmp_path / "data")
    assert [record.status for record in run.manifest.scenarios] == ["interrupted", "interrupted"]
    assert set(run.rows(phase=None)["scenario"]) == {"front", "back"}
    stops = [record.stop_ns or 0 for record in run.manifest.scenarios]
    assert abs(stops[0] - stops[1]) < 5e9


def test_the_capacity_is_found_beside_another_load(tmp_path: Path) -> None:
    steps = '{ model = "steps", from = 40, to = 200, step_per_s = 80, step_s = 1 }'
    limits = 'objectives = ["error rate < 1 %", "capacity >= 40 /s"]'
    changes = {
        '{ model = "constant", rate_per_s = 100, duration_s = 2 }': steps,
        'objectives = ["success >= 90 %", "p95 response < 5 s"]': limits,
        "at_s = 1": "at_s = 0.5",
    }
    with raw_server(OK) as url:
        run = run_quietly(select(suite(url, **changes), only=["front"]), tmp_path)
    assert run.status == "complete" and len(run.rows("back", phase=None)) == 100
    verdicts = {v.objective.text: v for v in run.verdicts() if v.scenario == "front"}
    assert verdicts["capacity >= 40 /s"].interval.estimate >= 120
    said = run.scenario("front").capacity().sentence  # 50 /s from 0.5 s to 2.5 s, and steps until 1, 2 and 3 s
    assert "At the same time ran back (50 requests/s at equal intervals for 2 s)." in said
    missed = "back did not run all through the steps at 40, 200 /s, where the target had less to do"
    assert f"But {missed}." in said and missed in run.conclusion()._repr_html_()
    assert missed in run.capacity().conclusion()._repr_html_()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'with = ["back"]',
            'with = ["bak"]',
            "scenarios[0] 'front'.with: there is no other scenario 'bak'; the others",
        ),
        ('with = ["back"]', 'with = ["front"]', "there is no other scenario 'front'"),
        ('with = ["back"]', "", "scenario 'back'.at_s: it runs alone, so that it begins at once"),
        ("at_s = 1", "at_s = -1", "at_s: must be greater than or equal to 0"),
        ("with = [", "wth = [", "did you mean 'with'?"),
    ],
)
def test_what_cannot_be_is_one_line(old: str, new: str, said: str) -> None:
    with pytest.raises(SuiteError) as refused:
        suite(**{old: new})
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_scenarios_are_chosen_with_those_that_they_run_with() -> None:
    assert [each.name for each in select(suite(), only=["front"]).scenarios] == ["front", "back"]
    assert [each.name for each in select(suite(**{"at_s = 1\n": ""}), only=["back"]).scenarios] == ["back"]
    assert [[each.name for each in group] for group in suite().groups] == [["front", "back"], ["alone"]]


@pytest.mark.usefixtures("real_limits")
def test_a_doubt_about_a_worker_names_those_that_shared_its_machine() -> None:
    made = one_suite(load=OPEN_LOAD)
    late = {**HEALTHY_WORKER, "late_ms": {"p99": 1e9}}
    (doubt,) = doubts(made.scenarios[0], [*made.targets.values()], [late], CALM_MACHINE, neighbours={"back": 2})
    assert doubt.fatal and doubt.text.endswith("(workers of other scenarios ran beside it: 2 of 'back')")
