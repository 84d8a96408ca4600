"""What a notebook shows for a run, a verdict, a comparison and an interval: their figures, and nobody else's markup."""

from __future__ import annotations

import math
from pathlib import Path

import perflib
from perflib.stats import Interval
from perflib.suite.objectives import Objective
from perflib.verdicts.verdict import Verdict
from tests.support.written import latencies, written

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_run_shows_its_scenarios_without_a_look_at_its_rows(small_run: perflib.Run) -> None:
    shown = perflib.open_run(small_run.path)
    card = shown._repr_html_()
    assert small_run.id in card and "✓ complete" in card
    assert ">queries<" in card and ">80<" in card
    assert "_tables" not in shown.__dict__, "no row was read for it"


def test_an_interval_and_a_verdict_say_their_figures() -> None:
    interval = Interval(12.5, 11.0, math.inf, 400, 200.0)
    assert "<strong>12.50</strong> [11 … ∞]" in interval._repr_html_().replace("12.5<", "12.50<")
    verdict = Verdict("browse", Objective.parse("p95 response < 20 ms"), interval, "inconclusive", None, HOSTILE)
    card = verdict._repr_html_()
    assert "? inconclusive" in card and "p95 response &lt; 20 ms" in card and "n = 400" in card
    assert "<img" not in card


def test_a_comparison_shows_what_is_worse_first(tmp_path: Path) -> None:
    base = written(tmp_path, latencies(4000, 1))
    slower = written(tmp_path, latencies(4000, 2) * 2)
    card = perflib.compare(base, slower)._repr_html_()
    assert "✗ fail" in card and "→" in card
    assert card.index("✗ fail") < card.rindex("p95")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(50, 1), scenario=HOSTILE, reasons=[HOSTILE], status="invalid")
    assert "<img" not in run._repr_html_()
    assert "&lt;img" in run._repr_html_()
