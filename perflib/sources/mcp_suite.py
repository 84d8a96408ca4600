"""Writes a first suite, as TOML, for the tools that an MCP server lists.

Names, descriptions and examples come from the server and may be hostile. In comments they become one printable line, in
strings they are escaped, and braces of placeholders are doubled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.sources.examples import example
from perflib.sources.schemas import SchemaDocument, types
from perflib.sources.toml_text import toml, toml_key
from perflib.suite.placeholders import literal
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import is_loopback
from perflib.text import one_line

Tool = Mapping[str, Any]
DANGEROUS: Final = (
    "delete", "remove", "drop", "destroy", "erase", "purge", "wipe", "truncate", "uninstall", "unlink", "rm", "kill",
    "terminate", "shutdown", "reset", "revoke", "overwrite", "clear",
)  # fmt: skip
_DANGEROUS_BEGINNINGS: Final = ("delete", "remove", "destroy", "erase", "purge", "wipe", "truncate")  # "deletefile" too
MOST_TOOLS: Final = 100  # that are written
MOST_OTHERS: Final = 8  # resources, templates and prompts of each that are written
_FAILED: Final = re.compile(
    r"\s*((?:error|failed|failure|exception|traceback|invalid|access denied)\b:?)", re.IGNORECASE
)

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


@dataclass(frozen=True, slots=True)
class Tried:
    """What a tool answered when it was called once. `is_good`: the answer is one that a load test can use."""

    is_good: bool
    answer: str


def starter_suite(
    about: Mapping[str, Any],
    tools: Sequence[Tool],
    target: McpTargetSpec,
    *,
    file: str = "suite.toml",
    others: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    tried: Mapping[str, Tried] | None = None,
) -> str:
    """The TOML of a suite with one operation for each tool, and for some resources and prompts.

    `about`, `tools` and `others` (lists of `resources`, `resourceTemplates` and `prompts`) come from the server.
    `target` is written unchanged, so it must not contain secrets. `file` is the path of the suite, which its first
    lines show.
    """
    tools = [tool for tool in tools if tool["name"]]  # a tool without a name cannot be called
    tried, others = tried or {}, others or {}
    written = tools[:MOST_TOOLS]
    parts: list[tuple[str, Callable[[str], str]]] = [
        (str(tool["name"]), partial(_operation, tool=tool, tried=tried.get(str(tool["name"])))) for tool in written
    ]
    parts += _other_operations(others)
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


def is_read_only(tool: Tool) -> bool:
    """Whether the server says that a tool changes nothing, so that it can be tried."""
    annotations = tool.get("annotations")
    return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True


def arguments_of(tool: Tool) -> dict[str, Any]:
    """The example arguments of a tool, as the suite has them."""
    schema = tool.get("inputSchema")
    values = example(schema) if isinstance(schema, dict) else {}
    return values if isinstance(values, dict) else {}


def _operation(name: str, tool: Tool, tried: Tried | None = None) -> str:
    """The lines of one tool, as comments if it is left out."""
    left_out = reason_left_out(tool)
    if not left_out and tried is not None and not tried.is_good:
        left_out = f"Left out, since it failed when it was tried: {one_line(tried.answer, 140)}"
    comments = [one_line(first_line(tool.get("description")), 110), left_out]
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", f"tool = {toml(without_fields(str(tool['name'])))}"]
    lines += _arguments(tool.get("inputSchema"))
    if tried is not None and tried.is_good:
        lines.append(f"# answered: {one_line(tried.answer, 100)}")
    elif tried is not None and says_error(tried.answer):
        lines.append(f"expect = {{ absent = {toml([says_error(tried.answer)])} }}  # a failure that is no error of MCP")
    if left_out:
        lines = [f"# {line}" for line in lines]
    return "\n".join(["", *(f"# {comment}" for comment in comments if comment), *lines])


def _arguments(schema: Any) -> Iterator[str]:
    values = arguments_of({"inputSchema": schema})
    document = SchemaDocument(schema)
    tool = document.merged(document.root)
    properties, required = tool.get("properties", {}), frozenset(tool.get("required", ()))
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


def says_error(answer: str) -> str:
    """The first word of an answer that is good for MCP, and says that something failed; "" for any other."""
    match = _FAILED.match(answer)
    return match[1] if match else ""


def _other_operations(others: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Names and makers of the operations for some resources, their templates, and prompts."""
    for resource in others.get("resources", ())[:MOST_OTHERS]:
        yield f"read {resource['uri']}", partial(_resource, resource=resource)
    for template in others.get("resourceTemplates", ())[:MOST_OTHERS]:
        yield f"read {template['uriTemplate']}", partial(_template, template=template)
    for prompt in others.get("prompts", ())[:MOST_OTHERS]:
        yield f"prompt {prompt['name']}", partial(_prompt, prompt=prompt)


def _resource(name: str, resource: Mapping[str, Any]) -> str:
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", 'method = "resources/read"']
    lines.append(f"uri = {toml(without_fields(str(resource['uri'])))}")
    return "\n".join(["", *_about(resource), *lines])


def _template(name: str, template: Mapping[str, Any]) -> str:
    """A template's operation is a comment, since nobody knows what its variables may be."""
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", 'method = "resources/read"']
    uri = one_line(template["uriTemplate"], 200)
    lines.append(f"uri = {toml(without_fields(uri))}  # fill in its variables")
    why = "# Left out, since a template has variables. Fill them in, and uncomment it."
    return "\n".join(["", *_about(template), why, *(f"# {line}" for line in lines)])


def _prompt(name: str, prompt: Mapping[str, Any]) -> str:
    arguments = prompt.get("arguments")
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}", 'method = "prompts/get"']
    lines.append(f"params.name = {toml(without_fields(str(prompt['name'])))}")
    for argument in (arguments if isinstance(arguments, list) else [])[:MOST_OTHERS]:
        if isinstance(argument, dict) and isinstance(argument.get("name"), str) and argument.get("required") is True:
            schema = {"type": "string", "description": argument.get("description", "")}
            value = toml(without_fields(example(schema)))
            lines.append(f"arguments.{toml_key(without_fields(argument['name']))} = {value}  # required")
    return "\n".join(["", *_about(prompt), *dict.fromkeys(lines)])


def _about(entry: Mapping[str, Any]) -> Iterator[str]:
    words = one_line(first_line(entry.get("description")) or entry.get("title") or "", 110)
    if words:
        yield f"# {words}"


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
