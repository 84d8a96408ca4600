"""Suites from TOML files (by built-in name or path, with `--set` and `--quick`), and from the manifest of a run.

Every error is one line with the file, the key, and how to fix it.

load_suite("acceptance") · load_suite("checkout.toml", overrides=["scenarios.browse.load.rate_per_s=800"], quick=True)
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from perflib.errors import SuiteError
from perflib.suite.compare import scope_of
from perflib.suite.family import Family, fields_of
from perflib.suite.messages import one_line
from perflib.suite.model import GROUPS, Load, Operation, Suite, Target
from perflib.suite.redaction import learn, learn_setting, struck_out
from perflib.suite.target import kinds


def builtin() -> list[str]:
    """Names of the suites that come with perflib."""
    return sorted(
        entry.name[:-5] for entry in resources.files("perflib.suite.builtin").iterdir() if entry.name.endswith(".toml")
    )


def load_suite(
    source: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    quick: bool = False,
) -> Suite:
    """A validated Suite from a built-in name or a TOML path. Raises SuiteError (exit code 2).

    >>> load_suite("demo", overrides=["scenarios.browse.load.rate_per_s=80"]).scenarios[0].load.highest_rate_per_s
    80.0
    """
    path = find(source)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SuiteError(f"not valid TOML: {error}", where=path.name, mend="correct the syntax in that line") from None
    except OSError as error:
        raise SuiteError(
            f"cannot be read: {error.strerror}", where=str(path), mend="check the path and its permissions"
        ) from None
    suite = parse_suite(text, where=path.name, folder=str(path.resolve().parent), overrides=overrides)
    return select(suite, only=only, quick=quick)


_WRITE: Final = (
    'write a suite, as those that `perflib example` copies: the pages "Coming from …" have both side by side'
)
_MADE: Final = "perflib init {path} makes a suite of an API description, a recording or a collection"
_OF_OTHERS: Final = {
    ".js": ("a script, of k6 perhaps", _WRITE),
    ".ts": ("a script, of k6 perhaps", _WRITE),
    ".py": ("a Python file, of Locust perhaps", _WRITE),
    ".jmx": ("a test plan of JMeter", _WRITE),
    ".scala": ("a simulation of Gatling", _WRITE),
    ".java": ("a simulation of Gatling", _WRITE),
    ".kt": ("a simulation of Gatling", _WRITE),
    **dict.fromkeys((".json", ".yaml", ".yml", ".har"), ("a description", _MADE)),
}  # files that are given to `run` by whoever comes from another tool: what they are, and what to do


def parse_suite(text: str, *, where: str, folder: str, overrides: Sequence[str] = ()) -> Suite:
    """A validated Suite from TOML text, whose files are in `folder`. Raises SuiteError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"not valid TOML: {error}", where=where, mend="correct the syntax in that line") from None
    for setting_text in overrides:
        learn_setting(setting_text)
        _override(table, setting_text)
    return from_table(table, where=where, folder=folder)


def find(source: str | Path) -> Path:
    """The file of a suite, by path or by built-in name."""
    name = str(source)
    if name in builtin():
        return Path(str(resources.files("perflib.suite.builtin") / f"{name}.toml"))
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return path
    if path.suffix in _OF_OTHERS and path.is_file():
        what, mend = _OF_OTHERS[path.suffix]
        raise SuiteError(f"this is {what}, not a suite", where=name, mend=mend.format(path=path))
    close = difflib.get_close_matches(name, builtin(), n=1)
    mend = (
        f"did you mean {close[0]!r}?"
        if close
        else f"built-in suites: {', '.join(builtin())}; or give a path that ends in .toml"
    )
    raise SuiteError("no such suite", where=name, mend=mend)


def from_table(table: dict[str, Any], *, where: str = "suite", folder: str = "") -> Suite:
    """A Suite from the parsed TOML table."""
    learn(table)
    _check_kinds(table, where)
    suite = _validated(table, where=where, folder=folder)
    names = {
        name
        for scenario in suite.scenarios
        for name in (scenario.name, *(op.name for op in scenario.operations), *scenario.flows)
    }
    for key in suite.compare.margins:
        if scope_of(key) not in ("", *names):
            what = f"there is no operation or scenario {scope_of(key)!r}"
            raise SuiteError(what, where=f"{where}: compare.margins", mend=f"known: {', '.join(sorted(names))}")
    return suite


def from_plain(plain: Mapping[str, Any], *, where: str = "the run's suite") -> Suite:
    """The Suite that `plain.redacted` stored as plain data in a run.

    In runs of earlier versions each table has the keys of all kinds and models; the unused ones of other kinds are
    ignored. Target kinds need not be installed. Functions are names and secrets are "•••", so the suite can be read but
    not run.
    """
    return _validated(_without_foreign(plain), where=where, folder="")


def _validated(table: Mapping[str, Any], *, where: str, folder: str) -> Suite:
    try:
        # Only JSON mode is strict about types and still accepts lists and tables for tuples and dataclasses.
        text = json.dumps({**_with_tags(table, where), "folder": folder})
        return TypeAdapter(Suite).validate_json(text, strict=True)
    except ValidationError as error:
        said = one_line(error, where, Suite)
        raise SuiteError(struck_out(said.what), where=said.where, mend=struck_out(said.mend)) from None


