"""An explorer says what the rows say, of the scenario, operation, time and band that are chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import perflib
from tests.support.written import latencies, written


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    """Two operations in turn for eight seconds, slow in the fourth."""
    times_ms = latencies(4000, 2)
    times_ms[1500:2000] *= 10
    return written(tmp_path_factory.mktemp("made"), times_ms, operations=("get", "<b>put</b>"), memory_mb=300)


def test_the_slowest_of_a_band_are_those_of_the_rows(made: perflib.Run) -> None:
    explored = perflib.explore(made, operation="get", from_s=1, to_s=3, band=(90, 100))
    rows = made.rows()
    due_s = (rows["scheduled_ns"] - rows["scheduled_ns"].min()) / 1e9
    chosen = rows[(rows["operation"] == "get") & due_s.between(1, 3)].sort_values("response_ns", ascending=False)
    assert explored.slowest(7)["seq"].tolist() == chosen["seq"].head(7).tolist()
    assert explored.limits_ms[0] == pytest.approx(np.quantile(chosen["response_ns"] / 1e6, 0.9), rel=0.03)
    explored.choose(operation="get", window_s=(1, 3), band=(50, 75))
    low, high = explored.limits_ms
    assert explored.slowest()["response_ms"].between(low, high).all()


def test_a_window_shows_its_own_times(made: perflib.Run) -> None:
    slow, quick = (perflib.explore(made, from_s=at, to_s=at + 0.9).limits_ms[0] for at in (3.05, 5.05))
    assert slow > 5 * quick


def test_its_controls_follow_each_other_and_escape(made: perflib.Run) -> None:
    from perflib.notebook.controls import _Controls

    explored = perflib.explore(made)
    controls = _Controls(explored)
    controls.window.value = (3.0, 4.0)
    assert explored.window_s == (3.0, 4.0)
    controls.whole.click()
    assert explored.window_s == (0.0, controls.window.max)
    controls.operation.value = "<b>put</b>"
    controls.band.value = (90.0, 99.0)
    assert "from 90 to 99 %" in controls.slow.value
    assert "&lt;b&gt;put" in controls.slow.value
    assert "<b>put" not in controls.slow.value


@pytest.mark.parametrize(
    "wrong", [{"operation": "none"}, {"scenario": "none"}, {"from_s": 3, "to_s": 2}, {"band": (99, 99)}]
)
def test_what_is_not_there_is_one_line(made: perflib.Run, wrong: dict[str, object]) -> None:
    with pytest.raises(perflib.RunError) as caught:
        perflib.explore(made, **wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("window_s", [(0.0, None), (1.0, 3.0), (2.03, 2.71), (0.5, 7.9)])
def test_a_steady_rate_is_drawn_steady_in_every_window(made: perflib.Run, window_s: tuple[float, float | None]) -> None:
    explored = perflib.explore(made, from_s=window_s[0], to_s=window_s[1])
    rate = explored.figure().axes[2].patches[0]
    assert rate.get_data().values == pytest.approx(
        500, rel=0.26
    )  # a column of 8 ms holds four requests, or one more or less


def test_the_line_beside_the_median_is_a_percentile_that_its_moments_tell(made: perflib.Run) -> None:
    explored = perflib.explore(made)
    times = explored.figure().axes[0]
    assert [line.get_label() for line in times.lines] == ["median", "p90"], "4,000 requests tell no p99 of moments"
    explored.choose(window_s=(2.0, 2.2))
    assert [line.get_label() for line in explored.figure().axes[0].lines] == ["median"]


def test_a_single_request_is_seen_beside_many(made: perflib.Run) -> None:
    (mesh,) = perflib.explore(made).figure().axes[0].collections
    counts = np.ma.filled(mesh.get_array(), 0.0)
    assert 1 in counts and counts.max() > 3
    least = mesh.cmap(mesh.norm(1.0))
    assert 0.2126 * least[0] + 0.7152 * least[1] + 0.0722 * least[2] < 0.8, "white is 1"


def test_its_clock_is_the_report_s(tmp_path: Path) -> None:
    """The scenario's start is zero, also where a warm-up is left out of what is explored."""
    run = written(tmp_path, latencies(4000, 3), warmup_s=2.0)
    run.manifest.scenarios[0].segments[0].start_ns += 2_000_000_000
    assert perflib.explore(run).seconds == pytest.approx(8.0, abs=0.01)


@pytest.mark.parametrize("width_s", [0.003, 0.01, 0.03, 0.05])
def test_the_narrowest_windows_are_drawn(made: perflib.Run, width_s: float) -> None:
    times = perflib.explore(made, from_s=2.0, to_s=2.0 + width_s).figure().axes[0]
    assert len(times.lines) == (1 if width_s > 0.008 else 0), "a cell is 8 ms"


def test_no_point_of_a_line_is_made_of_what_is_left_over(made: perflib.Run) -> None:
    for to_s in (7.9, 6.5, 5.3):
        median = perflib.explore(made, from_s=0.0, to_s=to_s).figure().axes[0].lines[0]
        at_s = median.get_xdata()
        assert to_s - at_s[-1] > 0.45 * (at_s[1] - at_s[0])
