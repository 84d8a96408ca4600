"""Which rows of a data file the requests of one worker use, and their values."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, Protocol

from perflib.suite.data_file import DataFile

_DRAWN_AT_ONCE = 1024


class DataUsedUpError(Exception):
    """The load ends, since a file whose rows are used once has none left."""


class Rows(Protocol):
    """Rows of one file for all operations of a worker that name it."""

    def fill(self, row: dict[str, Any], user: Hashable) -> None:
        """Add the values of the next row to `row`, or of the user's. Raises DataUsedUpError."""
        ...


def data_rows(file: DataFile, pick: str, rng: random.Random, names: Sequence[str], *, index: int, of: int) -> Rows:
    """The rows of a file, of which these columns are used.

    "in turn"    one after the other, from the first again after the last
    "random"     any row, each time; only of a file that is held in memory
    "one each"   the same row for all requests of a user, another one for each user
    "once"       one after the other, until the last

    Each of several workers has rows of its own, so that no row is used twice before a worker has used all of its rows.
    Where there are more workers than rows, each begins with another row. "random" draws from all rows.
    """
    return (HeldRows if file.is_held else StreamedRows)(file, pick, rng, names, index=index, of=of)


class HeldRows:
    """Of a file that is held in memory: rows are picked by their numbers."""

    def __init__(
        self, file: DataFile, pick: str, rng: random.Random, names: Sequence[str], *, index: int, of: int
    ) -> None:
        self._name = file.name
        self._columns = [(name, file.columns[name]) for name in names]
        self._numbers = _numbers(file.count, pick, rng, index, of)
        self._of_users: dict[Hashable, int] | None = {} if pick == "one each" else None

    def fill(self, row: dict[str, Any], user: Hashable) -> None:
        """See Rows."""
        at = next(self._numbers, -1) if self._of_users is None else self._of_user(self._of_users, user)
        if at < 0:
            raise _used_up(self._name)
        for name, column in self._columns:
            row[name] = column[at]

    def _of_user(self, known: dict[Hashable, int], user: Hashable) -> int:
        at = known.get(user)
        if at is None:
            at = known[user] = next(self._numbers, -1)
        return at


class StreamedRows:
    """Of a file that is read row by row, as often as it takes."""

    def __init__(
        self, file: DataFile, pick: str, rng: random.Random, names: Sequence[str], *, index: int, of: int
    ) -> None:
        self._name, self._names = file.name, names
        self._values = _values(file, pick, names, index, of)
        self._of_users: dict[Hashable, tuple[Any, ...]] | None = {} if pick == "one each" else None

    def fill(self, row: dict[str, Any], user: Hashable) -> None:
        """See Rows. Raises TargetError where the file cannot be read any more."""
        values = self._of_users.get(user) if self._of_users is not None else None
        if values is None:
            values = next(self._values, None)
            if values is None:
                raise _used_up(self._name)
            if self._of_users is not None:
                self._of_users[user] = values
        row.update(zip(self._names, values, strict=True))


def _used_up(name: str) -> DataUsedUpError:
    return DataUsedUpError(f"every row of {name} was used once")


def _numbers(count: int, pick: str, rng: random.Random, index: int, of: int) -> Iterator[int]:
    own = range(index, count, of)
    if pick in ("once", "one each"):
        return iter(own)
    if pick == "random":
        return chain.from_iterable(rng.choices(range(count), k=_DRAWN_AT_ONCE) for _ in repeat(None))
    first = index % count
    return chain.from_iterable(repeat(own or (*range(first, count), *range(first))))


def _values(file: DataFile, pick: str, names: Sequence[str], index: int, of: int) -> Iterator[tuple[Any, ...]]:
    """The worker's share of the rows, again and again where they are used in turn."""
    yield from islice(file.rows(names), index, None, of)
    while pick == "in turn":
        yield from islice(file.rows(names), index, None, of)
