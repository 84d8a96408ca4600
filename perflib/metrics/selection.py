"""Which of a run's measured requests a figure speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Selection:
    """A scenario's measured requests, or those of one stage, of one operation, or of both."""

    scenario: str
    stage: int | None = None
    operation: str | None = None

    @property
    def sql(self) -> tuple[str, list[Any]]:
        """A condition on the table `measured` and its values; a stage is a column of counted tables only."""
        given = {key: value for key, value in vars(self).items() if value is not None}
        return " and ".join(f"{key} = ?" for key in given), list(given.values())

    def __str__(self) -> str:
        stage = f", stage {self.stage}" if self.stage is not None else ""
        return f"{self.scenario}{stage}" + (f": {self.operation}" if self.operation is not None else "")
