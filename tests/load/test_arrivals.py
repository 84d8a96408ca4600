"""Arrivals: counts and distributions of each load model, without a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perflib.errors import SuiteError
from perflib.load.generator import arrivals
from perflib.load.generator.plan import rounds, segments, share, weighted
from perflib.suite.model import Load, Operation, Scenario, Warmup


def starts(seed: int = 0, folder: str = "", **load: Any) -> Any:
    return np.concatenate([np.zeros(0, np.int64), *arrivals.schedule(Load(**load), seed, folder)])


def test_constant_is_evenly_spaced_and_starts_at_once() -> None:
    found = starts(model="constant", rate_per_s=4, duration_s=1)
    assert found.tolist() == [0, 250_000_000, 500_000_000, 750_000_000]
    assert len(starts(model="constant", rate_per_s=1000, duration_s=200)) == 200_000


def test_poisson_has_the_rate_the_independence_and_the_seed() -> None:
    found = starts(model="poisson", rate_per_s=500, duration_s=40, seed=7)
    assert abs(len(found) - 20_000) < 4 * np.sqrt(20_000)
    gaps = np.diff(found) / 1e9
    assert gaps.std() == pytest.approx(1 / 500, rel=0.05)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03
    assert np.array_equal(found, starts(model="poisson", rate_per_s=500, duration_s=40, seed=7))
    assert not np.array_equal(found[:100], starts(model="poisson", rate_per_s=500, duration_s=40, seed=8)[:100])


def test_a_ramp_has_the_area_of_its_triangle() -> None:
    found = starts(model="ramp", from_per_s=0, to_per_s=100, duration_s=10)
    assert len(found) == 500
    assert np.searchsorted(found, 5e9) == pytest.approx(125, abs=1)  # half the time, a quarter of the requests
    down = starts(model="ramp", from_per_s=100, to_per_s=0, duration_s=10)
    assert np.searchsorted(down, 5e9) == pytest.approx(375, abs=1)


def test_spike_steps_and_stages_change_their_rate_when_they_say() -> None:
    spike = starts(model="spike", rate_per_s=10, spike_rate_per_s=100, spike_at_s=2, spike_s=1, duration_s=5)
    assert np.histogram(spike, bins=np.arange(6) * 1e9)[0].tolist() == [10, 10, 100, 10, 10]
    steps = starts(model="steps", from_per_s=10, to_per_s=30, step_per_s=10, step_s=2)
    assert np.histogram(steps, bins=np.arange(4) * 2e9)[0].tolist() == [20, 40, 60]
    staged = starts(
        model="stages",
        stages=[
            Load(model="constant", rate_per_s=5, duration_s=1),
            Load(model="ramp", from_per_s=5, to_per_s=15, duration_s=2),
        ],
    )
    assert np.histogram(staged, bins=[0, 1e9, 3e9])[0].tolist() == [5, 20]


def test_replay_reads_its_file_and_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "starts.csv").write_text("# s\n0.5\n0.1\n2\n")
    assert starts(model="replay", starts="starts.csv", folder=str(tmp_path)).tolist() == [
        100_000_000,
        500_000_000,
        2_000_000_000,
    ]
    (tmp_path / "bad.csv").write_text("soon\n")
    for name in ("bad.csv", "none.csv"):
        with pytest.raises(SuiteError, match="cannot read starts"):
            starts(model="replay", starts=name, folder=str(tmp_path))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["constant", "poisson"]),
    st.floats(1, 3000),
    st.floats(1.0, 60),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_shards_together_are_the_schedule(model: str, rate: float, seconds: float, of: int, seed: int) -> None:
    load = Load(model=model, rate_per_s=rate, duration_s=seconds)  # type: ignore[arg-type]
    whole = np.concatenate(list(arrivals.schedule(load, seed)))
    parts = [
        np.concatenate([np.zeros(0, np.int64), *arrivals.shard(arrivals.schedule(load, seed), i, of)])
        for i in range(of)
    ]
    assert np.array_equal(np.sort(np.concatenate(parts)), whole)
    assert np.all(np.diff(whole) >= 0)
    assert len(whole) == 0 or 0 <= whole[0] <= whole[-1] < seconds * 1e9
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(0, 10_000), st.integers(1, 16))
def test_shares_add_up(total: int, of: int) -> None:
    assert sum(share(total, i, of) for i in range(of)) == total


def test_weights_and_rounds_keep_their_promises() -> None:
    import itertools
    import random

    drawn = list(itertools.islice(weighted([5, 3, 2], random.Random(1)), 20_000))
    assert [drawn.count(i) / 20_000 for i in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.015)
    turns = list(itertools.islice(rounds(3, random.Random(1)), 300))
    assert all(sorted(turns[i : i + 3]) == [0, 1, 2] for i in range(0, 300, 3))
    assert len({tuple(turns[i : i + 3]) for i in range(0, 300, 3)}) == 6


def test_blocks_are_balanced_and_in_random_order() -> None:
    scenario = Scenario(
        name="b", order="blocks", block_s=1, target="t", load=Load(model="closed", concurrency=2, duration_s=20),
        operations=[Operation(name="a", path="/"), Operation(name="b", path="/")], warmup=Warmup(duration_s=1),
    )  # fmt: skip
    found = segments(scenario, seed=3)
    assert found[0].phase == "warmup"
    order = [s.operation for s in found[1:]]
    assert len(order) == 20
    assert all({order[i], order[i + 1]} == {0, 1} for i in range(0, 20, 2))
    assert order != [0, 1] * 10
