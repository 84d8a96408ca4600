"""Journeys in Python: an async function that gets a user, whose requests are rows like any other.

    async def buy(user):
        found = await user.get("/items?limit=20", name="list")
        await user.think(2)
        await user.post("/orders", name="order", json={"item": found.json["items"][0]["id"]})

One request at a time, on the user's own connection, with cookies of its own. A request that fails does not raise: its
reply says so. What the function raises is a row of the journey with its text.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from perflib.errors import SuiteError
from perflib.load.generator.journeys import Route, RouteStep, Visit
from perflib.store.schema import NONE_STATUS, Recorder
from perflib.suite.journey import Journey
from perflib.suite.operation import HttpOperation
from perflib.targets.answer import Answer, Reader
from perflib.targets.base import Lane, Op, TargetKind
from perflib.targets.function import resolve

MOST_NAMES: Final = 500  # of requests, in one scenario
_ANSWER: Final = object()  # the key under which a reader leaves an answer
_FORM: Final = "application/x-www-form-urlencoded"

Function = Callable[["User"], Coroutine[Any, Any, Any]]


class Reply:
    """The answer to a request: `status`, `text`, `json`, `headers(name)`; or `error`, the class of what went wrong.

    Of a request that failed there is no text; `status` is None where no answer came.
    """

    __slots__ = ("_answer", "error", "status")

    def __init__(self, error: str, status: int | None, answer: Answer | None) -> None:
        self.error, self.status, self._answer = error, status, answer

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def text(self) -> str:
        return "" if self._answer is None else self._answer.text

    @property
    def json(self) -> Any:
        """The JSON value of the answer; None where it has none."""
        return None if self._answer is None else self._answer.json

    def headers(self, name: str) -> list[str]:
        """The values of a header."""
        return [] if self._answer is None else self._answer.headers(name)

    def __repr__(self) -> str:
        return f"<Reply {self.error or self.status}>"


class _Hearing(Reader):
    """Leaves each good answer for the function that asked."""

    def __init__(self) -> None:
        super().__init__(None, {})
        self.reads_body, self.is_pure = True, False

    def problem(self, answer: Answer, kept_fields: dict[Any, Any]) -> str:
        kept_fields[_ANSWER] = answer
        return ""


class Requests:
    """The requests of functions on one target, compiled once for each name, method and shape."""

    def __init__(self, target: TargetKind, number: int, recorder: Recorder) -> None:
        self._target, self._number, self._recorder = target, number, recorder
        self._ops: dict[tuple[Any, ...], Op] = {}
        self._reader = _Hearing()

    def op(self, name: str, method: str, headers: tuple[str, ...], body: str) -> Op:
        """The operation of a request. body: "json", "body" or "", where it has none."""
        key = name, method, headers, body
        op = self._ops.get(key)
        if op is None:
            operation = HttpOperation(
                name=name,
                method=method,
                path="{path|raw}",
                headers={header: f"{{h{number}|raw}}" for number, header in enumerate(headers)},
                json="{body}" if body == "json" else None,
                body="{body}" if body == "body" else None,
            )
            timeout_ns = int(self._target.spec.timeout_s * 1e9)
            request = self._target.compile(operation)
            op = self._ops[key] = Op(name, self._code(name), self._number, 1.0, timeout_ns, request, self._reader)
        return op

    def shared(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Values for the headers of the target: of the set-up, and of this user."""
        target = self._target
        known = {**target.given, **kept} if target.variables else {}
        return {name: known[name] for name in target.variables if name in known}

    def _code(self, name: str) -> int:
        names = self._recorder.operations
        if name not in names:
            if len(names) >= MOST_NAMES:
                raise SuiteError(f"requests have more than {MOST_NAMES} names", mend='give them one: name="item"')
            names.append(name)
        return names.index(name)


class Driver(Protocol):
    """The driver of a user's journey, as the user sees it."""

    loop: asyncio.AbstractEventLoop

    def send_for(self, visit: ScriptVisit, op: Op, row: dict[str, Any]) -> None:
        """Send the next request of the journey; where the load is over, the journey's task is cancelled."""
        ...

    def error_name(self, error: int) -> str: ...


class ScriptVisit(Visit):
    """A journey of a function under way.

    lane     of the user
    waiter   what the function waits for while a request is in flight
    failed   error code and status of the latest request, 0 where it was answered well
    """

    __slots__ = ("failed", "lane", "task", "waiter")

    def __init__(self, lane: Lane, *given: Any) -> None:
        super().__init__(*given)
        self.lane = lane
        self.task: asyncio.Task[None] | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.failed = 0, NONE_STATUS

    def hand_over(self) -> None:
        """The request is over: let the function go on."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """The journey is over, or given up: the function goes no further."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()


class User:
    """A user on a journey.

    kept   values of the preparation, and room for the journey's own
    """

    def __init__(self, driver: Driver, visit: ScriptVisit, requests: Requests) -> None:
        self._driver, self._visit, self._requests = driver, visit, requests
        self.kept = visit.kept

    async def get(self, path: str, **keys: Any) -> Reply:
        return await self.request("GET", path, **keys)

    async def post(self, path: str, **keys: Any) -> Reply:
        return await self.request("POST", path, **keys)

    async def put(self, path: str, **keys: Any) -> Reply:
        return await self.request("PUT", path, **keys)

    async def patch(self, path: str, **keys: Any) -> Reply:
        return await self.request("PATCH", path, **keys)

    async def delete(self, path: str, **keys: Any) -> Reply:
        return await self.request("DELETE", path, **keys)

    async def request(
        self,
        method: str,
        path: str,
        *,
        name: str = "",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        body: str | None = None,
    ) -> Reply:
        """Send a request, and wait for its answer. `name`: of its row; by default the method and the path.

        Raises RuntimeError where the user waits for another answer.
        """
        visit = self._visit
        if visit.waiter is not None:
            raise RuntimeError("a user makes one request at a time: await the one before")
        label = name or f"{method} {path.partition('?')[0]}"
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params, doseq=True)
        lines = dict(headers) if headers else {}
        if form is not None:
            body, lines = urlencode(form, doseq=True), {"Content-Type": _FORM, **lines}
        op = self._requests.op(label, method, tuple(lines), "json" if json is not None else "body" if body else "")
        row = {**self._requests.shared(visit.kept), "path": path, "body": body if json is None else json}
        if lines:
            row.update((f"h{number}", value) for number, value in enumerate(lines.values()))
        visit.waiter = waiter = self._driver.loop.create_future()
        visit.failed = 0, NONE_STATUS
        self._driver.send_for(visit, op, row)
        await waiter
        error, status = visit.failed
        if error:
            return Reply(self._driver.error_name(error), None if status == NONE_STATUS else status, None)
        answer = visit.kept.pop(_ANSWER)  # type: ignore[call-overload]
        return Reply("", answer.status, answer)

    async def think(self, seconds: float) -> None:
        """Pause, as a person does who reads. (Whatever else the function waits for is a pause as well.)"""
        await asyncio.sleep(seconds)


def route_of(label: str, journey: Journey, op: Op, folder: str) -> Route:
    """The route of a journey that is a function. Raises SuiteError where there is no such async function.

    op   stands for the journey in rows of what it raises, and of users who never began it
    """
    where = f"journey {journey.name!r}"
    function = resolve(journey.function or "", folder, where)
    if not inspect.iscoroutinefunction(function):
        mend = f"write `async def {getattr(function, '__name__', 'journey')}(user):`"
        raise SuiteError(f"{journey.function!r} is no async function", where=where, mend=mend)
    return Route(label, journey.weight, (RouteStep(op),), 1, function)
