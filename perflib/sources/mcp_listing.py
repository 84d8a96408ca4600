"""`perflib mcp inspect`: read what an MCP server offers, print it, and write a first suite for it.

target_of(["npx", "-y", "some-server"]) · await read_listing(target, 60) · describe(listing, target) · save(text, path)

Exit codes: 2 for wrong input (no URL, no such command, a file that exists), 4 if no MCP server answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from perflib.errors import PerflibError, SuiteError, TargetError
from perflib.sources.hiding import variable_name
from perflib.sources.mcp_suite import (
    MOST_TOOLS,
    Tried,
    arguments_of,
    danger,
    first_line,
    is_read_only,
    reason_left_out,
    says_error,
    starter_suite,
    type_words,
)
from perflib.sources.schemas import SchemaDocument
from perflib.suite.redaction import follows_secret_flag, learn, learn_secret, names_secret, struck_out, without_known
from perflib.suite.target import McpTargetSpec, Ready
from perflib.targets.mcp.results import problem_of
from perflib.text import all_cleaned, one_line, table

if TYPE_CHECKING:
    from perflib.targets.mcp import McpTarget

MOST_PAGES, MOST_ENTRIES = 1_000, 10_000  # of one list of a server
LISTS_SHARE = 0.5  # of the time, for all lists
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
_VARIABLE = re.compile(r"([A-Za-z]+ )?\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_IS_IT_A_SERVER = "is this URL or command an MCP server?"


@dataclass(frozen=True)
class Listing:
    """What a server reports about itself.

    `about` has server, protocol_version, transport, era and capabilities; `refused` has the lists that were refused, or
    that did not end, with reasons; `tried` what tools answered that were called once.
    """

    about: dict[str, Any]
    tools: list[dict[str, Any]]
    resources: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    templates: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    tried: dict[str, Tried] = field(default_factory=dict)


class Refused(TargetError):
    """The server answered a request with an error."""

    def __init__(self, what: str, code: Any = None) -> None:
        super().__init__(what)
        self.code = code


async def read_listing(target: McpTargetSpec, timeout_s: float, *, tries: bool = False) -> Listing:
    """Connect, request every list and disconnect, so that no process is left.

    `tries`: each tool that is marked as read-only is called once.

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
            return replace(listing, tried=await _tried(server, listing.tools, timeout_s)) if tries else listing
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


async def _tried(server: McpTarget, tools: Sequence[dict[str, Any]], timeout_s: float) -> dict[str, Tried]:
    """What each tool answers that is marked as read-only, and that the suite will call, to its example arguments."""
    tried: dict[str, Tried] = {}
    each_s = max(1.0, min(10.0, timeout_s / 4))
    for tool in tools[:MOST_TOOLS]:
        if not is_read_only(tool) or reason_left_out(tool):
            continue
        params = {"name": tool["name"], "arguments": arguments_of(tool)}
        try:
            async with asyncio.timeout(each_s):
                tried[tool["name"]] = judged(await server.ask("tools/call", params))
        except TimeoutError:
            tried[tool["name"]] = Tried(False, f"no answer within {each_s:g} s")
    return tried


def judged(answer: Mapping[str, Any]) -> Tried:
    """A tool's answer to a trial."""
    error, result = answer.get("error"), answer.get("result")
    if isinstance(error, dict):
        return Tried(False, one_line(error.get("message"), 300) or "an error without a message")
    if not isinstance(result, dict):
        return Tried(False, "an answer without a result")
    name, why = problem_of("tools/call", result)
    text = one_line(tool_text(result), 300)
    if name:
        return Tried(False, text or why or name)
    return Tried(not says_error(text), text)


def tool_text(result: Mapping[str, Any]) -> str:
    """The text of a tool's result, else its structured content as JSON."""
    content = result.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    if texts:
        return texts[0]
    return json.dumps(result["structuredContent"])[:300] if "structuredContent" in result else ""


def target_of(
    words: Sequence[str],
    headers: Mapping[str, str] | None = None,
    *,
    protocol: str = "auto",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    name: str | None = None,
) -> McpTargetSpec:
    """The target for a URL, a command with its arguments, or an `mcpServers` file. Raises SuiteError.

    `name`: of the server in that file, where it has several.
    """
    from perflib.targets.mcp import McpTarget

    first = words[0]
    learn(list(words))
    for key, value in (env or {}).items():
        if names_secret(key, value):
            learn_secret(value)
    if "://" in first:
        if len(words) > 1:
            mend = "give a URL, or a command with its arguments"
            raise SuiteError(f"a URL takes no further arguments: {words[1]!r}", where=one_line(first, 100), mend=mend)
        if urlsplit(first).username is not None:
            mend = "--header 'Authorization: Bearer ${API_TOKEN}'"
            raise SuiteError("a URL with a user or password", where="URL", mend=f"give it as {mend}")
        if env or cwd:
            raise SuiteError("a URL takes neither --env nor --cwd", where=one_line(first, 100), mend="use --header")
        target = McpTargetSpec(url=first, headers=dict(headers or {}), protocol=protocol)
        McpTarget.check("server", target, [])
        return target
    if len(words) == 1 and first.endswith(".json") and Path(first).is_file():
        words, listed_env, listed_headers, listed_cwd = _server_in(Path(first), name)
        more = {**listed_env, **(env or {})}
        again = target_of(
            words, {**listed_headers, **(headers or {})}, protocol=protocol, env=more, cwd=cwd or listed_cwd
        )
        return again
    if headers:
        raise SuiteError("a command takes no headers", where="--header", mend="set variables with --env")
    if shutil.which(first) is None:
        mend = (
            "check that it is installed and on the PATH; write its arguments as separate words; "
            "a URL begins with http://"
        )
        raise SuiteError("command not found", where=one_line(first, 100), mend=mend)
    target = McpTargetSpec(
        command=tuple(words), protocol=protocol, env=dict(env or {}), cwd=str(Path(cwd).resolve()) if cwd else None
    )
    McpTarget.check("server", target, [])
    return target


