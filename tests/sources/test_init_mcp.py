"""`perflib init` with an MCP server, which describes itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perflib.load.preflight import check
from perflib.suite.file import load_suite
from tests.support.command_line import invoke


def test_the_command_of_a_server_is_asked_for_its_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("init", "-o", "tools.toml", "--", sys.executable, "-m", "perflib.service", "--stdio")
    assert done.return_value == 0, done.output
    suite = load_suite("tools.toml")
    check(suite)
    assert suite.targets["server"].kind == "mcp"
    assert "validate_content" in [operation.name for operation in suite.scenarios[0].operations]
