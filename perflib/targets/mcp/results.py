"""What an answer is worth: whether its result is complete, and else the class of error that says what it is.

A call is good when its result is complete. A result that asks for input, a task that was only created, a result of an
unknown kind or without its content, and structured content that breaks the tool's schema are errors of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from perflib.store.schema import NONE_NS
from perflib.targets.answer import Answer
from perflib.targets.base import Lane, judge
from perflib.targets.mcp.wire import server_time_ns, tool_content
from perflib.text import one_line

NEEDED: Final = {  # what the result of a method cannot lack
    "tools/call": "content",
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "resources/read": "contents",
    "prompts/list": "prompts",
    "prompts/get": "messages",
    "completion/complete": "completion",
}
_LONGEST_WHY: Final = 300


def outcome(lane: Lane, answer: Any, number: int | None, schemas: Schemas | None = None) -> tuple[int, int]:
    """(error code, server time in ns) of a JSON-RPC answer to request `number`; code 0 is success.

    Stores the fields that the operation keeps.
    """
    code = lane.driver.error_code
    if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
        return code("protocol"), NONE_NS
    if number is not None and "result" in answer and str(answer.get("id")) != str(number):
        return code("protocol"), NONE_NS  # an answer to something else
    if "error" in answer:
        return code("mcp_rpc"), NONE_NS
    result = answer["result"]
    if not isinstance(result, dict):
        return code("protocol"), NONE_NS
    server_ns = server_time_ns(result)
    request = lane.op.request
    error, why = problem_of(request.result_of, result)
    if not error and schemas is not None and request.tool in schemas:
        error, why = schemas.problem(request.tool, result)
    if error:
        if why:
            lane.driver.explain(error, why)
        return code(error), server_ns
    if lane.op.reader is None:
        return 0, server_ns
    elapsed_s = (time.monotonic_ns() - lane.start_ns) / 1e9
    return judge(
        lane, Answer(tool_content(result), lambda: json.dumps(result, ensure_ascii=False), elapsed_s)
    ), server_ns


def problem_of(method: str, result: Mapping[str, Any]) -> tuple[str, str]:
    """The class of error of a result to a method, and why; both "" where it is complete."""
    kind = result.get("resultType", "complete")
    if kind == "input_required":
        return "mcp_input", f"the server asks for input: {asked_for(result)}"
    if is_task(result):
        return "mcp_task", "the server only created a task (poll_tasks = true waits for its end)"
    if kind != "complete":
        return "mcp_result", f"a result of unknown type {one_line(str(kind), 60)!r}"
    if result.get("isError"):
        return "mcp_tool", ""
    needed = NEEDED.get(method)
    if needed is not None and not isinstance(result.get(needed), dict if needed == "completion" else list):
        return "mcp_result", f"the result of {method} has no {needed}"
    return "", ""


def is_task(result: Mapping[str, Any]) -> bool:
    """Whether a result is a task instead of what was asked for."""
    task = result.get("task")
    return result.get("resultType") == "task" or (
        "content" not in result and isinstance(task, dict) and "taskId" in task
    )


def asked_for(result: Mapping[str, Any]) -> str:
    """What a result asks for, in words: "elicitation/create: Name?"."""
    requests = result.get("inputRequests")
    words = []
    for request in list(requests.values())[:4] if isinstance(requests, dict) else []:
        if isinstance(request, dict):
            params = request.get("params")
            message = params.get("message", "") if isinstance(params, dict) else ""
            words.append(f"{request.get('method')}: {message}".removesuffix(": "))
    return one_line(", ".join(words), _LONGEST_WHY) or "it says not what"


class Schemas:
    """The schemas of the tools' structured content, as `tools/list` gave them. A schema that is none allows all."""

    def __init__(self) -> None:
        self._validators: dict[str, Any] = {}

    def __contains__(self, tool: str | None) -> bool:
        return tool in self._validators

    def add(self, tool: str, schema: Any) -> None:
        """Check the answers of a tool from now on."""
        from jsonschema import SchemaError  # imported late: it takes a while, and few tools have a schema
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry

        try:
            kind = validator_for(schema, default=Draft202012Validator)
            kind.check_schema(schema)
            self._validators[tool] = kind(schema, registry=Registry())
        except (SchemaError, RecursionError, TypeError, AttributeError):
            pass

    def problem(self, tool: str, result: Mapping[str, Any]) -> tuple[str, str]:
        """The class of error of a result whose structured content is not as the tool's schema says, and why."""
        if "structuredContent" not in result:
            return "mcp_schema", "no structuredContent, although the tool has an outputSchema"
        try:
            error = next(self._validators[tool].iter_errors(result["structuredContent"]), None)
        except Exception:  # a reference that leads nowhere, say: nobody can tell
            return "", ""
        if error is None:
            return "", ""
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        return "mcp_schema", one_line(f"structuredContent{where}: {error.message}", _LONGEST_WHY)
