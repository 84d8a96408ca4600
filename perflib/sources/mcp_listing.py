"""`perflib mcp inspect`: read what an MCP server offers, print it, and write a first suite for it.

target_of(["npx", "-y", "some-server"]) · await read_listing(target, 60) · describe(listing, target) · save(text, path)

Exit codes: 2 for wrong input (no URL, no such command, a file that exists), 4 if no MCP server answers.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from perflib.errors import PerflibError, SuiteError, TargetError
from perflib.sources.mcp_suite import danger, first_line, starter_suite, type_words
from perflib.sources.schemas import SchemaDocument
from perflib.suite.redaction import follows_secret_flag, learn, learn_secret, names_secret, struck_out, without_known
from perflib.suite.target import McpTargetSpec, Ready
from perflib.text import all_cleaned, one_line, table

if TYPE_CHECKING:
    from perflib.targets.mcp import McpTarget

MOST_PAGES, MOST_ENTRIES = 1_000, 10_000  # of one list of a server
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

    `about` has server, protocol_version, transport, era and capabilities; `refused` has the refused lists with reasons.
    """

    about: dict[str, Any]
    tools: list[dict[str, Any]]
    resources: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


class Refused(TargetError):
    """The server answered a request with an error."""

    def __init__(self, what: str, code: Any = None) -> None:
        super().__init__(what)
        self.code = code


async def read_listing(target: McpTargetSpec, timeout_s: float) -> Listing:
    """Connect, request every list and disconnect, so that no process is left.

    Raises TargetError if no MCP server answers within the timeout, SuiteError if the target is wrong.
    """
    from perflib.targets.mcp import McpTarget

    where = shown(target)
    server = McpTarget("server", replace(target, ready=Ready(timeout_s=timeout_s + 60)))
    try:
        async with asyncio.timeout(timeout_s):
            await server.open()
            return await _all_lists(server)
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


async def _all_lists(server: McpTarget) -> Listing:
    """All lists that the server announces. Tools are required; if it refuses another list, the reason is recorded."""
    about = dict(server.info())
    lists: dict[str, list[dict[str, Any]]] = {"tools": [], "resources": [], "prompts": []}
    refused: dict[str, str] = {}
    for name in lists:
        promised = name in (about.get("capabilities") or ())
        if not promised and name != "tools":
            continue
        try:
            lists[name] = await _all_pages(server, name)
        except Refused as error:
            if name == "tools" and error.code != _METHOD_NOT_FOUND:
                raise
            if promised:
                refused[name] = error.what
    return Listing(about, **lists, refused=refused)


async def _all_pages(server: McpTarget, name: str) -> list[dict[str, Any]]:
    """All pages of one list; a repeated cursor ends it, and so does a length that no server needs."""
    entries: list[dict[str, Any]] = []
    cursor: str | None = None
    seen: set[str | None] = set()
    while cursor not in seen and len(seen) < MOST_PAGES and len(entries) < MOST_ENTRIES:
        seen.add(cursor)
        answer = await server.ask(f"{name}/list", {"cursor": cursor} if cursor is not None else {})
        if "result" not in answer:
            error = answer["error"]
            raise Refused(f"the server refused `{name}/list`: {error.get('message')}", error.get("code"))
        page = all_cleaned(answer["result"])
        entries += [e for e in page.get(name) or () if isinstance(e, dict) and isinstance(e.get("name"), str)]
        cursor = page.get("nextCursor") if isinstance(page.get("nextCursor"), str) else None
    return entries[:MOST_ENTRIES]


def target_of(words: Sequence[str], headers: Mapping[str, str] | None = None) -> McpTargetSpec:
    """The target for a URL, or for a command with its arguments. Raises SuiteError."""
    from perflib.targets.mcp import McpTarget

    first = words[0]
    learn(list(words))
    if "://" in first:
        if len(words) > 1:
            mend = "give a URL, or a command with its arguments"
            raise SuiteError(f"a URL takes no further arguments: {words[1]!r}", where=one_line(first, 100), mend=mend)
        if urlsplit(first).username is not None:
            mend = "--header 'Authorization: Bearer ${API_TOKEN}'"
            raise SuiteError("a URL with a user or password", where="URL", mend=f"give it as {mend}")
        target = McpTargetSpec(url=first, headers=dict(headers or {}))
        McpTarget.check("server", target, [])
        return target
    if headers:
        raise SuiteError(
            "a command takes no headers", where="--header", mend="set variables in the environment of perflib"
        )
    if shutil.which(first) is None:
        mend = (
            "check that it is installed and on the PATH; write its arguments as separate words; "
            "a URL begins with http://"
        )
        raise SuiteError("command not found", where=one_line(first, 100), mend=mend)
    return McpTargetSpec(command=tuple(words))


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
        return f"{match[1]}{match[2]}=${{{variable(match[2])}}}" if secret else match[0]

    headers = {n: v if _VARIABLE.fullmatch(v) else f"${{{variable(n)}}}" for n, v in target.headers.items()}
    url = re.sub(r"([?&])([^=&]+)=([^&#]*)", hidden, target.url) if target.url else None
    command = tuple(_word(target.command, i) for i in range(len(target.command)))
    return replace(target, headers=headers, url=url, command=command)


def _word(command: Sequence[str], at: int) -> str:
    """A word of a command; ${NAME_OF_THE_OPTION} instead of a secret behind it or in it."""
    flag, separator, value = command[at].partition("=")
    if follows_secret_flag(command, at):
        return f"${{{variable(command[at - 1])}}}"
    if separator and names_secret(flag, value):
        return f"{flag}=${{{variable(flag)}}}"
    return struck_out(command[at])


def variable(name: str) -> str:
    """The environment variable for a header or a parameter: X-Api-Key is X_API_KEY."""
    plain = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return plain if plain[:1].isalpha() else f"HEADER_{plain}"


def suite_of(listing: Listing, target: McpTargetSpec, path: Path) -> str:
    """The suite, for a file at `path`. A command runs in the suite's folder, so any other folder is written down."""
    written = without_secrets(target)
    if target.command and path.resolve().parent != Path.cwd().resolve():
        written = replace(written, cwd=str(Path.cwd()))
    return without_known(starter_suite(listing.about, listing.tools, written, file=shlex.quote(str(path))))


def must_be_new(path: Path) -> None:
    """Raise SuiteError if the file exists."""
    if path.exists():
        raise SuiteError(
            "there is such a file already", where=str(path), mend="choose another file with --out, or delete it"
        )


def save(text: str, path: Path) -> None:
    """Write a new file. Raises SuiteError if it exists or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        must_be_new(path)
        raise
    except OSError as error:
        mend = "choose another file with --out"
        raise SuiteError(f"cannot write it: {error.strerror}", where=str(path), mend=mend) from None


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
    words = first_line(entry.get("description")) or entry.get("title") or (entry["name"] if key != "name" else "")
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
