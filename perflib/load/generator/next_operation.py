"""Which operation comes next, and which values fill it."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.data_rows import Rows, data_rows
from perflib.load.generator.generated import generator, is_generated
from perflib.load.generator.plan import Segment
from perflib.suite.data_file import OPERATION_COLUMN
from perflib.targets.base import Lane, Op


class _Queue(deque[dict[str, Any]]):
    """Rows of a recording, for the requests of one operation that are due."""

    def fill(self, row: dict[str, Any], user: Hashable) -> None:
        """See Rows."""
        row.update(self.popleft())


def first_rows(ops: Sequence[Op]) -> dict[str, dict[str, Any]]:
    """The first row of a recording for each operation, by its name."""
    file = ops[0].data
    assert file is not None
    names = [name for name in file.columns if name == OPERATION_COLUMN or any(name in op.variables for op in ops)]
    rows: dict[str, dict[str, Any]] = {}
    for values in file.rows(names):
        row = dict(zip(names, values, strict=True))
        rows.setdefault(row[OPERATION_COLUMN], row)
        if len(rows) == len(ops):
            break
    return rows


class OperationPicker:
    """Picks the operations of one worker in order, and rows of its share of the data.

    order            "weighted", "sequence", "interleaved", "blocks" or "recorded", as in Scenario
    prepared         rows that the preparation left, each used once
    reuse_prepared   whether they are used again and again instead
    counter          the numbers of {counter}
    given            values that are the same for all requests
    beside           other operations that use the same rows
    """

    def __init__(
        self,
        ops: list[Op],
        *,
        order: str,
        seed: int,
        index: int,
        of: int,
        counter: Iterator[int] | None = None,
        given: Mapping[str, Any] = MappingProxyType({}),
        beside: Sequence[Op] = (),
    ) -> None:
        self._ops, self._order = ops, order
        self._random = random.Random(f"{seed}/{index}")
        self._pick: Iterator[int] = iter(())
        self._position = 0
        self._in_rounds = order in ("sequence", "interleaved")
        self._round_row: dict[str, Any] = {}
        files: dict[tuple[str, str], Rows] = {}
        used = frozenset().union(*(op.variables for op in (*ops, *beside)))
        if order == "recorded":
            used |= {OPERATION_COLUMN}
        for op in ops:
            if op.data is not None and (op.data.name, op.pick) not in files:
                rng = random.Random(f"{seed}/{index}/{op.data.name}")
                names = [name for name in op.data.columns if name in used]
                files[op.data.name, op.pick] = data_rows(op.data, op.pick, rng, names, index=index, of=of)
        self._rows_of = [None if op.data is None else files[op.data.name, op.pick] for op in ops]
        self._recorded: dict[str, tuple[Op, _Queue]] = {}
        if order == "recorded":
            self._recorded = {op.name: (op, _Queue()) for op in ops}
            self._rows_of = [queue for _, queue in self._recorded.values()]
        # A round uses one row of each file, whichever of its operations names the file.
        self._rows_of_round = [*files.values()]
        rng, numbers = random.Random(f"{seed}/{index}/values"), counter or itertools.count(1)
        self._generators = [
            [
                (name, partial(given.get, name) if name in given else generator(name, rng, numbers))
                for name in sorted(op.variables)
                if name in given or is_generated(name)
            ]
            for op in ops
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
        if self._order in ("sequence", "recorded"):
            return None
        if segment.operation is not None:
            return self._ops[segment.operation]
        return self._ops[0] if len(self._ops) == 1 else None

    def next_operation(self) -> Op:
        """The next operation. Raises TargetError where the prepared data ran out, DataUsedUpError where a file did."""
        if self._recorded:
            return self._next_recorded()
        if self._order == "interleaved":
            if self._position % len(self._ops) == 0:
                self._round_row = self.row_of_round(None)
            self._position += 1
        return self._ops[next(self._pick)]

    def _next_recorded(self) -> Op:
        """The operation of the next row, which waits for it: with others in flight, it may be filled in later."""
        row: dict[str, Any] = {}
        self._rows_of_round[0].fill(row, None)
        op, queue = self._recorded[row[OPERATION_COLUMN]]  # whose names were checked before the load
        if op.variables:
            queue.append(row)
        return op

    def fill_row(self, lane: Lane, op: Op) -> None:
        """Set the lane's row for its operation. Raises as `next_operation`."""
        if self._in_rounds:
            row = {**self._round_row, **lane.kept_fields}
        else:
            row = self._prepared_row() if self.prepared is not None else {}
            if (rows := self._rows_of[op.code]) is not None:
                rows.fill(row, lane.siblings[0])
            if lane.kept_fields:
                row.update(lane.kept_fields)
        for name, generate in self._generators[op.code]:
            if name not in row:
                row[name] = generate()
        lane.row = row

    def row_of_round(self, user: Lane | None) -> dict[str, Any]:
        """The next values for a round of all operations, or for a journey. Raises as `next_operation`."""
        row = dict(user.own_fields) if user is not None and user.own_fields else {}
        if self.prepared is not None:
            row.update(self._prepared_row())
        for rows in self._rows_of_round:
            rows.fill(row, user)
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
