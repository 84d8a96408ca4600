"""Calls of more than one request: input that a server asks for, tasks that are polled to their end, pages of a list.

Such a call is one row, from its first request to its last answer; each request is a span.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from perflib.targets.mcp.results import is_task

MOST_STEPS: Final = 1_000  # of one call; more is a server that never comes to an end
MOST_ROUNDS: Final = 10  # of input, as the official SDKs allow
_POLL_S: Final = 0.5  # where a task does not say how often it wants to be asked
_STATE_ONLY_S: Final = 0.05  # where a server wants to be asked again, and nothing else
_ENDED: Final = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Step:
    """The next request of a call, to be sent after `wait_s`. `name`: of the span that ends with the answer before."""

    name: str
    method: str
    params: dict[str, Any]
    wait_s: float = 0.0


class Steps:
    """What comes after each answer of one call.

    steps = Steps("tools/call", params, answers, polls_tasks=True)
    result = steps.take(result)       # a Step, or the result that the call has come to
    """

    __slots__ = ("_all_pages", "_answers", "_method", "_params", "_polls_tasks", "_rounds", "_taken", "_task", "sent")

    def __init__(
        self,
        method: str,
        params: Mapping[str, Any],
        answers: Mapping[str, Any],
        *,
        polls_tasks: bool = False,
        all_pages: bool = False,
    ) -> None:
        self._method, self._params, self._answers = method, dict(params), answers
        self._polls_tasks, self._all_pages = polls_tasks, all_pages
        self._rounds = self._taken = 0
        self._task: str | None = None
        self.sent = method  # of the request whose answer comes next

    def take(self, result: Mapping[str, Any]) -> Step | Mapping[str, Any]:
        """The next request of the call, or the result with which it is over."""
        self._taken += 1
        step = None if self._taken > MOST_STEPS else self._next(result)
        if step is not None:
            self.sent = step.method
            return step
        if self.sent == "tasks/get" and isinstance(result.get("result"), Mapping):
            return result["result"]  # type: ignore[no-any-return]  # the modern era has it in the task
        return result

    def _next(self, result: Mapping[str, Any]) -> Step | None:
        if self._task is not None:
            return self._after_poll(result)
        if result.get("resultType") == "input_required":
            return self._with_input(result)
        if self._polls_tasks and is_task(result):
            return self._poll(result)
        cursor = result.get("nextCursor")
        if self._all_pages and isinstance(cursor, str) and cursor and cursor != self._params.get("cursor"):
            self._params["cursor"] = cursor
            return Step("page", self._method, self._params)
        return None

    def _with_input(self, result: Mapping[str, Any]) -> Step | None:
        """The same request once more, with what the server asked for and its state. None where nobody can answer."""
        inputs = self._inputs(result)
        self._rounds += 1
        if inputs is None or self._rounds > MOST_ROUNDS:
            return None
        params = dict(self._params)
        if inputs:
            params["inputResponses"] = inputs
        if "requestState" in result:
            params["requestState"] = result["requestState"]
        return Step("input", self._method, params, 0.0 if inputs else _STATE_ONLY_S)

    def _inputs(self, result: Mapping[str, Any]) -> dict[str, Any] | None:
        """The suite's answers to what a result asks for; None where it has none."""
        requests = result.get("inputRequests") or {}
        if not isinstance(requests, Mapping):
            return None
        methods = {key: each.get("method") if isinstance(each, Mapping) else None for key, each in requests.items()}
        if not all(method in self._answers for method in methods.values()):
            return None
        return {key: dict(self._answers[method]) for key, method in methods.items()}  # type: ignore[index]

    def _poll(self, result: Mapping[str, Any]) -> Step | None:
        """Begin to ask for the task that was created."""
        task = result if isinstance(result.get("taskId"), str) else result.get("task")
        if not isinstance(task, Mapping) or not isinstance(task.get("taskId"), str):
            return None
        self._task = task["taskId"]
        if task.get("status") in _ENDED:
            return Step("task", "tasks/get", {"taskId": self._task})
        return Step("task", "tasks/get", {"taskId": self._task}, _interval_s(task))

    def _after_poll(self, result: Mapping[str, Any]) -> Step | None:
        if self.sent == "tasks/update":
            return Step("input", "tasks/get", {"taskId": self._task})
        if self.sent != "tasks/get":
            return None
        status = result.get("status")
        if status == "completed" and "result" not in result:
            return Step("poll", "tasks/result", {"taskId": self._task})  # in the handshake era
        if status == "input_required" and "inputRequests" in result:
            inputs = self._inputs(result)
            self._rounds += 1
            if inputs is None or self._rounds > MOST_ROUNDS:
                return None
            return Step("poll", "tasks/update", {"taskId": self._task, "inputResponses": inputs})
        if status in _ENDED or not isinstance(status, str):
            return None
        return Step("poll", "tasks/get", {"taskId": self._task}, _interval_s(result))


def _interval_s(task: Mapping[str, Any]) -> float:
    """How long to wait before a task is asked for, s."""
    for key in ("pollIntervalMs", "pollInterval"):
        value = task.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return min(value / 1e3, 60.0)
    return _POLL_S
