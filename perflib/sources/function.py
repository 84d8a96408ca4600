"""Suites from Python functions, as `package.module:name`: arguments come from annotations and defaults."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from perflib.sources.draft import mapped, template
from perflib.sources.examples import example
from perflib.sources.format import Format
from perflib.sources.given import Given
from perflib.sources.mcp_suite import first_line, operation_name
from perflib.sources.toml_text import is_exact, toml
from perflib.sources.writer import Written
from perflib.targets.function import resolve
from perflib.text import one_line

_TEXT = """\
# Written by `perflib init` from the function {function}. Call it once, then run it and read the report:
#     perflib try {file}
#     perflib run {file}
#     perflib report
{losses}name = {name}

[targets.code]
kind = "callable"
function = {function}

[[scenarios]]
name = "calls"
target = "code"
load = {{ model = "closed", concurrency = 4, duration_s = 10 }}  # four callers, each of whom waits for the result
objectives = ["error rate < 1 %", "p95 response < 500 ms"]

{about}[[scenarios.operations]]
name = {operation}
{kwargs}"""


def _recognises(given: Given) -> bool:
    named = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", given.words[0])
    return len(given.words) == 1 and named is not None and not given.is_file


def _write(given: Given) -> Written:
    named = given.words[0]
    function = resolve(named, str(given.out.resolve().parent), named)
    arguments, losses = _arguments(function)
    described = one_line(first_line(inspect.getdoc(function)), 110)
    text = _TEXT.format(
        function=toml(named),
        file=one_line(str(given.out), 200),
        losses="".join(f"# Not translated: {loss}\n" for loss in losses),
        name=toml(operation_name(named)),
        about=f"# {described}\n" if described else "",
        operation=toml(operation_name(named.rpartition(":")[2])),
        kwargs=f"kwargs = {toml(mapped(arguments, template))}  # examples: edit them\n" if arguments else "",
    )
    return Written(text, {}, losses, 1, 0)


def _arguments(function: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """An example of each argument that has no default, and what could not be translated."""
    try:
        parameters = inspect.signature(function).parameters
        hints = typing.get_type_hints(function)
    except Exception as problem:  # a signature that Python does not know, or a hint that cannot be evaluated
        return {}, [f"its arguments, since they are not known: {one_line(problem, 100)}"]
    arguments, losses = {}, []
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            losses.append(f"argument {name!r}, which has no name for the caller: add it to `args`")
            continue
        value = _example(hints.get(name, str))
        if value is None or not is_exact(value):
            losses.append(f"argument {name!r}, of which no example is known: add it to `kwargs`")
        else:
            arguments[name] = value
    return arguments, losses


def _example(hint: Any) -> Any:
    try:
        return example(TypeAdapter(hint).json_schema())
    except Exception:  # a type that has no JSON form
        return None


FORMAT = Format("function", "a Python function, as module:function", _recognises, _write)
