"""Results of other tools as runs: the same requests in every format, damaged files, what times mean."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import perflib
from perflib.errors import SuiteError
from perflib.formats.base import FormatError
from perflib.formats.importing import MOST_OPERATIONS, import_files
from perflib.stats import Outcome
from perflib.verdicts.comparison import compare
from perflib.verdicts.history import history, record_all
from tests.support import exports
from tests.support.command_line import invoke, perflib_process
from tests.support.exports import REQUESTS, START_MS, WRITERS, Request

WITHOUT_STATUS = ("hey, older", "pytest-benchmark", "pyperf")
WITHOUT_NAMES = (
    "oha", "hey", "aiperf", "guidellm", "guidellm before 0.4", "hey, older", "vegeta csv of 9 columns",
)  # fmt: skip
WITHOUT_STARTS = ("hey, older", "pytest-benchmark", "pyperf")
RELATIVE = ("oha", "hey")


def imported(text: str, folder: Path, name: str = "results", **options: object) -> perflib.Run:
    (folder / name).write_bytes(text.encode())
    return perflib.open_run(import_files([folder / name], folder / "data", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_has_the_same_requests(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    run = imported(write(), tmp_path)
    assert run.manifest.imported and run.manifest.imported.format == name
    rows = run.rows(phase=None)
    failed = 0 if kind in WITHOUT_STATUS else sum(each.status != 200 for each in REQUESTS)
    assert (len(rows), int((~rows["ok"]).sum())) == (len(REQUESTS), failed)
    good = [each.took_ms for each in REQUESTS if each.status == 200 or not failed]
    (figures,) = run.summary()["scenarios"]
    expected = np.percentile(good, [50, 95])
    exact_ms = 1e-3 if "guidellm" in kind else 1e-6  # its times are seconds since 1970 as floating point
    assert [figures["response_ms"][q] for q in ("p50", "p95")] == pytest.approx(expected.tolist(), abs=exact_ms)
    names = {"request"} if kind in WITHOUT_NAMES else {"list", "buy"}
    assert {str(each).removeprefix("GET ").removeprefix("/") for each in rows["operation"]} == names
    assert not run.damage and run.status == "complete"
    if kind not in (*WITHOUT_STARTS, *RELATIVE) and "k6 csv" not in kind:
        starts = np.sort(rows["start_ns"].to_numpy()) / 1e6
        assert starts == pytest.approx(sorted(each.at_ms - REQUESTS[0].at_ms for each in REQUESTS), abs=0.01)
    if kind not in (*WITHOUT_STARTS, *RELATIVE):
        assert run.manifest.started_at.startswith("2026-11-30T")


@pytest.mark.parametrize("kind", ["aiperf", "guidellm", "guidellm before 0.4"])
def test_the_first_token_is_the_first_byte(kind: str, tmp_path: Path) -> None:
    run = imported(WRITERS[kind][1](), tmp_path)
    rows = run.rows(phase=None)
    first, whole = rows["first_byte_ns"] - rows["start_ns"], rows["end_ns"] - rows["start_ns"]
    assert (first[rows["ok"]] / whole[rows["ok"]]).between(0.0999, 0.1001).all()
    assert set(rows["error"].dropna()) == {"http_5xx"} and set(rows["status"].dropna()) == {503}


def test_what_was_cancelled_is_no_answer(tmp_path: Path) -> None:
    cancelled = exports.aiperf().replace('"was_cancelled": false', '"was_cancelled": true', 4)
    run = imported(cancelled.replace('"HTTPError"', '"RequestCancellationError"'), tmp_path, name="cancelled")
    assert run.rows(phase=None)["error"].value_counts().to_dict() == {"http_5xx": 11, "aborted": 1}


def test_benchmarks_of_guidellm_are_scenarios_with_what_was_cut_off(tmp_path: Path) -> None:
    content = json.loads(exports.guidellm(benchmarks=3))
    groups = content["benchmarks"][1]["requests"]
    cancelled = groups["successful"].pop()
    never_sent = {"request_start_time": None, "request_end_time": 1796059271.0, "info": {"timings": {}}}
    groups["incomplete"] += [cancelled, never_sent]
    content["benchmarks"][1]["scheduler_metrics"]["requests_made"]["successful"] -= 1
    timed_out = content["benchmarks"][2]["requests"]["errored"][0]
    timed_out["info"]["error"] = "ReadTimeout: the read timed out"
    run = imported(json.dumps(content), tmp_path)
    assert [each.name for each in run.scenarios] == ["constant 1", "constant 2", "constant 3"]
    assert [len(run.rows(scenario=each.name, phase=None)) for each in run.scenarios] == [100, 100, 100]
    assert run.rows(phase=None)["error"].value_counts().to_dict() == {"http_5xx": 11, "aborted": 1, "timeout": 1}
    assert all(each.phase == "measure" for scenario in run.manifest.scenarios for each in scenario.segments)


def test_a_sample_of_guidellm_is_refused(tmp_path: Path) -> None:
    content = json.loads(exports.guidellm())
    content["benchmarks"][0]["requests"]["successful"] = content["benchmarks"][0]["requests"]["successful"][:20]
    with pytest.raises(FormatError, match="benchmark 1 has a sample, 20 of 288 successful requests"):
        imported(json.dumps(content), tmp_path)


def test_gzip_and_several_files(tmp_path: Path) -> None:
    halves = REQUESTS[:100], REQUESTS[100:]
    for number, half in enumerate(halves):
        (tmp_path / f"{number}.csv.gz").write_bytes(gzip.compress(exports.k6_csv(half, per_s=1000).encode()))
    run = perflib.open_run(import_files([tmp_path / "0.csv.gz", tmp_path / "1.csv.gz"], tmp_path / "data"))
    assert len(run.rows(phase=None)) == len(REQUESTS) and not run.damage
    for number, half in enumerate(halves):
        (tmp_path / f"{number}.oha").write_text(exports.oha(half))
    with pytest.raises(FormatError, match="does not say on which day"):
        import_files([tmp_path / "0.oha", tmp_path / "1.oha"], tmp_path / "data")
    with pytest.raises(FormatError, match=r"not of the same format as 0\.csv\.gz, k6-csv"):
        import_files([tmp_path / "0.csv.gz", tmp_path / "1.oha"], tmp_path / "data")


def test_a_run_of_many_batches_keeps_requests_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perflib.formats.base.BATCH", 7)
    run = imported(exports.k6_csv(), tmp_path)
    assert len(run.rows(phase=None)) == len(REQUESTS)
    monkeypatch.undo()
    other = imported(exports.k6_csv(), tmp_path)
    assert run.rows(phase=None).equals(other.rows(phase=None))


CUT = exports.k6_csv()
LINES = CUT.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CUT[:-200], r"results, line \d+: "),
        ("".join(LINES[:11]), r"results, line 11: a request has no usable http_req_duration"),
        ("".join([*LINES[:5], *LINES[11:20]]), "results"),
        ("".join([*LINES[:4], "http_req_blocked,soon,1\n", *LINES[4:]]), r"results, line 5: "),
        ("".join([LINES[0], LINES[1].replace(",1796059", ",17960x9"), *LINES[2:]]), r"results, line 2: .*timestamp"),
        (exports.jtl().replace(",57,", ",5.7s,", 1), r"results, line \d+: .*elapsed"),
        (exports.jtl()[:-5], r"results, line \d+: the file ends within this line: it was cut"),
        ("timeStamp,elapsed_,label,success\n1796059270000,5,a,true\n", "header has no elapsed"),
        ("1796059270000,5,list,200\n", r"results, line 1: 4 columns and no header"),
        (exports.jtl_xml()[:-60] + "\n", r"results, line \d+: no valid XML"),
        (exports.locust().replace("100,200,", "100,many,", 1), r"results, line 2: .*status_code"),
        (exports.vegeta_json()[:-30] + "\n", r"results, line 300: no valid JSON"),
        (exports.vegeta_csv().replace("\n", "\n5,5\n", 1), r"results, line 2: "),
        (exports.gatling().replace("\tOK\t", "\tGOOD\t", 1), r"results, line \d+: a REQUEST needs"),
        (exports.pyperf()[:-9], r"results, line 1: "),
        (exports.guidellm()[:-9], r"results, line 1: "),
        (exports.guidellm().replace('"request_start_time": 1', '"request_start_time": "", "x": 1', 1), "guidellm: V"),
        (exports.guidellm().replace('"benchmarks"', '"benches"', 1), "not the JSON of guidellm: KeyError"),
        (exports.pytest_benchmark(with_data=False), "run pytest with --benchmark-save-data"),
        ('{"aggregate": {"counters": {}}, "intermediate": []}\n', "it has no figures"),
        ("Type,Name,Request Count,Failure Count\n", "it has no figures"),
        ("hello\n", "not recognised as a result of k6, JMeter"),
        ("", "the file is empty"),
        (LINES[0], "it has no requests"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=said) as raised:
        imported(text, tmp_path)
    assert "\n" not in str(raised.value) and ";" in str(raised.value)
    assert not list((tmp_path / "data").rglob("*"))


def test_gzip_that_was_cut_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(exports.k6_csv().encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(FormatError, match=r"cut\.csv\.gz"):
        import_files([tmp_path / "cut.csv.gz"], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_failure_while_the_run_is_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perflib.formats.importing.write_part", full)
    with pytest.raises(OSError, match="No space"):
        imported(exports.hey(), tmp_path)
    assert not list((tmp_path / "data" / "runs").iterdir())


def test_the_command_says_what_times_mean_and_judges(tmp_path: Path) -> None:
    file, where = tmp_path / "results.jtl", ("--data", str(tmp_path / "data"))
    file.write_text(exports.jtl())
    done = invoke("import", str(file), "--objective", "p95 response < 200 ms", *where)
    assert done.return_value == 0
    assert "until the last byte, with connecting; exact to 1 ms; when it was sent is known to 1 ms" in done.stderr
    assert "PASS" in done.stdout
    run = perflib.open_run("latest", tmp_path / "data")
    assert done.stdout.splitlines()[-1] == run.id
    assert "made by JMeter" in invoke("show", *where).output
    assert invoke("check", "--objective", "p50 response < 10 ms", *where).return_value == 1
    assert "Made by: JMeter" in str(run.tested()) and "exact to 1 ms" in str(run.machine())
    assert invoke("import", str(file), "--from", "k7", *where).exception.exit_code == 2
    refused = perflib_process("import", str(tmp_path / "none.jtl"), *where)
    assert refused.returncode == 2 and "none.jtl" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_a_wrong_objective_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="p95 respons"):
        imported(exports.hey(), tmp_path, objectives=["p95 respons < 2 ms"])
    assert not (tmp_path / "data").exists()


def test_resolution_widens_intervals_and_holds_a_verdict_back(tmp_path: Path) -> None:
    """Nearly all requests took 50 ms or 51 ms by JMeter's clock: their median may be 49.5 ms as well as 50.5 ms."""
    steady = [Request(7 * i, 50 + (i % 4 == 0)) for i in range(400)]
    run = imported(exports.jtl(steady), tmp_path, objectives=["p50 response < 50.5 ms", "p50 response < 51.5 ms"])
    unclear, passed = run.verdicts()
    assert unclear.verdict == Outcome.INCONCLUSIVE and passed.verdict == Outcome.PASS
    assert unclear.interval.low <= 49.0 and unclear.interval.high >= 51.0


