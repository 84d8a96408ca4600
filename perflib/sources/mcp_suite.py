"""Writes a first suite, as TOML, for the tools that an MCP server lists.

Names, descriptions and examples come from the server and may be hostile. In comments they become one printable line, in
strings they are escaped, and braces of placeholders are doubled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.sources.mcp_arguments import Tool, arguments_of, guesses, prompt_arguments
from perflib.sources.mcp_trial import MOST, Trial, changes_something, reaches_others, says_error
from perflib.sources.schemas import SchemaDocument, types
from perflib.sources.toml_text import toml, toml_key
from perflib.suite.placeholders import literal
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import is_loopback
from perflib.text import one_line

DANGEROUS: Final = (
    "delete", "remove", "drop", "destroy", "erase", "purge", "wipe", "truncate", "uninstall", "unlink", "rm", "kill",
    "terminate", "shutdown", "reset", "revoke", "overwrite", "clear",
)  # fmt: skip
_DANGEROUS_BEGINNINGS: Final = ("delete", "remove", "destroy", "erase", "purge", "wipe", "truncate")  # "deletefile" too

_HEAD: Final = """\
# Written by `perflib mcp inspect`. Run it, then read the report:
#     perflib run {file}
#     perflib report
# Every operation calls one tool, with example arguments from its schema: edit them before you trust a figure.
#   arguments    write what real users send; arguments that a tool refuses are errors in the report
#   weight       a tool with `weight = 3` is called three times as often as one without
#   load         use more users, a longer time, or a rate: {{ model = "constant", rate_per_s = 50, duration_s = 30 }}
#   objectives   write your own, for example "echo: p99 response < 50 ms"
# Every call really takes place, thousands of times: remove the tools with which that does harm.
name = {name}
{allow_hosts}
[targets.server]
kind = "mcp"
{target}

[[scenarios]]
name = "calls"
target = "server"
load = {{ model = "closed", concurrency = 4, duration_s = 10 }}  # four users, each of whom waits for an answer
objectives = ["error rate < 1 %", "p95 response < 500 ms"]
{operations}
"""


def starter_suite(
    about: Mapping[str, Any],
    tools: Sequence[Tool],
    target: McpTargetSpec,
    *,
    file: str = "suite.toml",
    others: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    tried: Mapping[tuple[str, str], Trial] | None = None,
    places: Sequence[Path] = (),
) -> str:
    """The TOML of a suite with one operation for each tool, and for some resources and prompts.

    `about`, `tools` and `others` (lists of `resources`, `resourceTemplates` and `prompts`) come from the server.
    `target` is written unchanged, so it must not contain secrets. `file` is the path of the suite, which its first
    lines show. `tried`: what was answered to operations that were sent once; None if none was. `places`: folders that
    the server was started for.
    """
    tools = [tool for tool in tools if tool["name"]]  # a tool without a name cannot be called
    written = tools[: MOST["tools/call"]]
    parts: list[tuple[str, Callable[[str], str]]] = [
        (str(tool["name"]), partial(_operation, tool=tool, tried=tried, places=places)) for tool in written
    ]
    parts += _other_operations(others or {}, tried or {})
    names = unique_names([name for name, _ in parts])
    operations = [make(name) for name, (_, make) in zip(names, parts, strict=True)]
    if len(tools) > len(written):
        operations.append(f"\n# {len(tools) - len(written):,} further tools are not written here.")
    if not any(line.startswith("[[") for operation in operations for line in operation.splitlines()):
        operations.append(_operation_without_tool(about))
    return _HEAD.format(
        file=one_line(file, 200),
        name=toml(operation_name(server_name(about))),
        allow_hosts="".join(f"{line}\n" for line in _allow_hosts(target)),
        target="\n".join(_target(target)),
        operations="\n".join(operations),
    )


def server_name(about: Mapping[str, Any]) -> str:
    """The name of the server, in one line; "" if it has none."""
    server = about.get("server")
    return one_line(server.get("name", ""), 60) if isinstance(server, dict) else ""


def file_name(about: Mapping[str, Any]) -> str:
    """The default file of the suite, `<server-name>.toml`, in plain characters."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", server_name(about)).strip("-.")
    return f"{plain or 'mcp-server'}.toml"


def reason_left_out(tool: Tool) -> str:
    """A sentence that says why the suite does not call a tool; "" if it does."""
    reason, execution = danger(tool), tool.get("execution")
    if reason:
        return f"Left out: {one_line(reason, 80)}. Uncomment it if a thousand calls do no harm."
    needs_task = isinstance(execution, dict) and execution.get("taskSupport") == "required"
    return "Left out: the server runs it only as a task, and refuses a plain call." if needs_task else ""


