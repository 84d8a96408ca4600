"""Rules that end a scenario's load early: a dead target, no answers, a burst of errors (`abort_on`), a broken limit.

A `StopRule` is called after every message of a worker. Rules that need a run's figures (the limit search) are in
`experiments`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from perflib.load.workers import Workers
from perflib.suite.model import Scenario
from perflib.suite.objectives import ErrorBurst
from perflib.targets.process import StartedTarget

PATIENCE_S: Final = 3.0


@dataclass(frozen=True)
class LoadState:
    """The state of a scenario's load. Times are ns on the run's clock; `workers_left` are those not lost."""

    workers: Workers
    workers_left: Sequence[int]
    start_ns: int
    now_ns: int


@dataclass(frozen=True)
class Stop:
    """Why the load ends. `is_failure`: the run is invalid; otherwise the load has reached its purpose."""

    reason: str
    is_failure: bool = True


class StopRule(Protocol):
    """One rule that ends a load early."""

    def look(self, state: LoadState) -> Stop | None:
        """The reason to end the load now, or None."""
        ...


class DeadTarget:
    """A target that perflib started has ended."""

    def __init__(self, started: Mapping[str, StartedTarget]) -> None:
        self._started = started

    def look(self, state: LoadState) -> Stop | None:
        dead = [name for name, target in self._started.items() if not target.alive]
        return Stop(f"target {dead[0]!r} died") if dead else None


class NoAnswers:
    """For some time, no request has received an answer."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._lost_since: float | None = None
        self._seen = (0, 0)

    def look(self, state: LoadState) -> Stop | None:
        answered, lost = state.workers.rows - state.workers.lost, state.workers.lost
        if (answered, lost) != self._seen:
            only_lost = answered == self._seen[0] and lost > self._seen[1]
            self._lost_since = (self._lost_since or time.monotonic()) if only_lost else None
            self._seen = (answered, lost)
        if self._lost_since is None or time.monotonic() - self._lost_since <= self._patience_s:
            return None
        return Stop(f"nothing answered for {self._patience_s:g} s")


class TooManyErrors:
    """Too large a share of the requests of the last seconds failed: `abort_on`."""

    def __init__(self, burst: ErrorBurst) -> None:
        self._burst = burst
        self._history: deque[tuple[float, int, int]] = deque()  # when, requests, errors

    def look(self, state: LoadState) -> Stop | None:
        now, burst = time.monotonic(), self._burst
        self._history.append((now, state.workers.rows, state.workers.errors))
        while len(self._history) > 1 and self._history[1][0] <= now - burst.seconds:
            self._history.popleft()
        then, requests, errors = self._history[0]
        lately, failed = state.workers.rows - requests, state.workers.errors - errors
        if now - then < burst.seconds or lately <= 0 or failed / lately <= burst.share:
            return None
        return Stop(f"{burst.text} (`abort_on`)")


def standard_rules(scenario: Scenario, started: Mapping[str, StartedTarget]) -> list[StopRule]:
    """The rules for every load."""
    burst = [TooManyErrors(scenario.abort_on)] if scenario.abort_on is not None else []
    return [DeadTarget(started), NoAnswers(), *burst]
