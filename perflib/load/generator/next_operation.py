"""Which operation comes next, and which row of data fills it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.plan import Segment
from perflib.targets.base import Lane, Op


class OperationPicker:
    """Picks the operations of one worker in order, and rows of its share of the data.

    order            "weighted", "sequence", "interleaved" or "blocks", as in Scenario
    prepared         rows that the preparation left, each used once
    reuse_prepared   whether they are used again and again instead
    """

    def __init__(self, ops: list[Op], *, order: str, seed: int, index: int, of: int) -> None:
        self._ops, self._order, self._of = ops, order, of
        self._random = random.Random(f"{seed}/{index}")
        self._pick: Iterator[int] = iter(())
        self._position = 0
        self._data_at = [index] * len(ops)
        self._round_row: dict[str, Any] = {}
        self.prepared: deque[dict[str, Any]] | None = None
        self.reuse_prepared = False

    def begin(self, segment: Segment) -> Op | None:
        """Begin a segment. Returns its operation where it is always the same one."""
        self._position = 0
        if self._order == "interleaved":
            self._pick = plan.rounds(len(self._ops), self._random)
        else:
            self._pick = plan.weighted([op.weight for op in self._ops], self._random)
        if self._order == "sequence":
            return None
        if segment.operation is not None:
            return self._ops[segment.operation]
        return self._ops[0] if len(self._ops) == 1 else None

    def next_operation(self, lane: Lane | None) -> Op:
        """The next operation. In a sequence it is that of the lane's user, whose every round has new data."""
        if self._order == "sequence" and lane is not None:
            user = lane.siblings[0]
            if user.position % len(self._ops) == 0:
                user.position, row = 0, self._next_row(None)
                for sibling in lane.siblings:
                    sibling.kept_fields = row
            user.position += 1
            return self._ops[user.position - 1]
        if self._order == "interleaved":
            if self._position % len(self._ops) == 0:
                self._round_row = self._next_row(None)
            self._position += 1
        return self._ops[next(self._pick)]

    def fill_row(self, lane: Lane, op: Op) -> None:
        """Set the lane's row for its operation. Raises TargetError where the prepared data ran out."""
        if self._order in ("weighted", "blocks"):
            lane.row = {**self._next_row(op), **lane.kept_fields}
        else:
            lane.row = {**self._round_row, **lane.kept_fields}

    def _next_row(self, op: Op | None) -> dict[str, Any]:
        """The next row of the prepared data and the data files: for one operation, or for a whole round of all."""
        row: dict[str, Any] = {}
        if self.prepared is not None:
            if not self.prepared:
                raise TargetError(
                    "the prepared data ran out", mend="raise `count` in `prepare`, or set reuse_prepared = true"
                )
            row.update(self.prepared.popleft())
            if self.reuse_prepared:
                self.prepared.append(dict(row))
        for source in [op] if op else self._ops:
            if source.data:
                at = self._data_at[source.code]
                self._data_at[source.code] = at + self._of
                row.update(source.data[at % len(source.data)])
        return row
