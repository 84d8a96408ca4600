"""The lean client and the official SDK's give the same for every operation, in both eras, over HTTP and stdio."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.service.core import Service
from perflib.service.options import Options
from tests.support.mcp_servers import LEGACY, MODERN, Stdio, http_server
from tests.support.service import Server
from tests.support.suites import suite

DOCUMENT = {"path": "01-retry-policy.md"}
TEXT = "# Title\n\nToo short, and a [broken](nowhere.md) link\n"
CLIENTS = ("lean", "sdk")


def calls() -> dict[str, tuple[dict[str, Any], str]]:
    """Operations of the reference service in a sensible order, with the error class of their rows.

    What a good answer holds is taken from a direct call.
    """
    service = Service(Options())
    file, text = service.validate_file(**DOCUMENT), service.validate_content(TEXT)
    found = {key: file[key] for key in ("status", "source", "score", "recommendations")}
    findings = {key: text[key] for key in ("score", "recommendations")}
    listed = service.get_recommendations(file["id"])["recommendations"]
    service.approve(file["id"])
    applied = service.enhance([file["id"]])["applied"]
    service.close()

    def tool(name: str, arguments: Any, expect: Any = None, keep: Any = None, error: str = "ok") -> Any:
        made = {"tool": name, "arguments": arguments, "keep": keep or {}}
        fields = {f"$.{key}": value for key, value in (expect or {}).items()}
        return made | ({"expect": {"json": fields}} if expect else {}), error

    return {
        "ping": tool("ping", {}, {"ok": True}),
        "file": tool("validate_file", DOCUMENT, found, {"a": "$.id"}),
        "content": tool("validate_content", {"text": TEXT}, findings, {"b": "$.id"}),
        "recommendations": tool("get_recommendations", {"validation_id": "{a}"}, {"recommendations": listed}),
        "approve": tool("approve", {"validation_id": "{a}"}, {"status": "approved"}),
        "again": tool("approve", {"validation_id": "{a}"}, error="mcp_tool"),
        "enhance": tool("enhance", {"validation_ids": ["{a}"]}, {"status": "enhanced", "applied": applied}),
        "reject": tool("reject", {"validation_id": "{b}", "reason": "no"}, {"status": "rejected", "reason": "no"}),
        "get": tool("get_validation", {"id": "{b}"}, {"status": "rejected"}),
        "list": tool("list_validations", {"limit": 1}, {"validations[0].status": "rejected"}),
        "stats": tool("get_stats", {}, keep={"total": "$.total"}),
        "unknown id": tool("get_validation", {"id": 987654}, error="mcp_tool"),
        "wrong type": tool("get_validation", {"id": "x"}, error="mcp_tool"),
        "wrong answer": tool("ping", {}, {"ok": False}, error="check"),
        "no field": tool("ping", {}, keep={"c": "$.nothing"}, error="check"),
        "tools": ({"method": "tools/list", "expect": {"contains": "get_recommendations"}}, "ok"),
        "resources": ({"method": "resources/list", "expect": {"contains": "stats://service"}}, "ok"),
        "prompts": ({"method": "prompts/list", "expect": {"contains": "review"}}, "ok"),
        "read": ({"method": "resources/read", "uri": "stats://service", "expect": {"contains": "by_status"}}, "ok"),
        "prompt": (
            {
                "method": "prompts/get",
                "params": {"name": "review"},
                "arguments": DOCUMENT,
                "expect": {"contains": "Review the document"},
            },
            "ok",
        ),
        "no resource": ({"method": "resources/read", "uri": "stats://nobody"}, "mcp_rpc"),
        "no prompt": ({"method": "prompts/get", "params": {"name": "nobody"}}, "mcp_rpc"),
    }


def found(target: dict[str, Any], operations: dict[str, dict[str, Any]], tmp_path: Path) -> dict[str, list[str]]:
    """Classes of the rows of each operation, which one user does in turn, twice."""
    made = suite(
        {"kind": "mcp", "timeout_s": 20, **target}, order="sequence",
        operations=[{"name": name, **operation} for name, operation in operations.items()],
        load={"model": "closed", "concurrency": 1, "requests": 2 * len(operations)},
    )  # fmt: skip
    done = perflib.run(made, data=tmp_path / target["client"], progress=False)
    rows = done.rows(phase=None)
    classes = rows["error"].astype(object).fillna("ok").groupby(rows["operation"]).apply(list)
    return {str(name): list(each) for name, each in classes.items()}


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
@pytest.mark.parametrize("transport", ["/mcp", "/mcp-sse", "stdio"])
def test_both_clients_say_the_same_of_the_reference_service(
    transport: str, protocol: str, service: Server, tmp_path: Path
) -> None:
    command = {"command": [sys.executable, "-m", "perflib.service", "--stdio"]}
    target = {**(command if transport == "stdio" else {"url": service.url + transport}), "protocol": protocol}
    every = calls()
    operations = {name: operation for name, (operation, _) in every.items()}
    said = {client: found({**target, "client": client}, operations, tmp_path) for client in CLIENTS}
    assert said["lean"] == {name: [error] * 2 for name, (_, error) in every.items()}
    assert said["sdk"] == said["lean"]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
@pytest.mark.parametrize("transport", ["/mcp", "stdio"])
def test_both_clients_say_the_same_of_what_is_odd(
    transport: str, protocol: str, service: Server, tmp_path: Path
) -> None:
    """An unknown tool, missing and unknown arguments, a ping (not in the modern era) end alike for both clients."""
    command = {"command": [sys.executable, "-m", "perflib.service", "--stdio"]}
    target = {**(command if transport == "stdio" else {"url": service.url + transport}), "protocol": protocol}
    operations: dict[str, dict[str, Any]] = {
        "unknown tool": {"tool": "nobody"},
        "missing argument": {"tool": "approve"},
        "unknown argument": {"tool": "ping", "arguments": {"x": 1}},
        "method ping": {"method": "ping"},
        "session": {"method": "session"},
    }
    said = {client: found({**target, "client": client}, operations, tmp_path) for client in CLIENTS}
    assert said["sdk"] == said["lean"]
    assert said["lean"]["unknown tool"] != ["ok"] * 2
    assert said["lean"]["method ping"] == (["ok"] if protocol == LEGACY else ["mcp_rpc"]) * 2
    assert said["lean"]["session"] == ["ok"] * 2


FAULTS = {
    "duplicate-id": "ok", "progress": "ok", "chunked": "ok", "sse-oddities": "ok",
    "tool-error": "mcp_tool", "rpc-error": "mcp_rpc", "rpc-error-400": "mcp_rpc", "never": "timeout",
}  # fmt: skip
ECHO = {"echo": {"tool": "echo", "arguments": {"text": "a €"}, "expect": {"json": {"$.length": 3}}}}


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "protocol"), [("sse", LEGACY), ("json", MODERN)])
@pytest.mark.parametrize(("fault", "error"), FAULTS.items(), ids=FAULTS)
def test_both_clients_say_the_same_of_a_misbehaving_server(
    fault: str, error: str, answers: str, protocol: str, tmp_path: Path
) -> None:
    with http_server("--fault", fault, "--answers", answers) as server:
        target = {"url": server.url, "protocol": protocol, "timeout_s": 0.5 if fault == "never" else 20}
        said = {client: found({**target, "client": client}, ECHO, tmp_path)["echo"] for client in CLIENTS}
    assert said == dict.fromkeys(CLIENTS, [error] * 2)


@pytest.mark.parametrize(("fault", "error"), [("asks-for-sampling", "ok"), ("pings", "ok"), ("tool-error", "mcp_tool")])
def test_both_clients_say_the_same_of_it_over_stdio(fault: str, error: str, tmp_path: Path) -> None:
    target = {"command": Stdio(tmp_path / "heard.log", ("--fault", fault)).command, "protocol": LEGACY}
    said = {client: found({**target, "client": client}, ECHO, tmp_path)["echo"] for client in CLIENTS}
    assert said == dict.fromkeys(CLIENTS, [error] * 2)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
def test_what_was_negotiated_is_recorded_for_both(client: str, protocol: str, tmp_path: Path) -> None:
    with http_server() as server:
        made = suite(
            {"kind": "mcp", "url": server.url, "client": client, "protocol": protocol},
            operations=[{"name": "ping", "tool": "echo"}],
        )
        about = perflib.run(made, data=tmp_path, progress=False).manifest.targets["api"]
        counts = server.counts()
    assert about.protocol_version == protocol
    assert about.client == client
    assert about.transport == "http"
    assert about.server["name"] == "perflib-test"
    assert about.capabilities == ["prompts", "resources", "tools"]
    assert counts["tools/call"] == 20
    assert counts["open sessions"] == 0


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("transport", "protocol"), [("/mcp", MODERN), ("/mcp-sse", LEGACY), ("stdio", MODERN)])
def test_a_traced_call_knows_what_the_server_took(
    transport: str, protocol: str, client: str, service: Server, tmp_path: Path
) -> None:
    command = {"command": [sys.executable, "-m", "perflib.service", "--stdio"]}
    target = {
        **(command if transport == "stdio" else {"url": service.url + transport}),
        "protocol": protocol,
        "client": client,
    }
    load = {"model": "closed", "concurrency": 1, "requests": 10}
    operations = [{"name": "validate", "tool": "validate_file", "arguments": DOCUMENT}]
    made = suite({"kind": "mcp", "trace": True, **target}, operations=operations, load=load)
    rows = perflib.run(made, data=tmp_path, progress=False).rows(phase=None)
    assert rows["ok"].all()
    assert (rows["server_ns"] > 0).all()
    assert (rows["server_ns"] < rows["service_ns"]).all()


def test_a_call_that_is_not_traced_does_not(service: Server, tmp_path: Path) -> None:
    made = suite({"kind": "mcp", "url": service.url + "/mcp"}, operations=[{"name": "ping", "tool": "ping"}])
    assert perflib.run(made, data=tmp_path, progress=False).rows(phase=None)["server_ns"].isna().all()
