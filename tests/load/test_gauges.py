"""The target's own metrics: pages of Prometheus' formats, what becomes of them in a run, and objectives on them."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.load import exposition
from perflib.load.exposition import Page
from perflib.stats.buckets import bucket_quantile
from perflib.suite.file import from_table
from tests.support.metrics_pages import TYPES, metrics_server
from tests.support.suites import table

pytest.importorskip("prometheus_client")


@pytest.mark.parametrize("name", TYPES)
def test_a_page_is_read_as_prometheus_client_reads_it(name: str) -> None:
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as openmetrics

    chosen = openmetrics if name == "openmetrics" else parser
    samples = [s for family in chosen.text_string_to_metric_families(TYPES[name]) for s in family.samples]
    last = {
        (s.name, *sorted(s.labels.items())): s.value for s in samples
    }  # a series that comes again has its last value
    expected = [each for (name, *_), each in last.items() if not name.endswith("_created") and abs(each) < math.inf]
    page, text = Page(), TYPES[name].encode()
    first = page.read(text)
    assert sorted(value for *_, value in first) == sorted(expected)
    assert page.read(text) == first, "a line that is known is read as the parser read it"


def test_a_known_line_has_its_new_value_and_a_new_line_is_parsed() -> None:
    page = Page(only=["p*"])
    before = '# TYPE pool gauge\npool{db="a"} 1\nother 5\n'
    assert page.read(before.encode()) == [('pool{db="a"}', "gauge", 1.0)]
    assert page.read(before.replace("} 1", "} 2").encode()) == [('pool{db="a"}', "gauge", 2.0)]
    more = before + "# TYPE pages counter\npages_total 9\n"
    assert [reading[0] for reading in page.read(more.encode())] == ['pool{db="a"}', "pages_total"]


def test_a_known_line_is_read_as_strictly_as_a_new_one() -> None:
    page = Page()
    assert page.read(b"ended 5 5\n") == page.read(b"ended 5 6\n") == [("ended", "unknown", 5.0)], "6 is a time"
    assert page.read(b"pool 5\n") == [("pool", "unknown", 5.0)]
    with pytest.raises(ValueError, match="1_2"):
        page.read(b"pool 1_2\n")


def test_a_hostile_page_is_bounded() -> None:
    many = "".join(f"m{number} 1\n" for number in range(2 * exposition.MOST_SERIES))
    assert len(Page().read(many.encode())) == exposition.MOST_SERIES
    long = 'm{a="' + "x" * 1_000_000 + '"} 1\nfine 2\n\x1b[2Jodd 3\n'
    with pytest.raises(ValueError):
        Page().read(long.encode())
    assert Page().read(long.replace("\x1b[2J", "").encode())[0] == ("fine", "unknown", 2.0)
    for text in ("<html>", "{" * 100_000, "a{b} 1", "a{" * 100_000, "# TYPE a gauge\n" * 20_000 + "a 1 x y\x00"):
        began = time.monotonic()
        with contextlib.suppress(ValueError):
            assert len(Page().read(text.encode())) <= 1
        assert time.monotonic() - began < 2


def test_2000_series_cost_little() -> None:
    page = Page()
    lines = [f'http_requests_total{{route="/r{n % 50}",code="{n}"}} %d' for n in range(2000)]
    text = "# TYPE http_requests_total counter\n" + "\n".join(lines) + "\n"
    page.read((text % ((0,) * 2000)).encode())
    bodies = [(text % ((round_,) * 2000)).encode() for round_ in range(20)]
    began = time.process_time()
    for body in bodies:
        assert len(page.read(body)) == 2000
    assert (time.process_time() - began) / len(bodies) < 0.012, "s of CPU a reading; 2 % of a core is 0.02 at 1 Hz"


def _page(reading: int) -> str:
    """The pool is used more and more; the counter rises by 10 a reading, and begins anew at every 12th."""
    calls, used = 10 * (reading % 12), 40 + min(reading, 40)
    slow, all_ = 2 * reading, 100 * reading
    return (
        f'# TYPE db_pool_in_use gauge\ndb_pool_in_use{{pool="main"}} {used}\n'
        f'db_pool_in_use{{pool="other"}} 1\n# TYPE calls_total counter\ncalls_total {calls}\n'
        f'# TYPE query_seconds histogram\nquery_seconds_bucket{{le="0.01"}} {all_ - slow}\n'
        f'query_seconds_bucket{{le="0.1"}} {all_}\nquery_seconds_bucket{{le="+Inf"}} {all_}\n'
        f"query_seconds_sum 1\nquery_seconds_count {all_}\n"
    )


OBJECTIVES = {
    "max db_pool_in_use < 90": "pass",
    'max db_pool_in_use{pool="main"} < 45': "fail",
    'max db_pool_in_use{pool="other"} <= 1': "pass",
    "rate calls_total > 20 /s": "pass",
    "p50 query_seconds < 20 ms": "pass",
    "p99 query_seconds < 5 ms": "fail",
    "p99 query_seconds < 50 ms": "inconclusive",
    "rate db_pool_in_use < 1": "inconclusive",
    "max db_pool_inuse < 9": "inconclusive",
    "cpu < 80 %": "inconclusive",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    load = {"model": "constant", "rate_per_s": 50, "duration_s": 2}
    made = table(load=load, warmup={"duration_s": 0}, objectives=list(OBJECTIVES), figures=["mean db_pool_in_use"])
    with metrics_server(_page) as (url, _):
        source = {"url": "/metrics", "every_s": 0.1, "headers": {"Authorization": "Bearer canary-of-gauges"}}
        made["targets"]["api"] = {"kind": "http", "url": url, "gauges": [source, f"{url}/json"]}
        return perflib.run(from_table(made), data=tmp_path_factory.mktemp("data"), progress=False)


def test_objectives_on_what_the_target_reports(run: perflib.Run) -> None:
    found = {v.objective.text: v for v in run.verdicts()}
    assert {text: str(found[text].verdict) for text in OBJECTIVES} == OBJECTIVES
    assert "began anew" in found["rate calls_total > 20 /s"].reason
    interval = found["p99 query_seconds < 50 ms"].interval
    assert (interval.low, interval.high) == (10.0, 100.0), "no more is known than its bucket, in ms"
    assert "ask for its max" in found["rate db_pool_in_use < 1"].reason
    assert "db_pool_in_use" in found["max db_pool_inuse < 9"].reason
    assert "`start` or `pids`" in found["cpu < 80 %"].reason


def test_they_are_on_the_runs_clock_in_charts_and_explorer(run: perflib.Run) -> None:
    gauges = run.gauges()
    of_main = gauges[gauges["gauge"] == 'db_pool_in_use{pool="main"}']
    assert len(of_main) >= 15 and set(of_main["kind"]) == {"gauge"}
    figure = perflib.charts.gauges(run, "one")
    assert set(gauges["gauge"][gauges["kind"] == "unknown"].str.endswith('/json"}')) == {True}
    shown = [axes.get_ylabel() for axes in figure.axes]
    assert "db_pool_in_use" in shown and "calls_total, /s" in shown and "p95 of query_seconds" in shown
    (line, *_) = next(axes for axes in figure.axes if axes.get_ylabel() == "db_pool_in_use").lines
    assert 0 <= line.get_xdata()[0] < 0.5 and line.get_xdata()[-1] <= 2.5
    explored = perflib.explore(run).choose(metric="calls_total")
    assert explored.figure().axes[3].get_title(loc="left") == "calls_total, /s"
    assert "canary-of-gauges" not in "".join(path.read_text() for path in run.path.glob("*.json"))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    made = table(objectives=["max db_pool_in_use < 90"])
    with metrics_server(_page) as (url, said):
        gauges = [{"url": "http://127.0.0.1:9/metrics"}]
        made["targets"]["api"] = {"kind": "http", "url": url, "gauges": gauges}
        run = perflib.run(from_table(made), data=tmp_path, progress=False)
    assert run.status == "complete" and said.readings == 0
    (verdict,) = run.verdicts()
    assert verdict.verdict == "inconclusive" and "http://127.0.0.1:9/metrics" in verdict.reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max db_pool_in_use < 90 ms", "unit that its name ends in"),
        ("p95 query_seconds < 5 MB", "unit that its name ends in"),
        ("buy: max db_pool_in_use < 9", "over the whole scenario"),
        ("max db_pool_in_use", "has no limit"),
    ],
)
def test_an_objective_that_cannot_be_is_one_line(text: str, why: str) -> None:
    with pytest.raises(SuiteError, match=why):
        from_table(table(objectives=[text]))


@pytest.mark.parametrize("gauges", ["metrics", "ftp://x/", {"url": "/m", "every_s": 0.01}, [{"path": "/m"}], 5])
def test_a_source_that_cannot_be_is_one_line(gauges: object) -> None:
    made = table()
    made["targets"]["api"]["gauges"] = gauges
    with pytest.raises(SuiteError):
        from_table(made)


def test_a_quantile_has_the_error_of_its_bucket() -> None:
    edges, counts = [0.1, 0.5, math.inf], [900.0, 90.0, 10.0]
    within = bucket_quantile(edges, counts, 0.95)
    assert within.estimate == pytest.approx(0.1 + 0.4 * 50 / 90) and (within.low, within.high) == (0.1, 0.5)
    beyond = bucket_quantile(edges, counts, 0.999)
    assert math.isnan(beyond.estimate) and math.isinf(beyond.high)
    assert bucket_quantile(edges, [0.0, 0.0, 0.0], 0.5).n == 0
