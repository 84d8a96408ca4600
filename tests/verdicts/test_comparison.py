"""Comparisons: no alarm for two runs of the same thing, one for a slower candidate, a clear reason for whatever cannot
be compared."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import perflib
from perflib import charts
from perflib.errors import PerflibError, RunError, SuiteError
from perflib.metrics.parts import GRID, measure
from perflib.metrics.selection import Selection
from perflib.report import comparison
from perflib.store.baselines import baselines, remove_baseline, set_baseline
from perflib.store.records import MachineShares
from perflib.verdicts.history import record_all
from perflib.verdicts.run import open_side
from tests.support.command_line import invoke
from tests.support.comparisons import EVERY_FIGURE, changes_by_metric
from tests.support.html_pages import ParsedPage
from tests.support.written import latencies, written

EVIL = "<script>alert(1)</script>|`@all`"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def base(home: Path) -> perflib.Run:
    return written(home, latencies(4000, 1), memory_mb=100)


@pytest.fixture(scope="module")
def slower(home: Path) -> perflib.Run:
    return written(home, latencies(4000, 2) * 1.2, memory_mb=100)


def test_the_same_thing_twice_raises_no_alarm(tmp_path: Path) -> None:
    alarms, words = 0, set()
    for seed in range(12):
        compared = perflib.compare(*(written(tmp_path, latencies(1500, 100 + 2 * seed + side)) for side in (0, 1)))
        words.add(compared.verdict)
        alarms += any(change.seen for change in compared.changes)
    assert words <= {"pass", "inconclusive"}
    assert not alarms


def test_a_run_against_itself_passes(base: perflib.Run) -> None:
    compared = perflib.compare(base, base)
    assert not [change for change in compared.changes if change.seen or change.verdict == "fail"]
    assert [change.shown.estimate for change in compared.changes] == pytest.approx([0.0] * 8)


def test_a_fifth_slower_fails_where_it_is_slower(base: perflib.Run, slower: perflib.Run) -> None:
    compared = perflib.compare(base, slower, margin_percent=EVERY_FIGURE)
    changes = changes_by_metric(compared)
    assert compared.verdict == "fail"
    assert {key for key, c in changes.items() if c.verdict == "fail"} >= {"p50", "mean"}
    assert all(changes[key].verdict == "pass" for key in ("errors", "memory", "cpu"))
    for key in ("p50", "p95", "p99", "mean"):
        assert changes[key].relative.low < 20 < changes[key].relative.high
        assert changes[key].difference.low < 0.2 * changes[key].base < changes[key].difference.high
        assert changes[key].seen == "worse"
    assert compared.sentence.startswith("Worse than the base: ")
    assert perflib.compare(slower, base).verdict == "pass"


def test_more_errors_and_more_memory_fail(home: Path, base: perflib.Run) -> None:
    failed = np.arange(4000) % 10 == 0
    worse = written(home, latencies(4000, 3), memory_mb=125, failed=failed)
    changes = changes_by_metric(perflib.compare(base, worse, margin_percent=EVERY_FIGURE))
    assert {changes[key].verdict for key in ("errors", "memory")} == {"fail"}
    assert changes["errors"].shown.estimate == pytest.approx(10.0)
    assert changes["throughput"].relative.estimate == pytest.approx(-10.0, abs=0.5)
    assert changes["memory"].relative.estimate == pytest.approx(25.0, abs=0.5)
    assert changes["p50"].verdict == "pass"


def test_throughput_is_judged_where_the_target_sets_it(tmp_path: Path) -> None:
    """Users who wait for their answers get fewer from a slower target; a schedule's rate says nothing of it."""
    for model, verdicts in (("closed", {"fail"}), ("constant", {"shown"})):
        sides = [written(tmp_path, np.full(4000, 2.0), rate_per_s=rate, model=model) for rate in (500.0, 400.0)]
        change = changes_by_metric(perflib.compare(*sides, force=True))["throughput"]
        assert {change.verdict} == verdicts
        assert change.relative.estimate == pytest.approx(-20.0)
        assert bool(change.reason) == (model == "constant")


