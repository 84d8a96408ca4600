"""Journeys: what a user does, step by step.

    Journey(name="buy", weight=3, steps=["list", Step(operation="look", repeat=3), "log in", "pay"])
    Journey(name="browse", weight=7, function="shop:browse")     # the same in Python, see perflib.targets.http.visitor

The comment behind each field is its description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, Count, Name, Positive, Seq, Text
from perflib.suite.messages import in_one_line
from perflib.suite.pause import Think


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Step:
    """A step of a journey: an operation, which is done once, several times, or not at all."""

    operation: Name  # name of one of the scenario's operations
    repeat: Count = 1  # how many times it is done
    each: Mapping[str, Text] | None = None  # once for each value of a kept list: `{ id = "ids" }` fills in `{id}`
    when: Text | Mapping[str, Any] | None = None  # only if this field was kept, or has this value: `{ state = "open" }`
    think_time_s: Think | None = None  # time after each of its answers; default: the journey's

    def __post_init__(self) -> None:
        if self.each is not None and len(self.each) != 1:
            raise SuiteError(f"`each` fills in {len(self.each)} names", mend='write one: each = { id = "ids" }')
        if self.each is not None and self.repeat > 1:
            raise SuiteError("a step has both `each` and `repeat`", mend="give one of them")

    @property
    def names(self) -> set[str]:
        """The kept fields that it looks at."""
        looked_at = {self.when} if isinstance(self.when, str) else set(self.when or {})
        return looked_at | set((self.each or {}).values())


def _as_step(value: Any) -> Any:
    if isinstance(value, str):
        return Step(operation=value)
    if not isinstance(value, Mapping):
        return value
    try:
        return Step(**value)
    except SuiteError as error:
        where = error.where.removeprefix(Step.__name__).removeprefix(": ")
        raise SuiteError(error.what, where=where, mend=error.mend) from None


AnyStep = Annotated[Step, BeforeValidator(_as_step)]


@in_one_line("journeys")
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Journey:
    """What a user does from beginning to end: steps in order, or an async function in Python."""

    name: Name  # name in the report and in objectives: `journey buy: p95 < 3 s`
    weight: Positive = 1.0  # how many users begin it, relative to the other journeys
    steps: Seq[AnyStep] = ()  # in order: names of operations, or tables of what is done more than once, or not always
    function: str | Callable[..., Any] | None = None  # instead of `steps`: `module:name` of an async function
    think_time_s: Think | None = None  # time between an answer and the next step; default: the load's, or none

    def __post_init__(self) -> None:
        if bool(self.steps) == (self.function is not None):
            raise SuiteError(f"journey {self.name!r} needs `steps` or a `function`", mend="give exactly one of them")
        if self.function is not None and self.think_time_s is not None:
            raise SuiteError(f"journey {self.name!r} is a function", mend="pause in it: `await user.think(2)`")
        if isinstance(self.function, str) and ":" not in self.function:
            raise SuiteError(f"cannot read function {self.function!r}", mend='write it like "package.module:name"')
        first = self.steps[0] if self.steps else None
        if first is not None and first.names:
            what = f"journey {self.name!r} begins with a step that may be left out, when nothing is kept yet"
            raise SuiteError(what, mend="begin it with a step without `when` and `each`")
