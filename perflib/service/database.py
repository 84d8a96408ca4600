"""Validations and their recommendations in SQLite, with a write-ahead log.

Counters make statistics equally fast at any size.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SCHEMA = """
create table if not exists validations (
    id integer primary key, source text, content text, score integer, status text, reason text, enhanced text,
    created_at text default current_timestamp
);
create index if not exists by_status on validations (status, id);
create table if not exists recommendations (
    validation_id integer, rule text, severity text, line integer, message text, find text, "replace" text
);
create index if not exists by_validation on recommendations (validation_id);
create table if not exists counters (status text primary key, n integer);
"""


class Database:
    """Database(path, pool=8): safe from many threads; writes happen one at a time."""

    def __init__(self, path: Path, pool: int) -> None:
        self._path, self._write_lock = path, threading.Lock()
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(pool)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)
        while pool and not self._idle.full():
            self._idle.put(self._connect())

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get().close()

    def add(self, source: str, content: str, score: int, recommendations: list[dict[str, Any]]) -> int:
        """Store a new validation with its recommendations, and return its id."""
        with self._writing() as connection:
            row = connection.execute(
                "insert into validations (source, content, score, status) values (?, ?, ?, 'validated')",
                (source, content, score),
            )
            number = row.lastrowid or 0
            connection.executemany(
                "insert into recommendations values (:number, :rule, :severity, :line, :message, :find, :replace)",
                [{"number": number, **recommendation} for recommendation in recommendations],
            )
            self._count(connection, "validated", 1)
            return number

    def get(self, number: int) -> dict[str, Any] | None:
        """One validation without its texts, or None."""
        rows = self._read("select id, source, score, status, reason, created_at from validations where id = ?", number)
        return rows[0] if rows else None

    def texts(self, number: int) -> dict[str, Any]:
        return self._read("select content, enhanced from validations where id = ?", number)[0]

    def latest(self, limit: int, status: str | None) -> list[dict[str, Any]]:
        """The newest validations, of one status or of all."""
        columns = "select id, source, score, status from validations"
        if status:
            return self._read(f"{columns} where status = ? order by id desc limit ?", status, limit)
        return self._read(f"{columns} order by id desc limit ?", limit)

    def recommendations(self, number: int) -> list[dict[str, Any]]:
        return self._read(
            'select rule, severity, line, message, find, "replace" from recommendations'
            " where validation_id = ? order by line",
            number,
        )

    def counters(self) -> dict[str, int]:
        """The number of validations of each status."""
        return {row["status"]: row["n"] for row in self._read("select status, n from counters")}

    def move(
        self, numbers: list[int], before: str, after: str, *, reason: str = "", texts: dict[int, str] | None = None
    ) -> list[dict[str, Any]]:
        """Move all of these validations from one status to the next, or none.

        Returns those that do not have the status `before`, or do not exist (status None); empty if all were moved.
        """
        with self._writing() as connection:
            marks = ",".join("?" * len(numbers))
            found = {
                r["id"]: dict(r)
                for r in connection.execute(
                    f"select id, status, reason from validations where id in ({marks})", numbers
                )
            }
            wrong = [found.get(n, {"id": n, "status": None, "reason": None}) for n in numbers]
            wrong = [row for row in wrong if row["status"] != before]
            if not wrong:
                values = [(after, reason, (texts or {}).get(n), n) for n in numbers]
                connection.executemany(
                    "update validations set status = ?, reason = ?, enhanced = ? where id = ?", values
                )
                self._count(connection, before, -len(numbers))
                self._count(connection, after, len(numbers))
            return wrong

    def _count(self, connection: sqlite3.Connection, status: str, by: int) -> None:
        connection.execute(
            "insert into counters values (?, ?) on conflict (status) do update set n = n + excluded.n", (status, by)
        )

    def _read(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(query, values)]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock, self._connection() as connection, connection:
            connection.execute("begin immediate")
            yield connection

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection from the pool, or a new one, which is put back if the pool has room."""
        try:
            connection = self._idle.get_nowait() if self._idle.maxsize else self._connect()
        except queue.Empty:
            connection = self._connect()
        try:
            yield connection
        finally:
            try:
                if not self._idle.maxsize:
                    raise queue.Full
                self._idle.put_nowait(connection)
            except queue.Full:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma cache_size = -256")  # kB; it fills quickly, so that memory is steady under load
        return connection
