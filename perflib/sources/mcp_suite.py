"""A suite to start from, written for an MCP server's tools. Pure: what the server said in, TOML out.

Names, descriptions and examples are the server's and may be hostile: in comments they are one printable line, in strings they
are escaped, and braces that perflib would fill are doubled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.sources.examples import example
from perflib.sources.schemas import Schemas, items_of, listed, tabled, types
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import is_loopback
from perflib.text import one_line

Tool = Mapping[str, Any]
DANGEROUS: Final = (
    "delete",
    "remove",
    "drop",
    "destroy",
    "erase",
    "purge",
    "wipe",
    "truncate",
    "uninstall",
    "unlink",
    "rm",
    "kill",
    "terminate",
    "shutdown",
    "reset",
    "revoke",
    "overwrite",
    "clear",
)
_STARTS: Final = ("delete", "remove", "destroy", "erase", "purge", "wipe", "truncate")  # "deletefile" too
_DEEPEST: Final = 40

_HEAD: Final = """\
# Written by `perflib mcp inspect`. Try it, then read the report:
#     perflib run {file}
#     perflib report
# Every operation is one tool, with arguments made from its schema. They are made up, so edit them before you trust a figure:
#   arguments    what real users send; what a tool refuses is an error in the report
#   weight       `weight = 3` is called three times as often as one without
#   load         more users, longer, or a rate: {{ model = "constant", rate_per_s = 50, duration_s = 30 }}
#   objectives   what you promise, as "echo: p99 response < 50 ms"
# Each call is made for real, thousands of times: leave out the tools where that does harm.
"""


def starter_suite(
    about: Mapping[str, Any], tools: Sequence[Tool], target: McpTargetSpec, *, file: str = "suite.toml"
) -> str:
    """The TOML of a suite with one operation for each tool. `target` is written as it is: without secrets."""
    tools = [tool for tool in tools if tool["name"]]  # what has no name can't be called
    names = _names([str(tool["name"]) for tool in tools])
    calls = [_operation(name, tool) for name, tool in zip(names, tools, strict=True)]
    if all(left_out(tool) for tool in tools):
        calls.append(_instead(about))
    lines = [
        *_HEAD.format(file=one_line(file, 200)).splitlines(),
        f"name = {toml(operation_name(server_name(about)))}",
        *_foreign(target),
        "",
        *_target(target),
        "",
        "[[scenarios]]",
        'name = "calls"',
        'target = "server"',
        'load = { model = "closed", concurrency = 4, duration_s = 10 }  # four users, each waits for its answer',
        'objectives = ["error rate < 1 %", "p95 response < 500 ms"]',
    ]
    return "\n".join([*lines, *(line for call in calls for line in call), ""])


def server_name(about: Mapping[str, Any]) -> str:
    """What the server calls itself."""
    server = about.get("server")
    return one_line(server.get("name", ""), 60) if isinstance(server, dict) else ""


def file_name(about: Mapping[str, Any]) -> str:
    """`<server-name>.toml`, of plain characters."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", server_name(about)).strip("-.")
    return f"{plain or 'mcp-server'}.toml"


def left_out(tool: Tool) -> str:
    """Why a tool is not called by the suite, in a sentence, or ""."""
    why, run = danger(tool), tool.get("execution")
    if why:
        return f"Left out: {one_line(why, 80)}. Uncomment it where a thousand calls destroy nothing."
    needs_task = isinstance(run, dict) and run.get("taskSupport") == "required"
    return "Left out: the server runs it as a task only, and refuses a plain call." if needs_task else ""


def danger(tool: Tool) -> str:
    """What makes a tool look destructive, or ""."""
    notes = tool.get("annotations")
    if isinstance(notes, dict) and notes.get("destructiveHint") is True:
        return "the server says that it is destructive"
    for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", str(tool["name"])):
        if word.lower() in DANGEROUS or word.lower().startswith(_STARTS):
            return f'its name says "{word}"'
    return ""


def kind(schemas: Schemas, schema: Any, depth: int = 0) -> str:
    """A type in a few words: string, integer[], "a" | "b", string | null."""
    flat = schemas.flat(schema)
    if listed(flat, "enum"):
        known = [f'"{v}"' if isinstance(v, str) else str(v) for v in flat["enum"][:5]]
        return one_line(" | ".join([*known[:4], *(["…"] if len(known) > 4 else [])]), 60)
    branches = [*listed(flat, "anyOf"), *listed(flat, "oneOf")][:6]
    if depth > 3:
        return "…"
    if branches:
        return one_line(" | ".join(dict.fromkeys(kind(schemas, branch, depth + 1) for branch in branches)), 60)
    names = [f"{kind(schemas, items_of(flat)[1], depth + 1)}[]" if t == "array" else t for t in types(flat)]
    return one_line(" | ".join(names), 60)


