"""Gatling's binary log (`simulation.log` since 3.13), after the serializers in its LogFileDataWriter.

Numbers are big-endian. A record begins with its kind. A string is its length in bytes, its bytes, and one byte for
their encoding, which an empty one lacks; strings that repeat have a number, which is negative where only it is written.
"""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa

from perflib.formats.base import Format, FormatError, of_rows
from perflib.formats.gatling import class_of, meaning, status_of

_RUN, _REQUEST, _USER, _GROUP, _ERROR = range(5)
_ENCODINGS: Final = ("latin-1", "utf-16-le")  # as Java holds strings, on the processors that there are
_LONGEST: Final = 1_000_000  # bytes of a string
_MOST: Final = 100_000  # groups of a request, scenarios, assertions
_HEAD: Final = re.compile(r"\0{4}[\x01-\x7f]\d+\.\d+")  # a run, and its version
_LATEST_MS: Final = 10**13


class _Log:
    """A log, read from its beginning to its end. Raises FormatError with the byte where it cannot go on."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.at = 0
        self.strings: dict[int, str] = {}

    def wrong(self, what: str) -> FormatError:
        mend = "import the complete file, as Gatling 3.13 or newer wrote it"
        return FormatError(what, where=f"{self.path}, byte {self.at:,}", mend=mend)

    def take(self, size: int) -> bytes:
        try:
            found = self.file.read(size)
        except (OSError, EOFError) as error:
            raise self.wrong(f"cannot be read: {error}") from None
        if len(found) < size:
            raise self.wrong("the file ends within a record: it was cut")
        self.at += size
        return found

    def numbers(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def count(self, most: int, of: str) -> int:
        """A number that says how much of something follows."""
        found = self.number()
        if not 0 <= found <= most:
            self.at -= 4
            raise self.wrong(f"{found:,} {of}, which cannot be: it is damaged, or of another version of Gatling")
        return found

    def string(self) -> str:
        length = self.count(_LONGEST, "bytes of text")
        if not length:
            return ""
        text, encoding = self.take(length), self.take(1)[0]
        if encoding >= len(_ENCODINGS):
            self.at -= 1
            raise self.wrong(f"a text has the unknown encoding {encoding}")
        return text.decode(_ENCODINGS[encoding], "replace")

    def cached(self) -> str:
        number = self.number()
        if number >= 0:
            self.strings[number] = self.string()
        elif -number not in self.strings:
            self.at -= 4
            raise self.wrong(f"text number {-number:,} was not written before")
        return self.strings[abs(number)]


_INT64: Final = struct.Struct(">q")
_TIMES: Final = struct.Struct(">ii?")  # of a request: start, end, whether it was OK
_SKIPPED: Final = {_USER: 9, _GROUP: 13}  # bytes of a record after its texts


def _requests(path: Path) -> Iterator[tuple[Any, ...]]:
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        log = _Log(path, file)  # type: ignore[arg-type]
        began_ms = _began_ms(log)
        unmatched = (-began_ms + 2**31) % 2**32 - 2**31  # the end of a message that came unasked, which takes no time
        while kind := _next(log):
            if kind != _REQUEST:
                _skip(log, kind)
                continue
            for _ in range(log.count(_MOST, "groups")):
                log.cached()
            name = log.cached()
            start_ms, end_ms, good = log.numbers(_TIMES)
            message = log.cached()
            if end_ms == unmatched:
                continue
            status = status_of(message)
            error = None if good else class_of(status, message.lower())
            start_ns, end_ns = ((began_ms + ms) * 1_000_000 for ms in (start_ms, end_ms))
            yield "default", name, start_ns, end_ns, None, error, status, None, None


def _began_ms(log: _Log) -> int:
    """When the run began, ms since 1970, by the record at the beginning of the log."""
    if log.take(1)[0] != _RUN:
        log.at = 0
        raise log.wrong("it does not begin with the record of a run")
    log.string()  # version
    log.string()  # class
    (began_ms,) = log.numbers(_INT64)
    if not 0 < began_ms < _LATEST_MS:
        log.at -= 8
        raise log.wrong("the run began at an impossible time: it is damaged, or of another version of Gatling")
    log.string()  # description
    for _ in range(log.count(_MOST, "scenarios")):
        log.string()
    for _ in range(log.count(_MOST, "assertions")):
        log.take(log.count(_LONGEST, "bytes of an assertion"))
    return int(began_ms)


def _next(log: _Log) -> int | None:
    """The kind of the next record; None at the end of the log."""
    try:
        found = log.file.read(1)
    except (OSError, EOFError) as error:
        raise log.wrong(f"cannot be read: {error}") from None
    if not found:
        return None
    if found[0] not in (_REQUEST, _USER, _GROUP, _ERROR):
        raise log.wrong(f"a record of the unknown kind {found[0]}: it is damaged, or of another version of Gatling")
    log.at += 1
    return found[0]


def _skip(log: _Log, kind: int) -> None:
    if kind == _ERROR:
        log.cached()
        log.number()
        return
    if kind == _GROUP:
        for _ in range(log.count(_MOST, "groups")):
            log.cached()
    log.take(_SKIPPED[kind])


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    yield from of_rows(_requests(path))


LOG: Final = Format("gatling-binary", "Gatling", lambda head: bool(_HEAD.match(head)), meaning, _read)
