"""Suites from MCP servers, at a URL or by their command: a server lists its tools itself."""

from __future__ import annotations

import asyncio
import re
import shutil

from perflib.sources import mcp_listing
from perflib.sources.format import Format
from perflib.sources.given import Given, table
from perflib.sources.mcp_suite import reason_left_out
from perflib.sources.writer import Written


def _recognises(given: Given) -> bool:
    first = given.words[0]
    if given.is_file:
        return "mcpServers" in table(given.json)
    return bool(re.match(r"https?://", first)) or shutil.which(first) is not None


def _write(given: Given) -> Written:
    target = mcp_listing.target_of(given.words, given.headers)
    listing = asyncio.run(mcp_listing.read_listing(target, given.timeout_s))
    text = mcp_listing.suite_of(listing, target, given.out)
    left_out = sum(bool(reason_left_out(tool)) for tool in listing.tools)
    losses = [f"the server refused its {name}: {reason}" for name, reason in listing.refused.items()]
    needed = dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+)\}", str(mcp_listing.without_secrets(target).headers)), "")
    return Written(text, needed, losses, max(1, len(listing.tools) - left_out), left_out)


FORMAT = Format("mcp", "the URL or the command of an MCP server", _recognises, _write)
