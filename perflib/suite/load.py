"""When requests start: one class for each load model, made by Load(model=…).

    Load(model="closed", concurrency=10, duration_s=20, think_time_s=0.5)    # or requests=1000
    Load(model="constant", rate_per_s=500, duration_s=20)                    # evenly spaced; "poisson": random
    Load(model="ramp", from_per_s=10, to_per_s=500, duration_s=60)           # TOML also: from = 10, to = 500
    Load(model="stages", stages=[Load(...), Load(...)])                      # one after the other
    Load(model="spike", rate_per_s=50, spike_rate_per_s=500, spike_at_s=10, spike_s=2, duration_s=30)
    Load(model="steps", from_per_s=100, to_per_s=1000, step_per_s=100, step_s=10)   # until an objective breaks
    Load(model="replay", starts="starts.csv")                                # seconds since the start, one a line

What each field is for stands behind it in a comment: docs/suite.md is made of these (`python -m tools.reference`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.family import ALIASES, Family
from perflib.suite.fields import CONFIG, Count, NotNegative, Positive, Seq
from perflib.suite.messages import TABLES, in_one_line

STEADY: Final = ("closed", "constant", "poisson")  # models of one level: of these, a longer load is more of the same


class Load(Family):
    """When requests start. Closed: a fixed number of users; all others are open: a schedule that waits for nobody."""

    TAG, NOUN, PLAIN = "model", "load model {!r}", "a {} load"

    model: str

    @property
    def is_open(self) -> bool:
        """Whether a schedule says when requests start, whatever the answers do."""
        return True

    @property
    def is_steady(self) -> bool:
        """Whether the load has one level, so that a longer one is more of the same."""
        return self.model in STEADY

    @property
    def highest_rate_per_s(self) -> float:
        """The highest rate that it asks for; 0 where it names none."""
        return 0.0

    @property
    def users(self) -> int:
        """How many users are busy at once, at most; 0 of an open load."""
        return 0

    @property
    def total_requests(self) -> int:
        """The number of requests that ends the load; 0 where time or a schedule does."""
        return 0

    def parts(self) -> tuple[Load, ...]:
        """The stages, or the load itself."""
        return (self,)

    def seconds(self) -> float | None:
        """How long requests are started, s; None where a number of requests ends the load, or a file does."""
        raise NotImplementedError

    def with_keys(self, keys: Mapping[str, Any]) -> Load:
        """The load with other values for some of its keys, named as in a suite file. Raises SuiteError."""
        names = {alias: name for name, alias in ALIASES.items()}
        changes = {names.get(key, key): value for key, value in keys.items()}
        made: Load = replace(self, **changes)  # type: ignore[type-var]  # every member is a dataclass
        return made

    def lasting(self, seconds: float) -> Load:
        """The same load for so long. Raises SuiteError where that would be another load."""
        raise SuiteError(f"load model {self.model!r} has no length of its own", mend=f"use {', '.join(STEADY)}")


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ClosedLoad(Load, tag="closed"):
    """Users, each of whom waits for an answer before the next request."""

    model: Literal["closed"] = "closed"
    concurrency: Count  # users that are busy at once
    requests: Count | None = None  # ends the load after so many; this or `duration_s`
    duration_s: Positive | None = None  # ends the load after so long
    think_time_s: NotNegative = 0.0  # what a user waits between an answer and the next request

    def __post_init__(self) -> None:
        if (self.requests is None) == (self.duration_s is None):
            raise SuiteError("a closed load ends by `requests` or by `duration_s`", mend="give exactly one of them")
        if self.requests is not None and self.requests < self.concurrency:
            mend = f"give at least {self.concurrency} requests, or lower the concurrency"
            raise SuiteError(f"{self.requests} requests cannot keep {self.concurrency} in flight", mend=mend)

    @property
    def is_open(self) -> bool:
        return False

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


class _OneRate:
    """What loads of one rate share. The keys are fields of each, so that each says what they are for."""

    rate_per_s: float
    duration_s: float

    def __post_init__(self) -> None:
        if self.rate_per_s * self.duration_s < 1:
            raise SuiteError("the load makes less than one request", mend="raise rate_per_s or duration_s")

    @property
    def highest_rate_per_s(self) -> float:
        return self.rate_per_s

    def seconds(self) -> float:
        return self.duration_s

    def lasting(self, seconds: float) -> Any:
        return replace(self, duration_s=seconds)  # type: ignore[type-var]  # every user of it is a dataclass


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ConstantLoad(_OneRate, Load, tag="constant"):
    """Requests evenly spaced."""

    model: Literal["constant"] = "constant"
    rate_per_s: Positive  # requests a second
    duration_s: Positive  # ends the load after so long


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class PoissonLoad(_OneRate, Load, tag="poisson"):
    """Requests at random, as from many users that know nothing of each other."""

    model: Literal["poisson"] = "poisson"
    rate_per_s: Positive  # requests a second, on average
    duration_s: Positive  # ends the load after so long


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RampLoad(Load, tag="ramp"):
    """A rate that rises or falls evenly."""

    model: Literal["ramp"] = "ramp"
    from_per_s: Annotated[float, Field(alias="from", ge=0)]  # the rate at the start
    to_per_s: Annotated[float, Field(alias="to", ge=0)]  # the rate at the end
    duration_s: Positive  # ends the load after so long

    def __post_init__(self) -> None:
        if not (self.from_per_s or self.to_per_s):
            raise SuiteError("a ramp from 0 to 0 makes no request", mend="raise `to`")

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
    rate_per_s: Positive  # requests a second before and after the spike
    spike_rate_per_s: Positive  # requests a second within the spike
    spike_at_s: NotNegative  # when the spike begins
    spike_s: Positive  # how long the spike lasts
    duration_s: Positive  # ends the load after so long

    def __post_init__(self) -> None:
        if self.spike_at_s + self.spike_s > self.duration_s:
            raise SuiteError("the spike ends after the load", mend="raise duration_s, or start the spike earlier")

    @property
    def highest_rate_per_s(self) -> float:
        return max(self.rate_per_s, self.spike_rate_per_s)

    def seconds(self) -> float:
        return self.duration_s


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class StepsLoad(Load, tag="steps"):
    """Constant rates, each higher than the one before: the search for a capacity."""

    model: Literal["steps"] = "steps"
    from_per_s: Annotated[float, Field(alias="from", ge=0)]  # the rate of the first step
    to_per_s: Annotated[float, Field(alias="to", ge=0)]  # no step goes higher
    step_per_s: Positive  # how much each step adds to the rate
    step_s: Positive  # how long a step lasts; its first fifth is left out

    def __post_init__(self) -> None:
        if not any(rate * self.step_s >= 1 for rate in self.rates_per_s()):
            raise SuiteError("the steps make no request", mend="raise `to` above `from`, or step_s")

    @property
    def highest_rate_per_s(self) -> float:
        return max(self.from_per_s, self.to_per_s)

    def rates_per_s(self) -> tuple[float, ...]:
        """The rates in turn: from, from + step, … as far as `to`."""
        last = math.floor((self.to_per_s - self.from_per_s) / self.step_per_s + 1e-9)
        return tuple(self.from_per_s + self.step_per_s * number for number in range(1 + last))

    def seconds(self) -> float:
        return self.step_s * len(self.rates_per_s())


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ReplayLoad(Load, tag="replay"):
    """Recorded starts."""

    model: Literal["replay"] = "replay"
    starts: str | Seq[float]  # a file of when requests are due: seconds, one a line; or the seconds themselves

    def __post_init__(self) -> None:
        if not self.starts:
            raise SuiteError("a replay of no starts makes no request", mend="name a file, or list the seconds")

    def seconds(self) -> None:
        return None


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class StagesLoad(Load, tag="stages"):
    """Loads one after the other."""

    model: Literal["stages"] = "stages"
    stages: Seq[Load]  # the loads; a stage need not name its model

    def __post_init__(self) -> None:
        if not self.stages:
            raise SuiteError("a load of stages without a stage", mend="list at least one under `stages`")
        if any(isinstance(stage, StagesLoad) for stage in self.stages):
            raise SuiteError("stages inside stages", mend="list them all on one level")

    @property
    def is_open(self) -> bool:
        return all(stage.is_open for stage in self.stages)

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
    """What figures leave out at the start where a suite names no warm-up: 5 % of the measured time, at most 2 s."""
    return min(2.0, 0.05 * measured_s)


TABLES.update({"load": Load, "stages": Load})
