"""Figures without requests: from Prometheus, and from summaries of other tools. They are shown, and decide nothing."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import perflib
from perflib.errors import PerflibError
from perflib.formats.importing import import_files
from perflib.formats.prometheus import import_prometheus
from perflib.report.render import report
from tests.support.command_line import invoke
from tests.support.written import latencies, written

EDGES = (0.05, 0.1, 0.25, 0.5, math.inf)
LOCUST = (
    "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,"
    "Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n\n"
    'GET,"/list, all",100,1,40,42.5,3,200,12,10.0,0.1,40,41,42,43,50,60,70,80,200,200,200\n'
    ",Aggregated,100,1,40,42.5,3,200,12,10.0,0.1,40,41,42,43,50,60,70,80,200,200,200\n"
)
K6 = {
    "root_group": {},
    "metrics": {
        "http_req_duration": {"avg": 42.5, "med": 40, "max": 200, "p(90)": 50, "p(95)": 60},
        "http_reqs": {"count": 100, "rate": 10.0},
        "http_req_failed": {"passes": 1, "fails": 99, "value": 0.01},
    },
}
OHA = {
    "summary": {"average": 0.0425, "slowest": 0.2, "requestsPerSec": 9.9, "fastest": None},
    "latencyPercentiles": {"p50": 0.04, "p95": 0.06, "p99": None},
    "responseTimeHistogram": {},
}
ARTILLERY = {
    "aggregate": {
        "counters": {"http.requests": 100, "http.responses": 100, "http.codes.200": 99, "http.codes.503": 1},
        "rates": {"http.request_rate": 10},
        "summaries": {
            "http.response_time": {"median": 40, "p95": 60, "p99": 80, "mean": 42.5, "max": 200, "count": 100}
        },
    },
    "intermediate": [],
}
OLDER_ARTILLERY = {
    "aggregate": {
        "requestsCompleted": 99, "codes": {"200": 99}, "errors": {"ETIMEDOUT": 1}, "rps": {"count": 99, "mean": 10},
        "latency": {"median": 40, "p95": 60, "p99": None, "mean": 42.5, "max": 200}, "counters": {},
    },
    "intermediate": [],
}  # fmt: skip
WRK2 = """Running 10s test @ http://127.0.0.1:8000/
  1 threads and 2 connections
  Latency Distribution (HdrHistogram - Recorded Latency)
 50.000%   40.00ms
  Detailed Percentile spectrum:
       Value   Percentile   TotalCount 1/(1-Percentile)

       3.000     0.000000            1         1.00
      40.000     0.500000           50         2.00
      50.000     0.900000           90        10.00
      60.000     0.950000           95        20.00
      80.000     0.990625           99       106.67
     200.000     1.000000          100          inf
#[Mean    =       42.500, StdDeviation   =       20.000]
#[Max     =      200.000, Total count    =          100]
#[Buckets =           27, SubBuckets     =         2048]
----------------------------------------------------------
  100 requests in 10.00s, 1.95KB read
  Non-2xx or 3xx responses: 1
