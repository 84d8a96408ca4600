"""A run in the formats of other tools, read back."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

import perflib
from perflib.errors import SuiteError
from perflib.formats.exporting import WRITERS, export
from perflib.formats.importing import import_files
from tests.support import exports
from tests.support.command_line import invoke
from tests.support.exports import REQUESTS

GOOD = [each.took_ms for each in REQUESTS if each.status == 200]
FAILED = len(REQUESTS) - len(GOOD)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    return _imported(exports.vegeta_csv(), tmp_path_factory.mktemp("run"))


def _imported(text: str, folder: Path) -> perflib.Run:
    (folder / "results").write_text(text)
    return perflib.open_run(import_files([folder / "results"], folder / "data"))


def _text(run: perflib.Run, to: str) -> str:
    return "".join(export(run, to))


def test_csv_has_every_request(run: perflib.Run) -> None:
    rows = list(csv.DictReader(io.StringIO(_text(run, "csv"))))
    assert sorted(int(row["response_ns"]) for row in rows) == sorted(round(r.took_ms * 1e6) for r in REQUESTS)
    assert sum(row["ok"] == "False" for row in rows) == FAILED
    assert {row["scheduled_ns"] for row in rows} == {""}


def test_a_jtl_is_imported_again_as_the_same_run(run: perflib.Run, tmp_path: Path) -> None:
    again = _imported(_text(run, "jtl"), tmp_path)
    for one in (run, again):
        rows = one.rows()
        assert (len(rows), int((~rows["ok"]).sum())) == (len(REQUESTS), FAILED)
        assert np.median(rows["response_ns"][rows["ok"]]) == pytest.approx(np.median(GOOD) * 1e6, abs=1e6)
        assert set(rows["operation"].astype(str)) == {"GET /list", "GET /buy"}
    assert again.manifest.started_at == run.manifest.started_at


def test_prometheus_reads_the_metrics(run: perflib.Run) -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    families = {each.name: each for each in parser.text_string_to_metric_families(_text(run, "openmetrics"))}
    values = {name: sum(s.value for s in each.samples if s.name.endswith("_total")) for name, each in families.items()}
    assert (values["perflib_requests"], values["perflib_request_errors"]) == (len(REQUESTS), FAILED)
    samples = families["perflib_response_seconds"].samples
    within = sum(s.value for s in samples if s.labels.get("le") == "0.05")
    assert within == sum(ms <= 50 for ms in GOOD)
    assert sum(s.value for s in samples if s.name.endswith("_sum")) == pytest.approx(sum(GOOD) / 1e3)


def test_opentelemetry_reads_the_metrics(run: perflib.Run) -> None:
    service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
    from google.protobuf.json_format import Parse

    request = Parse(_text(run, "otlp"), service.ExportMetricsServiceRequest())
    metrics = {each.name: each for each in request.resource_metrics[0].scope_metrics[0].metrics}
    assert sum(point.as_double for point in metrics["perflib_requests"].sum.data_points) == len(REQUESTS)
    points = metrics["perflib_response_seconds"].histogram.data_points
    assert sum(point.count for point in points) == len(GOOD)
    assert sum(point.sum for point in points) == pytest.approx(sum(GOOD) / 1e3)
    assert all(sum(point.bucket_counts) == point.count for point in points)


def test_hdrhistogram_reads_the_times(run: perflib.Run, tmp_path: Path) -> None:
    log = pytest.importorskip("hdrh.log")
    histogram = pytest.importorskip("hdrh.histogram")
    (tmp_path / "times.hlog").write_text(_text(run, "hdrhistogram"))
    reader = log.HistogramLogReader(str(tmp_path / "times.hlog"), histogram.HdrHistogram(1, 10**13, 3))
    whole, tags, seconds = histogram.HdrHistogram(1, 10**13, 3), set(), 0
    while (interval := reader.get_next_interval_histogram()) is not None:
        whole.add(interval)
        tags.add(interval.get_tag())
        seconds += 1
    assert whole.get_total_count() == len(GOOD) and tags == {"default/GET-/list", "default/GET-/buy"}
    assert seconds == len(run.query("select distinct end_ns // 1000000000, operation from measured").fetchall())
    assert whole.get_max_value() == pytest.approx(max(GOOD) * 1e6, rel=1e-3)
    for percent in (50, 95, 99):
        exact = np.percentile(GOOD, percent, method="inverted_cdf") * 1e6
        assert whole.get_value_at_percentile(percent) == pytest.approx(exact, rel=1e-3)
    again = _imported(_text(run, "hdrhistogram"), tmp_path)
    assert again.manifest.imported and {each.operation for each in again.manifest.imported.figures} == tags


def test_benchmark_files_have_the_figures_with_their_intervals(run: perflib.Run) -> None:
    entries = {each["name"]: each for each in json.loads(_text(run, "github-action-benchmark"))}
    figure = run.summary()["scenarios"][0]["operations"][0]
    name = f"default: {figure['name']}: p50 response"
    assert entries[name]["value"] == pytest.approx(figure["response_ms"]["p50"]) and entries[name]["unit"] == "ms"
    assert not any("throughput" in each for each in entries)  # more of it is better
    bencher = json.loads(_text(run, "bencher"))[f"default: {figure['name']}"]["p50 response (ms)"]
    assert bencher["lower_value"] < bencher["value"] == entries[name]["value"] < bencher["upper_value"]


def test_k6s_summary_has_times_counts_and_verdicts(run: perflib.Run) -> None:
    found = json.loads(_text(run.judged_by(["p50 response < 500 ms"]), "k6-summary"))
    times = found["metrics"]["http_req_duration{scenario:default}"]
    assert times["med"] == pytest.approx(np.median(GOOD)) and times["max"] == max(GOOD)
    assert "p(99)" not in times  # fewer than ten requests lie beyond it
    assert found["metrics"]["http_req_failed{scenario:default}"]["passes"] == FAILED
    assert found["perflib"]["objectives"] == {"default: p50 response < 500 ms": "pass"}


def test_influx_has_a_point_of_its_own_for_each_request(run: perflib.Run) -> None:
    lines = _text(run, "influx").splitlines()
    pattern = r"request(?:,\w+=(?:[^ ,=\\]|\\[ ,=\\])+)+ response_ms=[\d.]+,ok=(true|false),status=\d+i (\d{19})"
    found = [re.fullmatch(pattern, line) for line in lines]
    assert all(found) and len({each[2] for each in found if each}) == len(REQUESTS)


def test_what_is_not_known_is_not_exported(tmp_path: Path) -> None:
    """hey's older files have neither errors nor the times at which requests were sent."""
    run = _imported(exports.hey(older=True), tmp_path)
    assert "error" not in _text(run, "openmetrics") and "error" not in _text(run, "github-action-benchmark")
    assert "throughput" not in _text(run, "bencher") and "errors" not in _text(run, "bencher")
    summary = json.loads(_text(run, "k6-summary"))["metrics"]
    assert "http_req_failed{scenario:default}" not in summary
    assert summary["http_reqs{scenario:default}"] == {"count": len(REQUESTS)}


def test_the_command_writes_a_file_or_prints(run: perflib.Run, tmp_path: Path) -> None:
    out = tmp_path / "run.csv"
    where = ("--data", str(run.path.parents[1]))
    assert invoke("export", run.id, "--to", "csv", "--out", str(out), *where).output.strip() == str(out)
    assert out.read_text() == invoke("export", run.id, "--to", "csv", *where).output
    with pytest.raises(SuiteError, match=f"no format 'xml'; use one of {', '.join(WRITERS)}"):
        export(run, "xml")