def test_margins_decide(base: perflib.Run, slower: perflib.Run) -> None:
    wide = dict.fromkeys(("p50", "p95", "p99", "mean"), 50.0)
    assert perflib.compare(base, slower, margin_percent=wide).verdict == "pass"
    unjudged = perflib.compare(base, slower, margin_percent=dict.fromkeys(("p50", "p95", "p99", "mean")))
    assert unjudged.verdict == "pass"
    assert changes_by_metric(unjudged)["p50"].verdict == "shown"
    with pytest.raises(SuiteError, match="there is no metric 'p59'; known: p50, p95"):
        perflib.compare(base, slower, margin_percent={"p59": 1})
    with pytest.raises(SuiteError, match="give 0 or more"):
        perflib.compare(base, slower, margin_percent={"p50": -1})


def test_what_is_judged_is_little_by_default_and_the_suite_s_choice(tmp_path: Path) -> None:
    """Two processes always differ in memory: it is judged where there are several a side."""

    def judged(*sides: Any, **options: Any) -> dict[str, float | None]:
        return {c.metric.key: c.margin for c in perflib.compare(*sides, **options).judged}

    one, two, three, four = (written(tmp_path, latencies(1500, seed), memory_mb=100) for seed in range(4))
    usual = {"p50": 5.0, "p95": 10.0, "errors": 0.5}
    assert judged(one, two) == usual
    assert judged([one, two], [three, four]) == {**usual, "memory": 10.0, "cpu": 10.0}
    assert judged(one, two, margin_percent={"p99": 20, "p50": None}) == {"p95": 10.0, "errors": 0.5, "p99": 20.0}
    closed = [written(tmp_path, latencies(500, seed), model="closed") for seed in (5, 6)]
    assert judged(*closed) == {**usual, "throughput": 5.0}
    chosen = {"figures": ["p50", "mean"], "margins": {"mean": 7, "memory": 30}}
    suites = [written(tmp_path, latencies(500, seed), memory_mb=100, compare=chosen) for seed in (7, 8)]
    assert judged(*suites) == {"p50": 5.0, "mean": 7.0, "memory": 30.0}
    assert judged(*suites, margin_percent={"mean": 9, "p50": None}) == {"mean": 9.0, "memory": 30.0}


def test_a_margin_may_be_of_one_operation_or_scenario(tmp_path: Path) -> None:
    margins = {"p95": 20, "buy: p95": 30, "list:p50": False}
    sides = [
        written(tmp_path, latencies(800, seed), operations=("list", "buy"), compare={"margins": margins})
        for seed in (1, 2)
    ]
    found = {(c.part.operation, c.metric.key): c.margin for c in perflib.compare(*sides).changes}
    assert [found["list", "p95"], found["buy", "p95"], found["list", "p50"], found["buy", "p50"]] == [20, 30, None, 5]
    found = {
        (c.part.operation, c.metric.key): c.margin
        for c in perflib.compare(*sides, margin_percent={"one: p95": 40, "buy: p50": 50}).changes
    }
    assert [found["list", "p95"], found["buy", "p95"], found["list", "p50"], found["buy", "p50"]] == [40, 30, None, 50]


def test_worse_but_perhaps_within_the_margin_is_a_word_of_its_own(tmp_path: Path) -> None:
    base, candidate = (written(tmp_path, latencies(20_000, seed) * by) for seed, by in ((1, 1.0), (2, 1.05)))
    compared = perflib.compare(base, candidate)
    change = changes_by_metric(compared)["p50"]
    assert (change.verdict, change.seen, compared.verdict) == ("worse", "worse", "worse")
    assert change.reason.startswith("worse for certain, but perhaps within the margin")
    assert compared.sentence.startswith("Worse, but another run might not be: ")
    assert compared.exit_code() == 3
    assert compared.exit_code({"worse": 1}) == 1
    policy = {"exit": {"worse": 1, "inconclusive": 0}}
    strict = written(tmp_path, latencies(20_000, 2) * 1.05, compare=policy)
    assert perflib.compare(base, strict).exit_code() == 1
    assert perflib.compare(base, written(tmp_path, latencies(60, 3), compare=policy)).exit_code() == 0


