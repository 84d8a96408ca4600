"""The target that `perflib mcp inspect` is given: a URL, a command, or a server of an `mcpServers` file.

target_of(["npx", "-y", "some-server"]) · without_secrets(target), as a suite may have it
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from perflib.errors import SuiteError
from perflib.sources.hiding import variable_name
from perflib.suite.redaction import follows_secret_flag, learn, learn_secret, names_secret, struck_out, without_known
from perflib.suite.target import McpTargetSpec
from perflib.text import one_line

_VARIABLE = re.compile(r"([A-Za-z]+ )?\$\{[A-Za-z_][A-Za-z0-9_]*\}")


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


def shown(target: McpTargetSpec) -> str:
    """The URL without its query, or the command, in one line."""
    words = without_secrets(target).command
    return one_line(without_known(target.url.partition("?")[0] if target.url else shlex.join(words)), 100)
