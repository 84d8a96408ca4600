"""A run's metrics while it is going on: served to Prometheus, and pushed by remote write and OTLP."""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import perflib
from perflib.errors import SuiteError
from perflib.formats.live import Exporter
from perflib.formats.pushing import _write_request, pushes
from perflib.suite.file import from_table
from tests.support.command_line import invoke
from tests.support.metrics_pages import metrics_server
from tests.support.suites import table

openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
otlp = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
SECRET = "canary-of-pushes"


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """The URL of a server that takes whatever is posted: path, headers, body."""
    taken: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()


def _suite(url: str, seconds: float) -> perflib.Suite:
    operations = [{"name": "ping", "path": "/ping"}, {"name": "gone", "path": "/ping", "expect": {"status": 404}}]
    load = {"model": "constant", "rate_per_s": 100, "duration_s": seconds}
    made = table(operations=operations, load=load, warmup={"duration_s": 0})
    made["targets"]["api"] = {"kind": "http", "url": url}
    return from_table(made)


def _sum(families: dict[str, Any], name: str, end: str, **labels: str) -> float:
    chosen = (s for s in families[name].samples if s.name.endswith(end) and labels.items() <= s.labels.items())
    return float(sum(s.value for s in chosen))


def test_prometheus_sees_the_run_and_the_pushes_have_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_TOKEN", SECRET)
    seen: list[dict[str, Any]] = []
    with metrics_server(lambda _: "") as (url, _), collector() as (sink, taken):
        write = f"http://user:${{PUSH_TOKEN}}@{sink.removeprefix('http://')}/api/v1/write"
        exporter = Exporter(":0", pushes(write, sink, {"X-Scope": "${PUSH_TOKEN}"}))

        def scrape() -> None:
            while not over.wait(0.5):
                headers = {"Accept": "application/openmetrics-text"}
                asked = urllib.request.Request(f"http://127.0.0.1:{exporter.port}/metrics", headers=headers)
                try:
                    text = urllib.request.urlopen(asked, timeout=5).read().decode()
                except OSError:  # the run has ended
                    return
                seen.append({each.name: each for each in openmetrics.text_string_to_metric_families(text)})

        over = threading.Event()
        scraping = threading.Thread(target=scrape)
        scraping.start()
        run = perflib.run(_suite(url, 5), data=tmp_path, progress=False, exporter=exporter)
        over.set()
        scraping.join()
    rows = run.rows(phase=None)
    during = [_sum(each, "perflib_requests", "_total") for each in seen if "perflib_requests" in each]
    assert during == sorted(during) and 0 < during[-1] <= len(rows) and len(set(during)) >= 3
    last = seen[-1]
    assert _sum(last, "perflib_response_seconds", "_count") > 0
    assert (
        _sum(last, "perflib_request_errors", "_total", error="http_2xx")
        + _sum(last, "perflib_request_errors", "_total", error="check")
        > 0
    )
    assert _sum(last, "perflib_offered_per_second", "", scenario="one") == pytest.approx(100, rel=0.2)
    assert _sum(last, "perflib_achieved_per_second", "", scenario="one") == pytest.approx(50, rel=0.3)
    assert _sum(last, "perflib_late_seconds", "_count") > 0

    (written, sent) = ([each for each in taken if each[0] == path] for path in ("/api/v1/write", "/v1/metrics"))
    assert len(written) >= 2 and len(sent) >= 2 and sent[0][1]["x-scope"] == SECRET
    assert written[0][1]["authorization"].startswith("Basic ") and written[0][1]["content-encoding"] == "snappy"
    message = _write_request()()
    message.ParseFromString(_unpacked(written[-1][2]))
    values = {tuple(sorted((x.name, x.value) for x in s.labels)): s.samples[0].value for s in message.timeseries}
    counted = {dict(k)["operation"]: v for k, v in values.items() if dict(k)["__name__"] == "perflib_requests_total"}
    assert counted == rows["operation"].astype(str).value_counts().to_dict()
    request = otlp.ExportMetricsServiceRequest.FromString(sent[-1][2])
    metrics = {m.name: m for m in request.resource_metrics[0].scope_metrics[0].metrics}
    assert sum(p.as_double for p in metrics["perflib_requests"].sum.data_points) == len(rows)
    points = metrics["perflib_response_seconds"].histogram.data_points
    assert sum(p.count for p in points) == int(rows["ok"].sum()) and all(
        sum(p.bucket_counts) == p.count for p in points
    )
    kept = "".join(path.read_text(errors="replace") for path in run.path.rglob("*") if path.suffix in (".json", ".log"))
    assert SECRET not in kept