def select(suite: Suite, *, only: Sequence[str] = (), quick: bool = False) -> Suite:
    """The suite with some of its scenarios only, and those that run with them, or with shortened loads."""
    names = [scenario.name for scenario in suite.scenarios]
    for name in only:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            mend = f"did you mean {close[0]!r}?" if close else f"its scenarios are {', '.join(names)}"
            raise SuiteError(f"no scenario {name!r} in suite {suite.name!r}", where="--only", mend=mend)
    wanted, beside = set(only or names), {scenario.name: scenario.with_scenarios for scenario in suite.scenarios}
    while more := {other for name in wanted for other in beside[name]} - wanted:
        wanted |= more
    chosen = [scenario for scenario in suite.scenarios if scenario.name in wanted]
    if quick:
        chosen = [scenario.shortened() for scenario in chosen]
    return replace(suite, scenarios=tuple(chosen))


def setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE as the key and the value. A value that is not valid TOML is text."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise SuiteError(
            f"cannot read {struck_out(text)!r}", where="--set", mend="write KEY=VALUE, for example workers=1"
        )
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _override(table: dict[str, Any], text: str) -> None:
    """Apply `scenarios.browse.load.rate_per_s=800` to the table. Entries of lists are selected by name."""
    dotted, value = setting(text)
    keys = dotted.split(".")
    node: Any = table
    for depth, key in enumerate(keys[:-1]):
        node = _step(node, key, ".".join(keys[: depth + 1]))
    if isinstance(node, list):
        node = _step(node, keys[-1], dotted)
        raise SuiteError(f"{dotted!r} is a table", where="--set", mend=f"set one of its keys: {', '.join(node)}")
    node[keys[-1]] = value


def _step(node: Any, key: str, dotted: str) -> Any:
    if isinstance(node, list):
        names = [entry.get("name") for entry in node if isinstance(entry, dict)]
        if key in names:
            return node[names.index(key)]
        if key.isdigit() and int(key) < len(node):
            return node[int(key)]
        raise SuiteError(f"there is no {dotted!r}", where="--set", mend=f"use one of {', '.join(map(str, names))}")
    if isinstance(node, dict):
        return node.setdefault(key, {})
    raise SuiteError(f"{dotted!r} is not a table", where="--set", mend="set the key itself")


def _check_kinds(table: Mapping[str, Any], where: str) -> None:
    """Refuse an unknown kind, before its keys are refused."""
    for name, target in _tables(table.get("targets")):
        kind = target.get("kind")
        if isinstance(kind, str) and kind not in kinds():
            mend = f"kinds are {', '.join(kinds())}"
            raise SuiteError(f"unknown target kind {kind!r}", where=f"{where}: targets.{name}.kind", mend=mend)


def _with_tags(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy in which each operation has a `kind`, that of its target, and each stage a `model`."""
    copied: dict[str, Any] = _copy(table)
    targets = dict(_tables(copied.get("targets")))
    for index, scenario in _tables(copied.get("scenarios")):
        for key in GROUPS:
            _tag_operations(scenario, key, scenario.get("target"), targets, f"{where}: scenarios[{index}].{key}")
        _tag_stages(scenario)
    only = next(iter(targets)) if len(targets) == 1 else None
    for key in ("setup", "teardown"):
        _tag_operations(copied, key, only, targets, f"{where}: {key}")
    return copied


def _tag_operations(
    table: Mapping[str, Any], key: str, default: Any, targets: Mapping[str, dict[str, Any]], where: str
) -> None:
    """Set the kind of the operations under a key. `default`: the target of those that name none."""
    for number, operation in _tables(table.get(key)):
        if "kind" in operation:
            at = f"{where}[{number}].kind"
            raise SuiteError("unknown key 'kind'", where=at, mend="remove it: an operation has the kind of its target")
        name = operation.get("target", default)
        target = targets.get(name) if isinstance(name, str) else None
        if target is not None and isinstance(target.get("kind"), str):
            operation["kind"] = target["kind"]


def _tag_stages(scenario: Mapping[str, Any]) -> None:
    """Set the model of stages that do not name it: closed with `concurrency`, a ramp with `to`, otherwise constant."""
    of_users = isinstance(scenario.get("load"), dict) and scenario["load"].get("model") == "users"
    for load in () if of_users else (scenario.get("load"), scenario.get("quick")):
        for _, stage in _tables(load.get("stages") if isinstance(load, dict) else None):
            model = "closed" if "concurrency" in stage else "ramp" if "to" in stage else "constant"
            stage.setdefault("model", model)


def _without_foreign(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A stored suite without the keys that belong to another kind or model than their table."""
    copied: dict[str, Any] = _copy(plain)
    targets = dict(_tables(copied.get("targets")))
    for target in targets.values():
        _drop_foreign(Target, target, target)
    for _, scenario in _tables(copied.get("scenarios")):
        for _, operation in (*_tables(scenario.get("operations")), *_tables(scenario.get("prepare"))):
            target = targets.get(operation.get("target", scenario.get("target")), {})
            _drop_foreign(Operation, operation, target)
        _drop_foreign_load(scenario)
    return copied


def _drop_foreign_load(scenario: Mapping[str, Any]) -> None:
    load = scenario.get("load")
    for part in (load, *(stage for _, stage in _tables(load.get("stages")))) if isinstance(load, dict) else ():
        _drop_foreign(Load, part, part)


def _drop_foreign(family: type[Family], table: dict[str, Any], tagged: Mapping[str, Any]) -> None:
    member = family.MEMBERS.get(family.tag_of(tagged) or "")
    if member is None:
        return
    foreign = {key for other in family.MEMBERS.values() for key in fields_of(other)} - fields_of(member)
    for key in foreign & table.keys():
        del table[key]


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy by way of JSON, in which a table that occurs twice becomes two tables."""
    copied: dict[str, Any] = json.loads(json.dumps(dict(table), default=str))
    return copied


def _tables(value: Any) -> list[tuple[Any, dict[str, Any]]]:
    """The tables in a list, with their numbers, or in a table, with their names; empty if the value is neither."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(key, entry) for key, entry in entries if isinstance(entry, dict)]
