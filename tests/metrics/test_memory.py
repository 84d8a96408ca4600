"""Whether a target's memory grows, how fast, and which of its processes it is; what was not read is no pass."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perflib
from perflib import charts, stats
from perflib.errors import SuiteError
from perflib.load import resources
from perflib.load.resources import Sampler, described
from perflib.metrics.processes import Memory, Process, growth, growth_of
from perflib.store.compaction import compact
from perflib.store.schema import RESOURCES, table_of, write_part
from perflib.suite.objectives import Objective
from perflib.verdicts.verdict import Verdict
from tests.support import simulate
from tests.support.suites import suite
from tests.support.written import START_NS, latencies, written

EVIL = "<script>alert(1)</script>"
LIMITS = ["memory growth < 50 MB", "memory growth per hour < 100 MB", "memory growth per 1,000 requests < 1 MB"]
Course = Callable[[float], float | None]  # MB at a moment, s; None where the process is not there


# Growth by time, by requests, by process


def test_a_leak_by_requests_is_told_per_request_however_the_rate_changes() -> None:
    rng = np.random.default_rng(61)
    held = 0
    for _ in range(60):
        requests = simulate.bursts(rng)
        t, memory = simulate.saw_tooth(rng, requests[-1] / 1000, requests=requests)
        found = stats.memory_growth(t, memory, requests=requests).slope_bytes_per_request
        assert found is not None
        assert found.estimate == pytest.approx(1000, rel=0.1)
        held += found.low <= 1000 <= found.high
    assert held >= 51


def test_without_requests_there_is_no_slope_per_request() -> None:
    t = np.arange(0, 60, 0.5)
    assert stats.memory_growth(t, 1e8 + 1e6 * t).slope_bytes_per_request is None
    rested = stats.memory_growth(t, 1e8 + 1e6 * t, requests=np.zeros(len(t))).slope_bytes_per_request
    assert rested is not None
    assert (rested.low, rested.high) == (-np.inf, np.inf)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.floats(2, 60))
def test_the_process_that_leaks_is_the_one_that_is_named(seed: int, count: int, period_s: float) -> None:
    rng = np.random.default_rng(seed)
    leaking = int(rng.integers(count))
    each = [simulate.saw_tooth(rng, 90.0 if i == leaking else 0.0, period_s=period_s) for i in range(count)]
    t = each[0][0]
    found = growth_of(Memory(t, 100 * t, {Process("api", pid): rss for pid, (_, rss) in enumerate(each)}))
    assert found.verdict == "leak"
    assert found.grew is not None
    assert found.grew.process.pid == leaking


def of_processes(
    folder: Path, courses: dict[tuple[str, int, str | None], Course], objectives: list[str], seconds: float = 20.0
) -> perflib.Run:
    """A run of 100 requests/s whose target's processes (target, pid, what) hold what their courses say."""
    run = written(folder, latencies(int(100 * seconds), 1), rate_per_s=100.0, objectives=objectives)
    rows = [
        (START_NS + int(t_s * 1e9), "target", pid, target, int(mb * 1e6), None, int(t_s * 1e9), 1, 1, what)
        for t_s in np.arange(0, seconds, 0.1).tolist()
        for (target, pid, what), course in courses.items()
        if (mb := course(t_s)) is not None
    ]
    write_part([table_of(rows, RESOURCES)], RESOURCES, run.path / "resources", "part-000000")
    return perflib.open_run(run.path)


def judged(run: perflib.Run) -> dict[str, Verdict]:
    return {v.objective.text: v for v in run.verdicts()}


TREE: dict[tuple[str, int, str | None], Course] = {
    ("api", 7, "python main.py"): lambda t: 100.0,
    ("api", 8, "python worker.py"): lambda t: 50.0 + 4 * t,
    ("api", 9, "python worker.py"): lambda t: 60.0 + 0.1 * (t % 2),
}


@pytest.fixture
def leaking(tmp_path: Path) -> perflib.Run:
    return of_processes(tmp_path, TREE, [*LIMITS, "memory slope not above 0 MB/min"])


def test_growth_is_judged_per_hour_and_per_1000_requests(leaking: perflib.Run) -> None:
    found = judged(leaking)
    assert {v.verdict for v in found.values()} == {"fail"}
    estimates = [found[text].interval.estimate for text in LIMITS]
    assert estimates == pytest.approx([80, 14_400, 40], rel=0.02)
    assert [found[text].objective.unit for text in LIMITS] == ["MB"] * 3


def test_every_verdict_on_memory_names_the_process_that_grew(leaking: perflib.Run) -> None:
    found = judged(leaking)
    assert all("python worker.py (pid 8) grew by" in v.reason for v in found.values())
    assert "MB per hour" in found[LIMITS[0]].reason
    assert "MB per 1,000 requests" in found[LIMITS[0]].reason