def _unpacked(body: bytes) -> bytes:
    """Snappy's block format begins with the length."""
    size = shift = 0
    for byte in body:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return pa.decompress(body, size, codec="snappy", asbytes=True)


def test_a_collector_that_is_away_is_one_line_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with metrics_server(lambda _: "") as (url, _):
        exporter = Exporter(None, pushes(None, "http://127.0.0.1:9"))
        run = perflib.run(_suite(url, 1), data=tmp_path, progress=False, exporter=exporter)
    assert run.status == "complete" and capsys.readouterr().err.count("perflib: --otlp:") == 1


def test_addresses_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    for options, why in {
        ("--metrics", "nine"): "is no address",
        ("--metrics", ":99999"): "is no address",
        ("--otlp", "collector:4318"): "no URL",
        ("--remote-write", "http://127.0.0.1:9", "--push-header", "x"): "not a header",
        ("--metrics", ":0", "--repeat", "2"): "single run",
    }.items():
        assert why in str(invoke("run", "acceptance", *options, "--data", str(tmp_path)).exception), options
    first = Exporter(":0")
    with pytest.raises(SuiteError, match="cannot listen"):
        Exporter(f":{first.port}")
    first.close()
    assert not list(tmp_path.iterdir())


def test_it_costs_little(tmp_path: Path) -> None:
    """CPU of counting a part with the rows of a second at 10,000 requests/s."""
    from perflib.formats.live import Counts
    from perflib.store.schema import ROWS, write_part

    n = 10_000
    start = pa.array(range(0, n * 100_000, 100_000), pa.int64())
    names = pa.DictionaryArray.from_arrays(
        pa.array([i % 10 for i in range(n)], pa.int32()), [f"op{i}" for i in range(10)]
    )
    columns = {
        "scenario": pa.array(["one"] * n).dictionary_encode(), "operation": names, "scheduled_ns": start,
        "start_ns": start, "end_ns": pa.array([v + 3_000_000 for v in range(0, n * 100_000, 100_000)], pa.int64()),
        "ok": pa.array([True] * n), "inflight": pa.array([3] * n, pa.int32()), "worker": pa.array([0] * n, pa.int16()),
    }  # fmt: skip
    filled = pa.table([columns.get(f.name, pa.nulls(n, f.type)) for f in ROWS], schema=ROWS)
    counts = Counts(tmp_path, "s")
    for number in range(5):
        write_part([filled], ROWS, tmp_path / "rows", f"part-0000-{number:06d}")
    began = time.process_time()
    counts.update()
    list(counts.collect())
    assert (time.process_time() - began) / 5 < 0.05, "s of CPU a second of load"


@pytest.mark.parametrize(
    "package", ["prometheus_client", "opentelemetry.proto.collector.metrics.v1", "google.protobuf"]
)
def test_without_the_extra_it_is_named_in_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from perflib.errors import PerflibError
    from perflib.formats import pushing
    from perflib.load.exposition import Page

    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    pushing._write_request.cache_clear()
    for need in {
        "prometheus_client": (lambda: Exporter(":0"), lambda: Page().read(b"a 1\n")),
        "google.protobuf": (lambda: pushes("http://127.0.0.1:9", None),),
    }.get(package, (lambda: pushes(None, "http://127.0.0.1:9"),)):
        with pytest.raises(PerflibError, match=r"perflib-workbench\[prometheus\]") as caught:
            need()
        assert "\n" not in str(caught.value)
