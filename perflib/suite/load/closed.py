"""Loads of users, each of whom waits for an answer before the next request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, Count, NotNegative, Positive, Seq
from perflib.suite.load.base import Load
from perflib.suite.messages import in_one_line
from perflib.suite.pause import Pause, Think


class _OfUsers:
    """What loads of users have in common: how long each pauses. Each subclass declares the fields."""

    think_time_s: float | Pause
    pacing_s: float

    @property
    def is_open(self) -> bool:
        return False

    @property
    def mean_think_s(self) -> float:
        """The time between an answer and the user's next request, on average."""
        return self.think_time_s.mean_s if isinstance(self.think_time_s, Pause) else self.think_time_s

    @property
    def _pauses(self) -> str:
        """How long users pause, as the end of a sentence."""
        think = self.think_time_s.words if isinstance(self.think_time_s, Pause) else f"{self.think_time_s:g} s"
        said = f", {think} after each answer" if self.think_time_s else ""
        return said + (f", one round in {self.pacing_s:g} s" if self.pacing_s else "")


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ClosedLoad(_OfUsers, Load, tag="closed"):
    """A number of users, each of whom waits for an answer before the next request."""

    model: Literal["closed"] = "closed"
    concurrency: Count  # users that are busy at once
    requests: Count | None = None  # number of requests; either this or `duration_s`
    duration_s: Positive | None = None  # length of the load
    think_time_s: Think = 0.0  # time between an answer and the user's next request
    pacing_s: NotNegative = 0.0  # a user begins a round of the operations, or a request, at most once in this time

    def __post_init__(self) -> None:
        if (self.requests is None) == (self.duration_s is None):
            raise SuiteError("a closed load needs `requests` or `duration_s`", mend="give exactly one of them")
        if self.requests is not None and self.requests < self.concurrency:
            mend = f"give at least {self.concurrency} requests, or lower the concurrency"
            raise SuiteError(f"{self.requests} requests cannot keep {self.concurrency} in flight", mend=mend)

    @property
    def words(self) -> str:
        until = f"for {self.duration_s:g} s" if self.duration_s is not None else f"until {self.requests:,} requests"
        return f"{self.concurrency:,} user{'s' if self.concurrency > 1 else ''} {until}{self._pauses}"

    @property
    def users(self) -> int:
        return self.concurrency

    @property
    def total_requests(self) -> int:
        return self.requests or 0

    def seconds(self) -> float | None:
        return self.duration_s

    def lasting(self, seconds: float) -> ClosedLoad:
        return replace(self, requests=None, duration_s=seconds)


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class UserStage:
    """A part of a load of users: their number changes evenly to `users` within `over_s`."""

    users: Annotated[int, Field(ge=0)]  # how many there are at the end of the stage
    over_s: Positive  # length of the stage


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class UsersLoad(_OfUsers, Load, tag="users"):
    """A number of users that rises, stays and falls; each waits for an answer before the next request."""

    TABLES: ClassVar[Mapping[str, type]] = {"stages": UserStage}

    model: Literal["users"] = "users"
    stages: Seq[UserStage]  # the number of users at the end of each part of the load, and how long the part takes
    start_users: Annotated[int, Field(ge=0)] = 0  # the number of users at the start
    think_time_s: Think = 0.0  # time between an answer and the user's next request
    pacing_s: NotNegative = 0.0  # a user begins a round of the operations, or a request, at most once in this time

    def __post_init__(self) -> None:
        if not self.stages:
            raise SuiteError("a load of users needs at least one stage", mend="list at least one under `stages`")
        if not self.users:
            raise SuiteError("a load of users without a user makes no request", mend="raise `users` in a stage")

    @property
    def words(self) -> str:
        parts = []
        for stage, (before, after) in zip(self.stages, pairwise(self._ends), strict=True):
            change, takes = (f"{after:,}", "for") if after == before else (f"{before:,} to {after:,}", "within")
            parts.append(f"{change} users {takes} {stage.over_s:g} s")
        return ", then ".join(parts) + self._pauses

    @property
    def users(self) -> int:
        return max(self._ends)

    @property
    def all_users(self) -> int:
        return self.start_users + sum(max(0, after - before) for before, after in pairwise(self._ends))

    @property
    def _ends(self) -> list[int]:
        """The number of users at the start, and at the end of each stage."""
        return [self.start_users, *(stage.users for stage in self.stages)]

    @property
    def mean_users(self) -> float:
        """The number of users, on average over the load."""
        between = zip(self.stages, pairwise(self._ends), strict=True)
        return sum(stage.over_s * sum(ends) / 2 for stage, ends in between) / self.seconds()

    @property
    def stage_count(self) -> int:
        return len(self.stages)

    def users_at(self, seconds: float) -> int:
        """The number of users so many seconds after the start: a straight line through the stages, rounded."""
        before = self.start_users
        for stage in self.stages:
            if seconds < stage.over_s:
                return round(before + (stage.users - before) * max(seconds, 0.0) / stage.over_s)
            seconds, before = seconds - stage.over_s, stage.users
        return before

    def seconds(self) -> float:
        return sum(stage.over_s for stage in self.stages)
