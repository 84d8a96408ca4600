"""Values that perflib makes for each request: {uuid}, {now}, {counter} and {random|…}."""

from __future__ import annotations

import os
import random
import re
import string
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from perflib.errors import SuiteError

_LONGEST: Final = 1_000_000
_RANGE: Final = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})")
_DIGITS: Final = {"hex": "0123456789abcdef", "letters": string.ascii_letters, "digits": string.digits}
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_OF_LENGTH: Final = re.compile(rf"({'|'.join(_DIGITS)}):(\d+)")
_FORMS: Final = {
    "uuid": "{uuid}",
    "now": "{now} (ISO 8601), {now|unix} or {now|unix_ms}",
    "counter": "{counter}",
    "random": "{random|1..100}, {random|hex:16}, {random|letters:8}, {random|digits:6} or {random|red,green}",
}


def is_generated(name: str) -> bool:
    """Whether perflib makes the value of what is written in braces, where nothing else fills it."""
    return name.partition("|")[0] in _FORMS


def generator(name: str, rng: random.Random, counter: Iterator[int], where: str = "") -> Callable[[], Any]:
    """What makes the values of such a name, as "random|1..100". Raises SuiteError for an unknown form.

    counter   the numbers of {counter}

    Random values follow from the suite's seed; a uuid is another one in each run.
    """
    kind, _, form = name.partition("|")
    match kind, form:
        case "uuid", "":
            return _uuid
        case "counter", "":
            return counter.__next__
        case "now", "":
            return lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case "now", "unix":
            return lambda: int(time.time())
        case "now", "unix_ms":
            return lambda: time.time_ns() // 1_000_000
        case "random", _ if made := _random(form, rng):
            return made
    raise SuiteError(
        f"{{{name}}} is no form of {kind}",
        where=where,
        mend=f"write {_FORMS[kind]}, or {{{{{name}}}}} for literal text",
    )


def _uuid() -> str:
    """A UUID of version 4 (RFC 9562, 5.4) in a third of the time that `str(uuid.uuid4())` takes."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def _random(form: str, rng: random.Random) -> Callable[[], Any] | None:
    """A whole number from a to b, characters, or one of a list; None for any other form."""
    if (match := _RANGE.fullmatch(form)) and int(match[1]) <= int(match[2]):
        low, span = int(match[1]), int(match[2]) - int(match[1]) + 1
        return lambda: low + int(rng.random() * span) if span < 2**50 else rng.randrange(low, low + span)
    if (match := _OF_LENGTH.fullmatch(form)) and 0 < int(match[2]) <= _LONGEST:
        characters, length = _DIGITS[match[1]], int(match[2])
        return lambda: "".join(rng.choices(characters, k=length))
    if "," in form:
        choices = form.split(",")
        return lambda: rng.choice(choices)
    return None
