"""Which rows of a data file the requests of one worker use."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator

from perflib.suite.data_file import DataFile

_DRAWN_AT_ONCE = 1024


class DataUsedUpError(Exception):
    """The load ends, since a file whose rows are used once has none left."""


class DataRows:
    """Picks rows of one file for all operations of a worker that name it.

    rows.next(user)     the number of a row; raises DataUsedUpError

    "in turn"    one after the other, from the first again after the last
    "random"     any row, each time
    "one each"   the same row for all requests of a user, another one for each user
    "once"       one after the other, until the last

    Each of several workers has rows of its own, so that no row is used twice before a worker has used all of its rows.
    Where there are more workers than rows, each begins with another row. "random" draws from all rows.
    """

    def __init__(self, file: DataFile, pick: str, rng: random.Random, *, index: int, of: int) -> None:
        self._name = file.name
        self._numbers = _numbers(file.count, pick, rng, index, of)
        self._of_users: dict[Hashable, int] | None = {} if pick == "one each" else None

    def next(self, user: Hashable) -> int:
        if self._of_users is None:
            return self._next()
        if user not in self._of_users:
            self._of_users[user] = self._next()
        return self._of_users[user]

    def _next(self) -> int:
        try:
            return next(self._numbers)
        except StopIteration:
            raise DataUsedUpError(f"every row of {self._name} was used once") from None


def _numbers(count: int, pick: str, rng: random.Random, index: int, of: int) -> Iterator[int]:
    own = range(index, count, of)
    if pick in ("once", "one each"):
        yield from own
        return
    if pick == "random":
        while True:
            yield from rng.choices(range(count), k=_DRAWN_AT_ONCE)
    first = index % count
    while True:
        yield from own or (*range(first, count), *range(first))
