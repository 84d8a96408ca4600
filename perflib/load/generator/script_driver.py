"""The driver of journeys that are functions, beside those that have steps."""

from __future__ import annotations

import time
from typing import Any

from perflib.load.generator.driver import PAUSE_S
from perflib.load.generator.journey_driver import JourneyDriver
from perflib.load.generator.journeys import Visit
from perflib.load.generator.plan import Segment
from perflib.load.generator.script import Requests, ScriptVisit, User
from perflib.targets.base import Lane, Op, in_words
from perflib.targets.function import error_class
from perflib.targets.http.target import HttpTarget


class ScriptDriver(JourneyDriver):
    """Drives users through functions, each in a task of its own. `number`: of the target that functions load."""

    def __init__(self, *given: Any, number: int, **keys: Any) -> None:
        super().__init__(*given, **keys)
        target = self.targets[number]
        assert isinstance(target, HttpTarget)
        target.reads = True
        self._number, self._requests = number, Requests(target, number, self.recorder)
        self.error_name = self.recorder.error_name

    def _assign_closed(self, lane: Lane, now: int) -> bool:
        visit = lane.siblings[0].visit
        if lane.start_ns and isinstance(visit, ScriptVisit):
            lane.start_ns = 0
            visit.answered(now)
            visit.hand_over()
            return False
        return super()._assign_closed(lane, now)

    _assign_open = _assign_closed

    def _new_visit(self, user: Lane, *about: Any) -> Visit:
        route = about[0]
        return super()._new_visit(user, *about) if route.function is None else ScriptVisit(user, *about)

    def _first(self, lane: Lane, visit: Visit, now: int) -> bool:
        if not isinstance(visit, ScriptVisit):
            return super()._first(lane, visit, now)
        self.loop.call_soon_threadsafe(self._launch, visit)
        return False

    def _launch(self, visit: ScriptVisit) -> None:
        if visit.lane.visit is visit:
            visit.task = self.loop.create_task(self._run_function(visit))

    async def _run_function(self, visit: ScriptVisit) -> None:
        """Run the journey's function to its end; what it raises is a row."""
        problem: BaseException | None = None
        try:
            assert visit.route.function is not None
            await visit.route.function(User(self, visit, self._requests))
        except BaseException as raised:  # also of what ends a program
            problem = raised
        with self.lock:
            if visit.lane.visit is not visit:
                return  # it was given up
            visit.task, visit.op, now = None, visit.route.steps[0].op, time.monotonic_ns()
            if problem is not None:
                self._add_failure(visit, error_class(problem), in_words(problem), now)
            elif not visit.requests:
                self._add_failure(visit, "check", "the function made no request", now)
            self._end_visit(visit.lane, visit.error)
            if not visit.requests and not self._is_open:  # else it would fail without end, as fast as it can
                self._later(PAUSE_S, self._resume_visit, (visit.lane, None))
                return
            visit.lane.start_ns = now  # a request has ended, so that the user pauses before the next journey
            if self._assign(visit.lane, now):
                self._start(visit.lane)

    def send_for(self, visit: ScriptVisit, op: Op, row: dict[str, Any]) -> None:
        """See script.Driver."""
        with self.lock:
            lane, now = visit.lane, time.monotonic_ns()
            if lane.visit is not visit or self._is_over(now):
                if lane.visit is visit:
                    self._drop(lane)
                return
            visit.paused_ns += now - visit.end_ns
            visit.op, lane.siblings[self._number].row = op, row
            if self._send(lane.siblings[self._number], visit, now):
                self._start(lane.siblings[self._number])

    def _failed(self, lane: Lane, error: int, status: int, end_ns: int) -> None:
        super()._failed(lane, error, status, end_ns)
        visit = lane.siblings[0].visit
        if isinstance(visit, ScriptVisit):
            visit.failed = error, status

    def _leave_off(self, user: Lane) -> None:
        visit = user.visit
        super()._leave_off(user)
        if isinstance(visit, ScriptVisit):
            visit.close()

    async def _run_closed(self, segment: Segment, start_ns: int) -> None:
        seconds = segment.load.seconds()
        ends_ns = None if seconds is None else start_ns + int(seconds * 1e9)
        timer = ends_ns and self.loop.call_later((ends_ns - time.monotonic_ns()) / 1e9 + 0.001, self._end_functions)
        try:
            await super()._run_closed(segment, start_ns)
        finally:
            if timer:
                timer.cancel()

    def _end_functions(self) -> None:
        """The load is over: functions that wait for no answer are not waited for."""
        with self.lock:
            for lane in list(self._lanes):
                if isinstance(lane.visit, ScriptVisit) and lane.visit.waiter is None:
                    self._drop(lane)
