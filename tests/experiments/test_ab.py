"""A/B: two variants in turns within one run.

No alarm for the same thing, one for a slower side, early where it is clear.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
from perflib import Load, Operation, Scenario, Suite, Target, stats
from perflib.errors import SuiteError
from perflib.experiments import ab
from perflib.verdicts import paired
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.run import Run
from tests.support.command_line import invoke
from tests.support.comparisons import changes_by_metric
from tests.support.runs import wait_for_rows
from tests.support.suites import pings

TIMES = {
    "p50": None,
    "p95": None,
    "p99": None,
    "mean": None,
    "cpu": None,
}  # not judged: counts do not depend on the machine


def quick(n: int) -> int:
    return sum(range(n))


def failing(n: int) -> int:
    """Every tenth call or so fails."""
    import random

    if random.random() < 0.1:
        raise ValueError("no")
    return n


def one(function: Any, **load: Any) -> Suite:
    return Suite(
        name="work",
        targets={"work": Target(kind="callable", function=function)},
        scenarios=[Scenario(name="steady", target="work", operations=[Operation(name="call", args=[2_000])],
                            load=Load(**(load or {"model": "closed", "concurrency": 1, "duration_s": 5})))],
    )  # fmt: skip


def trial(tmp_path: Path, a: Suite, b: Suite, **options: Any) -> Comparison:
    options = {"block_s": 0.2, "budget_s": 2.4, "margin_percent": TIMES, "progress": False, **options}
    return perflib.ab(a=a, b=b, data=tmp_path / "data", **options)


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A/A, looked at once."""
    return trial(tmp_path_factory.mktemp("ab"), one(quick), one(quick), looks=1)


def whole(compared: Comparison) -> perflib.Run:
    """The run that both sides are of."""
    return perflib.open_run(compared.base[0].path)


def test_the_sides_take_turns_in_balanced_random_order(same: Comparison) -> None:
    run = whole(same)
    turns = [(s.start_ns, s.stop_ns, s.turn, e.name[-1], s.phase) for e in run.scenarios for s in e.record.segments]
    turns.sort()
    assert all(stop <= start for (_, stop, *_), (start, *_) in itertools.pairwise(turns)), "never both at once"
    order = [side for _, _, _, side, _ in turns]
    firsts = order[::2]
    assert {tuple(order[i : i + 2]) for i in range(0, len(order), 2)} <= {("a", "b"), ("b", "a")}
    assert abs(firsts.count("a") - firsts.count("b")) <= 1
    assert [phase for *_, phase in turns[:2]] == ["warmup", "warmup"]
    assert {phase for *_, phase in turns[2:]} == {"measure"} and len(turns) == 2 * (1 + 6)


def test_a_side_is_a_run_of_its_own(same: Comparison) -> None:
    run, (a,), (b,) = whole(same), same.base, same.candidate
    assert run.status == "complete"
    assert (a.id, b.id) == (f"{run.id}@a", f"{run.id}@b")
    assert [entry.name for entry in a.scenarios] == ["steady"]
    assert {entry.name for entry in run.scenarios} == {"steady@a", "steady@b"}
    total = len(run.rows(phase=None))
    assert total == len(a.rows(phase=None)) + len(b.rows(phase=None)) and len(a.rows("steady")) > 100
    assert perflib.open_run(f"{a.path}@b").rows("steady").equals(b.rows("steady"))
    assert a.summary()["scenarios"][0]["requests"] == len(a.rows("steady"))


def test_every_request_is_on_disk_before_a_look(tmp_path: Path) -> None:
    """What a look saw is what the run has for these turns in the end."""
    seen: list[int] = []

    class Counting(Run):
        def __init__(self, path: Path, side: str) -> None:
            super().__init__(path, side)
            entry = self.scenarios[0]
            last = entry.record.segments[-1].stop_ns + 5_000_000  # a thread may begin its call a little late
            seen.append(
                int(self.query("select count(*) from rows where start_ns <= ?", [last]).fetchone()[0])
                - sum(s.offered for s in entry.record.segments)
            )  # type: ignore[index]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ab, "Run", Counting)
        trial(tmp_path, one(quick), one(quick))
    assert len(seen) >= 4 and not any(seen)


