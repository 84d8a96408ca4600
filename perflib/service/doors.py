"""The doors that other processes come in by: REST and MCP, made from the table of operations, without logic of their own."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from perflib.service.core import OPERATIONS, Service, ServiceError

ROUTES: Final = (
    ("GET", "/ping", "ping"),
    ("POST", "/validate", "validate"),
    ("GET", "/validations", "list_validations"),
    ("GET", "/validations/{id}", "get_validation"),
    ("GET", "/validations/{validation_id}/recommendations", "get_recommendations"),
    ("POST", "/validations/{validation_id}/approve", "approve"),
    ("POST", "/validations/{validation_id}/reject", "reject"),
    ("POST", "/enhance", "enhance"),
    ("GET", "/stats", "get_stats"),
)
STATUS: Final = {"not_found": 404, "conflict": 409, "bad_request": 400, "injected": 500}
Caller = Callable[[str, str, dict[str, Any]], Awaitable[Any]]


def caller(service: Service) -> Caller:
    """service.call off the event loop, a bounded number at a time; a ping that has nothing to wait for stays on it."""
    pool = ThreadPoolExecutor(service.options.threads, thread_name_prefix="service")
    together = threading.Barrier(service.options.threads)
    for _ in range(service.options.threads):
        pool.submit(together.wait)  # all threads from the start: a service that still grows threads still grows
    waits = bool(service.options.latency_s or service.options.stall_s)

    async def call(door: str, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "ping" and not waits:
            return service.call(door, operation, arguments)
        return await asyncio.get_running_loop().run_in_executor(pool, service.call, door, operation, arguments)

    return call


def http_app(service: Service) -> Starlette:
    """REST, and MCP over streamable HTTP at /mcp; /health and /counts beside them, which count as nothing."""
    call = caller(service)
    app = mcp_server(call).streamable_http_app(json_response=True, streamable_http_path="/mcp", max_sessions=100_000)
    app.router.routes += [
        Route(path, _handler(call, operation), methods=[method]) for method, path, operation in ROUTES
    ]
    app.router.routes += [Route("/health", _health), Route("/counts", functools.partial(_counts, service))]
    return app


def mcp_server(call: Caller) -> MCPServer:
    """The operations as MCP tools."""
    server = MCPServer("perflib-reference", version="1", log_level="ERROR")
    for name, operation in OPERATIONS.items():
        server.add_tool(_tool(call, name, operation), name=name)
    return server


def _tool(call: Caller, name: str, operation: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """An async function with the operation's signature, which the SDK makes the tool's schema of."""

    async def tool(**arguments: Any) -> dict[str, Any]:
        try:
            return await call("mcp", name, arguments)  # type: ignore[no-any-return]
        except ServiceError as error:
            raise ToolError(error.reason) from None  # the SDK hides the text of any other exception

    signature = inspect.signature(operation, eval_str=True)
    parameters = list(signature.parameters.values())[1:]
    tool.__name__, tool.__doc__ = name, operation.__doc__
    tool.__signature__ = signature.replace(parameters=parameters, return_annotation=dict[str, Any])  # type: ignore[attr-defined]
    tool.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": dict[str, Any]}
    return tool


def _handler(call: Caller, operation: str) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        began = time.perf_counter()
        try:
            arguments = await _arguments(request)
            name = (
                operation if operation != "validate" else "validate_file" if "path" in arguments else "validate_content"
            )
            answer, status = await call("rest", name, arguments), 200
        except ServiceError as error:
            answer, status = {"error": {"code": error.code, "reason": error.reason}}, STATUS[error.code]
        took_ms = (time.perf_counter() - began) * 1e3
        return JSONResponse(answer, status, headers={"Server-Timing": f"app;dur={took_ms:.3f}"})

    return handle


async def _arguments(request: Request) -> dict[str, Any]:
    """Path, query and JSON body together."""
    body = await request.body()
    try:
        given = json.loads(body) if body else {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return {
            **request.path_params,
            "body": "not a JSON object",
        }  # refused by the operation, as any unknown argument is
    return {**request.query_params, **given, **request.path_params}


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _counts(service: Service, request: Request) -> Response:
    return JSONResponse(dict(service.counts))
