"""The reference service: the same behaviour by all four interfaces."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from perflib.service.core import DOCUMENTS, Service, ServiceError
from perflib.service.options import Options
from perflib.service.rules import apply, check

ROUTES = {
    "validate_file": ("POST", "/validate"),
    "validate_content": ("POST", "/validate"),
    "approve": ("POST", "/validations/{validation_id}/approve"),
    "reject": ("POST", "/validations/{validation_id}/reject"),
    "enhance": ("POST", "/enhance"),
    "get_validation": ("GET", "/validations/{id}"),
    "get_recommendations": ("GET", "/validations/{validation_id}/recommendations"),
    "get_stats": ("GET", "/stats"),
    "list_validations": ("GET", "/validations?limit={limit}"),
    "ping": ("GET", "/ping"),
}
Call = Callable[..., tuple[bool, Any]]


def rest(url: str) -> Call:
    def call(operation: str, **arguments: Any) -> tuple[bool, Any]:
        method, path = ROUTES[operation]
        body = (
            None
            if method == "GET"
            else json.dumps({k: v for k, v in arguments.items() if f"{{{k}}}" not in path}).encode()
        )
        request = urllib.request.Request(url + path.format(**arguments), body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return True, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return False, json.loads(error.read())["error"]["reason"]

    return call


def mcp(target: Any) -> Call:
    def call(operation: str, **arguments: Any) -> tuple[bool, Any]:
        async def once() -> Any:
            async with Client(target) as client:
                return await client.call_tool(operation, arguments)

        result = asyncio.run(once())
        text = result.content[0].text
        return (False, text) if result.is_error else (True, json.loads(text))

    return call


@pytest.fixture(params=["direct", "rest", "mcp over http", "mcp over stdio"])
def call(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Call]:
    if request.param == "direct":
        service = Service(Options())

        def direct(operation: str, **arguments: Any) -> tuple[bool, Any]:
            try:
                return True, service.call("direct", operation, arguments)
            except ServiceError as error:
                return False, error.reason

        yield direct
        service.close()
    elif request.param == "mcp over stdio":
        database = str(tmp_path / "shared.db")  # each call starts a process: what they share is the file
        yield mcp(
            StdioServerParameters(
                command=sys.executable, args=["-m", "perflib.service", "--stdio", "--database", database]
            )
        )
    else:
        url = request.getfixturevalue("make_service")().url
        yield rest(url) if request.param == "rest" else mcp(url + "/mcp")


def test_a_document_goes_its_way_and_only_that_way(call: Call) -> None:
    ok, first = call("validate_file", path="01-retry-policy.md")
    assert ok
    assert first["status"] == "validated"
    assert sum(first["recommendations"].values()) > 0
    assert call("enhance", validation_ids=[first["id"]]) == (False, _Saying("it is validated, not approved"))
    assert call("approve", validation_id=first["id"])[1]["status"] == "approved"
    assert call("reject", validation_id=first["id"], reason="late") == (False, _Saying("it is approved, not validated"))
    ok, enhanced = call("enhance", validation_ids=[first["id"]])
    assert ok
    assert enhanced["applied"] > 0
    ok, second = call("validate_content", text="# Only a heading")
    assert call("reject", validation_id=second["id"], reason="too short")[0]
    assert call("approve", validation_id=second["id"]) == (False, _Saying("it is rejected: too short"))
    assert call("approve", validation_id=999)[1] == _Saying("no validation 999")
    assert call("validate_file", path="../core.py")[1] == _Saying("leaves the documents' folder")
    ok, stats = call("get_stats")
    assert {k: v for k, v in stats["by_status"].items() if v} == {"enhanced": 1, "rejected": 1}
    assert [v["id"] for v in call("list_validations", limit=5)[1]["validations"]] == [second["id"], first["id"]]


class _Saying(str):
    """Equal to any text that holds it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in other

    __hash__ = str.__hash__


def test_enhancing_many_is_all_or_nothing() -> None:
    service = Service()
    ids = [service.validate_content("# A\n\nutilize it")["id"] for _ in range(3)]
    service.approve(ids[0])
    with pytest.raises(ServiceError, match="not approved"):
        service.enhance(ids)
    assert service.get_validation(ids[0])["status"] == "approved"
    service.close()


def test_recommendations_are_right_about_a_known_document() -> None:
    text = (
        "---\ntitle: T\ndescription: d\ntags: [a]\n---\n# T\n\n### Deep\n\nSee [x](#nowhere), [](http://).\n\n"
        "```\nplain\n```\n\n```json\n{bad}\n```\n\nWe utilize it.\n"
    )
    found = {(r["rule"], r["line"]) for r in check(text).recommendations}
    assert found >= {("headings", 8), ("links", 10), ("code-fences", 12), ("code-fences", 16), ("terms", 20)}
    fixed, applied = apply(text, check(text).recommendations)
    assert applied == 2
    assert "```text" in fixed
    assert "We use it." in fixed
    assert check("---\ntitle: T\ndescription: d\ntags: [a]\n---\n# T\n").score == 100


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text(alphabet="-#`[]()<>\n :!&*|{}'\"", max_size=80).map(lambda t: "---\n" + t))
def test_any_text_can_be_checked(text: str) -> None:
    findings = check(text)
    assert 0 <= findings.score <= 100
    apply(text, findings.recommendations)


def test_parallel_rules_and_the_cache_change_nothing_but_time() -> None:
    with ThreadPoolExecutor(4) as pool:
        for path in sorted(DOCUMENTS.glob("*.md")):
            assert check(path.read_text(), pool) == check(path.read_text())
    service = Service(Options(cache=2, pool=0, parallel=2))
    answers = [service.validate_file("02-connection-pools.md") for _ in range(3)]
    assert len({a["score"] for a in answers}) == 1
    assert len({a["id"] for a in answers}) == 3
    service.close()


def test_two_hundred_at_once_are_all_served(make_service: Any) -> None:
    call = rest(make_service().url)
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda i: call("validate_file", path="03-feature-flags.md"), range(400)))
    assert all(ok for ok, _ in answers)
    assert len({a["id"] for _, a in answers}) == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_soon_also_with_a_connection_open(make_service: Any, number: int) -> None:
    import http.client
    from urllib.parse import urlsplit

    server = make_service()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request("GET", "/ping")
    assert connection.getresponse().read() == b'{"ok":true}'
    began = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(10) == 0
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_over_stdio_it_ends_by_a_signal_and_leaves_no_database(number: int, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "perflib.service", "--stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    until = time.monotonic() + 20
    while not list(tmp_path.glob("perflib-service-*/service.db")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(tmp_path.iterdir())
    time.sleep(0.3)  # its loop has begun
    server.send_signal(number)
    assert server.wait(10) == 0
    assert not list(tmp_path.iterdir())


def test_a_taken_port_is_one_line_and_code_two(make_service: Any) -> None:
    port = make_service().url.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "perflib.service", "--http", port],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "cannot listen" in second.stderr


def test_faults_do_what_they_say() -> None:
    service = Service(Options(error_rate=0.5, seed=3))
    outcomes = []
    for _ in range(400):
        try:
            outcomes.append(bool(service.call("direct", "ping", {})))
        except ServiceError:
            outcomes.append(False)
    assert 150 < outcomes.count(False) == service.counts["injected"] < 250
    service.close()
    slow = Service(Options(latency_s=0.05, leak_bytes_per_request=1000))
    began = time.monotonic()
    slow.call("direct", "ping", {})
    assert time.monotonic() - began >= 0.05
    assert sum(map(len, slow._leaked)) == 1000
    slow.close()