Requests/sec:     10.00
Transfer/sec:      0.20KB
"""

# `wrk2 -U` has the times from when requests were sent behind those from when they were due.
WRK2_UNCORRECTED = WRK2.replace(
    "----", WRK2[WRK2.index("  Latency") : WRK2.index("---")].replace("0.000", "1.000") + "----", 1
)


@contextmanager
def prometheus(times_s: np.ndarray) -> Iterator[tuple[str, list[str]]]:
    """A server that answers queries as Prometheus does, about these response times; and what it was asked."""
    asked: list[str] = []

    def answer(query: str) -> list[dict[str, object]]:
        if "nothing" in query:
            return []
        if "_bucket" in query:
            return [_one({"le": "+Inf" if math.isinf(e) else f"{e:g}"}, float((times_s <= e).sum())) for e in EDGES]
        value = {"_sum": float(times_s.sum()), "failed": 5.0, "every": 1000.0, "max_": 9.0}
        return [_one({}, next((v for key, v in value.items() if key in query), 4.0))] if "pool_b" not in query else []

    def _one(labels: dict[str, str], value: float) -> dict[str, object]:
        return {"metric": labels, "value": [1.0, str(value)]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)["query"][0]
            asked.append(query)
            found = [] if "pool_bucket" in query else answer(query)
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_production_is_within_its_buckets_and_decides_nothing(tmp_path: Path) -> None:
    times_s = np.random.default_rng(1).lognormal(-2.5, 0.6, 20_000)
    with prometheus(times_s) as (url, asked):
        path = import_prometheus(
            url,
            ['took_seconds{job="api"}', "pool"],
            tmp_path,
            errors="failed_total",
            requests="every_total",
            last_s=600,
        )
    assert any('increase(took_seconds_bucket{job="api"}[600s])' in query for query in asked)
    run = perflib.open_run(path)
    assert run.manifest.imported is not None
    figures = {each.name: each for each in run.manifest.imported.figures}
    for name, q in (("p50 response", 0.5), ("p95 response", 0.95), ("p99 response", 0.99)):
        truth, one = float(np.quantile(times_s, q)) * 1e3, figures[name]
        assert one.low is not None and one.high is not None and one.low <= truth <= one.high
        assert (one.low / 1e3, one.high / 1e3) in list(zip((0.0, *EDGES), EDGES, strict=False)), "the edges of a bucket"
    assert figures["mean response"].value == pytest.approx(times_s.mean() * 1e3)
    assert figures["throughput"].value == pytest.approx(len(times_s) / 600)
    assert (figures["error rate"].value, figures["max pool"].value, figures["mean pool"].value) == (0.5, 9.0, 4.0)

    judged = run.judged_by(["p95 response < 10000 ms"]).verdicts()
    assert [str(each.verdict) for each in judged] == ["inconclusive"] and "decides nothing" in judged[0].reason
    printed = invoke("show", run.id, "--data", str(tmp_path)).output
    assert "p95 response" in printed and "(between" in printed
    for refused in (lambda: perflib.compare(run, run), lambda: report(run, out=tmp_path / "r")):
        with pytest.raises(PerflibError, match="figures alone"):
            refused()


def test_it_stands_beside_a_run_without_a_verdict(tmp_path: Path) -> None:
    with prometheus(np.full(1000, 0.07)) as (url, _):
        done = invoke("import", "prometheus", url, "--query", "took_seconds", "--data", str(tmp_path), "--last", "60")
    assert done.return_value == 0, done.output
    production = done.output.splitlines()[-1]
    run = written(tmp_path, latencies(400, 1))
    for command in (("runs",), ("check", production), ("history",), ("show", production, "--json")):
        failure = invoke(*command, "--data", str(tmp_path)).exception
        assert failure is None or isinstance(failure, PerflibError), (command, failure)
    for to in ("csv", "openmetrics", "k6-summary", "bencher", "influx"):
        assert '"value": 0' not in invoke("export", production, "--to", to, "--data", str(tmp_path)).output
    compared = invoke("compare", production, run.id, "--data", str(tmp_path))
    assert compared.return_value == 3, compared.output
    assert "p95 response" in compared.output and "INCONCLUSIVE" in compared.output
    assert "different meanings of the response time" in compared.output


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        (LOCUST, "Locust"),
        (json.dumps(K6), "k6"),
        (json.dumps(OHA), "oha"),
        (json.dumps(ARTILLERY), "Artillery"),
        (json.dumps(OLDER_ARTILLERY), "Artillery"),
        (WRK2, "wrk2"),
        (WRK2_UNCORRECTED, "wrk2"),
    ],
    ids=["locust", "k6", "oha", "artillery", "artillery before 2.0", "wrk2", "wrk2 -U"],
)
def test_a_summary_is_imported_as_figures(text: str, tool: str, tmp_path: Path) -> None:
    (tmp_path / "summary").write_text(text)
    run = perflib.open_run(import_files([tmp_path / "summary"], tmp_path / "data", objectives=["p95 response < 1 s"]))
    assert run.manifest.imported is not None and run.manifest.imported.tool == tool
    figures = {each.name: each.value for each in run.manifest.imported.figures if each.operation is None}
    assert (figures["p50 response"], figures["p95 response"], figures["mean response"]) == (40, 60, 42.5)
    assert figures["throughput"] == pytest.approx(9.9)
    assert tool == "oha" or figures["error rate"] == pytest.approx(1.0)
    (verdict,) = run.verdicts()
    assert verdict.verdict == "inconclusive" and verdict.interval.estimate == 60


@pytest.mark.parametrize(
    ("text", "why"),
    [(LOCUST.replace(",1,40,", ",1,", 1), "line"), (LOCUST.replace("100,1", "many,1", 1), "locust-stats"),
     (json.dumps({**K6, "metrics": 5}), "k6-summary"), (json.dumps({**OHA, "latencyPercentiles": None}), "oha-json"),
     (json.dumps({"aggregate": 5}), "artillery-json"),
     (json.dumps({"aggregate": {"codes": {"a": 1}}}), "artillery-json"),
     (WRK2[:200], "it has no figures")],
)  # fmt: skip
def test_a_damaged_summary_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "summary").write_text(text)
    with pytest.raises(PerflibError, match=why):
        import_files([tmp_path / "summary"], tmp_path / "data")
    assert not list((tmp_path / "data").glob("runs/*"))


@pytest.mark.parametrize(("query", "why"), [("nothing", "it has no values of nothing"), ("a b", "is no metric")])
def test_what_prometheus_does_not_have_is_one_line(query: str, why: str, tmp_path: Path) -> None:
    with prometheus(np.ones(3)) as (url, _), pytest.raises(PerflibError, match=why):
        import_prometheus(url, [query], tmp_path)
    with pytest.raises(PerflibError, match="did not answer"):
        import_prometheus("http://127.0.0.1:9", ["x"], tmp_path)
    assert not list(tmp_path.iterdir())