def test_what_is_not_recorded_is_not_judged(tmp_path: Path) -> None:
    objectives = ["error rate < 50 %", "throughput > 1 /s", "inflight < 100", "p50 response < 500 ms"]
    run = imported(exports.hey(older=True), tmp_path, objectives=objectives)
    assert [each.verdict for each in run.verdicts()] == [*["inconclusive"] * 3, "pass"]


@pytest.mark.parametrize("text", [exports.k6_csv(), exports.hey(older=True)], ids=["k6", "hey without starts"])
def test_every_section_and_chart_of_a_report_can_be_drawn(text: str, tmp_path: Path) -> None:
    run = imported(text, tmp_path)
    drawn = "".join(
        str(each) for each in (run.conclusion(), run.tested(), run.load(), run.load_generator(), run.machine())
    )
    assert "perflib check" in drawn
    scenario = run.scenario("default")
    for name in (
        "throughput",
        "inflight",
        "response_over_time",
        "response_by_inflight",
        "errors_over_time",
        "breakdown",
    ):
        assert getattr(perflib.charts, name)(scenario).axes


def test_runs_of_one_tool_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    took = rng.lognormal(3, 0.3, (2, 3000))
    runs = [
        imported(exports.k6_csv([Request(5 * i, float(ms)) for i, ms in enumerate(each)], per_s=1000), tmp_path)
        for each in (took[0], took[1] * 1.3)
    ]
    worse = compare(*runs)
    assert worse.verdict == Outcome.FAIL and not worse.doubts
    assert {change.metric.key for change in worse.judged if change.verdict == Outcome.FAIL} >= {"p50"}
    assert any("another tool does not say on which machine" in note for note in worse.notes)


