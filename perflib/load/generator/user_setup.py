"""What `each_user` says: operations that a user does once, before its first request, and that are not measured.

A user is set up on its own lanes, so that connections, cookies and sessions stay with it. Meanwhile a UserSetup is the
driver of its lanes, so that the driver of the load never sees these requests.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from perflib.errors import TargetError
from perflib.load.generator.data_rows import DataUsedUpError
from perflib.load.generator.next_operation import OperationPicker
from perflib.load.generator.sample import failure_line, sample_of
from perflib.store.failures import Failures
from perflib.store.schema import NONE_NS, NONE_STATUS, Recorder
from perflib.targets.base import Driver, Lane, Op, in_words

AT_ONCE: Final = 32  # users that are set up at once, before the load
MOST_FAILURES: Final = 5  # of one user in a row
PAUSE_S: Final = 0.2  # before a set-up that failed is made again; longer each time


class Starts(Driver, Protocol):
    """The driver that a user has afterwards."""

    recorder: Recorder
    stopping: str


class UserSetup:
    """Sets users up, and is the driver of their lanes meanwhile: see targets.base.Driver.

    requests, failed   how many requests it has made, and how many of them failed; their set-ups were made again
    """

    def __init__(self, driver: Starts, ops: list[Op], picker: OperationPicker) -> None:
        self.loop, self.lock, self.stop = driver.loop, driver.lock, driver.stop
        self.error_code = driver.error_code  # the codes are those of the load, since lanes remember them
        self.resent = self.requests = self.failed = 0
        self._driver, self._ops, self._picker = driver, ops, picker
        self._failures, self._in_a_row = Failures(), Counter[Lane]()
        self._then: dict[Lane, Callable[[Lane], None]] = {}
        self._at: dict[Lane, int] = {}  # how many operations of its set-up a user has begun

    async def set_up(self, users: list[Lane]) -> None:
        """Set users up before the load. Raises TargetError where one of them cannot be."""
        loop, at_once = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

        async def one(user: Lane) -> None:
            async with at_once:
                if not self._driver.stopping:
                    ready = asyncio.Event()

                    def then(_: Lane) -> None:
                        loop.call_soon_threadsafe(ready.set)

                    self.begin(user, then)
                    await ready.wait()

        await asyncio.gather(*map(one, users))
        if self._driver.stopping:
            raise TargetError(self._driver.stopping, mend="look at the target's log, and at `each_user` in the suite")

    def begin(self, user: Lane, then: Callable[[Lane], None]) -> None:
        """Begin to set a user up. `then` is called with it afterwards; where it failed, the load is to end by then."""
        self._then[user] = then
        for lane in user.siblings:
            lane.driver = self
        self._begin_round(user)

    # As the driver of lanes.

    def finish(
        self,
        lane: Lane,
        end_ns: int,
        first_byte_ns: int,
        error: int,
        status: int,
        bytes_sent: int,
        bytes_received: int,
        server_ns: int,
    ) -> bool:
        """A request of a set-up is over: the next one begins, or all of them once more after one that failed."""
        self.requests += 1
        if error:
            self._note(lane, error, status)
        lane.start_ns = 0
        self.loop.call_soon_threadsafe(self._failed if error else self._go_on, lane.siblings[0])
        return False

    def explain(self, error: str, text: str) -> None:
        self._failures.explain(self.error_code(error), text)

    def wants(self, error: int) -> bool:
        return bool(error)

    def span(self, name: str, start_ns: int, duration_ns: int) -> None:
        """The parts of these requests are not recorded."""

    # From one operation to the next.

    def _begin_round(self, user: Lane) -> None:
        self._at[user] = 0
        self._go_on(user)

    def _go_on(self, user: Lane) -> None:
        with self.lock:
            at = self._at[user]
            if at == len(self._ops):
                self._in_a_row.pop(user, None)
                self._end(user, user.kept_fields)
                return
            self._at[user], op = at + 1, self._ops[at]
            lane = user.siblings[op.target]
            try:
                if at == 0:
                    row = self._picker.row_of_round(user)
                    for sibling in user.siblings:
                        sibling.kept_fields = row
                if op.variables:
                    self._picker.fill_row(lane, op)
            except (TargetError, DataUsedUpError) as reason:
                self.stop(str(reason))
                self._end(user, {})
                return
            lane.op, lane.scheduled_ns, lane.phase, lane.inflight = op, NONE_NS, 0, 0
            self._start(lane)

    def _start(self, lane: Lane) -> None:
        try:
            lane.start()
        except Exception as problem:  # of a lane of another package
            error, now = f"exception:{type(problem).__name__}", time.monotonic_ns()
            self.explain(error, in_words(problem))
            self.finish(lane, now, NONE_NS, self.error_code(error), NONE_STATUS, 0, 0, NONE_NS)

    def _note(self, lane: Lane, error: int, status: int) -> None:
        """Count a request that failed, and stop the load where its user has failed too often."""
        user = lane.siblings[0]
        self.failed += 1
        self._in_a_row[user] += 1
        if self._in_a_row[user] >= MOST_FAILURES:
            sample = sample_of(lane, status, self._failures.why(error))
            line = failure_line(lane.op.name, self._driver.recorder.error_name(error), status, sample)
            self.stop(f"each_user failed {MOST_FAILURES} times in a row: {line}")

    def _failed(self, user: Lane) -> None:
        with self.lock:
            if self._driver.stopping:
                self._end(user, {})
            else:
                self.loop.call_later(PAUSE_S * self._in_a_row[user], self._begin_round, user)

    def _end(self, user: Lane, fields: dict[str, Any]) -> None:
        """The user is its own from here on, with the values that it has by now."""
        del self._at[user]
        for lane in user.siblings:
            lane.driver, lane.own_fields = self._driver, dict(fields)
            lane.settle()
        self._then.pop(user)(user)
