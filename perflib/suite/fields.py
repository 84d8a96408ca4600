"""The types of a suite's keys, and the pydantic settings of all its classes."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field

from perflib.suite.objectives import ErrorBurst, Objective

T = TypeVar("T")
CONFIG = ConfigDict(
    extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, populate_by_name=True, defer_build=True
)

Seq = Annotated[tuple[T, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Pick = Literal["in turn", "random", "one each", "once"]
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^:\p{Cc}]+$")]

Judged = Annotated[Objective, BeforeValidator(lambda v: Objective.parse(v) if isinstance(v, str) else v)]
Burst = Annotated[ErrorBurst, BeforeValidator(lambda v: ErrorBurst.parse(v) if isinstance(v, str) else v)]
Figure = Annotated[Objective, BeforeValidator(lambda v: Objective.parse(v, judged=False) if isinstance(v, str) else v)]
