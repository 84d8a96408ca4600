"""Loads whose requests start when a schedule says so, without waiting for answers; and loads one after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, NotNegative, Positive, Seq
from perflib.suite.load.base import Load
from perflib.suite.messages import in_one_line


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