def test_the_summary_has_the_growth_of_each_process(leaking: perflib.Run) -> None:
    (scenario,) = json.loads(json.dumps(leaking.summary(), allow_nan=False))["scenarios"]
    grown = scenario["memory_growth"]
    assert grown["verdict"] == "leak"
    assert grown["per_hour_mb"]["low"] <= 14_400 <= grown["per_hour_mb"]["high"] * 1.001
    assert grown["processes"][0]["pid"] == 8
    assert {each["pid"]: each["verdict"] for each in grown["processes"]} == {7: "no leak", 8: "leak", 9: "no leak"}


def test_the_report_and_the_chart_say_which_process_leaks(leaking: perflib.Run) -> None:
    page = str(leaking.scenario("one").memory())
    assert "The target leaks memory; python worker.py (pid 8) grew by" in page
    assert page.count("api: python") == 3
    figure = charts.memory(leaking, "one")
    assert figure.get_label().startswith("Leak: 14,")
    assert figure.get_label().endswith("most in pid 8")
    assert "python worker.py (pid 8)" in {line.get_label() for line in figure.axes[0].lines}


def test_a_leak_that_no_objective_asks_about_is_something_to_do_next(tmp_path: Path) -> None:
    run = of_processes(tmp_path, TREE, ["p95 response < 500 ms"])
    (step,) = [step for step in run.next_steps() if "leaks memory" in step.text]
    assert "pid 8" in step.text
    assert step.scenario == "one"


def test_a_process_s_name_is_escaped(tmp_path: Path) -> None:
    run = of_processes(tmp_path, {("api", 7, EVIL): lambda t: 50.0 + 4 * t}, LIMITS)
    page = str(run.scenario("one").memory()) + str(run.objectives())
    assert EVIL not in page
    assert "&lt;script&gt;" in page


def test_a_process_that_comes_meanwhile_counts_with_all_that_it_holds(tmp_path: Path) -> None:
    courses: dict[tuple[str, int, str | None], Course] = {
        ("api", 7, "main"): lambda t: 100.0,
        ("api", 8, "late"): lambda t: 70.0 if t > 8 else None,
        ("api", 9, "early"): lambda t: 5.0 if t < 8 else None,
    }
    run = of_processes(tmp_path, courses, LIMITS[:1])
    found = growth(run.scenario("one"))
    assert {each.process.pid: (each.came, each.left) for each in found.each} == {
        7: (False, False),
        8: (True, False),
        9: (False, True),
    }
    assert found.grew is not None
    assert found.grew.process.pid == 8
    (verdict,) = run.verdicts()
    assert verdict.verdict != "pass"
    assert "late (pid 8) came meanwhile and holds 70 MB" in verdict.reason


def test_a_gap_in_one_process_s_samples_is_no_drop(tmp_path: Path) -> None:
    courses: dict[tuple[str, int, str | None], Course] = {
        ("api", 7, "main"): lambda t: 100.0,
        ("api", 8, "worker"): lambda t: None if 5 < t < 6 else 50.0,
    }
    run = of_processes(tmp_path, courses, LIMITS[:1])
    assert run.summary()["scenarios"][0]["memory_mb"] == {"start": 150.0, "end": 150.0, "peak": 150.0}
    assert [v.verdict for v in run.verdicts()] == ["pass"]


# One word for report, check and objective


def leak_words(run: perflib.Run) -> tuple[str, list[str], str]:
    """The sentence of the report, the objectives' verdicts, and the word of summary.json."""
    (scenario,) = run.summary()["scenarios"]
    said = str(run.scenario("one").memory())
    sentence = next(text for text in ("The target leaks", "No leak", "It is not clear") if text in said)
    return sentence, [v.verdict for v in run.verdicts()], scenario["memory_growth"]["verdict"]


PER_HOUR = ["memory growth per hour < 100 MB"]


@pytest.mark.parametrize("objectives", [PER_HOUR, ["memory slope not above 0 MB/min"]])
def test_a_leak_of_gigabytes_per_hour_is_one_however_short_the_load(tmp_path: Path, objectives: list[str]) -> None:
    """1.8 GB per hour are 10 MB in 20 s."""
    run = of_processes(tmp_path, {("api", 7, "main"): lambda t: 60 + 0.5 * t}, objectives)
    assert leak_words(run) == ("The target leaks", ["fail"], "leak")


@pytest.mark.parametrize("objectives", [PER_HOUR, ["memory slope not above 0 MB/min"]])
def test_a_few_kilobytes_are_no_leak(tmp_path: Path, objectives: list[str]) -> None:
    run = of_processes(tmp_path, {("api", 7, "main"): lambda t: 60 + 0.04 * (t > 8) + 0.02 * (t > 15)}, objectives)
    assert leak_words(run) == ("No leak", ["pass"], "no leak")