@pytest.mark.parametrize(
    ("base_errors", "errors", "margin", "verdict"),
    [
        (0, 0, 0.5, "pass"),
        (0, 2, 0.5, "pass"),
        (0, 12, 0.5, "worse"),
        (0, 60, 0.5, "fail"),
        (0, 60, 1.0, "pass"),
        (20, 100, 0.5, "fail"),
        (400, 410, 0.5, "pass"),
    ],
)
def test_a_small_margin_of_errors_is_relative_as_well(
    tmp_path: Path, base_errors: int, errors: int, margin: float, verdict: str
) -> None:
    """Of 20,000 requests a side; 60 errors more are 0.3 points."""

    def side(count: int) -> perflib.Run:
        failed = np.zeros(20_000, bool)
        failed[np.random.default_rng(count).choice(20_000, count, replace=False)] = True
        return written(tmp_path, np.full(20_000, 2.0), failed=failed)

    compared = perflib.compare(side(base_errors), side(errors), margin_percent={"errors": margin})
    assert changes_by_metric(compared)["errors"].verdict == verdict


def test_several_runs_a_side_hold_the_spread_between_runs(tmp_path: Path) -> None:
    """Runs of one side differ by some 10 %: one of each would see a change, several know better."""
    levels = [5.0, 5.6, 5.2, 5.5], [5.6, 5.1, 5.5, 5.3]
    sides = [
        [written(tmp_path, latencies(3000, 10 * side + i, level)) for i, level in enumerate(each)]
        for side, each in enumerate(levels)
    ]
    one = changes_by_metric(perflib.compare(sides[0][0], sides[1][0]))["p50"]
    several = perflib.compare(*sides)
    change = changes_by_metric(several)["p50"]
    assert (one.verdict, one.seen) == ("worse", "worse")
    assert "two runs of one version may" in one.reason
    assert change.verdict == "inconclusive"
    assert not change.seen
    assert change.difference.high - change.difference.low > one.difference.high - one.difference.low
    assert any("the intervals hold the spread between runs" in note for note in several.notes)
    assert any("one run a side" in note for note in perflib.compare(sides[0][0], sides[1][0]).notes)
    mixed = perflib.compare(sides[0], sides[1][0])
    assert any("taken to spread" in note for note in mixed.notes)


def test_one_straggler_makes_no_endless_numbers(tmp_path: Path) -> None:
    """One answer of 9 s in a load of 6 s: bounds are near the figure, or open, and no advice is for quadrillions."""
    times = [np.full(60, 100.0), np.concatenate((np.full(59, 100.0), [9000.0])), np.full(11, 500.0)]
    limits = ("throughput >= 9.99 /s", "throughput >= 50 /s", "p95 response < 100 ms", "error rate < 1 %")
    options: dict[str, Any] = {"rate_per_s": 10.0, "model": "closed", "objectives": limits}
    runs = [written(tmp_path, each, **options) for each in times]
    for run in runs:
        for verdict in run.verdicts():
            assert verdict.needs_more is None or verdict.needs_more <= 1_000_000_000
            if verdict.objective.metric == "throughput" and math.isfinite(verdict.interval.high):
                assert verdict.interval.high < 100 * verdict.interval.estimate
        for other in runs:
            for change in perflib.compare(run, other).changes:
                bounds = (change.relative.low, change.relative.high, change.difference.low, change.difference.high)
                assert all(abs(bound) < 1e6 for bound in bounds if math.isfinite(bound)), change


def test_the_spread_between_runs_is_borrowed_from_the_history(tmp_path: Path) -> None:
    """Eight runs that vary by 5 %: a candidate 12 % slower than the last one may be another such run."""
    levels = [5.0, 5.3, 4.8, 5.2, 4.9, 5.25, 4.85, 5.0]
    runs = [written(tmp_path, latencies(3000, seed, level)) for seed, level in enumerate(levels)]
    candidate = written(tmp_path, latencies(3000, 20, 5.6))
    before = changes_by_metric(perflib.compare(runs[-1], candidate, data=tmp_path))["p50"]
    assert not (tmp_path / "history").exists(), "a comparison does not begin a history"
    record_all(tmp_path)
    compared = perflib.compare(runs[-1], candidate, data=tmp_path)
    change = changes_by_metric(compared)["p50"]
    assert (before.seen, change.seen, change.verdict) == ("worse", "", "inconclusive")
    assert change.relative.low < 0 < before.relative.low
    assert any("that of the runs in the history" in note for note in compared.notes)
    twice = written(tmp_path, latencies(3000, 20, 10.0))
    assert perflib.compare(runs[-1], twice, data=tmp_path).verdict == "fail"


