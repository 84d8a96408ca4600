"""Gatling's log in text (`simulation.log` before 3.13)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from perflib.formats.base import Format, broken, check_end, first_line, lines_of, of_rows
from perflib.store.records import TimeRecord

# Later versions have no id of the user before the groups, earlier ones have.
_REQUEST: Final = re.compile(r"REQUEST\t(?:.*\t)?([^\t]+)\t(\d{13})\t(\d{13})\t(OK|KO)(?:\t(.*))?")
_STATUS: Final = re.compile(r"(?:found|actually) (?:unexpectedly )?(\d{3})\b")
_KINDS: Final = ("RUN", "USER", "REQUEST", "GROUP", "ERROR", "ASSERTION", "ACTION")


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    check_end(path)
    yield from of_rows(_requests(path))


def _requests(path: Path) -> Iterator[tuple[Any, ...]]:
    for number, line in lines_of(path):
        if not line.startswith("REQUEST"):
            if line and line.split("\t", 1)[0] not in _KINDS:
                raise broken(path, number, f"no record of Gatling's log: {line[:40]!r}")
            continue
        found = _REQUEST.fullmatch(line)
        if not found:
            raise broken(path, number, "a REQUEST needs a name, a start and an end in ms, and OK or KO")
        name, start, end, word, message = found.groups()
        status = status_of(message or "")
        error = None if word == "OK" else class_of(status, (message or "").lower())
        yield "default", name, int(start) * 1_000_000, int(end) * 1_000_000, None, error, status, None, None


def status_of(message: str) -> int | None:
    """The status of an answer, which only the message of a request that failed has."""
    seen = _STATUS.search(message)
    return int(seen[1]) if seen else None


def class_of(status: int | None, message: str) -> str:
    """The class of an error, by the status and by the message in lower case."""
    if status is not None:
        return f"http_{status // 100}xx" if 300 <= status < 600 else "check"
    for sign, name in (("timeout", "timeout"), ("ssl", "tls"), ("refused", "connect"), ("connectexception", "connect"),
                       ("unknownhost", "connect"), ("reset", "reset"), ("premature", "reset")):  # fmt: skip
        if sign in message:
            return name
    return "check" if message else "failed"


def meaning(head: str) -> TimeRecord:
    return TimeRecord(
        begins="the request was sent", ends="last byte", connecting="included", clock_ns=1_000_000, error_ns=1_000_000
    )


def _is_text(head: str) -> bool:
    return bool(re.match(r"(RUN|ASSERTION|USER|REQUEST)\t", first_line(head)))


LOG: Final = Format("gatling-log", "Gatling", _is_text, meaning, _read)