def test_the_limit_is_the_objective_s_and_the_report_takes_it_too(tmp_path: Path) -> None:
    course: dict[tuple[str, int, str | None], Course] = {("api", 7, "main"): lambda t: 60 + 0.5 * t}
    for objective in ("memory growth per hour < 5 GB", "memory growth per 1000 requests < 8 MB"):
        assert leak_words(of_processes(tmp_path, course, [objective])) == ("No leak", ["pass"], "no leak")
    assert leak_words(of_processes(tmp_path, course, [])) == ("The target leaks", [], "leak"), "100 MB per hour"


def test_what_grows_but_not_for_ever_is_not_called_a_leak_and_says_what_would_tell(tmp_path: Path) -> None:
    courses: list[Course] = [lambda t: 60 + min(1.5 * t, 18), lambda t: 60 + 0.05 * int(t)]
    said = []
    for course in courses:
        run = of_processes(tmp_path, {("api", 7, "main"): course}, PER_HOUR)
        assert leak_words(run) == ("It is not clear", ["inconclusive"], "inconclusive")
        said.append(run.verdicts()[0].reason)
    assert said[0].startswith("it grew, but not in the later half")
    assert said[1].startswith("it grew by 0.9")


def test_one_process_that_leaks_fails_the_objective_although_another_shrinks(tmp_path: Path) -> None:
    courses: dict[tuple[str, int, str | None], Course] = {
        ("api", 7, "main"): lambda t: 200 - 4 * t,
        ("api", 8, "worker"): lambda t: 50 + 4 * t,
    }
    run = of_processes(tmp_path, courses, PER_HOUR)
    assert leak_words(run) == ("The target leaks", ["fail"], "leak")
    assert "worker (pid 8) grew by" in run.verdicts()[0].reason


def test_a_drift_is_judged_with_what_does_not_matter(tmp_path: Path) -> None:
    objectives = ["response drift not above 0 %", "response drift < 5 %", "response drift < 60 %"]
    for rise, words in ((1.0, ["pass"] * 3), (1.1, ["pass", "fail", "pass"]), (1.5, ["fail", "fail", "pass"])):
        run = written(tmp_path, 5 * np.linspace(1.0, rise, 4000), objectives=objectives)
        assert [v.verdict for v in run.verdicts()] == words, rise


# What was not read


def test_memory_that_nobody_sampled_is_inconclusive_and_says_what_to_do(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(1000, 1), objectives=LIMITS)
    assert {v.verdict for v in run.verdicts()} == {"inconclusive"}
    assert {v.reason for v in run.verdicts()} == {"the memory of api was not read: give the target `start` or `pids`"}


def test_memory_that_was_read_for_a_part_of_the_time_cannot_pass(tmp_path: Path) -> None:
    run = of_processes(tmp_path, {("api", 7, "main"): lambda t: 100.0 if t < 12 else None}, LIMITS[:1])
    (verdict,) = run.verdicts()
    assert (verdict.verdict, verdict.reason) == ("inconclusive", "the memory was not read from 11.7 to 20.0 s")


def test_what_surely_grew_fails_even_where_the_rest_was_not_read(tmp_path: Path) -> None:
    run = of_processes(tmp_path, {("api", 7, "main"): lambda t: 100.0 + 10 * t if t < 12 else None}, LIMITS[:1])
    assert [v.verdict for v in run.verdicts()] == ["fail"]


def test_a_process_that_may_not_be_read_keeps_memory_from_passing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = of_processes(tmp_path, {("api", 7, "main"): lambda t: 100.0}, LIMITS[:1])
    assert [v.verdict for v in run.verdicts()] == ["pass"]
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    platform = type(psutil.Process()._proc)
    read = platform.memory_info

    def denied(self: Any) -> Any:
        if self.pid == child.pid:
            raise psutil.AccessDenied(self.pid)
        return read(self)

    monkeypatch.setattr(platform, "memory_info", denied)
    try:
        sampler = Sampler(run.path, 0, "other-")
        sampler.watch("target", "api", [child.pid])
        time.sleep(1.3)  # more than one part
        sampler.close()
    finally:
        child.kill()
        child.wait()
    parts = sorted((run.path / "resources").glob("part-other-*.parquet"))
    assert parts
    for part in parts:
        table = pq.read_table(part)
        assert table["rss_bytes"].null_count == len(table) > 0
        pq.write_table(table.set_column(0, "t_ns", pa.array([START_NS + 1] * len(table), pa.int64())), part)
    (verdict,) = perflib.open_run(run.path).verdicts()
    assert verdict.verdict == "inconclusive"
    assert f"(pid {child.pid}) could not be read" in verdict.reason


