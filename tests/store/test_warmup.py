"""The warm-up of a load that names none is found in its response times, and can be overridden."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
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


def test_what_grows_all_the_time_never_settles_and_is_marked(tmp_path: Path) -> None:
    run = ran(tmp_path, lambda t: 0.004 + 0.004 * t)
    name = run.scenarios[0].name
    assert run.unsettled == [name]
    assert "never settled" in str(run.load_generator())


def test_a_warm_up_that_the_suite_names_is_what_counts(tmp_path: Path) -> None:
    run = ran(tmp_path, lambda t: 0.004 + 0.02 * float(np.exp(-t / 0.4)), warmup={"duration_s": 0})
    assert cut_s(run) < 0.1
