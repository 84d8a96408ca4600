"""Rules that end a scenario's load early: a dead target, no answers, a burst of errors (`abort_on`), a broken limit.

A `StopRule` is called after every message of a worker. Rules that need a run's figures (the limit search) are in
`experiments`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from perflib.load.workers import Workers
from perflib.suite.model import Scenario, Target
from perflib.suite.objectives import ErrorBurst
from perflib.targets.process import StartedTarget


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
        return Stop(f"target {dead[0]!r} died: {self._started[dead[0]].describe_end()}") if dead else None


class NoAnswers:
    """Nothing at all was answered for a while, `patience_s`, although requests were made all along.

    One failure is none of that: the first and the last that nobody answered must be so far apart. A request in flight
    that is only slow may still be answered, and is waited for as long as it may take (`longest_s`, the timeout).
    """

    def __init__(self, patience_s: float, longest_s: float) -> None:
        self._patience_s, self._longest_s = patience_s, longest_s
        self._seen = (0, 0)
        self._first_lost: float | None = None
        self._last_lost = 0.0

    def look(self, state: LoadState) -> Stop | None:
        now, workers = time.monotonic(), state.workers
        answered, lost = workers.rows - workers.lost, workers.lost
        if answered != self._seen[0]:
            self._first_lost = None
        elif lost > self._seen[1]:
            self._first_lost, self._last_lost = self._first_lost or now, now
        self._seen = (answered, lost)
        if self._first_lost is None:
            return None
        silent_s = self._last_lost - self._first_lost
        if silent_s < self._patience_s or (workers.slow and silent_s < self._patience_s + self._longest_s):
            return None
        return Stop(f"nothing answered for {silent_s:.0f} s (`patience_s`)")


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


def standard_rules(
    scenario: Scenario, targets: Mapping[str, Target], started: Mapping[str, StartedTarget]
) -> list[StopRule]:
    """The rules for every load."""
    burst = [TooManyErrors(scenario.abort_on)] if scenario.abort_on is not None else []
    timeouts_s = [
        operation.timeout_s or targets[operation.target or scenario.target or ""].timeout_s
        for operation in scenario.operations
    ]
    longest_s = max(timeouts_s or [targets[name].timeout_s for name in scenario.reached])
    return [DeadTarget(started), NoAnswers(scenario.patience_s, longest_s), *burst]
