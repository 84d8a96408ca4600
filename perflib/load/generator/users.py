"""Users of a load: how many there are, and how long each pauses before its next request."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Final, Protocol

from perflib.load.generator import plan
from perflib.suite.load import UsersLoad
from perflib.suite.pause import Pause
from perflib.targets.base import Lane

FOLLOW_S: Final = 0.02  # how often the number of users is brought up to date


class Drives(Protocol):
    """The driver of a crowd. `busy`: how many users there are; `is_over`: nothing more is to be sent."""

    loop: asyncio.AbstractEventLoop
    lock: threading.RLock
    index: int
    of: int

    @property
    def busy(self) -> int: ...

    @property
    def is_over(self) -> bool: ...

    def begin_new_user(self) -> None: ...

    def end_crowd(self) -> None: ...


class Crowd:
    """Users whose number rises and falls: those of one worker.

    wanted   how many there are to be now; whoever is one too many leaves after its journey
    """

    def __init__(self, driver: Drives, load: UsersLoad, start_ns: int) -> None:
        self._driver, self._load, self._start_ns = driver, load, start_ns
        self.wanted = 0

    def follow(self) -> None:
        """Bring in users where there are too few, now and then again until the load is over."""
        driver = self._driver
        with driver.lock:
            seconds = (time.monotonic_ns() - self._start_ns) / 1e9
            self.wanted = plan.share(self._load.users_at(seconds), driver.index, driver.of)
            if driver.is_over:
                driver.end_crowd()
                return
            while driver.busy < self.wanted:
                driver.begin_new_user()
            driver.loop.call_later(FOLLOW_S, self.follow)


class Pauses:
    """How long users pause: after each answer, and so that a journey or request begins at most once in `pacing_s`.

    is_any   whether they pause at all
    """

    def __init__(self, think_s: float | Pause, pacing_s: float, rng: random.Random) -> None:
        self._think_s, self._random = think_s, rng
        self.pacing_ns = int(pacing_s * 1e9)
        self.is_any = bool(think_s) or self.pacing_ns > 0
        self._began: dict[Lane, int] = {}  # a user's latest beginning

    def next_s(self, lane: Lane, now: int, think: float | Pause | None = None) -> float:
        """How long the lane's user pauses before its next request. `think`: what its journey says of it."""
        if think is None:
            think = self._think_s
        pause_s = think if isinstance(think, float | int) else think.draw_s(self._random)
        user = lane.siblings[0]
        if self.pacing_ns and user.visit is None:
            pause_s = max(pause_s, (self._began.get(user, 0) + self.pacing_ns - now) / 1e9)
        return pause_s

    def begin(self, lane: Lane, now: int) -> None:
        """The lane's user begins a journey, or a request, now."""
        if self.pacing_ns:
            self._began[lane.siblings[0]] = now

    def forget(self, user: Lane) -> None:
        """The user has left."""
        self._began.pop(user, None)
