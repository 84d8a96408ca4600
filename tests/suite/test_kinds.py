"""Load, Target and Operation: one class for each model and kind, and a key of another one is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from typing import Any

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.suite.family import Family, keys_of
from perflib.suite.file import from_table, load_suite
from perflib.suite.load import ClosedLoad, Load, StagesLoad
from perflib.suite.model import Operation, Target
from perflib.suite.operation import HttpOperation, McpOperation, OtherOperation, UnboundOperation
from perflib.suite.placeholders import variables_in
from perflib.suite.target import CallableTargetSpec, HttpTargetSpec, OtherTargetSpec
from tests.support.suites import table

RATE = {"rate_per_s": 5, "duration_s": 2}
LOADS: dict[str, dict[str, Any]] = {
    "closed": {"concurrency": 2, "requests": 20},
    "users": {"stages": [{"users": 2, "over_s": 3}]},
    "constant": RATE,
    "poisson": RATE,
    "ramp": {"from": 1, "to": 5, "duration_s": 2},
    "spike": {**RATE, "spike_rate_per_s": 9, "spike_at_s": 1, "spike_s": 1},
    "steps": {"from": 1, "to": 5, "step_per_s": 1, "step_s": 2},
    "replay": {"starts": [0.0, 0.5]},
    "stages": {"stages": [{"model": "constant", **RATE}]},
}
OPERATIONS: dict[str, dict[str, Any]] = {
    "http": {"path": "/"},
    "mcp": {"tool": "search"},
    "callable": {"args": [1]},
    "other": {"options": {"line": "hello"}},
}


def foreign(family: type[Family]) -> list[tuple[str, str]]:
    """Every pair of a member and a key that only other members have."""
    members = {tag: keys_of(member) for tag, member in family.MEMBERS.items() if tag}
    every = dict.fromkeys(itertools.chain.from_iterable(members.values()))
    return [(tag, key) for tag, known in members.items() for key in every if key not in known]


def suite_table(kind: str = "http", **changes: Any) -> dict[str, Any]:
    """The table of a suite with a target of that kind."""
    found = table(operations=[{"name": "one", **OPERATIONS[kind]}])
    found["targets"]["api"]["kind"] = kind
    for place, keys in changes.items():
        {"operation": found["scenarios"][0]["operations"][0], "target": found["targets"]["api"]}[place].update(keys)
    return found


@pytest.fixture(autouse=True)
def _other_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind besides perflib's own is installed."""
    monkeypatch.setattr("perflib.suite.file.kinds", lambda: ["callable", "http", "mcp", "other"])


def refusal(made: dict[str, Any]) -> str:
    with pytest.raises(SuiteError) as caught:
        from_table(made, where="shop.toml")
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(("model", "key"), foreign(Load))
def test_a_load_refuses_a_key_of_another_model(model: str, key: str) -> None:
    keys = {**LOADS[model], key: 1}
    owners = [other for other, member in Load.MEMBERS.items() if key in keys_of(member)]
    line = refusal(table(load={"model": model, **keys}))
    assert line.startswith(f"shop.toml: scenarios[0].load.{key}: load model {model!r} does not take {key!r}; ")
    assert f"it is for {', '.join(owners)}; a {model} load takes " in line
    with pytest.raises(SuiteError, match=f"does not take {key!r}"):
        Load(model=model, **keys)


@pytest.mark.parametrize(("model", "key"), foreign(Load))
def test_so_does_a_stage(model: str, key: str) -> None:
    if "stages" not in LOADS[model]:
        line = refusal(table(load={"model": "stages", "stages": [{"model": model, **LOADS[model], key: 1}]}))
        assert line.startswith(f"shop.toml: scenarios[0].load.stages[0].{key}: load model {model!r} does not take")


@pytest.mark.parametrize(("kind", "key"), foreign(Target))
def test_a_target_refuses_a_key_of_another_kind(kind: str, key: str) -> None:
    line = refusal(suite_table(kind, target={key: 1}))
    own = "a kind of your own" if kind == "other" else f"kind {kind!r}"
    assert line.startswith(f"shop.toml: targets.api.{key}: a target of {own} does not take {key!r}; it is for ")
    assert f"a target of {own} takes url, start, " in line
    with pytest.raises(SuiteError, match=f"does not take {key!r}"):
        Target(kind=kind, **{key: 1})


