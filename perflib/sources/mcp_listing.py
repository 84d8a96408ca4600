"""`perflib mcp inspect`: read what an MCP server offers, print it, and write a first suite for it.

target = target_of(["npx", "-y", "some-server"]); listing = await read_listing(target, 60); describe(listing, target);
suite_of(listing, target, path)

Exit codes: 2 for wrong input (no URL, no such command, a file that exists), 4 if no MCP server answers.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perflib.errors import PerflibError, SuiteError, TargetError
from perflib.sources.mcp_arguments import guesses, places_in
from perflib.sources.mcp_suite import danger, first_line, reason_left_out, starter_suite, type_words
from perflib.sources.mcp_target import shown, without_secrets
from perflib.sources.mcp_trial import Trial, trials
from perflib.sources.schemas import SchemaDocument
from perflib.suite.redaction import without_known
from perflib.suite.target import McpTargetSpec, Ready
from perflib.text import all_cleaned, one_line, table

if TYPE_CHECKING:
    from perflib.targets.mcp import McpTarget

MOST_NAMED = 5  # tools whose arguments are guesses
MOST_PAGES, MOST_ENTRIES = 1_000, 10_000  # of one list of a server
LISTS_SHARE, TRIALS_SHARE = 0.5, 0.4  # of the time, for all lists, and for all trials
_LISTS = {  # by name: method, capability, and what an entry must have
    "tools": ("tools/list", "tools", "name"),
    "resources": ("resources/list", "resources", "uri"),
    "prompts": ("prompts/list", "prompts", "name"),
    "resourceTemplates": ("resources/templates/list", "resources", "uriTemplate"),
}
_METHOD_NOT_FOUND = -32601
_WRONG_SHAPE = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
)  # what parsing a malformed answer raises
_IS_IT_A_SERVER = "is this URL or command an MCP server?"


@dataclass(frozen=True)
class Listing:
    """What a server reports about itself.

    `about` has server, protocol_version, transport, era and capabilities; `refused` has the lists that were refused, or
    that did not end, with reasons; `tried` what was answered to operations that were sent once, None if none was.
    """

    about: dict[str, Any]
    tools: list[dict[str, Any]]
    resources: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    templates: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    tried: dict[tuple[str, str], Trial] | None = None


class Refused(TargetError):
    """The server answered a request with an error."""

    def __init__(self, what: str, code: Any = None) -> None:
        super().__init__(what)
        self.code = code


async def read_listing(target: McpTargetSpec, timeout_s: float, *, tries: bool = False) -> Listing:
    """Connect, request every list and disconnect, so that no process is left.

    `tries`: each operation that changes nothing is sent once: tools that are marked as read-only, resources, prompts.

    Raises TargetError if no MCP server answers within the timeout, SuiteError if the target is wrong.
    """
    from perflib.targets.mcp import McpTarget

    where = shown(target)
    server = McpTarget("server", replace(target, ready=Ready(timeout_s=timeout_s + 60)))
    try:
        async with asyncio.timeout(timeout_s):
            until = time.monotonic() + timeout_s * LISTS_SHARE
            await server.open()
            listing = await _all_lists(server, until)
            if not tries:
                return listing
            places = places_in(target)
            offered = {
                "tools/call": [tool for tool in listing.tools if not reason_left_out(tool)],
                "resources/read": listing.resources,
                "prompts/get": listing.prompts,
            }
            return replace(listing, tried=await trials(server.ask, offered, places, until + timeout_s * TRIALS_SHARE))
    except TimeoutError:
        mend = "check that it is an MCP server; if it starts slowly, raise --timeout"
        raise TargetError(f"no answer within {timeout_s:g} s", where=where, mend=mend) from None
    except SuiteError as error:
        raise SuiteError(error.what, where=where, mend=error.mend) from None
    except PerflibError as error:
        what, mend = one_line(error.what, 300), error.mend or _IS_IT_A_SERVER
        if re.search(r"HTTP status 40[13]", what):
            mend = "send a token: --header 'Authorization: Bearer ${API_TOKEN}'"
        raise TargetError(what, where=where, mend=mend) from None
    except OSError as error:
        raise TargetError(
            f"the connection broke: {error}", where=where, mend="check that it is still running"
        ) from None
    except _WRONG_SHAPE:
        raise TargetError("its answer is not MCP", where=where, mend=_IS_IT_A_SERVER) from None
    finally:
        await server.close()


async def _all_lists(server: McpTarget, until: float) -> Listing:
    """All lists that the server announces. Tools are required; if it refuses another list, the reason is recorded."""
    about = dict(server.info())
    lists: dict[str, list[dict[str, Any]]] = {}
    refused: dict[str, str] = {}
    for name, (method, capability, key) in _LISTS.items():
        promised = capability in (about.get("capabilities") or ())
        lists[name] = []
        if not promised and name != "tools":
            continue
        try:
            lists[name], is_whole = await _all_pages(server, method, name, key, until)
            if not is_whole:
                refused[name] = f"the list of {name} does not end; it has {len(lists[name]):,} entries here"
        except Refused as error:
            if name == "tools" and error.code != _METHOD_NOT_FOUND:
                raise
            if promised and name != "resourceTemplates":
                refused[name] = error.what
    return Listing(
        about, lists["tools"], lists["resources"], lists["prompts"], lists["resourceTemplates"], refused=refused
    )


async def _all_pages(
    server: McpTarget, method: str, name: str, key: str, until: float
) -> tuple[list[dict[str, Any]], bool]:
    """All pages of one list, and whether it came to an end; a repeated cursor ends it."""
    entries: list[dict[str, Any]] = []
    cursor: str | None = None
    seen: set[str | None] = set()
    while cursor not in seen:
        if len(seen) >= MOST_PAGES or len(entries) >= MOST_ENTRIES or (seen and time.monotonic() > until):
            return entries[:MOST_ENTRIES], False
        seen.add(cursor)
        answer = await server.ask(method, {"cursor": cursor} if cursor is not None else {})
        if "result" not in answer:
            error = answer["error"]
            raise Refused(f"the server refused `{method}`: {error.get('message')}", error.get("code"))
        page = all_cleaned(answer["result"])
        entries += [e for e in page.get(name) or () if isinstance(e, dict) and isinstance(e.get(key), str)]
        cursor = page.get("nextCursor") or None if isinstance(page.get("nextCursor"), str) else None
        if cursor is None:
            break
    return entries[:MOST_ENTRIES], True


def suite_of(listing: Listing, target: McpTargetSpec, path: Path) -> str:
    """The suite, for a file at `path`. A command runs in the suite's folder, so any other folder is written down."""
    written = without_secrets(target)
    if target.command and not target.cwd and path.resolve().parent != Path.cwd().resolve():
        written = replace(written, cwd=str(Path.cwd()))
    others = {
        "resources": listing.resources,
        "resourceTemplates": listing.templates,
        "prompts": listing.prompts,
    }
    made = starter_suite(
        listing.about,
        listing.tools,
        written,
        file=shlex.quote(str(path)),
        others=others,
        tried=listing.tried,
        places=places_in(target),
    )
    return without_known(made)