def disturbed(run: perflib.Run, **shares: float) -> perflib.Run:
    """The same run, on a machine of which others took these shares."""
    run.manifest.scenarios[0].machine = MachineShares(seconds=8.0, **shares)
    return run


SHARES: list[tuple[dict[str, float], str]] = [
    ({"other_share": 0.4}, "other processes used 40 % of the machine"),
    ({"steal_share": 0.2}, "the host took 20 % of the machine's time"),
    ({"throttled_share": 0.3}, "the CPU was throttled for 30 % of the time"),
]


@pytest.mark.parametrize(("shares", "said"), SHARES)
def test_a_disturbed_run_does_not_fail_and_no_run_passes_beside_one(
    tmp_path: Path, shares: dict[str, float], said: str
) -> None:
    base, slow, same = (written(tmp_path, latencies(4000, n) * by) for n, by in ((1, 1.0), (2, 1.5), (3, 1.0)))
    compare = functools.partial(perflib.compare, margin_percent={"p50": 10, "p95": None})
    assert [compare(base, other).verdict for other in (slow, same)] == ["fail", "pass"]
    compared = compare(base, disturbed(slow, **shares))
    p50 = changes_by_metric(compared)["p50"]
    assert (compared.verdict, p50.reason) == ("worse", f"beyond the margin, but {said} in the candidate")
    assert compare(base, slow, force=True).verdict == "fail"
    assert compared.sentence.startswith("Worse, but another run might not be: 1 of ")
    both = compare(disturbed(base, **shares), slow)
    assert both.verdict == "worse"
    far = disturbed(written(tmp_path, latencies(4000, 2) * 4.0), **shares)
    assert compare(base, far).verdict == "fail", "four times as slow, on a machine that was as busy before"
    base = disturbed(base)
    assert compare(base, far).verdict == "worse"
    assert any(note.endswith(said) for note in compared.notes)
    assert compare(base, disturbed(same, **shares)).verdict == "pass", "as fast in spite of it"
    compared = compare(disturbed(base, **shares), written(tmp_path, latencies(4000, 4)))
    assert compared.verdict == "inconclusive"
    assert changes_by_metric(compared)["p50"].reason == f"within the margin, but {said} in the base"


def test_operations_are_compared_each_with_its_like(tmp_path: Path) -> None:
    """One of two operations is slower by half: only its figures say so, and no figure is of the mixture's time."""
    times = latencies(6000, 5)
    changed = latencies(6000, 6) * np.where(np.arange(6000) % 2, 1.5, 1.0)
    compared = perflib.compare(*(written(tmp_path, each, operations=("list", "buy")) for each in (times, changed)))
    assert list(compared.measured) == [Selection("one"), Selection("one", None, "list"), Selection("one", None, "buy")]
    failed = {c.part.operation for c in compared.changes if c.verdict == "fail"}
    assert failed == {"buy"}
    assert {c.metric.key for c in compared.changes if c.part == Selection("one")} == {"throughput", "errors"}


def test_stages_are_parts_of_their_own(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(2000, 7))
    (record,) = run.manifest.scenarios
    (whole,), half = record.segments, (record.stop_ns or 0) // 2
    first, second = {"stage": 1, "stop_ns": half}, {"stage": 2, "start_ns": half + 1}
    record.segments = [whole.model_copy(update=first), whole.model_copy(update=second)]
    found = measure(run.scenario("one"))
    assert [part.stage for part in found] == [None, 1, 2]
    assert found[Selection("one", 1)].requests + found[Selection("one", 2)].requests == 2000
    assert not found[Selection("one")].figures
    assert found[Selection("one", 1)].figures["p50"].n == found[Selection("one", 1)].requests


def test_figures_are_those_of_the_summary(base: perflib.Run) -> None:
    (figures,) = base.summary()["scenarios"]
    found = measure(base.scenario("one"))[Selection("one")].figures
    for key, name in (("p50", "p50"), ("p95", "p95"), ("p99", "p99"), ("mean", "mean")):
        assert found[key].estimate == pytest.approx(figures["response_ms"][name])
    assert found["throughput"].estimate == pytest.approx(figures["throughput_per_s"])


