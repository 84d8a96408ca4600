"""Python callables. An async one runs in tasks of the worker's event loop, a sync one in a thread per lane.

Service time is the call itself. An exception is a row with error `exception:Name`.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from perflib.errors import SuiteError
from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.suite.operation import CallableOperation
from perflib.suite.target import CallableTargetSpec
from perflib.targets.answer import Answer
from perflib.targets.base import Driver, Lane, Op, TargetKind, in_words, judge, refuse_http_only, require
from perflib.targets.template import Row, UnfilledError, value_template, variables_in


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is ready: `bind(row)` returns the function with its arguments, where they have variables."""

    function: Callable[..., Any]
    bind: Callable[[Row], Callable[[], Any]] | None


class AsyncLane(Lane):
    """One task at a time on the worker's loop."""

    __slots__ = ("_task",)

    def __init__(self, driver: Driver, index: int) -> None:
        super().__init__(driver, index)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.start_ns = time.monotonic_ns()
        self._task = self.driver.loop.create_task(self._serve())

    async def _serve(self) -> None:
        """Calls until the driver has no further request for this lane."""
        finish, clock, me = self.driver.finish, time.monotonic_ns, asyncio.current_task()
        more, calls = True, 0
        while more:
            op = self.op
            error = 0
            try:
                call = bound(op, self.row) if op.request.bind else op.request.function
                self.start_ns = clock()
                answer = await call()
                now = clock()
                if op.reader is not None:
                    error = judge(self, Answer(answer, elapsed_s=(now - self.start_ns) / 1e9))
            except asyncio.CancelledError:
                return  # aborted; `abort` has written the row
            except Exception as problem:
                now, error = clock(), explained(self, problem)
            if self._task is not me:
                return  # aborted, but the function ignored its cancellation
            more = finish(self, now, NONE_NS, error, NONE_STATUS, 0, 0, NONE_NS)
            calls += 1
            if more and not calls % 64:
                await asyncio.sleep(0)  # a function that never waits must not starve the others

    def abort(self, error: str) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None
        if self.driver.finish(
            self, time.monotonic_ns(), NONE_NS, self.driver.error_code(error), NONE_STATUS, 0, 0, NONE_NS
        ):
            self.start()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()


class ThreadLane(Lane):
    """One thread. A call that does not return in time blocks its thread, and the lane starts a new one."""

    __slots__ = ("_inbox",)

    def __init__(self, driver: Driver, index: int) -> None:
        super().__init__(driver, index)
        self._new_thread()

    def _new_thread(self) -> None:
        self._inbox: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=(self._inbox,), name="lane", daemon=True).start()

    def start(self) -> None:
        self.start_ns = time.monotonic_ns()
        self._inbox.put(True)

    def _serve(self, inbox: queue.SimpleQueue[bool]) -> None:
        clock = time.monotonic_ns
        while inbox.get():
            driver, more = self.driver, True
            while more:
                op = self.op
                error = 0
                try:
                    call = bound(op, self.row) if op.request.bind else op.request.function
                    self.start_ns = clock()
                    answer = call()
                    now = clock()
                    if op.reader is not None:
                        error = judge(self, Answer(answer, elapsed_s=(now - self.start_ns) / 1e9))
                except BaseException as problem:
                    now, error = clock(), explained(self, problem)
                with driver.lock:
                    if inbox is not self._inbox:
                        return  # aborted; `abort` has written the row
                    more = driver.finish(self, now, NONE_NS, error, NONE_STATUS, 0, 0, NONE_NS)

    def abort(self, error: str) -> None:
        with self.driver.lock:
            self._new_thread()
            if self.driver.finish(
                self, time.monotonic_ns(), NONE_NS, self.driver.error_code(error), NONE_STATUS, 0, 0, NONE_NS
            ):
                self.start()

    def close(self) -> None:
        self._inbox.put(False)


