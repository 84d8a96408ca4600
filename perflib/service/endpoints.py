"""The REST and MCP interfaces, generated from the table of operations, without logic of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from perflib.service.core import OPERATIONS, Service, ServiceError
from perflib.service.shop import Shop

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
SERVER_TIMING: Final = "io.perflib/server-timing"
STATUS: Final = {"not_found": 404, "conflict": 409, "bad_request": 400, "injected": 500}
Caller = Callable[[str, str, dict[str, Any]], Awaitable[Any]]


def caller(service: Service) -> Caller:
    """service.call as an async function, in a limited number of threads.

    A ping that does not have to wait runs on the event loop itself.
    """
    pool = ThreadPoolExecutor(service.options.threads, thread_name_prefix="service")
    all_started = threading.Barrier(service.options.threads)
    for _ in range(service.options.threads):
        pool.submit(all_started.wait)  # all threads from the start, or memory would grow with them under load
    waits = bool(service.options.latency_s or service.options.stall_s)

    async def call(interface: str, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "ping" and not waits:
            return service.call(interface, operation, arguments)
        return await asyncio.get_running_loop().run_in_executor(pool, service.call, interface, operation, arguments)

    return call


def http_app(service: Service) -> Starlette:
    """REST, MCP over streamable HTTP at /mcp, with event streams at /mcp-sse, and a shop with sessions at /shop.

    /health, /counts and /gauges are not counted as requests.
    """
    call = caller(service)
    server, streaming = mcp_server(call), mcp_server(call)
    app = server.streamable_http_app(json_response=True, streamable_http_path="/mcp", max_sessions=100_000)
    events = streaming.streamable_http_app(json_response=False, streamable_http_path="/mcp-sse", max_sessions=100_000)
    app.router.routes += events.router.routes
    app.router.lifespan_context = _joined(app.router.lifespan_context, events.router.lifespan_context)
    app.router.routes += [
        Route(path, _handler(call, operation), methods=[method]) for method, path, operation in ROUTES
    ]
    gauges = functools.partial(_gauges, (server, streaming))
    app.router.routes += [
        Route("/health", _health),
        Route("/counts", functools.partial(_counts, service)),
        Route("/gauges", gauges),
        Mount("/shop", Shop().app),
    ]
    return app


def _joined(first: Any, second: Any) -> Any:
    """A lifespan that combines two."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with first(app), second(app):
            yield

    return lifespan


def mcp_server(call: Caller) -> MCPServer:
    """The operations as MCP tools, with one resource and one prompt."""
    server = MCPServer("perflib-reference", version="1", log_level="ERROR")
    for name, operation in OPERATIONS.items():
        server.add_tool(_tool(call, name, operation), name=name)

    @server.resource("stats://service", mime_type="application/json")
    async def stats() -> str:
        """Counts of validations by status."""
        return json.dumps(await call("mcp", "get_stats", {}))

    @server.prompt()
    def review(path: str) -> str:
        """Ask for a review of a document."""
        return f"Review the document {path}: front matter, headings, links, code fences, terms."

    server.middleware.insert(0, _timed)
    return server


async def _timed(ctx: Any, call_next: Any) -> Any:
    """Return the server's time for a message in the answer's `_meta`, if the client sends a trace context."""
    began = time.perf_counter()
    result = await call_next(ctx)
    if not (ctx.meta or {}).get("traceparent"):
        return result
    timing = {SERVER_TIMING: f"total;dur={(time.perf_counter() - began) * 1e3:.4f}"}
    if isinstance(result, dict):
        return {**result, "_meta": {**(result.get("_meta") or {}), **timing}}
    if hasattr(result, "meta"):
        result.meta = {**(result.meta or {}), **timing}
    return result


def _tool(call: Caller, name: str, operation: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """An async function with the operation's signature, from which the SDK derives the tool's schema."""

    async def tool(**arguments: Any) -> dict[str, Any]:
        try:
            return await call("mcp", name, arguments)  # type: ignore[no-any-return]
        except ServiceError as error:
            raise ToolError(error.reason) from None  # the SDK hides the text of any other exception

    signature = inspect.signature(operation, eval_str=True)
    parameters = list(signature.parameters.values())[1:]
    tool.__name__, tool.__doc__ = name, operation.__doc__
    signature = signature.replace(parameters=parameters, return_annotation=dict[str, Any])
    tool.__signature__ = signature  # type: ignore[attr-defined]
    tool.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": dict[str, Any]}
    return tool


def _handler(call: Caller, operation: str) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        began = time.perf_counter()
        try:
            arguments = await _arguments(request)
            name = operation
            if operation == "validate":
                name = "validate_file" if "path" in arguments else "validate_content"
            answer, status = await call("rest", name, arguments), 200
        except ServiceError as error:
            answer, status = {"error": {"code": error.code, "reason": error.reason}}, STATUS[error.code]
        took_ms = (time.perf_counter() - began) * 1e3
        return JSONResponse(answer, status, headers={"Server-Timing": f"app;dur={took_ms:.3f}"})

    return handle


async def _arguments(request: Request) -> dict[str, Any]:
    """The arguments of path, query and JSON body together."""
    body = await request.body()
    try:
        given = json.loads(body) if body else {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        given = {"body": "not a JSON object"}  # the operation refuses it, like any unknown argument
    return {**request.query_params, **given, **request.path_params}


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _gauges(servers: Sequence[MCPServer], request: Request) -> Response:
    """Open sessions and tasks, which show a leak of sessions, besides memory."""
    managers = [server.session_manager for server in servers]
    sessions = sum(len(manager._server_instances) for manager in managers)
    return JSONResponse({"sessions": sessions, "tasks": len(asyncio.all_tasks())})


async def _counts(service: Service, request: Request) -> Response:
    return JSONResponse(dict(service.counts))