def advice(listing: Listing, target: McpTargetSpec) -> str:
    """What is left to do before the suite is run: which of its tools have arguments that are guesses."""
    places, tried = places_in(target), listing.tried or {}
    tools = (tool for tool in listing.tools if not reason_left_out(tool) and ("tools/call", tool["name"]) not in tried)
    unsure = [f"{tool['name']} ({', '.join(guessed)})" for tool in tools if (guessed := guesses(tool, places))]
    if not unsure:
        return "check its arguments, then run:"
    named = one_line(", ".join(unsure[:MOST_NAMED]), 300) + (" …" if len(unsure) > MOST_NAMED else "")
    if listing.tried is not None:
        return f"left out, since they were not tried and their arguments are guesses: {named}; then run:"
    return f"replace what is guessed, since the server gives no example: {named}; or inspect it with --try; then run:"


def describe(listing: Listing, target: McpTargetSpec) -> str:
    """The server, its tools, resources and prompts, as text for a terminal."""
    about = listing.about
    server = about.get("server") if isinstance(about.get("server"), dict) else None
    name, version = (server or {}).get("name") or "unnamed server", (server or {}).get("version")
    parts = [
        f"{one_line(name, 60)} {one_line(version, 30)}".rstrip(),
        f"protocol      {one_line(about.get('protocol_version'), 30)} ({one_line(about.get('era'), 40)})",
        f"transport     {one_line(about.get('transport'), 30)}: {shown(target)}",
        f"capabilities  {', '.join(one_line(name, 40) for name in about.get('capabilities') or ()) or 'none'}",
        _section("tool", [_tool_row(tool) for tool in listing.tools]),
        _section("resource", [_row(resource, "uri") for resource in listing.resources]),
        _section("resource template", [_row(template, "uriTemplate") for template in listing.templates]),
        _section("prompt", [_prompt_row(prompt) for prompt in listing.prompts]),
        *(f"\n{name}: {one_line(reason, 200)}" for name, reason in listing.refused.items()),
    ]
    return "\n".join(filter(None, parts))


def _section(word: str, rows: list[dict[str, str]]) -> str:
    if not rows:
        return ""
    marked = "\n(* required)" if any("*" in row.get("arguments", "") for row in rows) else ""
    return f"\n{len(rows)} {word}{'s' if len(rows) > 1 else ''}\n{table(rows)}{marked}"


def _row(entry: Mapping[str, Any], key: str = "name") -> dict[str, str]:
    words = first_line(entry.get("description")) or entry.get("title") or (entry.get("name") if key != "name" else "")
    return {key: one_line(entry.get(key), 60), "what it is": one_line(words, 60)}


def _tool_row(tool: Mapping[str, Any]) -> dict[str, str]:
    document = SchemaDocument(tool.get("inputSchema"))
    schema = document.merged(document.root)
    required = frozenset(schema.get("required", ()))
    arguments = [
        f"{one_line(name, 40)}{'*' if name in required else ''}: {type_words(document, argument)}"
        for name, argument in schema.get("properties", {}).items()
    ]
    warning = "destructive; " if danger(tool) else ""
    purpose = one_line(warning + first_line(tool.get("description")), 60)
    return {
        "name": one_line(tool["name"], 60),
        "what it does": purpose,
        "arguments": one_line(", ".join(arguments), 400),
    }


def _prompt_row(prompt: Mapping[str, Any]) -> dict[str, str]:
    arguments = prompt.get("arguments")
    names = [
        f"{one_line(argument.get('name'), 40)}{'*' if argument.get('required') is True else ''}"
        for argument in (arguments if isinstance(arguments, list) else ())
        if isinstance(argument, dict)
    ]
    return {**_row(prompt), "arguments": one_line(", ".join(names), 400)}
