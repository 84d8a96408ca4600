"""Ends requests that take too long, and adds up how long users waited for answers that never came."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perflib.load.generator.timer import Timer
from perflib.targets.base import Lane, Op

LEAST_GAP_NS = 1_000_000


class Timeouts:
    """Calls `end(lane, now_ns)` for each lane whose request is over its time, at most 1 ms or 0.5 % too late.

    No request has a timer of its own: one wakes at the earliest time at which any of them can be over its time. What
    begins meanwhile is not over before that, for no operation has a shorter timeout than the shortest.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lock: threading.RLock,
        lanes: Sequence[Lane],
        ops: Sequence[Op],
        end: Callable[[Lane, int], None],
    ) -> None:
        self._lock, self._lanes, self._end = lock, lanes, end
        self._shortest_ns = min(op.timeout_ns for op in ops)
        self._gap_ns = max(LEAST_GAP_NS, self._shortest_ns // 200)
        self._timer = Timer(loop, self._look)
        self._timer.set(time.monotonic_ns() + self._shortest_ns)

    def close(self) -> None:
        self._timer.close()

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic_ns()
            next_ns = now + self._shortest_ns
            for lane in list(self._lanes):
                if not lane.start_ns:
                    continue
                over_ns = lane.start_ns + lane.op.timeout_ns
                if over_ns <= now:
                    self._end(lane, now)
                elif over_ns < next_ns:
                    next_ns = over_ns
        self._timer.set(max(next_ns, now + self._gap_ns))


@dataclass
class Unanswered:
    """What the users of closed loads waited for in vain.

    A user that waits makes no other request, so that a server that hangs is hardly seen among the rows: it is a few
    requests out of many, and most of the users' time.

    users_s    the time of all users, s
    waited_s   how much of it went by in requests that were given up, s
    users      how many users there were when a load ended
    at_end     how many of them were waiting then for an answer that never came
    """

    users_s: float = 0.0
    waited_s: float = 0.0
    users: int = 0
    at_end: int = 0

    def add(self, users: int, length_ns: int, waits: Sequence[tuple[int, int]], end_ns: int) -> None:
        """A closed load of that length that ended at `end_ns`, and the requests given up as (began, given up), ns."""
        self.users_s += users * length_ns / 1e9
        self.waited_s += sum(max(0, min(over, end_ns) - began) for began, over in waits) / 1e9
        waiting = sum(began < end_ns < over for began, over in waits)
        if waiting * max(self.users, 1) >= self.at_end * users:  # the load that ended worst
            self.users, self.at_end = users, waiting
