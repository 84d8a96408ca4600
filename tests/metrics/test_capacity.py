"""Capacity: a rising load on real servers of known capacity, and its analysis on rows whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
from perflib.errors import RunError, SuiteError
from perflib.metrics.capacity import Capacity, capacity, searched
from perflib.metrics.steps import steps_of
from perflib.report.render import page
from perflib.store.manifest import RunDirectory
from perflib.store.schema import NONE_NS, NONE_STATUS, Recorder
from perflib.suite.file import from_table, load_suite
from perflib.suite.model import Load
from perflib.suite.objectives import Objective
from perflib.verdicts.run import Run
from perflib.verdicts.verdict import judge
from tests.support.suites import suite, table
from tests.support.timed_servers import started

Floats = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A queue of one server, 10 ms a request: it bears 100 /s, and the load would go on to 230."""
    rising = {"model": "steps", "from": 50, "to": 230, "step_per_s": 20, "step_s": 2.5}
    objectives = ["p95 response < 60 ms", "error rate < 5 %", "capacity >= 30 /s"]
    with started("line", "0.01") as url:
        made = suite({"kind": "http", "url": url}, load=rising, objectives=objectives)
        return perflib.run(made, data=tmp_path_factory.mktemp("climbed"), progress=False)


def test_the_load_ends_where_a_limit_breaks_and_the_run_is_complete(climbed: Run) -> None:
    assert climbed.status == "complete", climbed.manifest.reasons
    assert climbed.scenarios[0].record.status == "complete"
    (event,) = climbed.manifest.events
    assert event.kind == "limit"
    assert "p95 response < 60 ms broke at 1" in event.text
    last_due = climbed.rows(phase=None)["scheduled_ns"].max()
    assert last_due <= event.t_ns + 0.5e9, "nothing is sent once a limit broke"
    planned = steps_of(Load(model="steps", from_per_s=50, to_per_s=230, step_per_s=20, step_s=2.5), 0)
    assert last_due < climbed.scenarios[0].record.start_ns + planned[6].start_ns, "the rates beyond were never offered"


def test_the_highest_rate_and_the_knee_are_those_of_the_queue(climbed: Run) -> None:
    found = capacity(climbed.scenario("one"))
    assert 50 <= found.highest.low < 100 < found.highest.high <= 130
    assert found.highest.low <= found.highest.estimate < found.highest.high
    assert found.knee is not None
    assert found.knee.low <= 103
    assert found.knee.high >= 97
    assert found.ended.startswith("p95 response < 60 ms broke at")
    inside = [step for step in found.steps if step.rate_per_s < 100]
    assert [step.keeps_up for step in inside] == ["holds"] * 3
    for step in inside:  # paced arrivals below the capacity hardly wait: the server is busy for rate × 10 ms
        assert step.inflight >= step.rate_per_s * 0.01


def test_limits_are_shown_and_the_capacity_is_judged(climbed: Run) -> None:
    times, errors, asked = climbed.verdicts()
    assert (times.verdict, errors.verdict, asked.verdict) == ("shown", "shown", "pass")
    assert not times.judged
    assert times.as_dict()["unit"] == "/s"
    assert times.interval.low < 100 < times.interval.high
    assert math.isinf(errors.interval.high), "no rate broke it"
    assert climbed.verdict == "pass"
    broken = capacity(climbed.scenario("one")).highest.high
    assert judge(climbed.scenario("one"), Objective.parse(f"capacity >= {broken:g} /s")).verdict == "fail"
    between = judge(
        climbed.scenario("one"), Objective.parse(f"capacity > {capacity(climbed.scenario('one')).highest.low:g} /s")
    )
    assert between.verdict == "inconclusive"


def test_the_notebook_is_a_page_that_opens_offline(climbed: Run, tmp_path: Path) -> None:
    text = page("capacity", climbed, out=tmp_path).read_text()
    found = capacity(climbed.scenario("one"))  # how it scales is drawn where a curve could be fitted
    assert text.count('src="data:image/png') == (2 if found.usl is None else 3)
    assert ("The Universal Scalability Law was not fitted" in text) == (found.usl is None)
    assert "http://" not in text.replace("http://127.0.0.1", "").replace("http://www.w3.org", "")
    assert "It surely meets its limits at" in text
    assert 'alt="Meets its limits up to' in text


