"""What a worker is asked to do, and its line to the coordinator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from perflib.suite.model import GROUPS, Scenario, Target

ORPHANED = "the coordinator is gone"  # the reason why a worker stopped


def roles(scenario: Scenario) -> list[str]:
    """The keys of a scenario under which it has operations; their {counter}s have numbers of their own."""
    return [key for key in GROUPS if getattr(scenario, key)]


@dataclass(frozen=True)
class Job:
    """What one worker has to do: its share (`index` of `of`) of a scenario.

    search_path   further folders from which the suite's own functions are imported, after all others
    turns         it waits for each of its turns
    part, parts   the number of its load among all loads, preparations and the like of the run, and how many these are
    values        what the set-up kept: the same for all requests
    """

    run_dir: str
    scenario: Scenario
    targets: dict[str, Target]
    worker: int
    index: int
    of: int
    seed: int
    t0_ns: int
    folder: str = ""
    max_requests: int | None = None
    max_rate_per_s: float | None = None
    allow_hosts: tuple[str, ...] = ()
    search_path: list[str] = field(default_factory=list)
    turns: bool = False
    part: int = 0
    parts: int = 1
    values: dict[str, Any] = field(default_factory=dict)


class Channel(Protocol):
    """The connection of a worker with its coordinator."""

    def send(self, kind: str, **content: Any) -> None:
        """Report something to the coordinator."""
        ...

    async def start_ns(self) -> int:
        """Wait for the time of the next start. It is now where the worker has to stop."""
        ...
