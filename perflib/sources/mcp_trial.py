"""Sends each operation of an MCP server once that changes nothing, to see whether its example arguments work."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from perflib.sources.mcp_arguments import Tool, arguments_of, prompt_arguments
from perflib.targets.mcp.results import problem_of
from perflib.text import one_line

MOST: Final = {"tools/call": 100, "resources/read": 8, "prompts/get": 8}  # that a suite has of each
_LONGEST_S: Final = 10.0
_FAILED: Final = re.compile(
    r"\s*((?:error|failed|failure|exception|traceback|invalid|access denied)\b:?)", re.IGNORECASE
)
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """What an operation answered when it was sent once. `is_good`: the answer is one that a load test can use."""

    is_good: bool
    answer: str


async def trials(
    ask: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]],
    offered: Mapping[str, Sequence[Entry]],
    places: Sequence[Path],
    until: float,
) -> dict[tuple[str, str], Trial]:
    """The answers, by method and name or URI, to what is `offered`, by method, as far as it changes nothing.

    until: the time, as time.monotonic() has it, after which nothing more is sent.
    """
    answers: dict[tuple[str, str], Trial] = {}
    for method, name, params in _requests(offered, places):
        wait_s = min(_LONGEST_S, until - time.monotonic())
        if wait_s <= 0:
            break
        try:
            async with asyncio.timeout(wait_s):
                answers[method, name] = judged(method, await ask(method, params))
        except TimeoutError:
            answers[method, name] = Trial(False, f"no answer within {wait_s:.3g} s")
    return answers


def _requests(
    offered: Mapping[str, Sequence[Entry]], places: Sequence[Path]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for tool in offered["tools/call"][: MOST["tools/call"]]:
        if is_read_only(tool):
            yield "tools/call", tool["name"], {"name": tool["name"], "arguments": arguments_of(tool, places)}
    for resource in offered["resources/read"][: MOST["resources/read"]]:
        yield "resources/read", resource["uri"], {"uri": resource["uri"]}
    for prompt in offered["prompts/get"][: MOST["prompts/get"]]:
        yield "prompts/get", prompt["name"], {"name": prompt["name"], "arguments": prompt_arguments(prompt)}


def is_read_only(tool: Tool) -> bool:
    """Whether the server says that a tool changes nothing, so that it can be tried."""
    return _hint(tool, "readOnlyHint") is True


def changes_something(tool: Tool) -> bool:
    """Whether the server says that a tool is not read-only."""
    return _hint(tool, "readOnlyHint") is False


def reaches_others(tool: Tool) -> bool:
    """Whether the server says that a tool deals with things outside of it, such as the internet."""
    return _hint(tool, "openWorldHint") is True


def _hint(tool: Tool, name: str) -> Any:
    annotations = tool.get("annotations")
    return annotations.get(name) if isinstance(annotations, dict) else None


def judged(method: str, answer: Mapping[str, Any]) -> Trial:
    """Whether an answer is good, and its text."""
    error, result = answer.get("error"), answer.get("result")
    if isinstance(error, dict):
        return Trial(False, one_line(error.get("message"), 300) or "an error without a message")
    if not isinstance(result, dict):
        return Trial(False, "an answer without a result")
    name, why = problem_of(method, result)
    text = one_line(_text(result), 300)
    if name:
        return Trial(False, text or why or name)
    return Trial(not says_error(text), text)


def says_error(answer: str) -> str:
    """The first word of an answer that is good for MCP, and says that something failed; "" for any other."""
    match = _FAILED.match(answer)
    return match[1] if match else ""


def _text(result: Mapping[str, Any]) -> str:
    """The text of a tool's result, else its structured content as JSON."""
    content = result.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    if texts:
        return texts[0]
    return json.dumps(result["structuredContent"])[:300] if "structuredContent" in result else ""