OTHER: list[tuple[str, dict[str, Any], str]] = [
    ("cpu", {"host": {"cpu": "Another CPU"}}, "different CPU: Test CPU and Another CPU"),
    ("cores", {"host": {"cores": 64}}, "different number of cores: 2 and 64"),
    ("memory", {"host": {"memory_bytes": 16e9}}, "different memory: 8.0 GB and 16.0 GB"),
    ("python", {"python": "3.13.1"}, "different Python: 3.11.7 and 3.13.1"),
    ("suite", {"name": "another"}, "different suites: tested and another"),
    (
        "load",
        {"rate_per_s": 1000.0},
        "different loads of one: 500 requests/s at equal intervals for 8 s, and 1,000 requests/s at equal intervals",
    ),
    ("operations", {"operations": ("get", "put")}, "different operations of one: get × 1 and get × 1, put × 1"),
]


@pytest.mark.parametrize(("other", "said"), [(o, s) for _, o, s in OTHER], ids=[name for name, _, _ in OTHER])
def test_what_is_not_comparable_is_inconclusive_and_says_why(
    home: Path, base: perflib.Run, other: dict[str, Any], said: str
) -> None:
    candidate = written(home, latencies(4000, 8) * 1.5, memory_mb=100, **other)
    compared = perflib.compare(base, candidate)
    assert compared.verdict == "inconclusive"
    assert any(doubt.startswith(said) for doubt in compared.doubts)
    assert compared.sentence.startswith("Not comparable: ")
    assert {change.verdict for change in compared.judged} == {"inconclusive"}
    if "operations" not in other:
        assert perflib.compare(base, candidate, force=True).verdict == "fail"


def test_every_run_of_a_side_is_held_to_the_first(home: Path, base: perflib.Run, slower: perflib.Run) -> None:
    stray = written(home, latencies(4000, 10), rate_per_s=1000.0, memory_mb=100)
    compared = perflib.compare([base, stray], [slower])
    assert compared.verdict == "inconclusive"
    assert compared.doubts[0].startswith(
        "different loads of one: 500 requests/s at equal intervals for 8 s, and 1,000 requests/s at equal intervals"
    )


def test_a_longer_run_of_the_same_load_is_comparable(home: Path, base: perflib.Run) -> None:
    compared = perflib.compare(base, written(home, latencies(8000, 9), memory_mb=100))
    assert (compared.doubts, compared.verdict) == ((), "pass")


FEW: list[tuple[str, Any, Any, str, set[str]]] = [
    ("empty", [], (), "no request was answered in the candidate", set()),
    ("one row", [5.0], (), "too few requests to tell", set()),
    ("all errors", [5.0] * 4000, [True] * 4000, "no request was answered in the candidate", {"errors"}),
]  # fmt: skip


@pytest.mark.parametrize(("times", "failed", "said", "fails"), [f[1:] for f in FEW], ids=[f[0] for f in FEW])
def test_too_little_to_tell_is_said(
    home: Path, base: perflib.Run, times: Any, failed: Any, said: str, fails: set[str]
) -> None:
    compared = perflib.compare(base, written(home, times, failed=failed))
    changes = changes_by_metric(compared)
    assert changes["p50"].verdict == "inconclusive"
    assert changes["p50"].reason == said
    assert {key for key, c in changes.items() if c.verdict == "fail"} == fails
    assert compared.verdict == ("fail" if fails else "inconclusive")
    assert all(charts.shift_function(compared, part).get_label() for part in compared.measured)


def test_constant_times_are_compared_exactly(tmp_path: Path) -> None:
    sides = [written(tmp_path, np.full(3000, level)) for level in (5.0, 5.0, 6.0, 7.0)]
    for other, verdict in zip(sides[1:], ("pass", "worse", "fail"), strict=True):
        compared = perflib.compare(sides[0], other, margin_percent={"p99": 10})
        assert changes_by_metric(compared)["p99"].verdict == verdict