def test_the_same_thing_twice_raises_no_alarm(same: Comparison) -> None:
    assert same.verdict in ("pass", "inconclusive") and not any(change.seen for change in same.judged)
    assert changes_by_metric(same)["errors"].verdict == "pass"
    assert "6 pairs of blocks of 0.2 s" in " ".join(same.notes)


def test_more_errors_end_it_early_and_fail(tmp_path: Path) -> None:
    compared = trial(tmp_path, one(quick), one(failing), budget_s=20, margin_percent={**TIMES, "throughput": None})
    errors = changes_by_metric(compared)["errors"]
    assert compared.verdict == "fail" and errors.verdict == "fail" and errors.seen == "worse"
    assert errors.difference.low < 10 < errors.difference.high
    about = whole(compared).manifest.ab.scenarios["steady"]
    assert about["ended"] == "clear" and about["look"] < about["looks"]
    assert compared.sentence.startswith("Worse than the base: 1 of 1 figures")


def test_an_open_load_offers_both_sides_the_same_arrivals(tmp_path: Path) -> None:
    load = {"model": "poisson", "rate_per_s": 200, "duration_s": 5}
    compared = trial(tmp_path, one(quick, **load), one(quick, **load), block_s=0.5, budget_s=3, looks=1)
    (a,), (b,) = compared.base, compared.candidate
    starts = []
    for run in (a, b):
        windows = [s.start_ns for s in run.scenarios[0].record.segments]
        due = np.sort(run.rows("steady", phase=None)["scheduled_ns"].to_numpy())
        block = np.searchsorted(windows, due, side="right") - 1
        starts.append([(due[block == i] - start).tolist() for i, start in enumerate(windows)])
    assert starts[0] == starts[1]
    assert starts[0][1] != starts[0][2], "each turn has arrivals of its own"
    throughput = changes_by_metric(compared)["throughput"]
    assert not throughput.judged and throughput.reason == "set by the load"


def test_the_run_gives_the_same_comparison_again(same: Comparison, tmp_path: Path) -> None:
    found = perflib.compare(f"{same.base[0].path}@a", f"{same.base[0].path}@b")
    assert [c.as_dict() for c in found.changes] == [c.as_dict() for c in same.changes]
    said = invoke(
        "compare", f"{same.base[0].path}@a", f"{same.base[0].path}@b", "--out", str(tmp_path / "page"), "--json"
    )
    assert json.loads(said.stdout[: said.stdout.rindex("}") + 1])["verdict"] == same.verdict
    page = (tmp_path / "page" / "compare.html").read_text()
    assert "work: b against a" in page and "6 pairs of blocks" in page


VARIANTS = pings("options", {"ping": 'model = "closed", concurrency = 2, duration_s = 5'})
OFF = [word for name in (*TIMES, "throughput") for word in ("--margin", f"{name}=off")]


def test_damaged_rows_leave_it_open(same: Comparison, tmp_path: Path) -> None:
    shutil.copytree(same.base[0].path, copy := tmp_path / "data" / "runs" / "damaged")
    min((copy / "rows").iterdir()).write_bytes(b"PAR1")
    again = perflib.compare(f"{copy}@a", f"{copy}@b", margin_percent=TIMES)
    assert again.verdict == "inconclusive"
    assert again.doubts[0].startswith("damaged rows in") and "is missing: it cannot be read" in again.doubts[0]


