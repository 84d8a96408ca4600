"""What ends a scenario before its time: a target that died, one that no longer answers, a burst of errors (`abort_on`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from perflib.load.workers import Workers
from perflib.suite.model import Scenario
from perflib.targets.process import StartedTarget

LOST_PATIENCE_S: Final = 3.0


class Vigil:
    """Vigil(scenario, started).look(workers): the reason to stop, or None. Called after every message of a worker."""

    def __init__(self, scenario: Scenario, started: Mapping[str, StartedTarget]) -> None:
        self._scenario, self._started = scenario, started
        self._lost_since: float | None = None
        self._seen = (0, 0)
        self._history: deque[tuple[float, int, int]] = deque()  # when, rows, errors

    def look(self, workers: Workers) -> str | None:
        during = f"during scenario {self._scenario.name!r}"
        dead = [name for name, target in self._started.items() if not target.alive]
        if dead:
            return f"target {dead[0]!r} died {during}"
        if self._lost(workers):
            return f"nothing answered for {LOST_PATIENCE_S:g} s {during}"
        rule = self._scenario.abort_on
        if rule is not None and self._burst(workers, rule.share, rule.seconds):
            return f"{rule.text} (`abort_on`) {during}"
        return None

    def _lost(self, workers: Workers) -> bool:
        """Whether all that ended lately found nobody to answer."""
        answered, lost = workers.rows - workers.lost, workers.lost
        if (answered, lost) != self._seen:
            only_lost = answered == self._seen[0] and lost > self._seen[1]
            self._lost_since = (self._lost_since or time.monotonic()) if only_lost else None
            self._seen = (answered, lost)
        return self._lost_since is not None and time.monotonic() - self._lost_since > LOST_PATIENCE_S

    def _burst(self, workers: Workers, share: float, seconds: float) -> bool:
        """Whether more than that share of the last seconds' requests failed."""
        now = time.monotonic()
        self._history.append((now, workers.rows, workers.errors))
        while len(self._history) > 1 and self._history[1][0] <= now - seconds:
            self._history.popleft()
        then, rows, errors = self._history[0]
        made = workers.rows - rows
        return now - then >= seconds and made > 0 and (workers.errors - errors) / made > share