@pytest.mark.parametrize(("kind", "key"), foreign(Operation))
def test_an_operation_refuses_a_key_of_another_kind(kind: str, key: str) -> None:
    line = refusal(suite_table(kind, operation={key: 1}))
    own = "a kind of your own" if kind == "other" else f"kind {kind!r}"
    place = f"scenarios[0].operations[0].{key}"
    assert line.startswith(f"shop.toml: {place}: an operation of {own} does not take {key!r}; it is for ")
    assert f"an operation of {own} takes name, target, " in line
    made = suite_table(kind)
    operation = perflib.Operation(name="one", **{**OPERATIONS[kind], key: 1})
    scenario = perflib.Scenario(**{**made["scenarios"][0], "operations": [operation]})
    with pytest.raises(SuiteError) as caught:
        perflib.Suite(name="tested", targets=made["targets"], scenarios=[scenario])
    assert f"{place}: an operation of {own} does not take {key!r}" in str(caught.value)


def test_every_model_and_kind_is_tried() -> None:
    assert LOADS.keys() == Load.MEMBERS.keys()
    assert {"", *OPERATIONS} == {*Operation.MEMBERS} == {"", *Target.MEMBERS}


@pytest.mark.parametrize("model", LOADS)
def test_the_key_that_tells_members_apart_makes_the_class(model: str) -> None:
    load = perflib.Load(model=model, **LOADS[model])
    assert type(load) is Load.MEMBERS[model]
    assert isinstance(load, perflib.Load)
    assert pickle.loads(pickle.dumps(load)) == load == dataclasses.replace(load)
    assert load.is_steady == (model in ("closed", "constant", "poisson"))
    assert load.is_open == (model not in ("closed", "users"))
    if load.is_steady:
        assert load.lasting(7).seconds() == 7


def test_targets_and_operations_are_of_the_class_of_their_kind() -> None:
    assert type(perflib.Target(kind="http", url="http://127.0.0.1:1")) is HttpTargetSpec
    assert type(perflib.Target(kind="line", options={"a": 1})) is OtherTargetSpec
    operation = perflib.Operation(name="one", path="/", weight=2)
    assert type(operation) is UnboundOperation
    assert operation == pickle.loads(pickle.dumps(operation)) == dataclasses.replace(operation)
    suite = from_table(
        table(operations=[{"name": "one", "path": "/", "weight": 2}], prepare=[{"name": "p", "path": "/"}])
    )
    scenario = suite.scenarios[0]
    assert scenario.operations == (HttpOperation(name="one", path="/", weight=2),)
    assert type(scenario.prepare[0]) is HttpOperation
    assert pickle.loads(pickle.dumps(suite)) == suite == dataclasses.replace(suite)
    again = dataclasses.replace(suite, scenarios=[dataclasses.replace(scenario, operations=[operation])])
    assert again.scenarios[0].operations == scenario.operations
    other = from_table(suite_table("other")).scenarios[0].operations[0]
    assert other == OtherOperation(kind="other", name="one", options={"line": "hello"})


def test_an_operation_does_not_move_to_a_target_of_another_kind() -> None:
    suite = from_table(table())
    with pytest.raises(SuiteError, match=r"operation 'ping' is of kind 'http', but its target of kind 'callable'"):
        dataclasses.replace(suite, targets={"api": CallableTargetSpec(function="time:sleep")})
    assert "unknown key 'kind'; remove it: an operation has the kind of its target" in refusal(
        suite_table(operation={"kind": "http"})
    )
    with pytest.raises(SuiteError, match=r"Scenario: load: 'load' is missing"):
        perflib.Scenario(name="one", target="api")
    with pytest.raises(SuiteError, match=r"Operation: pth: unknown key 'pth'; did you mean 'path'"):
        perflib.Operation(name="one", pth="/")


def test_a_table_may_stand_in_two_scenarios() -> None:
    made = table()
    made["scenarios"].append({**made["scenarios"][0], "name": "two"})
    assert [s.operations[0].kind for s in from_table(made).scenarios] == ["http", "http"]
    assert "kind" not in made["scenarios"][0]["operations"][0]


