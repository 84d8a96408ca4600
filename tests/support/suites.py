"""Suites as a user writes them, for tests and benchmarks that start the reference service."""

from __future__ import annotations

from typing import Any

import perflib
from perflib.suite.file import from_table

_SERVICE = """
[targets.api]
kind = "http"
url = "http://127.0.0.1:{port}"
start = ["{python}", "-m", "perflib.service", "--http", "{port}"]
ready = { http = "/health", timeout_s = 30 }
"""
_SCENARIO = """
[[scenarios]]
name = "%s"
target = "api"
operations = [{ name = "ping", path = "/ping" }]
load = { %s }
"""


def pings(name: str, loads: dict[str, str]) -> str:
    """A scenario for each load, all on /ping; further keys may follow the last."""
    return f'name = "{name}"' + _SERVICE + "".join(_SCENARIO % each for each in loads.items())


def table(**scenario: Any) -> dict[str, Any]:
    """A suite of one scenario as its TOML table."""
    base = {
        "name": "one",
        "target": "api",
        "operations": [{"name": "ping", "path": "/ping"}],
        "load": {"model": "closed", "concurrency": 2, "requests": 20},
    }
    return {
        "name": "tested",
        "targets": {"api": {"kind": "http", "url": "http://127.0.0.1:1"}},
        "scenarios": [{**base, **scenario}],
    }


def suite(target: dict[str, Any] | None = None, **scenario: Any) -> perflib.Suite:
    """The same as a Suite, with another target."""
    if target is None:
        return from_table(table(**scenario))
    made = table(**scenario)
    return perflib.Suite(**{**made, "targets": {"api": target}})
