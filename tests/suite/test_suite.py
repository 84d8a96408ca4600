"""Suites: what is wrong is said in one line, with the place and the mend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perflib
from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.suite.file import from_table, load_suite
from perflib.suite.objectives import Objective
from tests.support.suites import table

CONSTANT = {"model": "constant", "rate_per_s": 5, "duration_s": 2}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"load": {**CONSTANT, "rate": 5}}, "scenarios[0].load.rate: unknown key 'rate'"),
    ({"load": {**CONSTANT, "rate_per_s": "5"}}, "scenarios[0].load.rate_per_s: must be a valid number"),
    ({"load": {**CONSTANT, "concurrency": 5}}, "does not take 'concurrency'"),
    ({"load": {"model": "constant", "rate_per_s": -5, "duration_s": 2}}, "rate_per_s"),
    ({"load": {"model": "constant", "rate_per_s": 0.1, "duration_s": 2}}, "less than one request"),
    ({"load": {"model": "closed", "concurrency": 10, "requests": 5}}, "5 requests cannot keep 10 in flight"),
    ({"load": {"model": "closed", "concurrency": 10}}, "a closed load needs `requests` or `duration_s`"),
    ({"load": {"model": "fast"}}, "must be 'closed', 'users', 'constant'"),
    ({"operations": [{"name": "ping", "pth": "/"}]}, "did you mean 'path'?"),
    ({"operations": []}, "has no operations"),
    ({"operations": [{"name": "a", "path": "/"}, {"name": "a", "path": "/b"}]}, "names an operation twice"),
    ({"target": "apj"}, "unknown target 'apj'; targets are api"),
    ({"objectives": ["p99 response < 250 m"]}, "bad unit 'm'"),
    ({"objectives": ["p99 response < 250 MB"]}, "bad unit 'MB'"),
    ({"objectives": ["p99 respons < 250 ms"]}, "unknown metric"),
    ({"objectives": ["p95 response < -5 ms"]}, "is always missed; choose a limit between 0 and infinity"),
    ({"objectives": ["error rate < 150 %"]}, "is always met; choose a limit between 0 and 100 %"),
    ({"objectives": ["success > 100 %"]}, "is always missed"),
    ({"objectives": ["throughput >= 0 /s"]}, "is always met"),
    (
        {"objectives": ["p95 response not above 5 ms"]},
        '"not above" is only for trends (memory slope, response drift); write < instead',
    ),
    ({"objectives": ["throughput"]}, "has no limit"),
    ({"figures": ["throughput > 5 /s"]}, "has a limit"),
    ({"objectives": ["buy: throughput > 5 /s"]}, "unknown operation 'buy'"),
    ({"objectives": ["stage 2: throughput > 5 /s"]}, "there is no stage 2"),
    ({"objectives": ["a vs b: median difference < 5 ms"]}, "unknown operation 'a'"),
    ({"order": "blocks", "load": CONSTANT}, "order 'blocks' needs users who wait for answers"),
    ({"warmup": {"duration": 2}}, "warmup"),
]


@pytest.mark.parametrize(("scenario", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_suite_is_one_line_with_place_and_mend(scenario: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        from_table(table(**scenario), where="shop.toml")
    line = str(caught.value)
    assert line.startswith("shop.toml: scenarios[0]")
    assert said in line
    assert "\n" not in line
    assert caught.value.mend
    assert caught.value.exit_code == 2


LATER: list[tuple[dict[str, Any], str]] = [
    ({"operations": [{"name": "a"}]}, "an operation of kind 'http' needs 'path'"),
    ({"operations": [{"name": "a", "path": "/{id}"}]}, "{id} has no value"),
    ({"operations": [{"name": "a", "path": "/", "keep": {"id": "id"}}]}, "cannot read path 'id'"),
    ({"operations": [{"name": "a", "path": "/", "data": "none.csv"}]}, "cannot read data file"),
    ({"prepare": [{"name": "p", "path": "/"}], "load": CONSTANT}, "the number of operations to prepare is not known"),
]


@pytest.mark.parametrize(("scenario", "said"), LATER, ids=[said for _, said in LATER])
def test_what_cannot_work_is_said_before_anything_starts(scenario: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError, match=r".") as caught:
        check(from_table(table(**scenario)))
    assert said in str(caught.value)


@pytest.mark.parametrize(("target", "said"), [
    ({"kind": "htp", "url": "http://127.0.0.1:1"}, "unknown target kind 'htp'; kinds are callable, http, mcp"),
    ({"kind": "http"}, "needs a url"),
    ({"kind": "http", "url": "127.0.0.1"}, "not a URL"),
    ({"kind": "http", "url": "http://example.org"}, "not this machine; if you may load it, set allow_hosts"),
    ({"kind": "mcp"}, "needs a url or a command"),
    ({"kind": "callable"}, "needs a function"),
    ({"kind": "http", "url": "http://127.0.0.1:1", "headers": {"A": "${NOT_SET_HERE}"}}, "NOT_SET_HERE is not set"),
])  # fmt: skip
def test_a_wrong_target_is_named(target: dict[str, Any], said: str) -> None:
    requests = {"mcp": {"tool": "search"}, "callable": {"args": [1]}}
    made = table(operations=[{"name": "one", **requests.get(target["kind"], {"path": "/"})}])
    made["targets"]["api"] = target
    with pytest.raises(SuiteError) as caught:
        check(from_table(made))
    assert said in str(caught.value)


def test_python_construction_complains_in_the_same_words() -> None:
    with pytest.raises(SuiteError, match="a closed load takes concurrency"):
        perflib.Load(model="closed")
    with pytest.raises(SuiteError, match="unknown key 'rate'"):
        perflib.Load(model="constant", rate=5)  # type: ignore[call-arg]


def test_overrides_reach_every_key_by_name() -> None:
    found = load_suite(
        "acceptance",
        overrides=["scenarios.error_rate.load.requests=77", "workers=1", "targets.service.timeout_s=3"],
        only=["error_rate"],
    )
    assert found.scenarios[0].load.requests == 77
    assert found.workers == 1
    assert found.targets["service"].timeout_s == 3
    for wrong in ("scenarios.none.load=1", "novalue", "targets.service.timeout_s=soon", "scenarios.error_rate=1"):
        with pytest.raises(SuiteError):
            load_suite("acceptance", overrides=[wrong])


def test_unknown_suites_and_scenarios_come_with_a_suggestion() -> None:
    with pytest.raises(SuiteError, match="did you mean 'acceptance'"):
        load_suite("acceptence")
    with pytest.raises(SuiteError, match="did you mean 'error_rate'"):
        load_suite("acceptance", only=["error_rates"])


def test_the_acceptance_suite_is_whole() -> None:
    whole = load_suite("acceptance")
    check(whole)
    assert len(whole.scenarios) == 12
    assert all(s.objectives for s in whole.scenarios)
    assert all(s.quick for s in whole.scenarios)
    load_suite("acceptance", quick=True)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"model": "closed", "concurrency": 1, "requests": 2000}, "1 user until 2,000 requests"),
        (
            {"model": "closed", "concurrency": 5, "duration_s": 8, "think_time_s": 0.5},
            "5 users for 8 s, 0.5 s after each answer",
        ),
        ({"model": "constant", "rate_per_s": 1200, "duration_s": 20}, "1,200 requests/s at equal intervals for 20 s"),
        ({"model": "poisson", "rate_per_s": 0.5, "duration_s": 20}, "0.5 requests/s at random times for 20 s"),
        ({"model": "ramp", "from": 0, "to": 50, "duration_s": 60}, "0 to 50 requests/s within 60 s"),
        (
            {"model": "steps", "from": 100, "to": 500, "step_per_s": 100, "step_s": 10},
            "100 to 500 requests/s in 5 steps of 10 s",
        ),
        ({"model": "replay", "starts": [0, 1, 2.5]}, "3 recorded start times"),
        ({"model": "replay", "starts": "starts.csv"}, "the start times in starts.csv"),
        (
            {"model": "spike", "rate_per_s": 5, "spike_rate_per_s": 50, "spike_at_s": 4, "spike_s": 2, "duration_s": 9},
            "5 requests/s for 9 s, 50 requests/s for 2 s after 4 s",
        ),
        (
            {"model": "stages", "stages": [
                {"model": "closed", "concurrency": 2, "duration_s": 3},
                {"model": "ramp", "from": 1, "to": 9, "duration_s": 4},
            ]},
            "2 users for 3 s; then 1 to 9 requests/s within 4 s",
        ),
    ],
)  # fmt: skip
def test_a_load_is_said_in_words(load: dict[str, Any], words: str) -> None:
    assert from_table(table(load=load)).scenarios[0].load.words == words


@pytest.mark.parametrize(
    ("short", "whole"), [("p95", "p95 response"), ("mean", "mean response"), ("max", "max response")]
)
def test_a_time_without_a_name_is_the_response_time(short: str, whole: str) -> None:
    found, wanted = (Objective.parse(f"buy: {text} < 250 ms") for text in (short, whole))
    assert replace(found, text=wanted.text) == wanted


def test_objectives_are_read() -> None:
    o = Objective.parse("buy: p99.9 response <= 1.5 s")
    assert (o.operation, o.q, o.comparator, o.limit, o.unit, o.name) == (
        "buy",
        pytest.approx(0.999),
        "<=",
        1500,
        "ms",
        "p99.9 response",
    )
    o = Objective.parse("stage 2: throughput ≥ 600 /min")
    assert (o.stage, o.limit, o.comparator, o.wants_less) == (2, pytest.approx(10), ">=", False)
    o = Objective.parse("mcp vs direct: median difference < 500 us")
    assert (o.versus, o.limit, o.unit) == (("mcp", "direct"), 0.5, "ms")
    assert Objective.parse("memory growth < 1 GB").limit == 1000
    assert Objective.parse("p95 service", judged=False).limit is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_an_objective_or_a_suite_error(text: str) -> None:
    try:
        assert Objective.parse(text).limit is not None
    except SuiteError as error:
        assert error.mend


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "load", "model", "operations", "path", "stages", "target", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["load", "operations", "objectives", "warmup", "prepare", "order", "name", "quick"]),
        _values,
        max_size=4,
    )
)
def test_any_table_is_a_suite_or_one_line(scenario: dict[str, Any]) -> None:
    try:
        from_table(table(**scenario))
    except SuiteError as error:
        assert "\n" not in str(error)
