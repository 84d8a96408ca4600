"""The driver of journeys: each user sends a step when the one before it has ended, and pauses in between.

In a closed load, and in one of users, a user begins another journey when one is over. In an open load each arrival
begins one; where no user is free, it waits, and where it never begins it is a row "unsent". Only the first request of
a journey that arrives has a time at which it was due: the later ones are sent as soon as they can be.
"""

from __future__ import annotations

import random
import time
from collections import deque
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.data_rows import DataUsedUpError
from perflib.load.generator.driver import FOREVER, WorkerDriver
from perflib.load.generator.journeys import Route, Visit
from perflib.load.generator.plan import Segment
from perflib.load.generator.users import Pauses
from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.targets.base import Lane, Op
from perflib.targets.template import UnfilledError


class JourneyDriver(WorkerDriver):
    """Drives users through journeys.

    routes        the journeys, of which each user begins one at random by weight
    ends_rounds   whether a failed step ends its journey
    """

    def __init__(self, *given: Any, routes: list[Route], ends_rounds: bool = False, **keys: Any) -> None:
        super().__init__(*given, **keys)
        self._routes, self.ends_rounds = routes, ends_rounds
        self._choice = plan.weighted(
            [route.weight for route in routes], random.Random(f"{self.seed}/{self.index}/journeys")
        )
        self._round = max(route.size for route in routes)
        self._arrived: deque[tuple[int, Route]] = deque()  # for whom no user is free yet
        self._free_users: list[Lane] = []
        self._under_way = 0
        self._is_cut = False  # whether the time of an open load, and of its last answers, is over
        self._most_users = min(target.spec.max_connections for target in self.targets)

    # The hot path: a step of a journey is over, or a user begins.

    def _assign_closed(self, lane: Lane, now: int) -> bool:
        user, has_ended = lane.siblings[0], bool(lane.start_ns)
        visit: Visit | None = user.visit
        lane.start_ns = 0
        if visit is not None and has_ended:
            visit.answered(now)
            if not self._goes_on(visit, now):
                self._end_visit(user, visit.error)
                visit = None
        if self._is_over(now):
            return self._drop(lane)
        if visit is None and self._is_open:
            return self._take_arrival(lane, now)
        if visit is None and (self._requests_left <= 0 or (self._crowd is not None and self.busy > self._crowd.wanted)):
            return self._retire(lane)
        if has_ended and (pause_s := self._pause_s(user, now)) > 0:
            if visit is not None:
                visit.pauses_from_ns = now
            ends_s = FOREVER if self._is_open else (self._until_ns - now) / 1e9 + 0.001
            self._later(min(pause_s, ends_s), self._resume_visit, (lane, visit))
            return False
        if visit is None:
            self._pauses.begin(user, now)
            visit = self._begin(user, self._next_route(), NONE_NS, now)
            return self._drop(lane) if visit is None else self._first(lane, visit, now)
        return self._send(lane, visit, now)

    _assign_open = _assign_closed

    def _first(self, lane: Lane, visit: Visit, now: int) -> bool:
        """Begin with the first step of the journey."""
        return self._send(lane, visit, now)

    def _send(self, lane: Lane, visit: Visit, now: int) -> bool:
        """Send the journey's next request, unless the load has none left."""
        if visit.left:
            visit.left -= 1
        elif self._requests_left > 0:
            self._requests_left -= 1
        else:
            return self._drop(lane)
        scheduled_ns = NONE_NS if visit.requests else visit.due_ns  # later steps are sent as soon as they can be
        visit.requests += 1
        is_sent_by_caller = self._fill(lane, visit.op, scheduled_ns)
        if self._is_open and scheduled_ns == NONE_NS:
            lane.siblings[visit.op.target].phase = self._phase if now < self._until_ns else self._measure
        return is_sent_by_caller

    def _goes_on(self, visit: Visit, now: int) -> bool:
        """Whether the journey has a further step."""
        if visit.error and self.ends_rounds:
            return False
        try:
            return visit.advance()
        except UnfilledError as problem:
            self._add_failure(visit, "template", str(problem), now)
            return False

    def _is_over(self, now: int) -> bool:
        """Whether nothing more is sent."""
        return self._is_cut or bool(self.stopping) if self._is_open else now >= self._until_ns

    def _pause_s(self, user: Lane, now: int) -> float:
        think = None if user.visit is None else user.visit.think
        if think is None and not self._pauses.is_any and not self._gap_ns:
            return 0.0
        return max(self._pauses.next_s(user, now, think), self._wait_s(now))

    def _resume_visit(self, paused: tuple[Lane, Visit | None]) -> None:
        lane, visit = paused
        with self.lock:
            if lane.siblings[0].visit is not visit:
                return  # it was given up meanwhile
            now = time.monotonic_ns()
            if visit is not None:
                visit.paused_ns += now - visit.pauses_from_ns
            if self._assign(lane, now):
                self._start(lane)

    # Journeys begin and end.

    def _next_route(self) -> Route:
        return self._routes[next(self._choice)] if len(self._routes) > 1 else self._routes[0]

    def _begin(self, user: Lane, route: Route, due_ns: int, now: int) -> Visit | None:
        """Begin a journey, without what was kept before. None where there is no data for it: the load ends."""
        try:
            kept = self.picker.row_of_round(user)
        except (TargetError, DataUsedUpError) as reason:
            self._end_of_data(reason)
            return None
        for sibling in user.siblings:
            sibling.kept_fields = kept
        phase = self._phase if due_ns < self._until_ns else self._measure
        user.visit = visit = self._new_visit(user, route, kept, due_ns, now, phase)
        self._under_way += 1
        self._reserve(visit)
        return visit

    def _new_visit(self, user: Lane, *about: Any) -> Visit:
        return Visit(*about)

    def _reserve(self, visit: Visit) -> None:
        """Take the requests of a whole journey, so that it is not cut for another's."""
        visit.left = min(visit.route.size, self._requests_left)
        self._requests_left -= visit.left

    def _end_visit(self, user: Lane, error: int) -> None:
        """The journey is over: it becomes a row, and requests that it did not make are for others."""
        visit = user.visit
        self._leave_off(user)
        self._requests_left += visit.left
        self.recorder.journey(
            visit.route.label, visit.due_ns, visit.start_ns, visit.end_ns, visit.paused_ns, visit.requests, error,
            visit.phase,
        )  # fmt: skip

    def _leave_off(self, user: Lane) -> None:
        user.visit = None
        self._under_way -= 1

    def _drop(self, lane: Lane) -> bool:
        """Nothing more is sent. A journey that the end of a closed load, or of its requests, cuts short is no row."""
        user = lane.siblings[0]
        if user.visit is not None:
            self._cut_off(user, time.monotonic_ns())
        if not self._is_open:
            return self._retire(lane)
        self._free(user)
        return False

    def _cut_off(self, user: Lane, now: int) -> None:
        visit = user.visit
        if visit.error or self.stopping or self._is_cut:
            visit.end_ns = now
            self._end_visit(user, visit.error or self.error_code("aborted"))
        else:
            self._leave_off(user)

    def _failed(self, lane: Lane, error: int, status: int, end_ns: int) -> None:
        super()._failed(lane, error, status, end_ns)
        visit = lane.siblings[0].visit
        if visit is not None:
            visit.error = visit.error or error

    def _add_failure(self, visit: Visit, error: str, text: str, now: int) -> None:
        """A row for what went wrong on a journey besides its requests."""
        self.recorder.explain(error, text)
        code = self.error_code(error)
        visit.error = visit.error or code
        self._add_row(visit.op, NONE_NS, code, visit.phase, now)

    def _add_row(self, op: Op, scheduled_ns: int, error: int, phase: int, now: int) -> None:
        """A row of a request that was not sent."""
        self.recorder.add(
            scheduled_ns, now, NONE_NS, now, 0, 0, NONE_NS, self.inflight, NONE_STATUS, op.code, error, phase
        )

    def _end_of_data(self, reason: Exception) -> None:
        if isinstance(reason, DataUsedUpError) and not self._is_open:
            self.ended = self.ended or str(reason)  # the other users finish their journeys, and then find no row either
        else:
            super()._end_of_data(reason)
            self._arrived.clear()

    # Arrivals of an open load.

    async def _run_open(self, segment: Segment, start_ns: int) -> None:
        self._requests_left, self._is_cut = 0 if self.stopping else self.budget, False
        self._pauses, self._crowd = Pauses(0.0, 0.0, self._random), None
        self._free_users = list(self.users)
        try:
            await super()._run_open(segment, start_ns)
        finally:
            self.budget, self._is_cut = self._requests_left, True
            with self.lock:
                for user in self.users:
                    if user.visit is not None:
                        self._cut_off(user, time.monotonic_ns())

    def _offer(self, scheduled_ns: int) -> None:
        if self._requests_left <= 0:
            self._exhaust()
            return
        route = self._next_route()
        if self._gap_ns:
            self._wait_s(scheduled_ns)  # what arrives does not wait, and the steps of others do
        if self._free_users:
            user = self._free_users.pop()
        elif len(self.users) < min(self._most_users, self.most_lanes // len(self.targets)):
            self.users.append(user := self._new_user())
        else:
            self.waited += 1
            self._arrived.append((scheduled_ns, route))
            return
        now = time.monotonic_ns()
        visit = self._begin(user, route, scheduled_ns, now)
        if visit is None:
            self._free(user)
        elif self._first(user, visit, now):
            self._start(user)

    def _take_arrival(self, lane: Lane, now: int) -> bool:
        """Begin the journey of whoever has waited longest; where nobody waits, the user is free."""
        user = lane.siblings[0]
        if self._requests_left <= 0:
            self._arrived.clear()  # the load may make no further request
        if self._arrived:
            due_ns, route = self._arrived.popleft()
            visit = self._begin(user, route, due_ns, now)
            if visit is not None:
                return self._first(lane, visit, now)
        self._free(user)
        return False

    def _free(self, user: Lane) -> None:
        self._free_users.append(user)
        if self._exhausted and not self._under_way:
            self._end()

    def _end_if_idle(self) -> None:
        if not self._under_way:
            super()._end_if_idle()

    def _cut_short(self, grace_s: float) -> None:
        """Give up the journeys that are still under way: the last of them began as long ago as an answer may take."""
        with self.lock:
            if self._exhausted:
                self._is_cut = True
                self._give_up("aborted")
            else:
                super()._cut_short(grace_s)

    def _record_unsent(self) -> None:
        now, code = time.monotonic_ns(), self.error_code("unsent")
        for due_ns, route in self._arrived:
            phase = self._phase if due_ns < self._until_ns else self._measure
            self._add_row(route.steps[0].op, due_ns, code, phase, now)
            self.recorder.journey(route.label, due_ns, now, now, 0, 0, code, phase)
            self.unsent += 1
        self._arrived.clear()
