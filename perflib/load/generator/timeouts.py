"""Ends requests that take too long, and adds up how long users waited for answers that never came."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

from perflib.load.generator.timer import Timer
from perflib.targets.base import Lane, Op

LEAST_GAP_NS = 1_000_000
SAME_STRETCH_NS = 20_000_000  # between two requests in a row, besides the time that a user thinks
LONG_SHARE = 0.05  # of the load


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


class Unanswered:
    """What the users of closed loads waited for in vain.

    A user that waits makes no other request, so that a server that hangs is hardly seen among the rows: it is a few
    requests out of many, and most of the users' time. A single timeout is no hang: what counts are stretches, of one
    request or of several in a row, that last for 5 % of the load.

    users_s    the time of all users, s
    waited_s   how much of it went by in such stretches, s
    users      how many users there were when a load ended
    at_end     how many of them were in such a stretch then
    """

    def __init__(self) -> None:
        self.users_s = self.waited_s = 0.0
        self.users = self.at_end = 0
        self._stretches: list[list[int]] = []  # when each began, when it was given up, ns
        self._latest: dict[Lane, list[int]] = {}

    def begin(self, think_s: float) -> None:
        """A closed load begins, whose users think for so long."""
        self._stretches, self._latest = [], {}
        self._pause_ns = int(think_s * 1e9) + SAME_STRETCH_NS

    def note(self, user: Lane, began_ns: int, over_ns: int) -> None:
        """A request of the user was given up."""
        latest = self._latest.get(user)
        if latest is not None and began_ns - latest[1] <= self._pause_ns:
            latest[1] = over_ns
        else:
            self._latest[user] = [began_ns, over_ns]
            self._stretches.append(self._latest[user])

    def end(self, users: int, users_s: float, length_ns: int, end_ns: int) -> None:
        """The load of that length ended at `end_ns` with so many users, whose time was `users_s` together."""
        self.users_s += users_s
        long = [(began, over) for began, over in self._stretches if over - began >= LONG_SHARE * length_ns]
        self.waited_s += sum(max(0, min(over, end_ns) - began) for began, over in long) / 1e9
        at_end = sum(began < end_ns <= over for began, over in long)
        if at_end * max(self.users, 1) >= self.at_end * users:  # the load that ended worst
            self.users, self.at_end = users, at_end

    def as_dict(self) -> dict[str, float]:
        return {"users_s": self.users_s, "waited_s": self.waited_s, "users": self.users, "at_end": self.at_end}