def danger(tool: Tool) -> str:
    """The reason why a tool may be destructive, or ""."""
    annotations = tool.get("annotations")
    if isinstance(annotations, dict) and annotations.get("destructiveHint") is True:
        return "the server says that it is destructive"
    for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", str(tool["name"])):
        if word.lower() in DANGEROUS or word.lower().startswith(_DANGEROUS_BEGINNINGS):
            return f'its name says "{word}"'
    return ""


def type_words(document: SchemaDocument, schema: Any, depth: int = 0) -> str:
    """The type that a schema of the document describes, in a few words: string, integer[], "a" | "b", string | null."""
    merged = document.merged(schema)
    if depth > 3:
        return "…"
    if "enum" in merged:
        words = [f'"{value}"' if isinstance(value, str) else str(value) for value in merged["enum"][:4]]
        words += ["…"] if len(merged["enum"]) > 4 else []
    elif branches := [*merged.get("anyOf", []), *merged.get("oneOf", [])][:6]:
        words = [type_words(document, branch, depth + 1) for branch in branches]
    else:
        items = merged.get("items", True)
        words = [f"{type_words(document, items, depth + 1)}[]" if n == "array" else n for n in types(merged)]
    return one_line(" | ".join(dict.fromkeys(words)), 60)


def operation_name(text: str) -> str:
    """The text as a valid name in a suite: one line without colons, at most 76 characters."""
    return one_line(text.replace(":", "."), 76) or "tool"


def first_line(text: Any) -> str:
    """The first line of a description that is not blank."""
    return next((line for line in text.splitlines() if line.strip()), "") if isinstance(text, str) else ""


def unique_names(texts: Sequence[str]) -> list[str]:
    """A unique name for each operation."""
    names: dict[str, None] = {}
    for name in map(operation_name, texts):
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name[:70]} {number}"
        names[unique] = None
    return list(names)


def _allow_hosts(target: McpTargetSpec) -> Iterator[str]:
    """Nothing for this machine; other hosts must be allowed by hand."""
    host = urlsplit(target.url).hostname if target.url else None
    if host and not is_loopback(host):
        yield f"# {one_line(host, 200)} is another machine. If you may test it, uncomment:"
        yield f"# allow_hosts = {toml([host])}"


def _target(target: McpTargetSpec) -> Iterator[str]:
    if target.url:
        yield f"url = {toml(target.url)}"
    else:
        yield f"command = {toml(list(target.command))}"
        yield "ready = { timeout_s = 60 }"
    if target.cwd:
        yield f"cwd = {toml(target.cwd)}"
    if target.env:
        yield f"env = {toml(dict(target.env))}"
    if target.protocol != "auto":
        yield f"protocol = {toml(target.protocol)}"
    if target.headers:
        variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", " ".join(target.headers.values())))
        yield f"# never stored, but read from the environment: {', '.join(variables)}"
        yield f"headers = {toml(dict(target.headers))}"


def _operation(name: str, tool: Tool, tried: Mapping[tuple[str, str], Trial] | None, places: Sequence[Path]) -> str:
    """The lines of one tool, as comments if it is left out."""
    trial = (tried or {}).get(("tools/call", str(tool["name"])))
    guessed = guesses(tool, places)
    left_out = reason_left_out(tool) or _failed(trial)
    if not left_out and tried is not None and trial is None:
        left_out = _reason_untried(tool, guessed)
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", f"tool = {toml(without_fields(str(tool['name'])))}"]
    lines += _arguments(tool, places)
    if guessed and trial is None:
        lines.append(f"# guessed, since the server gives no example: {one_line(', '.join(guessed), 200)}")
    if trial is not None and trial.is_good:
        lines.append(f"# answered: {one_line(trial.answer, 100)}")
    elif trial is not None and says_error(trial.answer):
        lines.append(f"expect = {{ absent = {toml([says_error(trial.answer)])} }}  # a failure that is no error of MCP")
    return _lines([one_line(first_line(tool.get("description")), 110)], left_out, lines)


def _failed(trial: Trial | None) -> str:
    if trial is None or trial.is_good:
        return ""
    return f"Left out, since it failed when it was tried: {one_line(trial.answer, 140)}"


