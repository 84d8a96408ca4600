"""Two variants of a suite as one suite: each target and scenario occurs twice, as api@a and api@b."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.errors import SuiteError
from perflib.suite.load import STEADY
from perflib.suite.model import GROUPS, Operation, Scenario, Suite, Target, Warmup

SIDES: Final = ("a", "b")


def sided(name: str, side: str) -> str:
    """The name of a target or scenario of one side in the run: "browse@a"."""
    return f"{name}@{side}"


def both(a: Suite, b: Suite, *, block_s: float) -> Suite:
    """One suite with the scenarios of both sides, pair by pair; each load lasts `block_s`, in seconds.

    Raises SuiteError if the sides cannot run at the same time: the load is not steady, a target runs inside this
    process, or both have the same address.
    """
    names = [scenario.name for scenario in a.scenarios]
    if names != [scenario.name for scenario in b.scenarios]:
        raise SuiteError(
            "the two sides have different scenarios", where="ab", mend="give both the same scenarios, by name"
        )
    _check_addresses(a, b)
    for scenario in (*a.scenarios, *b.scenarios):
        _check(scenario, a if scenario in a.scenarios else b)
    pairs = zip(*(_with_own_set_up(suite) for suite in (a, b)), strict=True)
    scenarios = [_scenario(each, side, block_s) for pair in pairs for each, side in zip(pair, SIDES, strict=True)]
    targets = {
        sided(name, side): _target(spec, side, suite.targets)
        for suite, side in ((a, "a"), (b, "b"))
        for name, spec in suite.targets.items()
    }
    return replace(a, scenarios=tuple(scenarios), targets=targets, setup=(), teardown=())


def _with_own_set_up(suite: Suite) -> list[Scenario]:
    """The scenarios, each of which does the set-up of the suite itself: those of the two sides have other targets."""
    return [
        replace(each, setup=(*suite.setup, *each.setup), teardown=(*each.teardown, *suite.teardown))
        for each in suite.scenarios
    ]


def _scenario(scenario: Scenario, side: str, block_s: float) -> Scenario:
    """The scenario of one side. Its load is one block, and its warm-up is at least as long."""
    operations: dict[str, Any] = {key: _operations(getattr(scenario, key), side) for key in GROUPS}
    warm_s = max(block_s, scenario.warmup_s)
    return replace(
        scenario,
        name=sided(scenario.name, side),
        target=sided(scenario.target, side) if scenario.target else None,
        load=scenario.load.lasting(block_s),
        warmup=Warmup(duration_s=warm_s),
        quick={},
        **operations,
    )


def _operations(operations: tuple[Operation, ...], side: str) -> tuple[Operation, ...]:
    return tuple(replace(op, target=sided(op.target, side)) if op.target else op for op in operations)


def _target(spec: Target, side: str, names: Mapping[str, Target]) -> Target:
    """The target of one side, in which {other.url} is replaced by that of the same side."""

    def filled(text: str) -> str:
        for name in names:
            text = text.replace(f"{{{name}.url}}", f"{{{sided(name, side)}.url}}")
        return text

    return replace(
        spec, url=filled(spec.url) if spec.url else None, env={key: filled(value) for key, value in spec.env.items()}
    )


def _check(scenario: Scenario, suite: Suite) -> None:
    where = f"scenario {scenario.name!r}"
    if not scenario.load.is_steady or scenario.order == "blocks":
        what = "order 'blocks'" if scenario.order == "blocks" else f"load model {scenario.load.model!r}"
        raise SuiteError(
            f"an A/B test needs a steady load, not {what}",
            where=where,
            mend=f"use {', '.join(STEADY)}, or leave the scenario out with --only",
        )
    if scenario.with_scenarios:
        what = "an A/B test runs one scenario at a time"
        raise SuiteError(what, where=f"{where}.with", mend="remove it, or leave the scenario out with --only")
    inside = [name for name in scenario.reached if suite.targets[name].in_process]
    if inside:
        raise SuiteError(
            f"target {inside[0]!r} runs inside this process, so the two sides cannot be separated",
            where=where,
            mend="remove in_process",
        )


def _check_addresses(a: Suite, b: Suite) -> None:
    """Refuse two servers that perflib would start at one address."""
    for name in a.targets.keys() & b.targets.keys():
        one, other = a.targets[name], b.targets[name]
        both_started = one.start and other.start and one.url and other.url
        if both_started and _address(one) is not None and _address(one) == _address(other):
            raise SuiteError(
                f"both sides would start {name!r} at {one.url}",
                where=f"targets.{name}",
                mend="write {port} in url and start, which becomes a free port for each side",
            )


def _address(spec: Target) -> Any:
    """Host and port, or None if perflib chooses the port."""
    return None if "{port}" in (spec.url or "") else urlsplit(spec.url or "").netloc