def test_answers_that_do_not_come_break_a_limit_and_are_no_errors(tmp_path: Path) -> None:
    rising = {"model": "steps", "from": 120, "to": 480, "step_per_s": 60, "step_s": 1}
    with started("freeze", "0.001", "1.1", "60") as url:
        made = suite({"kind": "http", "url": url}, load=rising, workers=2, objectives=["p95 response < 300 ms"])
        run = perflib.run(made, data=tmp_path / "data", progress=False)
    assert run.status == "complete", run.manifest.reasons
    assert "p95 response < 300 ms broke at 180 /s" in run.manifest.events[0].text
    found = capacity(run.scenario("one"))
    assert (found.highest.estimate, found.highest.high) == (120, 180)
    assert set(run.sql("select distinct error from rows where not ok")["error"]) == {"aborted"}
    # What the end of the load cut off is neither good nor bad; a few may have been answered before the freeze.
    assert found.steps[1].error_rate.n <= found.steps[1].requests / 10
    assert not found.steps[1].error_rate.estimate > 0, "no answer was judged, or each was good"
    assert found.steps[1].throughput.estimate < 20


VISITS: dict[str, Any] = {
    "operations": [{"name": "look", "path": "/"}, {"name": "pay", "path": "/"}],
    "journeys": [{"name": "visit", "steps": ["look", "pay"], "think_time_s": 0.3}],
}


def test_the_capacity_of_journeys_is_in_journeys(tmp_path: Path) -> None:
    """A queue of one server, 5 ms a request, bears 100 visits of two requests a second; their pauses are no time."""
    rising = {"model": "steps", "from": 40, "to": 520, "step_per_s": 120, "step_s": 1.5}
    limits = ["journey visit: median < 150 ms", "pay: median < 1 s", "error rate < 20 %", "capacity >= 10 /s"]
    with started("line", "0.005") as url:
        made = suite({"kind": "http", "url": url}, **VISITS, load=rising, objectives=limits)
        run = perflib.run(made, data=tmp_path / "data", progress=False)
    assert run.status == "complete", run.manifest.reasons
    (event,) = run.manifest.events
    assert "journey visit: median < 150 ms broke at 160 journeys/s, with" in event.text
    found = capacity(run.scenario("one"))
    assert found.highest.high == 160 and found.within(limits[0]).low == 40
    assert found.knee is not None and found.knee.low <= 105
    first = found.steps[0]
    assert first.requests == pytest.approx(1.2 * 40, abs=1), "journeys, without the first fifth"
    assert first.keeps_up != "breaks" and 10 <= first.p50.estimate < 150, "two requests, and no pause"
    journey, of_pay, errors, asked = run.verdicts()
    assert {each.verdict for each in (journey, of_pay, errors)} == {"shown"} and asked.verdict != "fail"
    assert math.isfinite(journey.interval.high) and math.isinf(errors.interval.high)
    said = run.scenario("one").capacity()
    assert "surely breaks one at 160 journeys/s" in said.sentence
    assert "Good journeys /s" in said.steps()._repr_html_()


# On rows whose truth is known.


@dataclass
class Made:
    """When requests end and whether they are good, from when they are due, all in s."""

    ends: Callable[[Floats], Floats]
    ok: Callable[[Floats], Any] = lambda due: np.ones(len(due), bool)


def written(
    folder: Path, made: Made, *, objectives: list[str], operations: tuple[str, ...] = ("a",), **load: Any
) -> Capacity:
    """The capacity of a run with these answers to a steps load; operations take turns."""
    run = _run(folder, made, objectives, operations, load)
    return capacity(run.scenario("rising"))


def _run(folder: Path, made: Made, objectives: list[str], operations: tuple[str, ...], load: dict[str, Any]) -> Run:
    spec = {"model": "steps", "from_per_s": 50, "to_per_s": 170, "step_per_s": 30, "step_s": 5, **load}
    scenario = {
        "name": "rising",
        "target": "api",
        "operations": [{"name": name, "path": "/"} for name in operations],
        "load": spec,
        "objectives": objectives,
    }
    steps = steps_of(Load(**spec), 0)
    segment = {
        "phase": "measure",
        "stage": None,
        "operation": None,
        "start_ns": 0,
        "stop_ns": steps[-1].stop_ns,
        "offered": 0,
    }
    entry = {
        "name": "rising",
        "status": "complete",
        "start_ns": 0,
        "stop_ns": steps[-1].stop_ns,
        "segments": [segment],
        "workers": [],
        "prepare": {"requests": 0},
    }
    directory = RunDirectory(
        folder, suite={"name": "made", "scenarios": [scenario], "targets": {"api": {"kind": "http"}}}, scenarios=[entry]
    )
    directory.manifest.status = "complete"
    directory.save()
    due = np.concatenate([s.start_ns / 1e9 + np.arange(s.due(s.start_ns)) / s.rate_per_s for s in steps])
    ends, good = made.ends(due), made.ok(due)
    recorder = Recorder(directory.path, worker=0, scenario="rising", operations=list(operations), t0_ns=0)
    bad = recorder.error_code("http_5xx")
    for i in np.argsort(ends, kind="stable"):
        at, end = int(due[i] * 1e9), int(ends[i] * 1e9)
        recorder.add(
            at, at, NONE_NS, end, 0, 0, NONE_NS, 1, NONE_STATUS, int(i) % len(operations), 0 if good[i] else bad, 1
        )
    recorder.close()
    return Run(directory.path)