class FunctionTarget(TargetKind):
    """`function = "package.module:name"`, or the function itself; an operation may name its own."""

    spec: CallableTargetSpec

    def __init__(self, name: str, spec: CallableTargetSpec, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        self.is_async = False

    @property
    def threaded(self) -> bool:  # type: ignore[override]
        return not self.is_async

    @classmethod
    def check(cls, name: str, spec: CallableTargetSpec, operations: list[CallableOperation]) -> None:
        for operation in operations:
            where = f"operation {operation.name!r}"
            function = operation.function or spec.function
            require(
                function,
                "a callable target needs a function",
                where=f"targets.{name}",
                mend='set function = "package.module:name"',
            )
            require(
                not isinstance(function, str) or ":" in function,
                f"cannot read function {function!r}",
                where=where,
                mend='write it like "package.module:name"',
            )
            refuse_http_only(operation)

    def compile(self, operation: CallableOperation) -> Call:
        function = resolve(operation.function or self.spec.function or "", self.folder, f"targets.{self.name}.function")
        call_method = type(function).__call__ if not inspect.isroutine(function) else None
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call_method)
        args, kwargs = value_template(operation.args), value_template(dict(operation.kwargs))
        if variables_in([list(operation.args), dict(operation.kwargs)]):
            return Call(function, lambda row: functools.partial(function, *args(row), **kwargs(row)))
        bound = (
            functools.partial(function, *operation.args, **operation.kwargs)
            if operation.args or operation.kwargs
            else function
        )
        return Call(bound, None)

    def lane(self, driver: Driver, index: int) -> Lane:
        return (AsyncLane if self.is_async else ThreadLane)(driver, index)


def resolve(function: str | Callable[..., Any], folder: str, where: str) -> Callable[..., Any]:
    """The function named by "package.module:name".

    Modules beside the suite file and in the working directory can be imported as well. What these import in turn is
    looked for there last, so that a file with the name of an installed module, like queue.py, does not replace it.
    """
    if not isinstance(function, str):
        return function
    places = [str(Path(place).resolve()) for place in (folder, "")]
    sys.path += [place for place in dict.fromkeys(places) if place not in sys.path]
    module_name, _, attribute = function.partition(":")
    try:
        value: Any = _imported(module_name, places)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:
        raise SuiteError(
            f"cannot import {function!r}: {type(error).__name__}: {error}",
            where=where,
            mend='write it like "package.module:name"',
        ) from None
    if not callable(value):
        raise SuiteError(f"{function!r} is not callable", where=where, mend="name a function")
    return value  # type: ignore[no-any-return]


def _imported(name: str, places: list[str]) -> ModuleType:
    """Import a module. Where a suite names one that lies beside it, an installed one of that name is passed over."""
    top = name.partition(".")[0]
    if top not in sys.modules and top not in sys.stdlib_module_names:
        spec = PathFinder.find_spec(top, places)
        if spec is not None and spec.loader is not None:
            sys.modules[top] = module = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[top]
                raise
    return importlib.import_module(name)


def bound(op: Op, row: Row) -> Callable[[], Any]:
    """The operation's function with its arguments. Raises UnfilledError where nothing fills one of them."""
    try:
        call: Callable[[], Any] = op.request.bind(row)
        return call
    except Exception as problem:
        raise UnfilledError(in_words(problem)) from None


def explained(lane: Lane, problem: BaseException) -> int:
    """The error code of an exception, whose text is noted. A call that could not be made took no time."""
    if isinstance(problem, UnfilledError):
        lane.start_ns = time.monotonic_ns()
    name = error_class(problem)
    lane.driver.explain(name, in_words(problem))
    return lane.driver.error_code(name)


def error_class(problem: BaseException) -> str:
    """The error class of an exception: `timeout`, `template`, or `exception:ValueError` and its like."""
    if isinstance(problem, UnfilledError):
        return "template"
    return "timeout" if isinstance(problem, TimeoutError) else f"exception:{type(problem).__name__}"
