"""Suites as a user writes them, for tests and benchmarks that start the reference service."""

from __future__ import annotations

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
