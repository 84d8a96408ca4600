"""When requests start: one class for each load model, created by Load(model=…).

    Load(model="closed", concurrency=10, duration_s=20, think_time_s=0.5)    # or requests=1000
    Load(model="users", stages=[UserStage(users=50, over_s=30)])             # a number of users that rises and falls
    Load(model="constant", rate_per_s=500, duration_s=20)                    # evenly spaced; "poisson": random
    Load(model="ramp", from_per_s=10, to_per_s=500, duration_s=60)           # TOML also: from = 10, to = 500
    Load(model="stages", stages=[Load(...), Load(...)])                      # one after the other
    Load(model="spike", rate_per_s=50, spike_rate_per_s=500, spike_at_s=10, spike_s=2, duration_s=30)
    Load(model="steps", from_per_s=100, to_per_s=1000, step_per_s=100, step_s=10)   # until an objective breaks
    Load(model="replay", starts="starts.csv", speed=2)                       # seconds since the start, one per line

The comment behind each field is its description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.family import ALIASES, Family
from perflib.suite.fields import CONFIG, Count, NotNegative, Positive, Seq
from perflib.suite.messages import TABLES, in_one_line
from perflib.suite.pause import Pause, Think
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


class _OneRate:
    """The common part of loads with one rate. Each subclass declares the fields, so that each can describe them."""

    SPACED: ClassVar[str]
    rate_per_s: float
    duration_s: float

    def __post_init__(self) -> None:
        if self.rate_per_s * self.duration_s < 1:
            raise SuiteError("the load makes less than one request", mend="raise rate_per_s or duration_s")

    @property
    def words(self) -> str:
        return f"{self.rate_per_s:,g} requests/s {self.SPACED} for {self.duration_s:g} s"

    @property
    def highest_rate_per_s(self) -> float:
        return self.rate_per_s

    def seconds(self) -> float:
        return self.duration_s

    def lasting(self, seconds: float) -> Any:
        return replace(self, duration_s=seconds)  # type: ignore[type-var]  # every subclass is a dataclass


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ConstantLoad(_OneRate, Load, tag="constant"):
    """Requests at equal intervals."""

    SPACED = "at equal intervals"
    model: Literal["constant"] = "constant"
    rate_per_s: Positive  # requests per second
    duration_s: Positive  # length of the load


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class PoissonLoad(_OneRate, Load, tag="poisson"):
    """Requests at random times, as from many independent users."""

    SPACED = "at random times"
    model: Literal["poisson"] = "poisson"
    rate_per_s: Positive  # mean requests per second
    duration_s: Positive  # length of the load


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RampLoad(Load, tag="ramp"):
    """A rate that rises or falls evenly."""

    model: Literal["ramp"] = "ramp"
    from_per_s: Annotated[float, Field(alias="from", ge=0)]  # the rate at the start
    to_per_s: Annotated[float, Field(alias="to", ge=0)]  # the rate at the end
    duration_s: Positive  # length of the load

    def __post_init__(self) -> None:
        if not (self.from_per_s or self.to_per_s):
            raise SuiteError("a ramp from 0 to 0 makes no request", mend="raise `to`")

    @property
    def words(self) -> str:
        return f"{self.from_per_s:,g} to {self.to_per_s:,g} requests/s within {self.duration_s:g} s"

    @property
    def highest_rate_per_s(self) -> float:
        return max(self.from_per_s, self.to_per_s)

    def seconds(self) -> float:
        return self.duration_s


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class SpikeLoad(Load, tag="spike"):
    """A constant rate with a short, higher one in between."""

    model: Literal["spike"] = "spike"
    rate_per_s: Positive  # requests per second before and after the spike
    spike_rate_per_s: Positive  # requests per second during the spike
    spike_at_s: NotNegative  # when the spike begins
    spike_s: Positive  # length of the spike
    duration_s: Positive  # length of the load

    def __post_init__(self) -> None:
        if self.spike_at_s + self.spike_s > self.duration_s:
            raise SuiteError("the spike ends after the load", mend="raise duration_s, or start the spike earlier")

    @property
    def words(self) -> str:
        spike = f"{self.spike_rate_per_s:,g} requests/s for {self.spike_s:g} s after {self.spike_at_s:g} s"
        return f"{self.rate_per_s:,g} requests/s for {self.duration_s:g} s, {spike}"

    @property
    def highest_rate_per_s(self) -> float:
        return max(self.rate_per_s, self.spike_rate_per_s)

    def seconds(self) -> float:
        return self.duration_s


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class StepsLoad(Load, tag="steps"):
    """Constant rates, each higher than the one before, to find the capacity."""

    model: Literal["steps"] = "steps"
    from_per_s: Annotated[float, Field(alias="from", ge=0)]  # the rate of the first step
    to_per_s: Annotated[float, Field(alias="to", ge=0)]  # the highest rate of a step
    step_per_s: Positive  # how much each step adds to the rate
    step_s: Positive  # length of a step; its first fifth is left out of the figures

    def __post_init__(self) -> None:
        if not any(rate * self.step_s >= 1 for rate in self.rates_per_s()):
            raise SuiteError("the steps make no request", mend="raise `to` above `from`, or step_s")

    @property
    def words(self) -> str:
        rates = self.rates_per_s()
        return f"{rates[0]:,g} to {rates[-1]:,g} requests/s in {len(rates)} steps of {self.step_s:g} s"

    @property
    def highest_rate_per_s(self) -> float:
        return max(self.from_per_s, self.to_per_s)

    def rates_per_s(self) -> tuple[float, ...]:
        """The rates in order: from, from + step, … up to `to`."""
        last = math.floor((self.to_per_s - self.from_per_s) / self.step_per_s + 1e-9)
        return tuple(self.from_per_s + self.step_per_s * number for number in range(1 + last))

    def seconds(self) -> float:
        return self.step_s * len(self.rates_per_s())


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ReplayLoad(Load, tag="replay"):
    """Recorded start times."""

    model: Literal["replay"] = "replay"
    starts: str | Seq[float]  # start times in seconds: a file with one at the beginning of each line, or a list
    speed: Positive = 1.0  # how many times as fast as recorded: with 2, in half of the time

    def __post_init__(self) -> None:
        if not self.starts:
            raise SuiteError("a replay needs at least one start time", mend="name a file, or list the seconds")

    @property
    def words(self) -> str:
        times = f"{len(self.starts):,} recorded start times"
        if isinstance(self.starts, str):
            times = f"the start times in {self.starts}"
        return times if self.speed == 1 else f"{times}, {self.speed:g} times as fast"

    def seconds(self) -> None:
        return None


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class StagesLoad(Load, tag="stages"):
    """Loads one after the other."""

    model: Literal["stages"] = "stages"
    stages: Seq[Load]  # the loads; their `model` may be left out

    def __post_init__(self) -> None:
        if not self.stages:
            raise SuiteError("a load of stages needs at least one stage", mend="list at least one under `stages`")
        if any(stage.stage_count for stage in self.stages):
            raise SuiteError("a stage cannot have stages", mend="list them all on one level")

    @property
    def words(self) -> str:
        return "; then ".join(stage.words for stage in self.stages)

    @property
    def is_open(self) -> bool:
        return all(stage.is_open for stage in self.stages)

    @property
    def stage_count(self) -> int:
        return len(self.stages)

    @property
    def highest_rate_per_s(self) -> float:
        return max(stage.highest_rate_per_s for stage in self.stages)

    @property
    def users(self) -> int:
        return max(stage.users for stage in self.stages)

    @property
    def total_requests(self) -> int:
        return sum(stage.total_requests for stage in self.stages)

    def parts(self) -> tuple[Load, ...]:
        return self.stages

    def seconds(self) -> float | None:
        each = [stage.seconds() for stage in self.stages]
        return None if None in each else sum(seconds for seconds in each if seconds is not None)


def opening_s(measured_s: float) -> float:
    """Time at the start that is not measured if the suite sets no warm-up: 5 % of the measured time, at most 2 s."""
    return min(2.0, 0.05 * measured_s)


TABLES.update({"load": Load, "stages": Load})