def test_runs_that_did_not_end_well_are_invalid(home: Path, base: perflib.Run) -> None:
    compared = perflib.compare(base, written(home, latencies(4000, 4), status="invalid", reasons=["the target died"]))
    assert compared.verdict == "invalid"
    assert compared.sentence.endswith("is invalid: the target died.")
    assert (
        perflib.compare(base, written(home, latencies(400, 4), status="running")).invalid[0].endswith("is incomplete")
    )


def test_a_corrupt_part_is_named_and_leaves_the_verdict_open(home: Path, base: perflib.Run) -> None:
    damaged = written(home, latencies(4000, 4), memory_mb=100)
    (damaged.path / "rows" / "part-0000-000001.parquet").write_bytes(b"PAR1 and no more")
    compared = perflib.compare(base, perflib.open_run(damaged.path))
    assert compared.verdict == "inconclusive"
    assert "the content of rows/part-0000-000001.parquet is missing: it cannot be read" in compared.doubts[0]


@pytest.mark.parametrize("stepped_ns", [-60_000_000_000, 3_600_000_000_000])
def test_a_clock_that_was_set_leaves_every_verdict_open(home: Path, base: perflib.Run, stepped_ns: int) -> None:
    stepped = written(home, latencies(4000, 4), objectives=["p95 response < 1 ms", "p95 response < 100 ms"])
    assert [v.verdict for v in stepped.verdicts()] == ["fail", "pass"]
    part = sorted((stepped.path / "rows").iterdir())[-1]
    rows = pq.read_table(part)
    at = rows.schema.get_field_index("end_ns")
    half = len(rows) // 2
    steps = pa.array(np.repeat([0, stepped_ns], [half, len(rows) - half]))
    pq.write_table(rows.set_column(at, rows.schema.field(at), pc.add(rows["end_ns"], steps)), part)
    run = perflib.open_run(stepped.path)
    said = f"{len(rows) - half:,} requests end before they begin, or lie outside the run, because a clock was set"
    assert [(v.verdict, v.reason) for v in run.verdicts()] == [("inconclusive", said)] * 2
    assert said in str(run.machine())
    compared = perflib.compare(base, run)
    assert compared.verdict == "inconclusive"
    assert compared.doubts == (f"damaged rows in {run.id}: {said}",)


def test_a_part_that_is_damaged_inside_is_named_and_leaves_the_verdict_open(home: Path, base: perflib.Run) -> None:
    damaged = written(home, latencies(4000, 4))
    part = damaged.path / "rows" / "part-0000-000000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    compared = perflib.compare(base, perflib.open_run(damaged.path))
    assert compared.verdict == "inconclusive"
    assert compared.doubts[0].startswith(f"damaged rows in {damaged.id}: the content of rows/part-0000-000000.parquet")


