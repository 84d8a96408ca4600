"""A sample of a request: what was sent and answered, as texts that are short, printable and without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perflib.store.schema import NONE_STATUS
from perflib.suite.redaction import secrets_in, struck_out
from perflib.targets.base import Lane, in_words
from perflib.targets.evidence import BODY_BYTES, Evidence
from perflib.text import one_line, printable

HEAD_CHARACTERS: Final = 4096
_MESSAGE_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """`message`: what went wrong, in a line; the others as in Evidence."""

    message: str
    request: str
    head: str
    body: str

    @property
    def request_line(self) -> str:
        return self.request.partition("\n")[0]


def failure_line(operation: str, error: str, status: int, sample: Sample | None) -> str:
    """What went wrong with a request, in a line: "operation 'log in': status 401: wrong password"."""
    said = f"status {status}" if status != NONE_STATUS and error.startswith("http_") else error
    return ": ".join(filter(None, (f"operation {operation!r}", said, sample.message if sample else "")))


def sample_of(lane: Lane, status: int, why: str) -> Sample | None:
    """A sample of the request that the lane is finishing; None where it did not look at the answer.

    why   what is known of the failure already; else the answer says it
    """
    try:
        evidence = lane.evidence(status != NONE_STATUS)
    except Exception as problem:  # of a lane of another package
        evidence, why = Evidence(), why or in_words(problem)
    if evidence is None:
        return None
    if not why and (status != NONE_STATUS or not evidence.head):  # else the answer is not whole, and says nothing
        why = evidence.message
    kept = {**lane.row, **lane.kept_fields}
    secrets = secrets_in(evidence.request, kept)

    def clean(text: str, most: int) -> str:
        return printable(struck_out(text, secrets), most)

    return Sample(
        one_line(struck_out(why, secrets), _MESSAGE_CHARACTERS),
        clean(evidence.request, HEAD_CHARACTERS + BODY_BYTES),
        clean(evidence.head, HEAD_CHARACTERS),
        clean(evidence.body, BODY_BYTES),
    )
