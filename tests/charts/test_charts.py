"""Charts by what they draw: their lines, bands, labels; from a run, from a comparison, and from rows in a DataFrame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import perflib
from perflib import charts, stats
from perflib.errors import RunError
from perflib.metrics.selection import Selection
from tests.support.written import latencies, written

OF_ROWS = (
    "latency_percentiles",
    "response_over_time",
    "response_by_inflight",
    "throughput",
    "inflight",
    "errors_over_time",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    return written(
        tmp_path_factory.mktemp("charts"), latencies(6000, 1), memory_mb=100, failed=np.arange(6000) % 50 == 0
    )


def line(figure: Figure, label: str) -> tuple[np.ndarray, np.ndarray]:
    found = next(each for each in figure.axes[0].lines if str(each.get_label()).startswith(label))
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def test_the_percentile_curve_lies_in_its_band_and_the_band_is_the_interval(run: perflib.Run) -> None:
    figure = charts.latency_percentiles(run, "one")
    band = next(each for each in figure.axes[0].collections if len(each.get_paths()[0].vertices) > 10)
    corners = band.get_paths()[0].vertices
    at = corners[np.argmin(np.abs(corners[:, 0] - 1.0)), 0]  # about the 90th percentile
    low, high = (pick(corners[np.isclose(corners[:, 0], at), 1]) for pick in (np.min, np.max))
    times = run.rows("one").query("ok")["response_ns"].to_numpy() / 1e6
    interval = stats.quantile_interval(times, 1 - 10**-at)
    assert (low, high) == pytest.approx((interval.low, interval.high), rel=0.03)
    x, y = line(figure, "get")
    assert low < np.interp(at, x, y) < high
    assert "95 % interval" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert corners[:, 0].max() < x.max()  # the last percentiles have no bound


def test_response_time_by_requests_in_flight_shows_a_queue() -> None:
    depth = np.repeat(np.arange(1, 11), 100)
    took = depth * 2_000_000 + np.tile(np.arange(100), 10) * 1_000
    start = np.arange(1000) * 1_000_000
    rows = pd.DataFrame({"start_ns": start, "end_ns": start + took, "ok": True, "inflight": depth})
    figure = charts.response_by_inflight(rows)
    x, y = line(figure, "median")
    assert x.tolist() == list(range(1, 11))
    assert y == pytest.approx(2 * x, rel=0.05)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (
        "requests in flight when it was sent",
        "response time, ms (log)",
    )
    assert "2.05 ms with 1 in flight, 20.05 ms with 10" in figure.get_label()


def test_memory_s_troughs_carry_the_slope_of_the_objective(run: perflib.Run) -> None:
    figure = charts.memory(run, "one")
    label = next(str(each.get_label()) for each in figure.axes[0].lines if "troughs" in str(each.get_label()))
    assert label.endswith("]")
    assert "MB/min" in label
    _, y = line(figure, "troughs")
    assert y == pytest.approx([100, 100], abs=2)


def test_the_troughs_are_what_the_growth_is_read_off() -> None:
    t = np.arange(0, 60, 0.25)
    saw = 100e6 + 1e6 * t + 20e6 * (t % 4) / 4
    at, lowest = stats.memory_troughs(t, saw)
    assert 10 <= len(at) <= 20
    assert lowest == pytest.approx(100e6 + 1e6 * at, rel=0.01)
    assert stats.memory_growth(t, saw).slope_bytes_per_s.estimate == pytest.approx(1e6, rel=0.02)


def test_the_cumulative_distributions_part_where_the_sides_do(tmp_path: Path, run: perflib.Run) -> None:
    slower = written(tmp_path, latencies(6000, 2) * 1.5)
    compared = perflib.compare(run, slower, force=True)
    figure = charts.ecdf(compared, Selection("one"))
    times, base = line(figure, "base")
    _, candidate = line(figure, "candidate")
    assert (base[0], base[-1], candidate[-1]) == (0, pytest.approx(100), pytest.approx(100))
    assert np.all(np.diff(base) >= 0)
    assert np.interp(5.0, times, base) == pytest.approx(50, abs=6)  # the median of the base
    assert np.interp(7.5, times, candidate) == pytest.approx(50, abs=6)
    assert "% of the base" in figure.get_label()


@pytest.mark.parametrize("name", OF_ROWS)
def test_rows_in_a_dataframe_draw_what_the_run_draws(run: perflib.Run, name: str) -> None:
    draw = getattr(charts, name)
    of_run, of_rows = draw(run, "one"), draw(run.rows("one", phase=None))
    if name != "throughput":  # rows do not say when the load ended, only when the last answer came
        assert of_rows.get_label() == of_run.get_label()
    for first, second in zip(of_run.axes[0].lines, of_rows.axes[0].lines, strict=False):
        assert np.asarray(second.get_ydata(), float) == pytest.approx(np.asarray(first.get_ydata(), float), rel=1e-6)


def test_rows_that_cannot_be_drawn_say_why(run: perflib.Run) -> None:
    rows = run.rows("one")
    with pytest.raises(RunError, match="rows without start_ns, ok"):
        charts.throughput(rows[["end_ns"]])
    with pytest.raises(RunError, match="there are no rows"):
        charts.throughput(rows.query("worker == 7"))
    two = pd.concat([rows.assign(scenario="one"), rows.assign(scenario="two")])
    with pytest.raises(RunError, match=r"which of its scenarios\?; name one of one, two"):
        charts.throughput(two)
    assert charts.throughput(two, "two").get_label() == charts.throughput(rows).get_label()


def test_what_a_run_does_not_have_is_said_in_the_picture(run: perflib.Run) -> None:
    assert "no server times" in charts.ladder_parts(run, "one").get_label()
    assert "not sampled" in charts.memory(run.rows("one")).get_label()
