"""Suites from TOML files: built-in name or path, `--set` overrides, `--quick`; every error one line with file, key and mend.

load_suite("acceptance") · load_suite("checkout.toml", overrides=["scenarios.browse.load.rate_per_s=800"], quick=True)
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from perflib.errors import SuiteError
from perflib.suite.messages import one_line
from perflib.suite.model import TABLES, Suite


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
    """A validated Suite from a built-in name or a TOML path. Raises SuiteError (exit code 2)."""
    path = find(source)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"not valid TOML: {error}", where=path.name, mend="mend the syntax at that line") from None
    except OSError as error:
        raise SuiteError(
            f"cannot read it: {error.strerror}", where=str(path), mend="check the path and its permissions"
        ) from None
    for text in overrides:
        _override(table, text)
    return select(from_table(table, where=path.name, folder=str(path.resolve().parent)), only=only, quick=quick)


def find(source: str | Path) -> Path:
    """The file of a suite: a path as it stands, or a built-in name."""
    name = str(source)
    if name in builtin():
        return Path(str(resources.files("perflib.suite.builtin") / f"{name}.toml"))
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return path
    close = difflib.get_close_matches(name, builtin(), n=1)
    mend = (
        f"did you mean {close[0]!r}?"
        if close
        else f"built-in suites: {', '.join(builtin())}; or give a path that ends in .toml"
    )
    raise SuiteError("no such suite", where=name, mend=mend)


def from_table(table: dict[str, Any], *, where: str = "suite", folder: str = "") -> Suite:
    """A Suite from the parsed TOML table."""
    _default_stage_models(table)
    try:
        # JSON mode is the one that is strict about types and yet takes lists and tables for tuples and dataclasses.
        found = TypeAdapter(Suite).validate_json(json.dumps({**table, "folder": folder}, default=str), strict=True)
    except ValidationError as error:
        raise one_line(error, where, TABLES) from None
    return found


def stored_suite(table: dict[str, Any], *, where: str) -> Suite:
    """The Suite of plain data as run.json holds it: secrets struck out, functions named. Raises SuiteError."""
    return from_table(table, where=where)


def select(suite: Suite, *, only: Sequence[str] = (), quick: bool = False) -> Suite:
    """The suite with some of its scenarios, or with its long loads shortened."""
    names = [scenario.name for scenario in suite.scenarios]
    for name in only:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            mend = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            raise SuiteError(f"no scenario {name!r} in suite {suite.name!r}", where="--only", mend=mend)
    chosen = [scenario for scenario in suite.scenarios if not only or scenario.name in only]
    if quick:
        fields = {"from": "from_per_s", "to": "to_per_s"}  # words that Python keeps for itself
        shorter = [{fields.get(key, key): value for key, value in s.quick.items()} for s in chosen]
        chosen = [replace(s, load=replace(s.load, **keys)) for s, keys in zip(chosen, shorter, strict=True)]
    return replace(suite, scenarios=tuple(chosen))


def setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE as the key and its value in TOML syntax; what is none is text."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise SuiteError(f"cannot read {text!r}", where="--set", mend="write KEY=VALUE, as workers=1")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _override(table: dict[str, Any], text: str) -> None:
    """`scenarios.browse.load.rate_per_s=800` sets that key; names stand for list entries."""
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
        raise SuiteError(f"there is no {dotted!r}", where="--set", mend=f"there are {', '.join(map(str, names))}")
    if isinstance(node, dict):
        return node.setdefault(key, {})
    raise SuiteError(f"{dotted!r} is not a table", where="--set", mend="set the key itself")


def _default_stage_models(table: dict[str, Any]) -> None:
    """A stage need not name its model: concurrency makes it closed, from and to a ramp, a rate constant."""
    scenarios = table.get("scenarios")
    for scenario in scenarios if isinstance(scenarios, list) else []:
        for key in ("load", "quick"):
            load = scenario.get(key) if isinstance(scenario, dict) else None
            stages = load.get("stages") if isinstance(load, dict) else None
            for stage in stages if isinstance(stages, list) else []:
                if isinstance(stage, dict):
                    stage.setdefault(
                        "model", "closed" if "concurrency" in stage else "ramp" if "to" in stage else "constant"
                    )
