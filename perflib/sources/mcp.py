"""Suites from MCP servers, at a URL or by their command: a server lists its tools itself."""

from __future__ import annotations

import asyncio
import re
import shutil

from perflib.sources.format import Format
from perflib.sources.given import Given, table
from perflib.sources.mcp_listing import read_listing, suite_of
from perflib.sources.mcp_suite import reason_left_out
from perflib.sources.mcp_target import target_of, without_secrets
from perflib.sources.writer import Written


def _recognises(given: Given) -> bool:
    first = given.words[0]
    if given.is_file:
        return "mcpServers" in table(given.json)
    return bool(re.match(r"https?://", first)) or shutil.which(first) is not None


def _write(given: Given) -> Written:
    target = target_of(given.words, given.headers)
    listing = asyncio.run(read_listing(target, given.timeout_s))
    text = suite_of(listing, target, given.out)
    left_out = sum(bool(reason_left_out(tool)) for tool in listing.tools)
    losses = [f"the server refused its {name}: {reason}" for name, reason in listing.refused.items()]
    needed = dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+)\}", str(without_secrets(target).headers)), "")
    return Written(text, needed, losses, max(1, len(listing.tools) - left_out), left_out)


FORMAT = Format("mcp", "the URL or the command of an MCP server", _recognises, _write)