def test_different_meanings_are_not_comparable(tmp_path: Path) -> None:
    runs = [imported(text, tmp_path, name="results", wanted=None) for text in (exports.k6_csv(), exports.jtl())]
    compared = compare(*runs)
    assert compared.verdict == Outcome.INCONCLUSIVE
    assert "different meanings of the response time" in compared.sentence


def test_many_names_are_taken_together(tmp_path: Path) -> None:
    many = [Request(i, 20.0, f"item {i}" if i < 2 * MOST_OPERATIONS else "list") for i in range(3 * MOST_OPERATIONS)]
    run = imported(exports.vegeta_json(many).replace("item ", "item-"), tmp_path)
    names = [operation.name for operation in run.suite.scenarios[0].operations]
    assert len(names) == MOST_OPERATIONS and {"others", "GET /list"} <= set(names)
    assert len(run.rows(phase=None)) == len(many)
    assert run.manifest.imported and "'others'" in run.manifest.imported.notes[-1]


def test_the_beginning_can_be_left_out(tmp_path: Path) -> None:
    run = imported(exports.jtl(), tmp_path, warmup_s=0.7)
    assert len(run.rows()) == sum(each.at_ms >= 700 for each in REQUESTS)
    assert run.rows()["start_ns"].min() >= 0.7e9


def test_sql_and_history_know_imported_runs(tmp_path: Path) -> None:
    run = imported(exports.locust(), tmp_path)
    imported(exports.locust(), tmp_path)
    (count,) = run.sql("select count(*) from measured where not ok and status = 503").iloc[0]
    assert count == sum(each.status == 503 for each in REQUESTS)
    assert len(record_all(tmp_path / "data")) == 2
    found = history(data=tmp_path / "data")
    assert found and all(len(series.points) == 2 for series in found)
    assert run.manifest.started_at.startswith("2026-11-30T") and START_MS