def test_a_mistyped_target_is_said_as_such() -> None:
    made = table(operations=[{"name": "one", "path": "/", "expect": {"status": 200}}])
    made["scenarios"][0]["targt"] = made["scenarios"][0].pop("target")
    assert refusal(made).startswith("shop.toml: scenarios[0].targt: unknown key 'targt'; did you mean 'target'?")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (table(load={"rate_per_s": 5}), "scenarios[0].load: 'model' is missing; add model = …"),
        (
            table(load={"model": "closed", "requests": 5}),
            "load model 'closed' needs 'concurrency'; a closed load takes concurrency, requests",
        ),
        (table(load={"model": "constant", "rate": 5, "duration_s": 2}), "load.rate: unknown key 'rate'"),
        (table(load=5), "scenarios[0].load: must be a table; found 5"),
        (
            table(load={"model": "stages", "stages": [{"model": "stages", **LOADS["stages"]}]}),
            "a stage cannot have stages",
        ),
        (
            table(load={"model": "stages", "stages": [{"model": "users", **LOADS["users"]}]}),
            "a stage cannot have stages",
        ),
        (table(load={"model": "stages", "stages": []}), "needs at least one stage"),
        (table(load={"model": "replay", "starts": []}), "needs at least one start time"),
        (table(operations=[{"name": "one", "path": "items"}]), "not a path: 'items'"),
        (table(operations=["one"]), "scenarios[0].operations[0]: must be a table"),
        (suite_table(target={"kind": 5}), "targets.api.kind: must be a valid string"),
        (
            suite_table(operation={"expect": {"stats": 200}}),
            "operations[0].expect.stats: unknown key 'stats'; did you mean 'status'",
        ),
        (suite_table(operation={"expect": {"status": "200"}}), "operations[0].expect.status: must be a valid integer"),
        (suite_table(operation={"headers": {"A": 5}}), "operations[0].headers.A: must be a valid string"),
        (suite_table(target={"ready": {"htp": "/"}}), "targets.api.ready.htp: unknown key 'htp'; did you mean 'http'?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_place_is_the_key_in_the_file(made: dict[str, Any], said: str) -> None:
    assert said in refusal(made)


def test_names_that_are_kinds_stay_in_the_place() -> None:
    made = table(target="http")
    made["targets"] = {"http": {"kind": "http", "url": 5}}
    assert refusal(made).startswith("shop.toml: targets.http.url: must be a valid string")


def test_from_and_to_have_both_names() -> None:
    named = perflib.Load(model="ramp", from_per_s=1, to_per_s=2, duration_s=3)
    assert named == perflib.Load(**{"model": "ramp", "from": 1, "to": 2, "duration_s": 3})


def test_a_load_knows_its_users_and_requests() -> None:
    stages = StagesLoad(stages=[ClosedLoad(concurrency=4, requests=20), ClosedLoad(concurrency=2, requests=10)])
    assert (stages.users, stages.total_requests, stages.is_open, stages.seconds()) == (4, 30, False, None)
    spike = Load(model="spike", **LOADS["spike"])
    assert (spike.users, spike.total_requests, spike.highest_rate_per_s) == (0, 0, 9)


def test_quick_names_what_it_cannot_replace() -> None:
    suite = from_table(table(load={"model": "ramp", **LOADS["ramp"]}, quick={"from": 2, "duration_s": 1}))
    assert suite.scenarios[0].shortened().load == Load(model="ramp", from_per_s=2, to_per_s=5, duration_s=1)
    wrong = from_table(table(quick={"rate_per_s": 1}))
    with pytest.raises(SuiteError, match=r"^scenario 'one', quick.rate_per_s: load model 'closed' does not take"):
        wrong.scenarios[0].shortened()


def test_variables_of_every_kind_are_known() -> None:
    of_http = {"path": "/{a}", "params": {"b": "{b}"}, "headers": {"X": "{c}"}, "method": "POST"}
    bodies = {"json": {"y": "{d}"}, "form": {"{d}": 1}, "body": "{d}", "multipart": {"t": "{d}"}}
    for key, body in bodies.items():
        assert variables_in(HttpOperation(name="a", **of_http, **{key: body}).texts()) == {"a", "b", "c", "d"}
    assert "{tool}" in McpOperation(name="a", tool="{tool}").texts()


def test_the_builtin_suites_survive_json() -> None:
    """A worker process gets its job by pickle, a run holds its suite as JSON."""
    for quick in (False, True):
        suite = load_suite("acceptance", quick=quick)
        assert pickle.loads(pickle.dumps(suite)) == suite
        assert json.loads(json.dumps(dataclasses.asdict(suite), default=str))["name"] == suite.name
