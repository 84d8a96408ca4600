"""A suite as it is stored with a run: without secrets and defaults, and read back as the same suite."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perflib
from perflib.errors import SuiteError
from perflib.suite.file import builtin, from_plain, load_suite
from perflib.suite.load import ClosedLoad, ConstantLoad, StagesLoad
from perflib.suite.model import Suite
from perflib.suite.operation import CallableOperation
from perflib.suite.plain import redacted
from perflib.suite.redaction import REDACTED, redact_text
from perflib.suite.target import HttpTargetSpec, McpTargetSpec, Ready

TARGET_DEFAULTS = {
    "ready": {"timeout_s": 20.0},
    "timeout_s": 30.0,
    "keep_alive": True,
    "verify_tls": True,
    "max_connections": 1024,
    "in_process": False,
    "client": "lean",
    "protocol": "auto",
    "session": "shared",
    "trace": False,
}
OLD: dict[str, Any] = {  # as versions wrote it that had one class for all kinds
    "name": "old",
    "scenarios": [
        {
            "name": "browse",
            "target": "api",
            "order": "weighted",
            "block_s": 1.0,
            "reuse_prepared": False,
            "operations": [{"name": "list", "weight": 1.0, "path": "/items", "params": {"never": "used"}}],
            "load": {"model": "constant", "rate_per_s": 5.0, "duration_s": 2.0, "think_time_s": 0.0},
            "objectives": ["p95 response < 250 ms"],
        },
        {
            "name": "call",
            "target": "tools",
            "order": "weighted",
            "block_s": 1.0,
            "reuse_prepared": False,
            "operations": [{"name": "search", "weight": 1.0, "tool": "search", "headers": {"never": "used"}}],
            "load": {
                "model": "stages",
                "think_time_s": 0.0,
                "stages": [
                    {"model": "closed", "concurrency": 2, "requests": 20, "think_time_s": 0.0},
                    {"model": "constant", "rate_per_s": 5.0, "duration_s": 2.0, "think_time_s": 0.0},
                ],
            },
        },
    ],
    "targets": {
        "api": {"kind": "http", "url": "http://127.0.0.1:1", "headers": {"Authorization": REDACTED}, **TARGET_DEFAULTS},
        "tools": {"kind": "mcp", "command": ["serve"], **TARGET_DEFAULTS},
        "f": {"kind": "callable", "function": "module:name", **TARGET_DEFAULTS},
        "line": {"kind": "line", "url": "line://127.0.0.1:1", "options": {"a": 1}, **TARGET_DEFAULTS},
    },
    "seed": 3,
    "on_lost": "stop",
}


def through_json(suite: Suite) -> Suite:
    return from_plain(json.loads(json.dumps(redacted(suite))))


@pytest.mark.parametrize("name", builtin())
@pytest.mark.parametrize("quick", [False, True])
def test_built_in_suites_are_read_back_equal(name: str, quick: bool) -> None:
    suite = load_suite(name, quick=quick)
    assert through_json(suite) == dataclasses.replace(suite, folder="")


def test_a_run_from_before_is_read_without_the_keys_of_other_kinds() -> None:
    suite = from_plain(OLD)
    assert suite.seed == 3
    assert suite.scenarios[0].load == ConstantLoad(rate_per_s=5, duration_s=2)
    stages = (ClosedLoad(concurrency=2, requests=20), ConstantLoad(rate_per_s=5, duration_s=2))
    assert suite.scenarios[1].load == StagesLoad(stages=stages)
    assert suite.targets["api"] == HttpTargetSpec(url="http://127.0.0.1:1", headers={"Authorization": REDACTED})
    assert suite.targets["tools"] == McpTargetSpec(command=("serve",))
    assert suite.targets["line"] == perflib.Target(kind="line", url="line://127.0.0.1:1", options={"a": 1})
    assert suite.scenarios[1].operations[0].kind == "mcp"
    assert from_plain(redacted(suite)) == suite
    assert OLD["targets"]["api"]["client"] == "lean"  # what was given is left as it was


def test_an_unknown_key_of_a_stored_suite_is_said_in_one_line() -> None:
    broken = {**OLD, "targets": {**OLD["targets"], "api": {"kind": "http", "warp": 9}}}
    with pytest.raises(SuiteError, match=r"^run.json: targets.api.warp: unknown key 'warp'; .*url"):
        from_plain(broken, where="run.json")
    with pytest.raises(SuiteError, match="must be a table"):
        from_plain({**OLD, "targets": {"api": 5}})


def test_defaults_are_left_out() -> None:
    suite = perflib.Suite(
        name="plain",
        targets={"api": perflib.Target(kind="http", url="http://127.0.0.1:1", keep_alive=True, ready=Ready())},
        scenarios=[
            perflib.Scenario(
                name="one",
                target="api",
                operations=[perflib.Operation(name="list", path="/", weight=1)],
                load=perflib.Load(model="closed", concurrency=1, requests=5, think_time_s=0),
            )
        ],
    )
    assert redacted(suite) == {
        "name": "plain",
        "targets": {"api": {"kind": "http", "url": "http://127.0.0.1:1"}},
        "scenarios": [
            {
                "name": "one",
                "target": "api",
                "operations": [{"name": "list", "path": "/"}],
                "load": {"model": "closed", "concurrency": 1, "requests": 5},
            }
        ],
    }


def test_secrets_are_replaced_and_references_stay() -> None:
    headers = {
        "Authorization": "Bearer abc",
        "X-Api-Key": "${KEY}",
        "Cookie": "Bearer ${TOKEN}",
        "Accept": "text/plain",
    }
    suite = perflib.Suite(
        name="secret",
        targets={
            "api": perflib.Target(
                kind="http",
                url="http://me:pw@127.0.0.1:1/?token=abc&a=1",
                headers=headers,
                start=["serve", "--token", "abc", "--port", "{port}"],
                env={"PASSWORD": "abc", "HOME": "/"},
            ),
            "f": perflib.Target(kind="callable", function=through_json),
        },
        scenarios=[
            perflib.Scenario(
                name="one",
                target="api",
                load=perflib.Load(model="closed", concurrency=1, requests=5),
                operations=[
                    perflib.Operation(
                        name="in", path="/login", json={"user": "me", "password": "abc"}, keep={"token": "$.token"}
                    ),
                    perflib.Operation(name="call", target="f", args=[1]),
                ],
            )
        ],
    )
    plain = redacted(suite)
    assert "abc" not in json.dumps(plain)
    assert plain["targets"]["api"]["headers"] == {**headers, "Authorization": REDACTED}
    assert plain["targets"]["api"]["url"] == f"http://{REDACTED}@127.0.0.1:1/?token={REDACTED}&a=1"
    assert plain["targets"]["f"]["function"] == f"{__name__}:through_json"
    assert plain["scenarios"][0]["operations"][0]["keep"] == {"token": "$.token"}  # a path in the answer, no secret
    assert from_plain(plain).scenarios[0].operations[1] == CallableOperation(name="call", target="f", args=(1,))
    assert redacted(from_plain(plain)) == plain
    assert redact_text("targets.api.headers.token=abc") == f"targets.api.headers.token={REDACTED}"


# Any suite is read back equal. Values hold nothing that looks like a secret.
words = st.text("abcxyz /{}-", min_size=1, max_size=8)
names = st.text("abcxyz ", min_size=1, max_size=8)
numbers = st.floats(0.5, 1e6)
counts = st.integers(1, 500)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
texts = st.dictionaries(names, words, max_size=2)


def table_of(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


loads = st.one_of(
    st.builds(
        lambda users, more, think: {
            "model": "closed",
            "concurrency": users,
            "requests": users + more,
            "think_time_s": think,
        },
        counts,
        counts,
        st.sampled_from([0.0, 0.5]),
    ),
    st.builds(lambda users, s: {"model": "closed", "concurrency": users, "duration_s": s}, counts, numbers),
    st.builds(
        lambda m, r, s: {"model": m, "rate_per_s": r + 2, "duration_s": s},
        st.sampled_from(["constant", "poisson"]),
        numbers,
        numbers,
    ),
    st.builds(
        lambda a, b, s: {"model": "ramp", "from": a, "to": b, "duration_s": s}, st.just(0.0) | numbers, numbers, numbers
    ),
    st.builds(
        lambda r, at, s: {
            "model": "spike",
            "rate_per_s": r,
            "spike_rate_per_s": 2 * r,
            "spike_at_s": at,
            "spike_s": s,
            "duration_s": (at + s) * 2,
        },
        numbers,
        numbers,
        numbers,
    ),
    st.builds(
        lambda a, step, n: {"model": "steps", "from": a, "to": a + n * step, "step_per_s": step, "step_s": 4.0},
        numbers,
        numbers,
        st.integers(0, 9),
    ),
    st.builds(lambda starts: {"model": "replay", "starts": starts}, words | st.lists(numbers, min_size=1, max_size=3)),
)
any_loads = loads | st.builds(lambda s: {"model": "stages", "stages": s}, st.lists(loads, min_size=1, max_size=3))
common_target = {
    "url": words,
    "start": st.lists(words, max_size=2),
    "cwd": words,
    "env": texts,
    "pids": st.lists(counts, max_size=2),
    "gauges": st.just("/gauges"),
    "timeout_s": numbers,
    "max_connections": counts,
    "ready": table_of({}, {"http": words, "timeout_s": numbers}),
}
common_operation = {
    "weight": numbers,
    "data": words,
    "keep": texts,
    "timeout_s": numbers,
    "count": counts,
    "expect": table_of(
        {},
        {
            "status": counts | st.lists(counts, max_size=2),
            "contains": words,
            "json": st.dictionaries(names, values, max_size=2),
        },
    ),
}
flags = st.booleans()
objects = st.dictionaries(names, values, max_size=2)
kinds = {
    "http": (
        {"headers": texts, "keep_alive": flags, "verify_tls": flags},
        table_of({"path": st.just("/a")}, {"method": words, "headers": texts, "body": words, **common_operation})
        | table_of({"path": st.just("/b")}, {"json": values, **common_operation}),
    ),
    "mcp": (
        {
            "command": st.lists(words, max_size=2),
            "client": st.sampled_from(["lean", "sdk"]),
            "session": st.sampled_from(["shared", "own"]),
            "protocol": words,
            "trace": flags,
            "headers": texts,
        },
        table_of(
            {},
            {"tool": words, "method": words, "arguments": objects, "uri": words, "params": objects, **common_operation},
        ),
    ),
    "callable": (
        {"function": words, "in_process": flags},
        table_of({}, {"args": st.lists(values, max_size=2), "kwargs": objects, "function": words, **common_operation}),
    ),
    "line": ({"options": objects}, table_of({}, {"options": objects, **common_operation})),
}


@st.composite
def suites(draw: st.DrawFn) -> Suite:
    targets, scenarios = {}, []
    for kind in draw(st.lists(st.sampled_from([*kinds]), min_size=1, max_size=3, unique=True)):
        own, operations = kinds[kind]
        targets[f"on {kind}"] = {"kind": kind, **draw(table_of({}, {**common_target, **own}))}
        listed = [{**op, "name": f"op {i}"} for i, op in enumerate(draw(st.lists(operations, min_size=1, max_size=2)))]
        given = {"load": draw(any_loads), "operations": listed, "prepare": draw(st.sampled_from([[], listed]))}
        optional = {
            "description": words,
            "reuse_prepared": flags,
            "block_s": numbers,
            "workers": counts,
            "order": st.just("interleaved"),
            "warmup": table_of({"duration_s": st.just(0.0) | numbers}, {}),
            "abort_on": st.just("error rate > 50 % for 5 s"),
            "objectives": st.lists(
                st.sampled_from(["p99 response < 250 ms", "error rate < 1 %", "op 0: p50 service ≤ 2 s"]), max_size=2
            ),
            "figures": st.just(["p95 response"]),
            "quick": st.just({"duration_s": 1}),
        }
        scenarios.append({"name": kind, "target": f"on {kind}", **given, **draw(table_of({}, optional))})
    top = {
        "seed": st.integers(0, 9),
        "workers": counts,
        "allow_hosts": st.lists(words, max_size=2),
        "max_rate_per_s": numbers,
        "max_requests": counts,
        "on_lost": st.sampled_from(["stop", "continue"]),
        "description": words,
    }
    return Suite(**{"name": "any", "targets": targets, "scenarios": scenarios, **draw(table_of({}, top))})


@settings(max_examples=150, deadline=None)
@given(suites())
def test_any_suite_is_read_back_equal(suite: Suite) -> None:
    assert through_json(suite) == suite