def test_the_command_line_compares_two_options_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(VARIANTS)
    b = 'targets.api.env.PERFLIB_SERVE_ERROR_RATE="0.2"'
    said = invoke("ab", "s.toml", "--b", b, "--block", "0.2", "--budget", "6", *OFF)
    assert said.return_value == 1, said.output
    name = said.stdout.strip().splitlines()[-1]
    run = perflib.open_run(name)
    assert {scenario.name for scenario in run.scenarios} == {"ping@a", "ping@b"} and run.status == "complete"
    assert run.manifest.targets.keys() == {"api@a", "api@b"}
    assert run.manifest.targets["api@a"].pids != run.manifest.targets["api@b"].pids
    assert f"side b: {b}" in said.output and "options: b against a: FAIL" in said.output
    assert run.manifest.command.startswith("perflib ab s.toml --b ")
    errors = json.loads((Path("reports") / f"{name}-b-vs-{name}-a" / "summary.json").read_text())["changes"]
    assert next(c for c in errors if c["metric"] == "error rate")["difference"]["low"] > 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what differs"),
        (["--b", "scenarios.ping.load={ model = 'steps', from = 10, to = 100, step_per_s = 10, step_s "
                 "= 1 }"], "needs a steady load, not load model 'steps'"),
        (["--b", "workers=1", "--set", "targets.api.url=http://127.0.0.1:8099"], "both sides would start 'api' at http://127.0.0.1:8099"),
        (["--b", "workers=1", "--budget", "3"], "which is not enough"),
        (["--b", "workers=1", "--block", "0"], "block_s = 0 is not possible"),
        (["--b", "targets.api.speed=1"], "speed"),
        (["--b", "workers=1", "--margin", "p95=-3"], "a margin of -3 is not possible"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(VARIANTS)
    found = invoke("ab", "s.toml", *words)
    assert said in f"{found.exception} {found.output}"
    assert not Path("data/runs").exists()


def test_a_target_inside_this_process_is_refused(tmp_path: Path) -> None:
    inside = Suite(
        name="work",
        targets={"work": Target(kind="callable", function=quick, in_process=True)},
        scenarios=one(quick).scenarios,
    )
    with pytest.raises(SuiteError, match="two sides cannot be separated"):
        trial(tmp_path, inside, inside)


def test_a_side_whose_target_dies_makes_the_run_invalid(tmp_path: Path) -> None:
    import os

    def dying(n: int) -> int:
        if n and not Path(tmp_path / "until").exists():
            os._exit(3)
        return n

    (tmp_path / "until").write_text("")
    import threading

    threading.Timer(5, (tmp_path / "until").unlink).start()
    compared = trial(tmp_path, one(quick), one(dying), budget_s=20)
    assert compared.verdict == "invalid" and "ended with code 3" in compared.sentence
    assert len(compared.base[0].rows("steady")) > 0


def test_an_interrupt_keeps_the_rows_of_both_sides(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "s.toml").write_text(VARIANTS)
    command = [sys.executable, "-m", "perflib", "ab", "s.toml", "--a", "workers=1", "--budget", "60", "--looks", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_rows(tmp_path, 3.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    run = perflib.open_run("latest", tmp_path / "data")
    assert process.returncode == 130 and "interrupted" in err
    assert run.status == "interrupted" and run.sql("select distinct scenario from rows").size == 2


def test_no_run_but_an_ab_has_sides(small_run: perflib.Run) -> None:
    with pytest.raises(perflib.RunError, match="is no A/B"):
        perflib.open_run(f"{small_run.path}@a")


def blocks(rng: np.random.Generator, pairs: int, scale: float = 1.0, each: int = 400) -> list[list[Any]]:
    """Both sides' times, ms: a level that drifts and swings from pair to pair, alike for both, b slower by `scale`."""
    level = np.exp(0.3 * np.linspace(0, 1, pairs) + 0.2 * rng.normal(size=pairs))
    return [
        [factor * one * np.exp(0.4 * rng.normal(size=each) + 0.02 * rng.normal()) for one in level]
        for factor in (1.0, scale)
    ]


def test_pairs_take_out_what_both_sides_share() -> None:
    """The truth lies in 95 % of the intervals although the machine's speed swings by a fifth, and they are far narrower
    than that."""
    rng, held, widths = np.random.default_rng(5), 0, []
    for _ in range(400):
        shift = paired.time_shifts(blocks(rng, 20, 1.05), 0.95)["p50"].relative
        held += shift.low <= 5.0 <= shift.high
        widths.append(shift.high - shift.low)
    assert 0.92 <= held / 400 <= 0.985
    assert np.median(widths) < 6


def test_all_looks_together_alarm_as_rarely_as_one() -> None:
    """Five looks, each at the confidence that it is due: false findings stay at what was asked for."""
    rng, alarms = np.random.default_rng(6), 0
    for _ in range(400):
        sides = blocks(rng, 30, each=60)
        for look in range(1, 6):
            confidence = stats.spending_confidence(look, 5, 0.95)
            shift = paired.time_shifts([side[: 6 * look] for side in sides], confidence)["p50"].relative
            if not shift.low <= 0 <= shift.high:
                alarms += 1
                break
    assert alarms / 400 <= 0.08


def test_a_percentile_with_too_few_requests_says_how_many_would_tell() -> None:
    found = paired.time_shifts(blocks(np.random.default_rng(7), 6, each=100), 0.95)
    assert "3,000 of each side" in found["p99"].reason and not found["p95"].reason
