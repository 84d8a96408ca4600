"""Small clients of the reference service, for callable targets.

They make the same request sync and async, do a workflow over MCP, and call the service's MCP server in this process.
The base URL comes from the environment variable PERFLIB_REFERENCE_URL.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import os
import threading
from typing import Any
from urllib.parse import urlsplit

_thread = threading.local()
_idle_connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []


def validate_sync(path: str) -> dict[str, Any]:
    """Validate a document by POST /validate over this thread's own connection, and return its findings.

    Raises ConnectionError if the status is not 200.
    """
    connection = getattr(_thread, "connection", None)
    if connection is None:
        host, port = _address()
        connection = _thread.connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request(
        "POST", "/validate", body=json.dumps({"path": path}), headers={"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise ConnectionError(f"status {answer.status}")
    return json.loads(body)  # type: ignore[no-any-return]


async def validate_async(path: str) -> dict[str, Any]:
    """The same as `validate_sync`, over a connection that no other task uses at that time."""
    host, port = _address()
    reader, writer = _idle_connections.pop() if _idle_connections else await asyncio.open_connection(host, port)
    body = json.dumps({"path": path}).encode()
    writer.write(
        b"POST /validate HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (host.encode(), len(body), body)
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    answer = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    _idle_connections.append((reader, writer))
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(head.partition(b"\r\n")[0].decode())
    return json.loads(answer)  # type: ignore[no-any-return]


def mcp_workflow(path: str) -> dict[str, Any]:
    """Validate, approve and enhance a document by three MCP calls. Raises ConnectionError if one is refused."""
    number = _mcp_call("validate_file", {"path": path})["id"]
    _mcp_call("approve", {"validation_id": number})
    return _mcp_call("enhance", {"validation_ids": [number]})


def _mcp_call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if not hasattr(_thread, "mcp"):
        _thread.mcp, _thread.session = http.client.HTTPConnection(*_address(), timeout=30), None
        about = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "workflow", "version": "1"},
        }
        _mcp_post({"id": 0, "method": "initialize", "params": about})
        _mcp_post({"method": "notifications/initialized"})
    result = _mcp_post({"id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})["result"]
    if result.get("isError"):
        raise ConnectionError(result["content"][0]["text"])
    return json.loads(result["content"][0]["text"])  # type: ignore[no-any-return]


def _mcp_post(message: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if _thread.session:
        headers |= {"Mcp-Session-Id": _thread.session, "MCP-Protocol-Version": "2025-11-25"}
    _thread.mcp.request("POST", "/mcp", body=json.dumps({"jsonrpc": "2.0", **message}), headers=headers)
    answer = _thread.mcp.getresponse()
    body = answer.read()
    _thread.session = _thread.session or answer.getheader("Mcp-Session-Id")
    return json.loads(body) if body else {}


async def tool_layer(operation: str, **arguments: Any) -> dict[str, Any]:
    """Call an operation through the MCP server's tool layer in this process, which validates the arguments."""
    result: Any = await _server().call_tool(operation, arguments)
    return _structured(result)


async def in_memory(operation: str, **arguments: Any) -> dict[str, Any]:
    """Call an operation through the SDK's client, connected to the server in memory, without JSON and transport."""
    global _connected
    if _connected is None:
        _connected = asyncio.get_running_loop().create_future()
        _client_tasks.add(asyncio.create_task(_run_client(_connected)))
    client = await _connected
    return _structured(await client.call_tool(operation, arguments))


_connected: asyncio.Future[Any] | None = None  # the client of this process, once it is connected
_client_tasks: set[asyncio.Task[None]] = set()  # referenced here, so that the task is not collected


async def _run_client(connected: asyncio.Future[Any]) -> None:
    """Keep the client open in a task of its own, because the task that enters its cancel scopes must leave them."""
    from mcp import Client

    try:
        async with Client(_server(), cache=None) as client:
            connected.set_result(client)
            await asyncio.Event().wait()
    except Exception as error:
        connected.set_exception(error)


@functools.cache
def _server() -> Any:
    from perflib.service import direct, endpoints

    return endpoints.mcp_server(endpoints.caller(direct.service()))


def _structured(result: Any) -> dict[str, Any]:
    if getattr(result, "is_error", False):
        raise ConnectionError(result.content[0].text)
    return getattr(result, "structured_content", None) or result  # type: ignore[no-any-return]


def _address() -> tuple[str, int]:
    parts = urlsplit(os.environ["PERFLIB_REFERENCE_URL"])
    return parts.hostname or "127.0.0.1", parts.port or 80
