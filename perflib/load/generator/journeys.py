"""Journeys of users under way: which step comes next, and what is known of the journey at its end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perflib.suite.journey import Journey, Step
from perflib.suite.pause import Pause
from perflib.targets.base import Op
from perflib.targets.json_path import equals
from perflib.targets.template import UnfilledError

_ABSENT: Final[tuple[Any, ...]] = (None, False, "", [])


@dataclass(frozen=True, slots=True)
class RouteStep:
    """A step, ready to be done. `each`: the name that it fills, and the kept list whose values fill it."""

    op: Op
    repeat: int = 1
    think: float | Pause | None = None
    when: Callable[[Mapping[str, Any]], bool] | None = None
    each: tuple[str, str] | None = None

    def turns(self, kept: Mapping[str, Any]) -> tuple[int, Sequence[Any]]:
        """How many times it is done, and with which values. Raises UnfilledError where there is no such list."""
        if self.when is not None and not self.when(kept):
            return 0, ()
        if self.each is None:
            return self.repeat, ()
        values = kept.get(self.each[1])
        if not isinstance(values, list):
            raise UnfilledError(f"nothing kept as {self.each[1]!r} is a list")
        return len(values), values


@dataclass(frozen=True, slots=True)
class Route:
    """A journey, ready to be made.

    size       how many requests it has, a loop over a list counted once
    function   what makes them, instead of the steps; then the only step has the operation that stands for the journey
    """

    label: str
    weight: float
    steps: tuple[RouteStep, ...]
    size: int
    function: Callable[[Any], Coroutine[Any, Any, Any]] | None = None

    @classmethod
    def of(cls, label: str, journey: Journey, ops: Mapping[str, Op]) -> Route:
        """The route of a journey, with operations by their names."""
        steps = tuple(_step(step, journey, ops[step.operation]) for step in journey.steps)
        return cls(label, journey.weight, steps, sum(step.repeat for step in steps))

    @classmethod
    def through(cls, ops: Sequence[Op]) -> Route:
        """All operations in order."""
        return cls("", 1.0, tuple(RouteStep(op) for op in ops), len(ops))


def _step(step: Step, journey: Journey, op: Op) -> RouteStep:
    think = step.think_time_s if step.think_time_s is not None else journey.think_time_s
    each = next(iter(step.each.items())) if step.each else None
    return RouteStep(op, step.repeat, think, None if step.when is None else _condition(step.when), each)


def _condition(when: str | Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a field was kept, and is neither false nor empty; or whether fields have these values."""
    if isinstance(when, str):
        return lambda kept: kept.get(when) not in _ABSENT
    return lambda kept: all(name in kept and equals(kept[name], wanted) for name, wanted in when.items())


class Visit:
    """One user's journey under way.

    kept       fields of its data row and of answers, by name
    due_ns     when the user arrived; NONE_NS where nobody arrives
    end_ns     when its latest answer came
    paused_ns  how long the user paused between answers and next steps
    error      code of the error of the first step that failed; 0 while none did
    left       how many requests of the load it may still make
    """

    __slots__ = (
        "_at", "_step", "_turn", "_turns", "_values", "due_ns", "end_ns", "error", "kept", "left", "op", "paused_ns",
        "pauses_from_ns", "phase", "requests", "route", "start_ns", "think",
    )  # fmt: skip

    def __init__(self, route: Route, kept: dict[str, Any], due_ns: int, now_ns: int, phase: int) -> None:
        self.route, self.kept, self.due_ns, self.phase = route, kept, due_ns, phase
        self.start_ns = self.end_ns = now_ns
        self.paused_ns = self.pauses_from_ns = self.error = self.left = self.requests = 0
        self.think: float | Pause | None = None
        self._step = route.steps[0]  # which is never left out
        self.op = self._step.op
        self._at, self._turn, self._turns = 0, 1, self._step.repeat
        self._values: Sequence[Any] = ()

    def answered(self, now_ns: int) -> None:
        """A step has ended."""
        self.end_ns, self.think = now_ns, self._step.think

    def advance(self) -> bool:
        """Go on to the next step. False after the last one. Raises UnfilledError where a list is missing."""
        while self._turn >= self._turns:
            self._at += 1
            if self._at == len(self.route.steps):
                return False
            self._step = step = self.route.steps[self._at]
            self.op, self._turn = step.op, 0
            if step.when is None and step.each is None:
                self._turns, self._values = step.repeat, ()
            else:
                self._turns, self._values = step.turns(self.kept)
        if self._values and self._step.each is not None:
            self.kept[self._step.each[0]] = self._values[self._turn]
        self._turn += 1
        return True
