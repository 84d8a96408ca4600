"""Untrusted regular expressions: whether a text matches, and a text that matches, in bounded time."""

from __future__ import annotations

import math
import random
import re
import warnings
from typing import Any, Final

import rstr

_LONGEST_PATTERN: Final = 500
_LONGEST_TEXT: Final = 200
_LOG_MOST_STEPS: Final = math.log(1_000_000)
_MOST_REPEATS: Final = 2_000


def matches(pattern: str, text: str) -> bool | None:
    """Whether the pattern matches the text; None if the search could take long, or Python cannot parse the pattern."""
    if len(pattern) > _LONGEST_PATTERN or len(text) > _LONGEST_TEXT:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # about syntax that a later Python may parse differently
            parser: Any = re._parser  # type: ignore[attr-defined,unused-ignore]
            tree = parser.parse(pattern)
            if _log_ways(tree, len(text)) + math.log(1 + len(text)) > _LOG_MOST_STEPS:
                return None
            return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        return None


def text_matching(pattern: str, repeats: int) -> str | None:
    """A simple text for the pattern, or None. Repeated parts are repeated `repeats` times, within their limits.

    Assertions are ignored, so the caller must check the text.
    """
    if len(pattern) > _LONGEST_PATTERN or len(re.findall(r"\\[1-9]|\(\?P=", pattern)) > 1:
        return None  # each reference to a group can make the text ten times longer
    generator: Any = rstr.Rstr(_SimpleChoices(repeats))
    ranges = {"range": lambda ends: [chr(code) for code in range(ends[0], min(ends[1], ends[0] + 30) + 1)]}
    generator._cases = {**generator._cases, **ranges}  # without a list of all characters
    try:
        with warnings.catch_warnings(action="ignore"):
            return str(generator.xeger(pattern))
    except (re.error, RecursionError, OverflowError, LookupError, TypeError, ValueError):
        return None


class _SimpleChoices(random.Random):
    """Replaces random choices: the plainest character, the first branch, and a fixed number of repeats."""

    def __init__(self, repeats: int) -> None:
        super().__init__(0)
        self.repeats, self.repeats_left = repeats, _MOST_REPEATS

    def choice(self, seq: Any) -> Any:
        if not isinstance(seq[0], str):
            return seq[0]
        return next((character for character in "aA1-_. " if character in seq), min(seq))

    def randint(self, a: int, b: int) -> int:
        times = max(a, min(b, self.repeats))
        self.repeats_left -= times
        if self.repeats_left < 0:
            raise OverflowError("the text would be too long")
        return times


def _log_ways(tree: Any, length: int) -> float:
    """The logarithm of an upper bound for the number of ways to split a text of this length among the pattern's parts.

    A search with backtracking may try all of them. `tree` is the result of Python's parser of patterns.
    """
    total = 0.0
    for operation, content in tree:
        match str(operation):
            case "BRANCH":
                total += math.log(len(content[1])) + max(_log_ways(branch, length) for branch in content[1])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, part = content
                width = part.getwidth()[0]
                times = min(int(most), length // width) if width else max(least, min(int(most), length))
                total += math.log(1 + max(times, least)) + times * _log_ways(part, length)
            case "SUBPATTERN" | "ASSERT" | "ASSERT_NOT":
                total += _log_ways(content[-1], length)
            case "ATOMIC_GROUP":
                total += _log_ways(content, length)
            case "GROUPREF_EXISTS":
                return math.inf
    return total