def _reason_untried(tool: Tool, guessed: Sequence[str]) -> str:
    """Why a tool that was not tried, since nothing says that it changes nothing, is left out; "" if it is not."""
    if guessed:
        words = one_line(", ".join(guessed), 200)
        return f"Left out: it may change something, so it was not tried, and these arguments are guesses: {words}."
    if changes_something(tool) and reaches_others(tool):
        return "Left out: it changes something, so it was not tried, and it needs more than this server."
    return ""


def _lines(comments: Iterable[str], left_out: str, lines: Sequence[str]) -> str:
    """An operation's lines under its comments; they are comments as well where it is left out."""
    if left_out:
        lines = [f"# {line}" for line in lines]
    return "\n".join(["", *(f"# {comment}" for comment in [*comments, left_out] if comment), *lines])


def _arguments(tool: Tool, places: Sequence[Path]) -> Iterator[str]:
    values = arguments_of(tool, places)
    document = SchemaDocument(tool.get("inputSchema"))
    schema = document.merged(document.root)
    properties, required = schema.get("properties", {}), frozenset(schema.get("required", ()))
    written = set()
    for name, value in values.items():
        key, text = toml_key(without_fields(name)), toml(without_fields(value))
        needed = "required" if name in required else "optional"
        note = f"{type_words(document, properties.get(name, True))}, {needed}"
        meaning = one_line(first_line(document.merged(properties.get(name)).get("description")), 70)
        if not text:
            yield f"# {one_line(name, 60)}: {note}; no example"
        elif key not in written:
            written.add(key)
            yield f"arguments.{key} = {text}  # {note}{': ' if meaning else ''}{meaning}"
    others = [name for name in properties if name not in values]
    if others:
        words = (f"{one_line(name, 40)} ({type_words(document, properties[name])})" for name in others)
        yield f"# further arguments: {one_line(', '.join(words), 400)}"


def _other_operations(
    others: Mapping[str, Sequence[Mapping[str, Any]]], tried: Mapping[tuple[str, str], Trial]
) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Names and makers of the operations for some resources, their templates, and prompts."""
    most = MOST["resources/read"]
    for resource in others.get("resources", ())[:most]:
        failed = _failed(tried.get(("resources/read", resource["uri"])))
        yield f"read {resource['uri']}", partial(_resource, resource=resource, left_out=failed)
    for template in others.get("resourceTemplates", ())[:most]:
        yield f"read {template['uriTemplate']}", partial(_template, template=template)
    for prompt in others.get("prompts", ())[: MOST["prompts/get"]]:
        failed = _failed(tried.get(("prompts/get", prompt["name"])))
        yield f"prompt {prompt['name']}", partial(_prompt, prompt=prompt, left_out=failed)


def _resource(name: str, resource: Mapping[str, Any], left_out: str) -> str:
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", 'method = "resources/read"']
    lines.append(f"uri = {toml(without_fields(str(resource['uri'])))}")
    return _lines(_about(resource), left_out, lines)


def _template(name: str, template: Mapping[str, Any]) -> str:
    """A template's operation is a comment, since nobody knows what its variables may be."""
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", 'method = "resources/read"']
    uri = one_line(template["uriTemplate"], 200)
    lines.append(f"uri = {toml(without_fields(uri))}  # fill in its variables")
    return _lines(_about(template), "Left out, since a template has variables. Fill them in, and uncomment it.", lines)


def _prompt(name: str, prompt: Mapping[str, Any], left_out: str) -> str:
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", 'method = "prompts/get"']
    lines.append(f"params.name = {toml(without_fields(str(prompt['name'])))}")
    for argument, value in prompt_arguments(prompt).items():
        lines.append(f"arguments.{toml_key(without_fields(argument))} = {toml(without_fields(value))}  # required")
    return _lines(_about(prompt), left_out, list(dict.fromkeys(lines)))


def _about(entry: Mapping[str, Any]) -> Iterator[str]:
    yield one_line(first_line(entry.get("description")) or entry.get("title") or "", 110)


def _operation_without_tool(about: Mapping[str, Any]) -> str:
    """The operation if no tool can be called, because a scenario needs one."""
    method = "tools/list" if "tools" in (about.get("capabilities") or ()) else "ping"
    comment = "# No tool is called above, so this request is the only one to measure."
    return f"\n{comment}\n[[scenarios.operations]]\nname = {toml(operation_name(method))}\nmethod = {toml(method)}"


def without_fields(value: Any) -> Any:
    """The value with the braces of placeholders doubled: "{name}" becomes "{{name}}"."""
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, dict):
        return {without_fields(str(key)): without_fields(entry) for key, entry in value.items()}
    return [without_fields(entry) for entry in value] if isinstance(value, list) else value
