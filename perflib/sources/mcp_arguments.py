"""Example arguments for the tools and prompts of an MCP server, and which of them are no more than a guess."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perflib.sources.examples import PLAIN, example
from perflib.sources.schemas import SchemaDocument
from perflib.suite.target import McpTargetSpec

Tool = Mapping[str, Any]
_OF_A_PLACE: Final = re.compile(r"(?:path|dir|directory|folder|repo|repository|root|file|filename)s?$", re.IGNORECASE)
_MOST_FILES: Final = 1_000  # of a folder that are looked through
_MOST_PROMPT_ARGUMENTS: Final = 8


def places_in(target: McpTargetSpec) -> list[Path]:
    """The folders that a server's command names: `server-files /srv/data`, `server-git --repository=/srv/code`."""
    words = (word.rpartition("=")[2] for word in target.command[1:])
    folders = (Path(target.cwd or ".", word) for word in words if "/" in word or "\\" in word)
    return [folder.resolve() for folder in folders if folder.is_dir()]


def arguments_of(tool: Tool, places: Sequence[Path] = ()) -> dict[str, Any]:
    """The example arguments of a tool, as the suite has them.

    An argument of which the schema says nothing is the place that the server was started for, if its name says that it
    is a place: `repo_path`, `directory`, `files`.
    """
    schema = tool.get("inputSchema")
    values = example(schema) if isinstance(schema, dict) else {}
    if not isinstance(values, dict):
        return {}
    for name, value in values.items():
        if places and value in (PLAIN, [PLAIN]) and _OF_A_PLACE.search(name):
            place = _place(f"{tool.get('name')} {name}", places[0])
            values[name] = [place] if isinstance(value, list) else place
    return values


def _place(words: str, folder: Path) -> str:
    """The first file of the folder where the words speak of a file, else the folder."""
    speaks_of_file = re.search(r"file", words, re.IGNORECASE) and not re.search(r"dir|folder|list|search", words)
    if not speaks_of_file:
        return str(folder)
    entries = sorted(itertools.islice(folder.iterdir(), _MOST_FILES))
    return str(next((entry for entry in entries if entry.is_file()), folder))


def guesses(tool: Tool, places: Sequence[Path] = ()) -> list[str]:
    """The required arguments of a tool for which nobody gave an example."""
    schema = tool.get("inputSchema")
    document = SchemaDocument(schema if isinstance(schema, dict) else {})
    required = document.merged(document.root).get("required", ())
    return [name for name, value in arguments_of(tool, places).items() if name in required and _is_guess(value)]


def _is_guess(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_guess, value.values()))
    return any(map(_is_guess, value)) if isinstance(value, list) else value == PLAIN


def prompt_arguments(prompt: Mapping[str, Any]) -> dict[str, str]:
    """Example values for the required arguments of a prompt."""
    arguments = prompt.get("arguments")
    values = {}
    for argument in (arguments if isinstance(arguments, list) else [])[:_MOST_PROMPT_ARGUMENTS]:
        if isinstance(argument, dict) and isinstance(argument.get("name"), str) and argument.get("required") is True:
            schema = {"type": "string", "description": argument.get("description", "")}
            values[argument["name"]] = str(example(schema))
    return values