WRONG: list[tuple[Sequence[str], str]] = [
    (["nothing", "latest"], "no run and no baseline 'nothing'"),
    (["latest", "latest", "--baseline", "main"], "name two sides"),
    (["latest"], "name two sides"),
    (["latest", ","], "a side of the comparison has no run"),
    (["latest", "latest", "--margin", "p95"], "--margin 'p95': write it like p95=15"),
    (["latest", "latest", "--margin", "p42=1"], "margin: there is no metric 'p42'"),
    (["latest", "elsewhere"], "no scenario in common"),
    (["--baseline", "gone"], "no run and no baseline 'gone'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_bad_input_is_one_line_and_code_two(tmp_path: Path, arguments: Sequence[str], said: str) -> None:
    other = written(tmp_path / "data", latencies(50, 1), scenario="another")
    set_baseline("elsewhere", other)
    written(tmp_path / "data", latencies(50, 1))
    failure = invoke("compare", *arguments).exception
    assert said in str(getattr(failure, "message", failure))
    assert "\n" not in str(failure)
    assert getattr(failure, "exit_code", 0) == 2
    assert not Path("reports").exists()


@pytest.fixture(scope="module")
def pages(home: Path, base: perflib.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a comparison of two runs whose operation and suite would be markup."""
    hostile = {"operations": (f"get {EVIL}", "put"), "name": f"shop {EVIL}", "memory_mb": 100, "host": {"cpu": EVIL}}
    sides = [written(home, latencies(4000, seed) * factor, **hostile) for seed, factor in ((1, 1.0), (2, 1.3))]
    return comparison.report(perflib.compare(*sides), out=tmp_path_factory.mktemp("pages"))


def test_the_page_is_whole_and_needs_nothing_else(pages: Path) -> None:
    text = (pages / "compare.html").read_text()
    page = ParsedPage(text)
    assert page.tags.count("script") == 1 and page.tags[-1] == "script", "the one that draws its charts"
    assert not [a for a in page.attributes if a[1] in ("src", "href") and not a[2].startswith(("data:image/png", "#"))]
    assert not [a for a in page.attributes if a[1].startswith("on")]
    links = {value[1:] for _, key, value in page.attributes if key == "href"}
    assert links <= {value for _, key, value in page.attributes if key == "id"}
    assert page.tags.count("img") == 7
    assert all(len(alt) > 15 for _, key, alt in page.attributes if key == "alt")
    assert text.index("Worse than the base") < text.index("<table")
    assert "one run a side" in text
    assert len(text) < 1_000_000
    assert "Traceback" not in text


def test_markdown_junit_and_summary_say_the_same(pages: Path) -> None:
    summary = json.loads((pages / "summary.json").read_text())
    assert (summary["schema"], summary["kind"], summary["verdict"]) == (1, "comparison", "fail")
    root = ElementTree.parse(pages / "junit.xml").getroot()
    cases = root.findall("testcase")
    words = [change["verdict"] for change in summary["changes"] if change["margin"] is not None]
    assert int(root.get("tests", 0)) == len(cases) == len(words)
    assert int(root.get("failures", 0)) == words.count("fail") > 0
    assert int(root.get("skipped", 0)) == words.count("inconclusive")
    for case, word in zip(cases, words, strict=True):
        assert [child.tag for child in case] == {"pass": [], "fail": ["failure"], "inconclusive": ["skipped"]}[word]
    markdown = (pages / "compare.md").read_text()
    assert markdown.startswith("## ✗ ")
    assert markdown.count("✗ fail") == 2 * words.count("fail")  # above, and among all
    assert "<script" not in markdown
    assert "@all" not in markdown
    assert len(markdown) < 60_000


def test_exit_codes_follow_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "report", lambda compared, **_: Path("reports"))
    names = {}
    for name, factor, status in (
        ("a", 1.0, "complete"),
        ("b", 1.0, "complete"),
        ("slow", 1.4, "complete"),
        ("bad", 1.0, "invalid"),
    ):
        names[name] = written(tmp_path / "data", latencies(4000, len(names) // 2) * factor, status=status).id
    names["short"] = written(tmp_path / "data", latencies(60, 9)).id
    codes = {
        name: invoke("compare", names["a"], names[name]).return_value for name in ("a", "b", "slow", "short", "bad")
    }
    assert codes == {"a": 3, "b": 0, "slow": 1, "short": 3, "bad": 4}
    assert (
        invoke(
            "compare", names["a"], names["slow"], *(f"--margin={m}=60" for m in ("p50", "p95", "p99", "mean"))
        ).return_value
        == 0
    )
    printed = invoke("compare", f"{names['a']},{names['b']}", names["a"], "--json")
    assert json.loads(printed.stdout)["base"] == [names["a"], names["b"]]
    said = invoke("compare", names["a"], names["slow"]).output
    assert f"{names['slow']} against {names['a']}: FAIL. Worse than the base" in said
    assert "p50 response" in said


def test_a_percentile_that_too_few_requests_decide_has_no_change(home: Path, base: perflib.Run) -> None:
    few = written(home, latencies(400, 11), memory_mb=100)
    compared = perflib.compare(base, few, margin_percent={"p99": 10})
    p50, p99 = (changes_by_metric(compared)[key] for key in ("p50", "p99"))
    assert p50.has_size and not p99.has_size
    assert (p99.verdict, p99.reason, math.isnan(p99.candidate)) == ("inconclusive", "too few requests to tell", True)
    assert p99.cells[1:3] == ("–", "–") and p99.cells[3].endswith("… ∞")
    assert "p99" not in charts.forest(compared, Selection("one")).get_label()


def test_a_run_says_nothing_about_itself(home: Path, base: perflib.Run, slower: perflib.Run) -> None:
    itself = perflib.compare(base, base)
    assert (itself.verdict, itself.doubts) == (
        "inconclusive",
        (f"{base.id} is named twice, and a run says nothing about itself",),
    )
    again = perflib.compare([base, base], [slower])
    assert again.verdict == "inconclusive", "three runs of one make no spread"


def test_a_baseline_outlives_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "report", lambda compared, **_: Path("reports"))
    first = written(tmp_path / "data", latencies(3000, 1))
    assert invoke("baseline", "set", "main").stdout == f"main: {first.id}\n"
    assert invoke("rm", first.id).return_value == 0
    assert [len(run.rows()) for run in open_side("main")] == [3000]
    candidate = written(tmp_path / "data", latencies(3000, 2) * 1.5)
    assert invoke("compare", "--baseline", "main").return_value == 1
    assert invoke("compare", "main", candidate.id).return_value == 1
    assert invoke("check", "--baseline", "main").return_value == 1
    set_baseline("main", candidate)
    assert {name: run.id for name, run in baselines().items()} == {"main": candidate.id}
    assert json.loads(invoke("baseline", "list", "--json").output)[0]["baseline"] == "main"
    assert [p.name for p in Path("data/baselines").iterdir()] == ["main"]
    assert invoke("baseline", "rm", "main").stdout == "removed main\n"
    assert invoke("baseline", "list").stdout == "none\n"
    for gone in (lambda: remove_baseline("main"), lambda: open_side("main")):
        with pytest.raises(RunError, match=r"no (run and no )?baseline 'main'.*perflib baseline list"):
            gone()


@pytest.mark.parametrize("name", ["../x", "latest", ".hidden", "a/b", "", "x" * 81])
def test_a_baseline_s_name_is_a_plain_one(tmp_path: Path, name: str) -> None:
    run = written(tmp_path / "data", latencies(20, 1))
    with pytest.raises(RunError, match="is not a valid name of a baseline"):
        set_baseline(name, run)
    with pytest.raises(PerflibError):
        remove_baseline(name)
    assert run.path.exists()


def test_only_a_complete_and_whole_run_becomes_a_baseline(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is invalid; choose a run that is complete"):
        set_baseline("main", written(tmp_path / "data", latencies(20, 1), status="invalid"))
    damaged = written(tmp_path / "data", latencies(20, 1))
    next((damaged.path / "rows").iterdir()).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"rows/part-0000-000000.parquet is missing.*choose another run"):
        set_baseline("main", perflib.open_run(damaged.path))
    assert not list((tmp_path / "data").glob("baselines/*"))


def test_every_chart_names_its_axes_and_units(base: perflib.Run, slower: perflib.Run) -> None:
    compared = perflib.compare(base, slower)
    for draw, units in (
        (charts.shift_function, ("percentile", "%")),
        (charts.forest, ("%", "")),
        (charts.two_distributions, ("ms", "%")),
    ):
        figure = draw(compared, Selection("one"))
        axes = figure.axes[0]
        assert units[0] in axes.get_xlabel()
        assert units[1] in axes.get_ylabel()
        assert len(figure.get_label()) > 15
    line = next(
        line for line in charts.shift_function(compared, Selection("one")).axes[0].lines if line.get_label() == "shift"
    )
    assert np.median(line.get_ydata()) == pytest.approx(20, abs=5)
    assert len(line.get_ydata()) > len(GRID) / 2


def test_a_github_job_shows_the_verdict_and_takes_no_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "report", lambda compared, **_: Path("reports"))
    hostile = {"operations": ("get%0A%3A%3Aerror", "put")}
    sides = [
        written(tmp_path / "data", latencies(4000, seed) * factor, **hostile).id
        for seed, factor in ((1, 1.0), (2, 1.5))
    ]
    assert "::error" not in invoke("compare", *sides).stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    told = [line for line in invoke("compare", *sides).stderr.splitlines() if line.startswith("::")]
    assert told
    assert all(line.startswith(("::error title=perflib::one", "::warning title=perflib::one")) for line in told)
    assert any("get%250A%253A%253Aerror: p50 response no worse than 5 %25: fail, +" in line for line in told)
    assert (tmp_path / "summary.md").read_text().startswith("## ✗ ")
    invoke("check", sides[0])
    assert "## ? tested: inconclusive" in (tmp_path / "summary.md").read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    assert "the job's summary could not be written" in invoke("check", sides[0]).stderr
