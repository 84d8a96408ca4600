"""The warm-up of a load that names none is found in its response times, and can be overridden."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import cli
from tests.support import simulate
from tests.support.suites import suite
from tests.support.written import START_NS, written


def course(shape: Callable[[float], float]) -> Callable[[], None]:
    """A function that takes shape(t) seconds, t since its first call."""
    began: list[float] = []

    def call() -> None:
        began.append(time.monotonic())
        time.sleep(shape(began[-1] - began[0]))

    return call


def ran(tmp_path: Path, shape: Callable[[float], float], **more: Any) -> perflib.Run:
    load = {"model": "closed", "concurrency": 2, "duration_s": 6}
    made = suite({"kind": "callable", "function": course(shape)}, operations=[{"name": "call"}], load=load, **more)
    return perflib.run(made, data=tmp_path / "data", progress=False)


def cut_s(run: perflib.Run) -> float:
    return float(run.rows()["start_ns"].min() - run.scenarios[0].record.start_ns) / 1e9


def test_a_slow_start_is_cut_where_it_ends(tmp_path: Path) -> None:
    run = ran(tmp_path, lambda t: 0.004 + 0.02 * float(np.exp(-t / 0.4)))
    assert cut_s(run) == pytest.approx(0.4 * np.log(0.02 / (0.05 * 0.004)), abs=0.6)
    assert run.unsettled == []
    assert len(run.rows(phase="warmup")) + len(run.rows()) == len(run.rows(phase=None))


def test_an_end_that_noise_hides_is_said_to_be_vague(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    drawn = simulate.warmup(rng, "exponential", 6000, 0.2, 1.0, 0.9)
    run = written(tmp_path, 5 * drawn.values, rate_per_s=1000, warmup_s=None)
    (cut,) = run.warmups.values()
    assert cut.settled
    assert cut.latest_ns - cut.at_ns > 0.1 * 6e9
    latest_s = (cut.latest_ns - START_NS) / 1e9
    assert drawn.end / 1000 < latest_s
    assert f"it may last until {latest_s:.1f} s" in str(run.load_generator())


def test_much_that_is_cut_off_is_said(tmp_path: Path) -> None:
    drawn = simulate.warmup(np.random.default_rng(2), "ramp", 6000, 0.3, 3.0, 0.0)
    run = written(tmp_path, 5 * drawn.values, rate_per_s=1000, warmup_s=None)
    (cut,) = run.warmups.values()
    assert cut.at_ns - START_NS == pytest.approx(1.8e9, rel=0.15)
    assert "of 6.0 s (" in str(run.load_generator())
    said = CliRunner().invoke(cli, ["check", run.id, "--data", str(tmp_path)]).stderr
    assert "were cut off as warm-up; to measure them too" in said


@pytest.mark.parametrize("began_at", [0, 1500])
def test_no_request_that_hung_is_cut_off(tmp_path: Path, began_at: int) -> None:
    """For two seconds of 20, none is answered until these are over."""
    times = 5 * simulate.ar1(np.random.default_rng(3), 20_000, 0.5, 0.3)
    times[began_at : began_at + 2000] += np.arange(2000, 0, -1)
    run = written(tmp_path, times, rate_per_s=1000, warmup_s=None)
    hung = int((times[began_at : began_at + 2000] > 1000).sum())
    assert (run.rows()["response_ns"] > 1e9).sum() >= hung - 1
    assert len(run.rows()) > 17_000


def test_given_up_requests_of_an_estimated_warm_up_are_measured(tmp_path: Path) -> None:
    times, failed = np.full(6000, 5.0), np.zeros(6000, bool)
    times[:200], failed[:200] = 50.0, True
    run = written(tmp_path, times, rate_per_s=1000, warmup_s=None, failed=failed, error="timeout")
    assert (run.rows()["error"] == "timeout").sum() == 200
    assert len(run.rows()) < 6000


def test_never_all_of_a_load_is_cut_off(tmp_path: Path) -> None:
    run = written(tmp_path, [5.0] * 20, rate_per_s=1000, warmup_s=None)
    file = run.path / "run.json"
    content = json.loads(file.read_text())
    content["suite"]["scenarios"][0]["load"]["duration_s"] = 60.0  # it ended after 20 ms
    file.write_text(json.dumps(content))
    assert len(perflib.open_run(run.id, tmp_path).rows()) == 19


def test_one_slow_request_is_all_of_a_load(tmp_path: Path) -> None:
    run = written(tmp_path, [900.0], rate_per_s=1, warmup_s=None)
    assert len(run.rows()) == 1


def test_what_grows_all_the_time_never_settles_and_is_marked(tmp_path: Path) -> None:
    run = ran(tmp_path, lambda t: 0.004 + 0.004 * t)
    name = run.scenarios[0].name
    assert run.unsettled == [name]
    said = re.search(
        r"never settled.*: the medians of its thirds are ([\d.]+), ([\d.]+), ([\d.]+) ms", str(run.load_generator())
    )
    assert said
    first, second, third = map(float, said.groups())
    assert 4 < first < second < third
    times = run.rows()["response_ns"] / 1e6
    assert first < times.median() < third


def test_a_warm_up_that_the_suite_names_is_what_counts(tmp_path: Path) -> None:
    run = ran(tmp_path, lambda t: 0.004 + 0.02 * float(np.exp(-t / 0.4)), warmup={"duration_s": 0})
    assert cut_s(run) < 0.1