def _server_in(path: Path, name: str | None) -> tuple[list[str], dict[str, str], dict[str, str], str | None]:
    """Words, environment, headers and folder of a server in an `mcpServers` file, as clients have them."""
    where = one_line(str(path), 100)
    try:
        servers = json.loads(path.read_text("utf-8")).get("mcpServers")
    except (OSError, ValueError, AttributeError, RecursionError):
        servers = None
    if not isinstance(servers, dict) or not servers:
        raise SuiteError("no mcpServers in this file", where=where, mend='it begins like {"mcpServers": {"name": …')
    names = ", ".join(one_line(each, 40) for each in list(servers)[:20])
    if name is None and len(servers) > 1:
        raise SuiteError("several servers in this file", where=where, mend=f"choose one with --server: {names}")
    entry = servers.get(name or next(iter(servers)))
    if not isinstance(entry, dict):
        raise SuiteError(f"no server {name!r} in this file", where=where, mend=f"there are: {names}")
    args = entry.get("args")
    words = [entry.get("url") or entry.get("command"), *(args if isinstance(args, list) else [])]
    if not all(isinstance(word, str) and word for word in words):
        raise SuiteError("the server has neither url nor command", where=where, mend="give one of them")
    folder = entry.get("cwd")
    return words, _texts(entry.get("env")), _texts(entry.get("headers")), folder if isinstance(folder, str) else None


def _texts(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def env_of(texts: Sequence[str]) -> dict[str, str]:
    """{"NAME": "value"} from "NAME=value". Raises SuiteError."""
    env = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise SuiteError("not a variable", where="--env", mend="write it like NAME=value")
        env[name] = value
    return env


def headers_of(texts: Sequence[str]) -> dict[str, str]:
    """{"Name": "value"} from "Name: value". Raises SuiteError."""
    headers = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition(":"))
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not value:
            mend = "write it like 'Authorization: Bearer ${API_TOKEN}'"  # the text itself may be a secret
            raise SuiteError("not a header", where="--header", mend=mend)
        headers[name] = value
        if not _VARIABLE.fullmatch(value):
            learn_secret(value)
    return headers


def without_secrets(target: McpTargetSpec) -> McpTargetSpec:
    """The target without secrets: references to variables stay, other values become ${NAME_OF_THE_HEADER}."""

    def hidden(match: re.Match[str]) -> str:
        secret = struck_out(match[0]) != match[0] and not _VARIABLE.fullmatch(match[3])
        return f"{match[1]}{match[2]}=${{{variable_name(match[2])}}}" if secret else match[0]

    headers = {n: v if _VARIABLE.fullmatch(v) else f"${{{variable_name(n)}}}" for n, v in target.headers.items()}
    url = re.sub(r"([?&])([^=&]+)=([^&#]*)", hidden, target.url) if target.url else None
    command = tuple(_word(target.command, i) for i in range(len(target.command)))
    env = {
        n: f"${{{n}}}" if names_secret(n, v) and not _VARIABLE.fullmatch(v) else struck_out(v)
        for n, v in target.env.items()
    }
    return replace(target, headers=headers, url=url, command=command, env=env)


def _word(command: Sequence[str], at: int) -> str:
    """A word of a command; ${NAME_OF_THE_OPTION} instead of a secret behind it or in it."""
    flag, separator, value = command[at].partition("=")
    if follows_secret_flag(command, at):
        return f"${{{variable_name(command[at - 1])}}}"
    if separator and names_secret(flag, value):
        return f"{flag}=${{{variable_name(flag)}}}"
    return struck_out(command[at])


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
        listing.about, listing.tools, written, file=shlex.quote(str(path)), others=others, tried=listing.tried
    )
    return without_known(made)


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


def shown(target: McpTargetSpec) -> str:
    """The URL without its query, or the command, in one line."""
    words = without_secrets(target).command
    return one_line(without_known(target.url.partition("?")[0] if target.url else shlex.join(words)), 100)


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
