"""Checks of a suite before anything is started: target kinds, operations, data files, placeholders."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from pathlib import Path

from perflib.errors import SuiteError
from perflib.load.generator import arrivals
from perflib.load.generator.generated import generator, is_generated
from perflib.suite.data_file import HELD_BYTES, OPERATION_COLUMN, START_COLUMN, DataFile, read_data_file
from perflib.suite.environment import filled_from_environment
from perflib.suite.load import ReplayLoad
from perflib.suite.model import Operation, Scenario, Suite, Target
from perflib.suite.operation import HttpOperation, McpOperation
from perflib.suite.redaction import learn
from perflib.suite.target import HttpTargetSpec, McpTargetSpec
from perflib.targets.answer import Reader
from perflib.targets.base import refuse_foreign
from perflib.targets.kinds import load_kind
from perflib.targets.network import check_network
from perflib.targets.template import variables_in

Files = dict[str, DataFile]


def check(suite: Suite) -> None:
    """Raise SuiteError for the first thing that cannot work, with its place and how to fix it."""
    learn(suite)
    whole = suite.around
    for name, spec in suite.targets.items():
        kind = load_kind(spec.kind, f"targets.{name}.kind")
        scenarios = [*suite.scenarios, *([whole] if whole else [])]
        used = [op for s in scenarios for op in s.own_operations if (op.target or s.target) == name]
        kind.check(name, spec, used)
        check_network(name, spec, suite.folder)
        if spec.url and "{" not in spec.url:
            may_be_loaded(name, spec, suite)
    given = _check_once(suite, whole, "setup", set(), "suite") if whole else set()
    for scenario in suite.scenarios:
        _check_scenario(suite, scenario, given)
    if whole:
        _check_once(suite, whole, "teardown", given, "suite")


def may_be_loaded(name: str, spec: Target, suite: Suite) -> None:
    """Raise SuiteError unless the suite allows a load on the target's host."""
    kind = load_kind(spec.kind, f"targets.{name}.kind")
    refuse_foreign(kind(name, spec, folder=suite.folder), suite.allow_hosts)


def _check_once(suite: Suite, scenario: Scenario, key: str, known: set[str], where: str) -> set[str]:
    """Check operations that are done once. Returns all names that are known after them."""
    operations, files = getattr(scenario, key), Files()
    names = _check_group(suite, operations, known, files, in_rounds=True, in_order=True, where=f"{where}.{key}")
    for operation in operations:
        _check_pick(scenario, operation, files, f"{where}.{key}, operation {operation.name!r}")
    return names


def _check_scenario(suite: Suite, scenario: Scenario, given: set[str]) -> None:
    """`given`: names that the set-up of the suite keeps."""
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
    _check_enough_prepared(suite, scenario, where)
    inside = [name for name in scenario.reached if suite.targets[name].in_process]
    if inside and not any(group == [scenario] for group in suite.groups):
        what = f"target {inside[0]!r} runs inside this process, which can generate one load at a time"
        raise SuiteError(
            what, where=f"{where}.with", mend="remove in_process, or run the scenarios one after the other"
        )
    files: Files = {}
    given = _check_once(suite, scenario, "setup", given, where)
    _check_kept_once(scenario, given, where)
    kept = _check_group(suite, scenario.prepare, given, files, in_rounds=True, in_order=True, where=f"{where}.prepare")
    at = f"{where}.each_user"
    kept |= _check_group(suite, scenario.each_user, given, files, in_rounds=True, in_order=True, where=at)
    kept |= {name for operation in scenario.each_user if operation.data for name in files[operation.data].columns}
    if scenario.flows:
        _check_journeys(suite, scenario, kept, files, where)
        known = kept.union(*(operation.keep for operation in scenario.operations))
    else:
        in_rounds = scenario.order == "interleaved"
        known = _check_group(suite, scenario.operations, kept, files, in_rounds=in_rounds, in_order=False, where=where)
    if scenario.order == "recorded":
        arrivals.length_ns(scenario.load, suite.folder)
        _check_recorded(scenario, files, where)
    in_rounds = scenario.order in ("sequence", "interleaved")
    shared = [name for op in scenario.operations if in_rounds and op.data for name in files[op.data].columns]
    for operation in scenario.operations:
        own = files[operation.data].columns if operation.data else ()
        _check_headers(suite, scenario, operation, known.union(shared, own), given)
    for operation in (*scenario.prepare, *scenario.each_user, *scenario.operations):
        _check_pick(scenario, operation, files, f"{where}, operation {operation.name!r}")
    _check_once(suite, scenario, "teardown", given, where)


def _check_enough_prepared(suite: Suite, scenario: Scenario, where: str) -> None:
    """Refuse a load that certainly needs more prepared values than there are."""
    counts = [operation.count for operation in scenario.prepare if operation.count]
    if not counts or scenario.reuse_prepared:
        return
    if scenario.has_functions:
        return
    journeys = [sum(step.repeat for step in journey.steps) for journey in scenario.flows.values()]
    size = max(journeys, default=len(scenario.operations) if scenario.order == "interleaved" else 1)
    size = 1 if scenario.load.is_open and scenario.flows else size  # each arrival is a journey
    even = [part for part in scenario.load.parts() if part.model == "constant"]
    requests = scenario.load.total_requests + int(sum(part.highest_rate_per_s * (part.seconds() or 0) for part in even))
    if max(counts) * size < min(requests, suite.max_requests or requests):
        what = f"{max(counts):,} values are prepared for {requests:,} requests"
        raise SuiteError(what, where=f"{where}.prepare", mend="raise `count`, or set reuse_prepared = true")


