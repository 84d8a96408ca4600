"""Which operation comes next, and which values fill it."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.data_rows import DataRows
from perflib.load.generator.generated import generator, is_generated
from perflib.load.generator.plan import Segment
from perflib.targets.base import Lane, Op

Columns = list[tuple[str, list[Any]]]  # names that are filled in from a data file, with the file's values of each


class OperationPicker:
    """Picks the operations of one worker in order, and rows of its share of the data.

    order            "weighted", "sequence", "interleaved" or "blocks", as in Scenario
    prepared         rows that the preparation left, each used once
    reuse_prepared   whether they are used again and again instead
    counter          the numbers of {counter}
    """

    def __init__(
        self, ops: list[Op], *, order: str, seed: int, index: int, of: int, counter: Iterator[int] | None = None
    ) -> None:
        self._ops, self._order = ops, order
        self._random = random.Random(f"{seed}/{index}")
        self._pick: Iterator[int] = iter(())
        self._position = 0
        self._in_rounds = order in ("sequence", "interleaved")
        self._round_row: dict[str, Any] = {}
        files: dict[tuple[str, str], DataRows] = {}
        for op in ops:
            if op.data is not None and (op.data.name, op.pick) not in files:
                rng = random.Random(f"{seed}/{index}/{op.data.name}")
                files[op.data.name, op.pick] = DataRows(op.data, op.pick, rng, index=index, of=of)
        self._rows_of = [None if op.data is None else (files[op.data.name, op.pick], _columns(op, [op])) for op in ops]
        # A round uses one row of each file, whichever of its operations names the file.
        once = {(op.data.name, op.pick): op for op in reversed(ops) if op.data is not None}
        self._rows_of_round = [(files[key], _columns(op, ops)) for key, op in once.items()]
        rng, numbers = random.Random(f"{seed}/{index}/values"), counter or itertools.count(1)
        self._generators = [
            [(name, generator(name, rng, numbers)) for name in sorted(op.variables) if is_generated(name)] for op in ops
        ]
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

    def next_operation(self) -> Op:
        """The next operation. Raises TargetError where the prepared data ran out, DataUsedUpError where a file did."""
        if self._order == "interleaved":
            if self._position % len(self._ops) == 0:
                self._round_row = self.row_of_round(None)
            self._position += 1
        return self._ops[next(self._pick)]

    def fill_row(self, lane: Lane, op: Op) -> None:
        """Set the lane's row for its operation. Raises as `next_operation`."""
        if self._in_rounds:
            row = {**self._round_row, **lane.kept_fields}
        else:
            row = self._prepared_row() if self.prepared is not None else {}
            if (rows := self._rows_of[op.code]) is not None:
                at = rows[0].next(lane.siblings[0])
                for name, column in rows[1]:
                    row[name] = column[at]
            if lane.kept_fields:
                row.update(lane.kept_fields)
        for name, generate in self._generators[op.code]:
            if name not in row:
                row[name] = generate()
        lane.row = row

    def row_of_round(self, user: Lane | None) -> dict[str, Any]:
        """The next values for a round of all operations, or for a journey. Raises as `next_operation`."""
        row = self._prepared_row() if self.prepared is not None else {}
        for rows, columns in self._rows_of_round:
            at = rows.next(user)
            for name, column in columns:
                row[name] = column[at]
        return row

    def _prepared_row(self) -> dict[str, Any]:
        if not self.prepared:
            raise TargetError(
                "the prepared data ran out", mend="raise `count` in `prepare`, or set reuse_prepared = true"
            )
        row = self.prepared.popleft()
        if self.reuse_prepared:
            self.prepared.append(row)
        return dict(row)


def _columns(op: Op, users: list[Op]) -> Columns:
    """The columns of an operation's data file that these operations use."""
    assert op.data is not None
    names = frozenset().union(*(user.variables for user in users))
    return [(name, column) for name, column in op.data.columns.items() if name in names]