def queue(service_s: Callable[[int], float]) -> Callable[[Floats], Floats]:
    """One server; how long a request takes it depends on how many wait (Lindley 1952)."""

    def ends(due: Floats) -> Floats:
        found, free = np.empty(len(due)), 0.0
        for i, at in enumerate(due):
            waiting = i - int(np.searchsorted(found[:i], at))
            free = found[i] = max(free, at) + service_s(waiting)
        return found

    return ends


FIXED = Made(queue(lambda waiting: 0.01))


def test_a_queue_is_bracketed_and_its_throughput_levels_off(tmp_path: Path) -> None:
    found = written(tmp_path, FIXED, objectives=["p95 response < 60 ms"])
    assert (found.highest.low, found.highest.estimate, found.highest.high) == (80, 80, 110)
    assert found.knee is not None
    assert found.knee.low <= 100 <= found.knee.high
    assert found.knee.high - found.knee.low < 4
    assert [step.keeps_up for step in found.steps] == ["holds", "holds", "breaks", "breaks", "breaks"]
    assert found.steps[1].inflight == pytest.approx(0.8, rel=0.02), "Little: 80 /s × 10 ms"


def test_throughput_that_falls_under_load_has_its_knee_before_the_fall(tmp_path: Path) -> None:
    found = written(tmp_path, Made(queue(lambda waiting: 0.01 + 0.0005 * min(waiting, 40))), objectives=[])
    behind = [step for step in found.steps if step.keeps_up == "breaks"]
    assert behind[-1].throughput.high < 50, "it does less than it did at the first rate"
    assert found.knee is not None
    assert 80 <= found.knee.estimate < found.knee.high
    assert (found.highest.low, found.highest.high) == (80, 110), "without objectives, it must keep up"


def test_a_slow_target_is_not_one_that_falls_behind(tmp_path: Path) -> None:
    found = written(tmp_path, Made(lambda due: due + 2.0), objectives=["p95 response < 3000 ms"])
    assert [step.keeps_up for step in found.steps] == ["holds"] * 5
    assert found.knee is None
    assert (found.highest.low, found.highest.high) == (170, math.inf)
    assert found.steps[0].inflight == pytest.approx(100, rel=0.02)


