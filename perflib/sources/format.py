"""What a format is, for `perflib init`: a name, what it is in words, how it is recognised, and what writes the suite.

FORMAT = Format("openapi", "OpenAPI 3.0 or 3.1, as YAML or JSON", is_openapi, from_draft(read))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perflib.sources.draft import Draft
from perflib.sources.given import Given
from perflib.sources.writer import Written, written


@dataclass(frozen=True)
class Format:
    """One format.

    name         for `--from`
    title        in words
    recognises   whether what is given is of this format, by its content; it does not raise for what is not
    write        makes the suite; raises SuiteError, with the place in the file, for what cannot be read
    """

    name: str
    title: str
    recognises: Callable[[Given], bool]
    write: Callable[[Given], Written]


def from_draft(read: Callable[[Given], Draft]) -> Callable[[Given], Written]:
    """What writes the suite of a format that is read to a draft."""
    return lambda given: written(read(given), given.out, everything=given.everything)