def operation_name(text: str) -> str:
    """The text as a suite may name things: one line without colons, at most 80 characters."""
    return one_line(text.replace(":", "."), 76) or "tool"


def _names(names: Sequence[str]) -> list[str]:
    """A name for each operation, no two the same."""
    made: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain, number = operation_name(name), 1
        unique = plain
        while unique in taken:
            number += 1
            unique = f"{plain[:70]} {number}"
        taken.add(unique)
        made.append(unique)
    return made


def _foreign(target: McpTargetSpec) -> Iterator[str]:
    """The suite does not allow by itself to load somebody else's machine."""
    host = urlsplit(target.url or "").hostname if target.url else None
    if host and not is_loopback(host):
        yield f"# {one_line(host, 200)} is not this machine. If you may put load on it, uncomment:"
        yield f"# allow_hosts = [{toml(host)}]"


def _target(target: McpTargetSpec) -> Iterator[str]:
    yield from ("[targets.server]", 'kind = "mcp"')
    if target.url:
        yield f"url = {toml(target.url)}"
    else:
        yield f"command = {toml(list(target.command))}"
        yield "ready = { timeout_s = 60 }"
    if target.cwd:
        yield f"cwd = {toml(target.cwd)}"
    if target.headers:
        names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", " ".join(target.headers.values())))
        yield f"# never written anywhere, but taken from the environment: {', '.join(names)}"
        yield f"headers = {toml(dict(target.headers))}"


def _operation(name: str, tool: Tool) -> list[str]:
    """The lines of one tool; comments where it is left out."""
    lines = [
        "[[scenarios.operations]]",
        f"name = {toml(name)}",
        f"tool = {toml(literal(str(tool['name'])))}",
        *_arguments(tool.get("inputSchema")),
    ]
    said = one_line(first_line(tool.get("description")), 110)
    heading = ["", *([f"# {said}"] if said else [])]
    why = left_out(tool)
    return [*heading, f"# {why}", *(f"# {line}" for line in lines)] if why else [*heading, *lines]


def _arguments(schema: Any) -> Iterator[str]:
    made = example(schema) if isinstance(schema, dict) else {}
    schemas = Schemas(schema)
    flat = schemas.flat(schema)
    own, required = tabled(flat, "properties"), listed(flat, "required")
    written = set()
    for key, value in made.items() if isinstance(made, dict) else ():
        text, name = toml(literal(value)), toml(literal(key))
        note = ", ".join([kind(schemas, own.get(key, True)), "required" if key in required else "optional"])
        said = one_line(first_line(schemas.flat(own.get(key)).get("description")), 70)
        if text and name not in written:
            written.add(name)
            yield f"arguments.{toml_key(literal(key))} = {text}  # {note}{': ' if said else ''}{said}"
        elif not text:
            yield f"# {one_line(key, 60)}: {note}; no example"
    others = [f"{one_line(key, 40)} ({kind(schemas, own[key])})" for key in own if not made or key not in made]
    if others:
        yield f"# it also takes {one_line(', '.join(others), 400)}"


def _instead(about: Mapping[str, Any]) -> list[str]:
    """What is called where there is no tool to call: a scenario needs an operation."""
    method = "tools/list" if "tools" in (about.get("capabilities") or ()) else "ping"
    return [
        "",
        "# No tool is called above, so that this is all there is to measure yet.",
        "[[scenarios.operations]]",
        f"name = {toml(operation_name(method))}",
        f"method = {toml(method)}",
    ]


def first_line(text: Any) -> str:
    """The first line of a description that says something."""
    return next((line for line in text.splitlines() if line.strip()), "") if isinstance(text, str) else ""


def literal(value: Any, depth: int = 0) -> Any:
    """The value as a suite writes it: what would be filled in, as {name}, is doubled."""
    if isinstance(value, str):
        return re.sub(r"\{([A-Za-z_]\w*)\}", r"{{\1}}", value)
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {literal(str(key)): literal(entry, depth + 1) for key, entry in value.items()}
    return [literal(entry, depth + 1) for entry in value] if isinstance(value, list) else value


def toml(value: Any) -> str:
    """The value in one line of TOML; "" for what TOML cannot say: null. In lists and tables that is left out."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if abs(value) < 2**63 else ""
        case float():
            return repr(value) if math.isfinite(value) else ""
        case str():
            return '"' + "".join(map(_escaped, value)) + '"'
        case list():
            return f"[{', '.join(filter(None, map(toml, value)))}]"
        case dict():
            entries = {toml_key(str(key)): toml(entry) for key, entry in value.items()}
            inside = ", ".join(f"{key} = {entry}" for key, entry in entries.items() if entry)
            return f"{{ {inside} }}" if inside else "{}"
    return ""


def toml_key(key: str) -> str:
    """A bare key where that is possible."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"  # half of a character, which no file can hold
    return {"\n": "\\n", "\t": "\\t"}.get(char) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
