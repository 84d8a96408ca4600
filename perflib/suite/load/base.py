"""What all load models have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from perflib.errors import SuiteError
from perflib.suite.family import ALIASES, Family
from perflib.text import Spoken

STEADY: Final = ("closed", "constant", "poisson")  # models whose level does not change with time


class Load(Spoken, Family):
    """When requests start: `closed` and `users` wait for answers; the others are a schedule, which never waits.

    >>> print(Load(model="closed", concurrency=10, duration_s=20, think_time_s=0.5))
    10 users for 20 s, 0.5 s after each answer
    >>> Load(model="poisson", rate_per_s=50, duration_s=20).is_open
    True
    """

    TAG, NOUN, PLAIN = "model", "load model {!r}", "a {} load"

    model: str

    @property
    def is_open(self) -> bool:
        """Whether a schedule sets when requests start, without waiting for answers."""
        return True

    @property
    def is_steady(self) -> bool:
        """Whether the level of the load stays the same, so that the load can be made longer."""
        return self.model in STEADY

    @property
    def highest_rate_per_s(self) -> float:
        """The highest rate that the load requests; 0 if it has no rate."""
        return 0.0

    @property
    def users(self) -> int:
        """The largest number of users that are busy at once; 0 for an open load."""
        return 0

    @property
    def all_users(self) -> int:
        """The number of different users that take part; 0 for an open load."""
        return self.users

    @property
    def stage_count(self) -> int:
        """The number of its stages; 0 where it has none."""
        return 0

    @property
    def total_requests(self) -> int:
        """The number of requests that ends the load; 0 if time or a schedule ends it."""
        return 0

    @property
    def words(self) -> str:
        """The load in words: "80 requests/s at random times for 20 s"."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.words

    def parts(self) -> tuple[Load, ...]:
        """The stages, or the load itself."""
        return (self,)

    def seconds(self) -> float | None:
        """How long requests are started, in s; None if a number of requests or a file ends the load."""
        raise NotImplementedError

    def with_keys(self, keys: Mapping[str, Any]) -> Load:
        """The load with other values for some of its keys, named as in a suite file. Raises SuiteError."""
        names = {alias: name for name, alias in ALIASES.items()}
        changes = {names.get(key, key): value for key, value in keys.items()}
        changed: Load = replace(self, **changes)  # type: ignore[type-var]  # every member is a dataclass
        return changed

    def lasting(self, seconds: float) -> Load:
        """The same load with this duration. Raises SuiteError for a load whose level changes."""
        raise SuiteError(f"load model {self.model!r} cannot be made longer or shorter", mend=f"use {', '.join(STEADY)}")


def opening_s(measured_s: float) -> float:
    """Time at the start that is not measured if the suite sets no warm-up: 5 % of the measured time, at most 2 s."""
    return min(2.0, 0.05 * measured_s)
