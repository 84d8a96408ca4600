"""How long users pause: a number of seconds, or a time that varies."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, NotNegative, Positive
from perflib.suite.messages import in_one_line

_P95: Final = 1.6448536269514722  # of the standard normal distribution


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Pause:
    """A time that varies, in s; exactly one of its keys."""

    uniform: tuple[NotNegative, NotNegative] | None = None  # any time from the first to the second
    exponential: Positive | None = None  # its mean: as between independent events
    lognormal: tuple[Positive, Positive] | None = None  # its median and its 95th percentile: now and then long

    def __post_init__(self) -> None:
        given = [name for name in ("uniform", "exponential", "lognormal") if getattr(self, name) is not None]
        if len(given) != 1:
            raise SuiteError("a time that varies needs one of its keys", mend="give uniform, exponential or lognormal")
        low, high = self.uniform or self.lognormal or (0.0, 1.0)
        if low > high or (self.lognormal and low == high):
            raise SuiteError(f"{given[0]} = [{low:g}, {high:g}] is the wrong way round", mend="write the smaller first")

    @property
    def words(self) -> str:
        if self.uniform:
            return f"{self.uniform[0]:g} to {self.uniform[1]:g} s"
        if self.exponential:
            return f"{self.exponential:g} s on average (exponential)"
        assert self.lognormal is not None
        return f"mostly {self.lognormal[0]:g} s, at times {self.lognormal[1]:g} s (lognormal)"

    @property
    def mean_s(self) -> float:
        if self.uniform:
            return sum(self.uniform) / 2
        return self.exponential or self._median_s * math.exp(self._sigma**2 / 2)

    def draw_s(self, rng: random.Random) -> float:
        """One such time."""
        if self.uniform:
            return rng.uniform(*self.uniform)
        if self.exponential:
            return rng.expovariate(1 / self.exponential)
        return self._median_s * math.exp(self._sigma * rng.gauss(0.0, 1.0))

    @property
    def _median_s(self) -> float:
        assert self.lognormal is not None
        return self.lognormal[0]

    @property
    def _sigma(self) -> float:
        assert self.lognormal is not None
        return math.log(self.lognormal[1] / self.lognormal[0]) / _P95


def _pause(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        return Pause(**value)
    except SuiteError as error:
        where = error.where.removeprefix(Pause.__name__).removeprefix(": ")
        raise SuiteError(error.what, where=where, mend=error.mend) from None


Think = Annotated[NotNegative | Pause, BeforeValidator(_pause)]