def test_scaling_is_that_of_the_law_that_made_it(tmp_path: Path) -> None:
    sigma, gamma = 0.2, 60.0  # X = γN / (1 + σ(N − 1)) solved for the response time N / X at each rate

    def ends(due: Floats) -> Floats:
        rate = 30 + 30 * (due // 5)
        return due + (1 - sigma) / (gamma - sigma * rate)

    found = written(tmp_path, Made(ends), objectives=[], from_per_s=30, to_per_s=240, step_per_s=30)
    assert found.usl is not None
    assert found.usl.sigma.estimate == pytest.approx(sigma, abs=0.02)
    assert found.usl.gamma.estimate == pytest.approx(gamma, rel=0.03)


def test_a_peak_where_nothing_was_measured_is_not_claimed(tmp_path: Path) -> None:
    """Three rates that are kept up with, and one whose queue grows: between them the curve could be anywhere."""
    in_fours = Made(lambda due: queue(lambda waiting: 0.003)(due) + 0.008)
    found = written(tmp_path, in_fours, objectives=[], from_per_s=100, to_per_s=400, step_per_s=100)
    assert found.steps[-1].inflight > 20 * found.steps[-2].inflight
    assert found.usl is None
    assert "no step was near it: make step_per_s smaller between 300 and 400 /s" in found.usl_reason
    drawn = perflib.charts.capacity_scaling(perflib.open_run("latest", tmp_path), "rising")
    assert found.usl_reason in str(drawn.get_label())


def test_errors_alone_break_it_and_leave_nothing_to_fit(tmp_path: Path) -> None:
    found = written(
        tmp_path, Made(lambda due: due + 0.001, lambda due: np.zeros(len(due), bool)), objectives=["error rate < 1 %"]
    )
    assert (found.highest.estimate, found.highest.low, found.highest.high) == (0, 0, 50)
    assert found.steps[0].says("breaks") == ("error rate < 1 %", "throughput / offered >= 95 %")
    assert found.usl is None
    assert "there are 0" in found.usl_reason


def test_one_step_says_what_one_step_can(tmp_path: Path) -> None:
    run = _run(
        tmp_path, FIXED, ["p95 response < 60 ms", "capacity >= 400 /s", "capacity >= 40 /s"], ("a",), {"to_per_s": 50}
    )
    found = capacity(run.scenario("rising"))
    assert (found.highest.low, found.highest.high, found.knee, found.usl) == (50, math.inf, None, None)
    shown, high, low = run.verdicts()
    assert (shown.verdict, high.verdict, low.verdict) == ("shown", "inconclusive", "pass")
    assert "raise `to`" in high.reason
    assert "capacity" in str(perflib.charts.capacity_scaling(run, "rising").get_label()) or found.usl_reason


def test_a_limit_that_holds_at_a_rate_holds_below_it(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        FIXED,
        objectives=["p95 response < 60 ms", "error rate < 1.5 %"],
        step_s=4,
        from_per_s=60,
        to_per_s=100,
        step_per_s=20,
    )
    errors = found.within("error rate < 1.5 %")
    assert found.steps[0].says("unclear") == ("error rate < 1.5 %",), "192 good answers cannot show 1.5 %"
    assert (errors.low, found.highest.low) == (100, min(100, found.within("p95 response < 60 ms").low))


def test_a_capacity_between_two_rates_needs_smaller_steps(tmp_path: Path) -> None:
    run = _run(tmp_path, FIXED, ["p95 response < 60 ms", "capacity >= 100 /s"], ("a",), {})
    assert run.verdicts()[1].verdict == "inconclusive"
    assert "no rate between 80 and 110 /s was tried; make step_per_s smaller" in run.verdicts()[1].reason


def test_steps_too_short_to_tell_say_so(tmp_path: Path) -> None:
    run = _run(tmp_path, FIXED, ["p99 response < 60 ms", "capacity >= 60 /s"], ("a",), {"step_s": 2})
    assert run.verdicts()[1].verdict == "inconclusive"
    assert "p99 response < 60 ms could not be decided; make the steps longer" in run.verdicts()[1].reason


def test_a_run_without_rows_has_no_capacity(tmp_path: Path) -> None:
    run = _run(
        tmp_path,
        Made(lambda due: due[:0] + 0.0, lambda due: due[:0] > 0),
        ["p95 response < 60 ms", "capacity >= 1 /s"],
        ("a",),
        {},
    )
    assert capacity(run.scenario("rising")).steps == ()
    assert [v.verdict for v in run.verdicts()] == ["shown", "inconclusive"]
    assert run.scenario("rising").capacity().sentence == "No step was completed: there is nothing to see."
    for draw in (perflib.charts.capacity_throughput, perflib.charts.capacity_times, perflib.charts.capacity_scaling):
        assert draw(run, "rising").get_label()


def test_a_limit_of_one_operation_judges_that_one_and_names_are_escaped(tmp_path: Path) -> None:
    made = Made(lambda due: due + np.where(np.arange(len(due)) % 2, 0.2, 0.001))
    names = ("quick", "<i>slow</i>")
    found = written(tmp_path / "one", made, objectives=["quick: p95 response < 60 ms"], operations=names)
    assert found.highest.low == 170
    run = _run(tmp_path / "two", made, ["<i>slow</i>: p95 response < 60 ms"], names, {})
    assert capacity(run.scenario("rising")).highest.high == 50
    for said in (
        str(run.capacity("rising").limits()),
        str(run.capacity("rising").steps()),
        str(run.capacity("rising").conclusion()),
    ):
        assert "<i>" not in said
    assert "&lt;i&gt;slow" in str(run.capacity("rising").limits())


STEPS = {"model": "steps", "from": 10, "to": 50, "step_per_s": 10, "step_s": 2}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"load": {**STEPS, "to": 5}}, "the steps make no request"),
    ({"load": STEPS, "objectives": ["throughput >= 20 /s"]}, "is not possible with a load that rises"),
    ({"load": STEPS, "objectives": ["ping: capacity >= 20 /s"]}, "capacity is a figure of the whole load"),
    ({"objectives": ["capacity >= 20 /s"]}, "needs a load that rises"),
    ({"objectives": ["throughput / offered >= 95 %"]}, "needs a load with a rate"),
]


@pytest.mark.parametrize(("scenario", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_search_that_cannot_work_is_refused_with_its_mend(scenario: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        from_table(table(**scenario))
    assert said in str(caught.value)
    assert caught.value.mend


def test_the_built_in_suite_is_shorter_when_it_shall_be_quick() -> None:
    whole, quick = (load_suite("capacity", quick=quick).scenarios[0].load for quick in (False, True))
    assert (quick.seconds() or 0) < (whole.seconds() or 0) / 2
    assert max(quick.rates_per_s()) > 500, "it still reaches as high"


def test_only_a_rising_load_has_a_capacity(small_run: Run) -> None:
    with pytest.raises(RunError, match="does not search"):
        capacity(small_run.scenario("queries"))
    with pytest.raises(RunError, match="no scenario of this run"):
        searched(small_run)