def test_a_process_that_ends_while_its_tree_is_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nap = "import time; time.sleep(60)"
    family = f"import subprocess, sys\nfor _ in range(3): subprocess.Popen([sys.executable, '-c', {nap!r}])\n{nap}"
    parent = subprocess.Popen([sys.executable, "-c", family], start_new_session=True)
    try:
        while len(children := psutil.Process(parent.pid).children()) < 3:
            time.sleep(0.05)
        is_young = resources._is_young

        def ended(process: psutil.Process) -> bool:
            if process.pid == children[0].pid:
                raise psutil.NoSuchProcess(process.pid)
            return is_young(process)

        sampler = Sampler(tmp_path, 0)
        sampler.watch("target", "api", [parent.pid])
        monkeypatch.setattr(resources, "_is_young", ended)
        sampler.watch("target", "api", [parent.pid])
        time.sleep(0.5)
        sampler.close()
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    pids = pq.read_table(tmp_path / "resources", columns=["pid"])["pid"].to_pylist()
    assert min(pids.count(pid) for pid in (parent.pid, children[1].pid, children[2].pid)) >= 3


def test_samples_of_an_older_version_are_read_and_compacted(tmp_path: Path) -> None:
    run = of_processes(tmp_path, TREE, LIMITS[:1])
    for number, half in enumerate((slice(0, 300), slice(300, None))):
        table = pq.read_table(run.path / "resources" / "part-000000.parquet").drop_columns(["process"])
        pq.write_table(
            table.slice(half.start, (half.stop or len(table)) - half.start),
            run.path / "resources" / f"part-{number + 1:06d}.parquet",
        )
    (run.path / "resources" / "part-000000.parquet").unlink()
    old = perflib.open_run(run.path)
    assert "api (pid 8) grew by" in old.verdicts()[0].reason
    assert compact(old).files_after < len(list(old.parts))
    assert "api (pid 8) grew by" in perflib.open_run(run.path).verdicts()[0].reason


# Objectives


@pytest.mark.parametrize("text", ["get: memory growth < 5 MB", "stage 1: memory slope not above 0 MB/min"])
def test_memory_is_that_of_the_whole_scenario(text: str) -> None:
    with pytest.raises(SuiteError, match="memory is measured over the whole scenario"):
        Objective.parse(text)


def test_a_thousand_is_written_with_or_without_a_comma() -> None:
    assert (
        Objective.parse("memory growth per 1,000 requests < 1 MB").metric
        == Objective.parse("memory growth per 1000 requests < 1 MB").metric
    )


# Real processes


def test_of_three_real_processes_the_one_that_hoards_is_named_and_no_secret_kept(tmp_path: Path) -> None:
    start = ["{python}", str(Path(__file__).parents[1] / "support" / "hoarders.py"), "{port}", "--token", "hunter2"]
    made = suite(
        {"kind": "http", "url": "http://127.0.0.1:{port}", "start": start}, operations=[{"name": "keep", "path": "/"}],
        load={"model": "constant", "rate_per_s": 100, "duration_s": 11}, warmup={"duration_s": 1}, objectives=LIMITS,
    )  # fmt: skip
    run = perflib.run(made, data=tmp_path, progress=False)
    found, each = judged(run), growth(run.scenario("one")).each
    held = run.sql("select arg_max(pid, rss_bytes) as pid from resources where role = 'target'")["pid"]
    assert {v.verdict for v in found.values()} == {"fail"}
    assert f"(pid {held[0]}) grew by" in found[LIMITS[0]].reason
    assert found[LIMITS[2]].interval.estimate == pytest.approx(100, rel=0.1)
    assert len(each) == 3
    assert [one.process.what for one in each if one.process.what and "hoarders.py" in one.process.what]
    resources = b"".join(path.read_bytes() for path in (run.path / "resources").iterdir())
    assert b"hunter2" not in resources


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (["-c", "import time; time.sleep(60)", "hunter2"], ""),
        (["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], " -m http.server"),
        (["-X", "dev", "{script}", "--token", "hunter2"], " sleeps.py"),
        (["{script}", "hunter2"], " sleeps.py"),
    ],
)
def test_a_process_is_described_without_its_arguments(tmp_path: Path, words: list[str], ends: str) -> None:
    script = tmp_path / "sleeps.py"
    script.write_text("import time; time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, *(word.format(script=script) for word in words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        process, said = psutil.Process(child.pid), ""
        for _ in range(100):  # until it is the program that it was told to be
            said = described(process)
            if said and said.endswith(ends):
                break
            time.sleep(0.02)
        child.kill()
    assert said.startswith("python")
    assert said.endswith(ends)
    assert "hunter2" not in said
    assert "/" not in said


def test_other_programs_are_their_names() -> None:
    sleep = shutil.which("sleep")
    assert sleep
    with subprocess.Popen([sleep, "60"]) as child:
        process = psutil.Process(child.pid)
        said = described(process)
        child.kill()
    assert (said, described(process)) == ("sleep", "")
