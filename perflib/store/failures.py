"""Why requests failed: how many of each operation by class of error, with texts, and samples of the first ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from perflib.suite.redaction import struck_out
from perflib.text import one_line

SAMPLES: Final = 20  # of one operation and class of error, of all workers together
MOST_SAMPLES: Final = 1000  # of one worker
_MOST_TEXTS: Final = 8
_LONGEST_TEXT: Final = 300


@dataclass(slots=True)
class Failure:
    """The requests of one operation that failed with one class of error. `samples_left`: how many are still taken."""

    samples_left: int
    requests: int = 0
    texts: dict[str, int] = field(default_factory=dict)  # why, and how often; only the first few


class Failures:
    """The failures of one worker, with its share of the samples. Operations and classes of error are their codes.

    failures.explain(3, "connection refused"); failures.add(0, 3)
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        self._samples, self._left = samples, MOST_SAMPLES
        self._each: dict[tuple[int, int], Failure] = {}
        self._why: dict[int, tuple[int, str]] = {}  # by thread: of the request that is recorded next

    def explain(self, error: int, text: str) -> None:
        """Say why the request that this thread records next fails with this class of error."""
        self._why[threading.get_ident()] = error, text[:_LONGEST_TEXT]

    def why(self, error: int) -> str:
        """What was said of the request that is recorded next; "" where nothing was."""
        said, text = self._why.get(threading.get_ident(), (0, ""))
        return text if said == error else ""

    def add(self, operation: int, error: int) -> None:
        """Count a request that failed."""
        failure = self._of(operation, error)
        failure.requests += 1
        if self._why and (text := self.why(error)):
            del self._why[threading.get_ident()]
            if text in failure.texts or len(failure.texts) < _MOST_TEXTS:
                failure.texts[text] = failure.texts.get(text, 0) + 1

    def wants(self, error: int) -> bool:
        """Whether samples of this class of error are still taken, of whichever operation that fails with it."""
        if not error or self._left <= 0:
            return False
        known = [failure.samples_left for (_, code), failure in self._each.items() if code == error]
        return not known or max(known) > 0

    def wants_of(self, operation: int, error: int) -> bool:
        """Whether a sample of this operation and class of error is still taken."""
        return self._left > 0 and self._of(operation, error).samples_left > 0

    def sampled(self, operation: int, error: int) -> None:
        """Count a sample that was taken."""
        self._left -= 1
        self._of(operation, error).samples_left -= 1

    def records(self, operations: list[str], errors: list[str]) -> Iterator[dict[str, Any]]:
        """Each operation and class of error with its number of requests and its texts, without secrets."""
        for (operation, error), failure in self._each.items():
            if failure.requests:
                texts: dict[str, int] = {}
                for text, count in failure.texts.items():
                    clean = one_line(struck_out(text), _LONGEST_TEXT)
                    texts[clean] = texts.get(clean, 0) + count
                yield {
                    "operation": operations[operation],
                    "error": errors[error],
                    "requests": failure.requests,
                    "texts": texts,
                }

    def _of(self, operation: int, error: int) -> Failure:
        failure = self._each.get((operation, error))
        if failure is None:
            failure = self._each[operation, error] = Failure(self._samples)
        return failure
