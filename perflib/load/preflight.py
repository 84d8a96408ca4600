"""Checks of a suite before anything is started: target kinds, operations, data files, placeholders."""

from __future__ import annotations

import itertools
from pathlib import Path

from perflib.errors import SuiteError
from perflib.load.generator.arrivals import peak_rate_per_s
from perflib.suite.model import Operation, Scenario, Suite, Target
from perflib.suite.redaction import learn
from perflib.targets.answer import Reader
from perflib.targets.base import read_data, refuse_foreign
from perflib.targets.kinds import load_kind
from perflib.targets.template import variables_in


def check(suite: Suite) -> None:
    """Raise SuiteError for the first thing that cannot work, with its place and how to fix it."""
    learn(suite)
    for name, spec in suite.targets.items():
        kind = load_kind(spec.kind, f"targets.{name}.kind")
        used = [op for s in suite.scenarios for op in (*s.operations, *s.prepare) if (op.target or s.target) == name]
        kind.check(name, spec, used)
        if spec.url and "{" not in spec.url:
            may_be_loaded(name, spec, suite)
    for scenario in suite.scenarios:
        _check_scenario(suite, scenario)


def may_be_loaded(name: str, spec: Target, suite: Suite) -> None:
    """Raise SuiteError unless the suite allows a load on the target's host."""
    kind = load_kind(spec.kind, f"targets.{name}.kind")
    refuse_foreign(kind(name, spec, folder=suite.folder), suite.allow_hosts)


def _check_scenario(suite: Suite, scenario: Scenario) -> None:
    where = f"scenario {scenario.name!r}"
    if suite.max_rate_per_s is not None and scenario.load.is_open:
        _within_rate(suite, scenario, suite.max_rate_per_s)
    if scenario.prepare and not any(operation.count for operation in scenario.prepare):
        by_count = not scenario.load.is_open and all(part.total_requests for part in scenario.load.parts())
        if not by_count or scenario.warmup:
            raise SuiteError(
                "the number of operations to prepare is not known",
                where=f"{where}.prepare",
                mend="set `count` in one of them",
            )
    kept: set[str] = set()
    for operation in scenario.prepare:
        _check_variables(suite, operation, kept, where)
        kept |= set(operation.keep)
    if scenario.order == "sequence":
        for operation in scenario.operations:
            _check_variables(suite, operation, kept, where)
            kept |= set(operation.keep)
    else:
        if scenario.order == "interleaved":
            kept |= set(itertools.chain.from_iterable(_columns(suite, op, where) for op in scenario.operations))
        for operation in scenario.operations:
            _check_variables(suite, operation, kept, where)


def _within_rate(suite: Suite, scenario: Scenario, limit_per_s: float) -> None:
    """Refuse a schedule whose rate is higher than the suite allows. Users of a closed load are slowed down instead."""
    requested_per_s = max(peak_rate_per_s(part, suite.folder) for part in scenario.load.parts())
    if requested_per_s > limit_per_s:
        raise SuiteError(
            f"the load requests {requested_per_s:g} /s, but max_rate_per_s is {limit_per_s:g}",
            where=f"scenario {scenario.name!r}, load",
            mend="lower the rate, or raise max_rate_per_s",
        )


def _check_variables(suite: Suite, operation: Operation, known: set[str], where: str) -> None:
    at = f"{where}, operation {operation.name!r}"
    columns = _columns(suite, operation, at)
    unknown = sorted(variables_in(operation.texts()) - known - columns)
    if unknown:
        there = ", ".join(sorted(known | columns)) or "none"
        raise SuiteError(
            f"{{{unknown[0]}}} has no value",
            where=at,
            mend=f"known here: {there}; use `keep` earlier, or write {{{{{unknown[0]}}}}} for literal text",
        )
    Reader.of(operation)
    for file in operation.files():
        _check_file(suite.folder, file, at)


def _check_file(folder: str, file: str, where: str) -> None:
    try:
        (Path(folder) / file).open("rb").close()
    except OSError as error:
        what, mend = f"cannot read {file}: {error.strerror}", "name a file, relative to the suite"
        raise SuiteError(what, where=where, mend=mend) from None


def _columns(suite: Suite, operation: Operation, where: str) -> set[str]:
    if operation.data is None:
        return set()
    return set().union(*(row.keys() for row in read_data(operation.data, suite.folder, where)))