def _check_kept_once(scenario: Scenario, given: set[str], where: str) -> None:
    """Refuse a name that a set-up keeps and a request of the load keeps as well: it would stand for two values."""
    for operation in (*scenario.prepare, *scenario.each_user, *scenario.operations):
        for name in sorted(given & set(operation.keep)):
            at = f"{where}, operation {operation.name!r}.keep.{name}"
            raise SuiteError(f"`setup` keeps {name!r} already", where=at, mend="keep one of them under another name")


def _check_headers(suite: Suite, scenario: Scenario, operation: Operation, known: set[str], given: set[str]) -> None:
    """Refuse headers of a target with names that nothing fills when this operation is sent."""
    target = operation.target or scenario.target or ""
    spec = suite.targets[target]
    if not isinstance(spec, HttpTargetSpec | McpTargetSpec):
        return
    is_http, own = isinstance(spec, HttpTargetSpec), {name.lower() for name in getattr(operation, "headers", {})}
    for header, value in spec.headers.items():
        unknown = variables_in(value) - (known if is_http else given)
        for name in sorted(unknown if header.lower() not in own else ()):
            if not (is_http and is_generated(name)):
                by = "`setup`, `each_user` or an operation before it" if is_http else "`setup`"
                raise SuiteError(
                    f"{{{name}}} has no value in operation {operation.name!r} of scenario {scenario.name!r}",
                    where=f"targets.{target}.headers.{header}",
                    mend=f"keep it in {by}, or write {{{{{name}}}}} for literal text",
                )


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


def _check_recorded(scenario: Scenario, files: Files, where: str) -> None:
    """Refuse a recording with a row of an unknown operation, or rows that are not in the order of their starts."""
    file = files[scenario.operations[0].data or ""]
    has_starts = isinstance(scenario.load, ReplayLoad) and scenario.load.starts == file.name
    columns = [OPERATION_COLUMN, *([START_COLUMN] if has_starts else [])]
    missing = [column for column in columns if column not in file.columns]
    if missing:
        what = f"{file.name} has no column {missing[0]!r}, which a recording needs"
        raise SuiteError(what, where=where, mend="name the column so in its header")
    names = {operation.name for operation in scenario.operations}
    before = -math.inf
    for number, (name, *start) in enumerate(file.rows(columns), 1):
        if name not in names:
            mend = f"operations are {', '.join(sorted(names))}"
            raise SuiteError(f"{file.name}, row {number} names an unknown operation {name!r}", where=where, mend=mend)
        after = float(start[0]) if start else before
        if after < before:
            what = f"{file.name}, row {number} starts before the row above it"
            raise SuiteError(what, where=where, mend=f"sort its rows by {START_COLUMN}")
        before = after


def _check_pick(scenario: Scenario, operation: Operation, files: Files, where: str) -> None:
    """Refuse a `pick` that this scenario cannot follow."""
    done_once = operation in (*scenario.setup, *scenario.teardown)
    if operation.count and (done_once or operation in scenario.each_user):
        raise SuiteError("count is for `prepare`", where=where, mend="remove it, or do the operation in `prepare`")
    if operation.data is None:
        if operation.pick != "in turn":
            raise SuiteError(f"pick = {operation.pick!r} without data", where=where, mend="name a file: `data`")
        return
    file = files[operation.data]
    if operation.pick == "random" and not file.is_held:
        what = f"pick = 'random' needs all rows in memory, and the {file.count:,} of {file.name} are too many"
        mend = f"shuffle them and use them 'in turn', or take a file below {HELD_BYTES / 1e6:g} MB"
        raise SuiteError(what, where=where, mend=mend)
    if operation.pick == "once" and operation in scenario.each_user:
        mend = 'use pick = "one each"'
        raise SuiteError("pick = 'once' in each_user, whose operations may have to be repeated", where=where, mend=mend)
    if operation.pick != "one each":
        return
    rows, users = file.count, scenario.load.all_users
    if scenario.load.is_open or scenario.order == "interleaved" or operation in scenario.prepare or done_once:
        mend = 'use it in a closed load, and not in `prepare`, `setup` or with order "interleaved"'
        raise SuiteError("pick = 'one each' without users that have rows of their own", where=where, mend=mend)
    if users > rows:
        what = f"{operation.data} has {rows} rows for {users} users"
        raise SuiteError(what, where=where, mend="add rows, use fewer users, or another `pick`")


def _within_rate(suite: Suite, scenario: Scenario, limit_per_s: float) -> None:
    """Refuse a schedule whose rate is higher than the suite allows. Users of a closed load are slowed down instead."""
    peak_per_s = max(arrivals.peak_rate_per_s(part, suite.folder) for part in scenario.load.parts())
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
