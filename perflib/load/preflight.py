"""Checks of a suite before anything is started: target kinds, operations, data files, placeholders."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

from perflib.errors import SuiteError
from perflib.load.generator.arrivals import peak_rate_per_s
from perflib.load.generator.generated import generator, is_generated
from perflib.suite.data_file import DataFile, read_data_file
from perflib.suite.environment import filled_from_environment
from perflib.suite.model import Operation, Scenario, Suite, Target
from perflib.suite.operation import HttpOperation, McpOperation
from perflib.suite.redaction import learn
from perflib.targets.answer import Reader
from perflib.targets.base import refuse_foreign
from perflib.targets.kinds import load_kind
from perflib.targets.network import check_network
from perflib.targets.template import variables_in

Files = dict[str, DataFile]


def check(suite: Suite) -> None:
    """Raise SuiteError for the first thing that cannot work, with its place and how to fix it."""
    learn(suite)
    for name, spec in suite.targets.items():
        kind = load_kind(spec.kind, f"targets.{name}.kind")
        used = [op for s in suite.scenarios for op in (*s.operations, *s.prepare) if (op.target or s.target) == name]
        kind.check(name, spec, used)
        check_network(name, spec, suite.folder)
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
    files: Files = {}
    kept = _check_group(suite, scenario.prepare, set(), files, in_rounds=True, in_order=True, where=f"{where}.prepare")
    if scenario.flows:
        _check_journeys(suite, scenario, kept, files, where)
    else:
        in_rounds = scenario.order == "interleaved"
        _check_group(suite, scenario.operations, kept, files, in_rounds=in_rounds, in_order=False, where=where)
    for operation in (*scenario.prepare, *scenario.operations):
        _check_pick(scenario, operation, files, f"{where}, operation {operation.name!r}")


def _check_journeys(suite: Suite, scenario: Scenario, prepared: set[str], files: Files, where: str) -> None:
    """Check the variables of each journey's steps, in order."""
    named = {operation.name: operation for operation in scenario.operations}
    for label, journey in scenario.flows.items():
        at = f"{where}, {label}" if scenario.journeys else where
        filled = {name for step in journey.steps for name in step.each or {}}
        steps = [named[step.operation] for step in journey.steps]
        known = _check_group(suite, steps, prepared | filled, files, in_rounds=True, in_order=True, where=at)
        columns = {name for step in steps if step.data for name in files[step.data].columns}
        unknown = sorted({name for step in journey.steps for name in step.names} - known - columns)
        if unknown:
            mend = (
                f"kept in this journey: {', '.join(sorted(known - filled)) or 'nothing'}; use `keep` in an earlier step"
            )
            raise SuiteError(f"nothing is kept as {unknown[0]!r}", where=at, mend=mend)
    _check_round(scenario.operations, files, where)


def _check_group(
    suite: Suite,
    operations: Sequence[Operation],
    known: set[str],
    files: Files,
    *,
    in_rounds: bool,
    in_order: bool,
    where: str,
) -> set[str]:
    """Check the variables of operations that are done together. Returns all names that are known after them.

    known       names that prepared values fill
    files       the data files that were read already; further ones are added
    in_rounds   they use the same rows of all their data files
    in_order    what one of them keeps fills the next ones
    """
    for operation in operations:
        if operation.data is not None and operation.data not in files:
            at = f"{where}, operation {operation.name!r}"
            files[operation.data] = read_data_file(operation.data, suite.folder, at)
    known = set(known)
    if in_rounds:
        _check_round(operations, files, where)
    shared = {name for op in operations if op.data for name in files[op.data].columns} if in_rounds else set()
    for operation in operations:
        at = f"{where}, operation {operation.name!r}"
        own = set(files[operation.data].columns) if operation.data else set()
        _check_variables(operation, known | shared | own, suite.folder, at)
        for name in dict.fromkeys(op.data for op in operations if op.data) if in_rounds else (operation.data,):
            if name is not None:
                files[name].require(variables_in(operation.texts()) - known, at)
        if in_order:
            known |= set(operation.keep)
    return known


def _check_round(operations: Sequence[Operation], files: Files, where: str) -> None:
    """Refuse data of a round whose values would be ambiguous."""
    used = set().union(*(variables_in(operation.texts()) for operation in operations))
    picks: dict[str, str] = {}
    owners: dict[str, str] = {}
    for operation in operations:
        name, at = operation.data, f"{where}, operation {operation.name!r}"
        if name is None:
            continue
        if picks.setdefault(name, operation.pick) != operation.pick:
            what = f"{name} is picked {operation.pick!r} here and {picks[name]!r} elsewhere"
            raise SuiteError(what, where=at, mend="set the same `pick`, since the operations of a round share its row")
        for column in used & files[name].columns.keys():
            if owners.setdefault(column, name) != name:
                what = f"both {owners[column]} and {name} have a column {column!r}"
                mend = "rename one of them, since the operations of a round share their values"
                raise SuiteError(what, where=at, mend=mend)


def _check_pick(scenario: Scenario, operation: Operation, files: Files, where: str) -> None:
    """Refuse a `pick` that this scenario cannot follow."""
    if operation.data is None:
        if operation.pick != "in turn":
            raise SuiteError(f"pick = {operation.pick!r} without data", where=where, mend="name a file: `data`")
        return
    if operation.pick != "one each":
        return
    rows, users = files[operation.data].count, scenario.load.all_users
    if scenario.load.is_open or scenario.order == "interleaved" or operation in scenario.prepare:
        mend = 'use it in a closed load, and not in `prepare` or with order "interleaved"'
        raise SuiteError("pick = 'one each' without users that have rows of their own", where=where, mend=mend)
    if users > rows:
        what = f"{operation.data} has {rows} rows for {users} users"
        raise SuiteError(what, where=where, mend="add rows, use fewer users, or another `pick`")


def _within_rate(suite: Suite, scenario: Scenario, limit_per_s: float) -> None:
    """Refuse a schedule whose rate is higher than the suite allows. Users of a closed load are slowed down instead."""
    peak_per_s = max(peak_rate_per_s(part, suite.folder) for part in scenario.load.parts())
    requested_per_s = peak_per_s * scenario.requests_each
    if requested_per_s > limit_per_s:
        raise SuiteError(
            f"the load requests {requested_per_s:g} /s, but max_rate_per_s is {limit_per_s:g}",
            where=f"scenario {scenario.name!r}, load",
            mend="lower the rate, or raise max_rate_per_s",
        )


def _check_variables(operation: Operation, known: set[str], folder: str, where: str) -> None:
    if isinstance(operation, HttpOperation | McpOperation):
        headers = dict(operation.headers) if isinstance(operation, HttpOperation) else {}
        filled_from_environment([operation.texts(), headers], where)
    unfilled = variables_in(operation.texts()) - known
    unknown = sorted(name for name in unfilled if not is_generated(name))
    if unknown:
        there = ", ".join(sorted(known)) or "none"
        raise SuiteError(
            f"{{{unknown[0]}}} has no value",
            where=where,
            mend=f"known here: {there}; use `keep` earlier, or write {{{{{unknown[0]}}}}} for literal text",
        )
    for name in sorted(unfilled):
        generator(name, random.Random(), itertools.count(), where)
    Reader.of(operation)
    for file in operation.files():
        _check_file(folder, file, where)


def _check_file(folder: str, file: str, where: str) -> None:
    try:
        (Path(folder) / file).open("rb").close()
    except OSError as error:
        what, mend = f"cannot read {file}: {error.strerror}", "name a file, relative to the suite"
        raise SuiteError(what, where=where, mend=mend) from None
