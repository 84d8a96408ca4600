"""Several runs of one version: repeated, kept as one baseline, and both sides of a comparison run again before it
fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import perflib
from perflib.errors import RunError, SuiteError
from perflib.experiments.repeat import precise
from perflib.store.baselines import baselines, remove_baseline, set_baseline
from perflib.verdicts.run import open_side
from tests.support.command_line import invoke
from tests.support.written import latencies, written

SUITE = """
name = "work"
[targets.work]
kind = "callable"
function = "tests.support.functions:{function}"
[[scenarios]]
name = "first"
target = "work"
operations = [{{ name = "call", args = ["x"] }}]
load = {{ model = "closed", concurrency = 1, requests = 300 }}
warmup = {{ duration_s = 0 }}
[[scenarios]]
name = "second"
target = "work"
operations = [{{ name = "call", args = ["x"] }}]
load = {{ model = "closed", concurrency = 1, requests = 300 }}
warmup = {{ duration_s = 0 }}
"""


def test_a_repetition_is_one_side_of_a_comparison_and_one_baseline(tmp_path: Path) -> None:
    Path("work.toml").write_text(SUITE.format(function="fast"))
    done = invoke("run", "work.toml", "--repeat", "2")
    ids = done.stdout.split()[-1].split(",")
    assert (done.return_value, len(ids)) == (0, 2)
    runs = [perflib.open_run(each) for each in ids]
    assert [run.manifest.repeat.number for run in runs if run.manifest.repeat] == [1, 2]
    orders = [[scenario.name for scenario in run.scenarios] for run in runs]
    assert orders == [["first", "second"], ["second", "first"]]
    assert [run.id for run in open_side("latest")] == ids
    assert invoke("baseline", "set", "main").stdout == f"main: {ids[0]} and 1 more\n"
    assert json.loads(invoke("baseline", "list", "--json").output)[0]["runs"] == 2
    for each in ids:
        assert invoke("rm", each).return_value == 0
    assert [(run.id, len(run.rows())) for run in open_side("main")] == [(each, 600) for each in ids]
    assert json.loads(invoke("compare", "main", "main", "--json").stdout)["base"] == ids
    invoke("baseline", "rm", "main")
    assert not list(Path("data/baselines").iterdir())


def test_it_is_repeated_until_the_figures_are_known_or_often_enough(tmp_path: Path) -> None:
    def runs(*levels: float) -> list[perflib.Run]:
        return [
            written(tmp_path, latencies(1000, n, level), operations=("list", "buy")) for n, level in enumerate(levels)
        ]

    steady, unsteady = runs(5.0, 5.0, 5.0, 5.0), runs(5.0, 6.0, 5.0, 6.0)
    assert not precise(steady[:2], {"p50": 50}), "two runs have no spread"
    assert precise(steady, {"p50": 10}) and not precise(unsteady, {"p50": 10})
    assert precise(steady, {"buy: p50": 10, "errors": 1})
    assert not precise(steady, {"p50": 10, "p95": 0.1})
    assert not precise(steady, {"bye: p50": 10}), "nothing has this figure"


def test_a_baseline_of_several_runs_is_replaced_and_removed_as_a_whole(tmp_path: Path) -> None:
    runs = [written(tmp_path, latencies(300, n)) for n in range(3)]
    set_baseline("main", runs, tmp_path)
    set_baseline("main", runs[1:], tmp_path)
    assert [run.id for run in open_side("main", tmp_path)] == [run.id for run in runs[1:]]
    (tmp_path / "baselines" / "main" / "again" / runs[2].id / "mine.txt").write_text("keep me")
    with pytest.raises(RunError, match="did not write"):
        remove_baseline("main", tmp_path)
    assert list(baselines(tmp_path)) == ["main"]
    bad = written(tmp_path, latencies(300, 4), status="invalid")
    with pytest.raises(RunError, match="is invalid"):
        set_baseline("main", [runs[0], bad], tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repeat", "0"], "0 is not in the range"),
        (["--until", "p59=5"], "there is no metric 'p59'"),
        (["--until", "p95"], "--until 'p95': write it like p95=15"),
        (["--exit", "fail=0"], "write it like inconclusive=0"),
    ],
)
def test_bad_repetitions_are_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    Path("work.toml").write_text(SUITE.format(function="fast"))
    ended = invoke("run", "work.toml", *arguments)
    assert said in str(ended.exception)


def confirming(tmp_path: Path, function: str) -> perflib.Comparison:
    """A pair of runs that differ by chance, confirmed where the candidate's version calls this function."""
    for side, called in (("base", "fast"), ("candidate", function)):
        (tmp_path / side).mkdir()
        (tmp_path / side / "work.toml").write_text(SUITE.format(function=called))
    slow = [written(tmp_path, np.full(3000, ms), name="work", scenario="first", operations=("call",)) for ms in (1, 9)]
    for run in slow:
        run.manifest.command = "perflib run work.toml"
    compared = perflib.compare(*slow, data=tmp_path)
    assert compared.verdict == "fail"
    return perflib.confirm(
        compared, 2, folders=(tmp_path / "base", tmp_path / "candidate"), data=tmp_path,
        margin_percent={"p50": 300, "p95": None, "throughput": None},
    )  # fmt: skip


@pytest.mark.slow
def test_what_does_not_happen_again_does_not_fail(tmp_path: Path) -> None:
    confirmed = confirming(tmp_path, "fast")
    assert [len(side) for side in (confirmed.base, confirmed.candidate)] == [2, 2]
    assert confirmed.verdict in ("pass", "inconclusive"), "two runs a side, and the machine may be busy"
    assert {run.manifest.command for run in confirmed.candidate} == {"perflib run work.toml"}


def test_one_version_is_not_run_twice_and_a_pass_is_not_run_again(tmp_path: Path) -> None:
    base, same, slow = (written(tmp_path, latencies(4000, n) * by) for n, by in ((1, 1.0), (3, 1.0), (2, 2.0)))
    passed = perflib.compare(base, same, margin_percent={"p50": 10, "p95": None})
    assert perflib.confirm(passed) is passed
    with pytest.raises(SuiteError, match=r"the same command in the same folder.*--base-in"):
        perflib.confirm(perflib.compare(base, slow))
