"""The requests of a scenario that failed, in words: when, why, and what they have in common.

    for row in error_rows(scenario): row["error"], row["operation"], row["in_common"]

What is said of all of them is true of all of them: status, worker and time are read off every row; what was asked and
answered is read off the samples, and then it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from perflib.metrics.errors import Failed, failed
from perflib.store.recording import ScenarioRun
from perflib.text import number, one_line

SAMPLES: Final = 20  # shown of a scenario
SAMPLES_OF_EACH: Final = 2  # of an operation and class of error
_BY_CHANCE: Final = 5  # so many requests would hardly be of one worker, or of one moment, by chance
_BRIEF: Final = 0.25  # of the scenario's time: what happened in less of it happened at a time of its own
_LONGEST: Final = 120
_REQUEST_LINE: Final = re.compile(r"(\S+ \S+) HTTP/")


def error_rows(scenario: ScenarioRun) -> list[dict[str, Any]]:
    """A row for each operation and class of error, the most frequent first; times in s since the scenario's start."""
    texts = {(each.operation, each.error): each.why for each in scenario.record.failures}
    samples = _samples(scenario)
    return [
        {
            "error": each.error,
            "operation": each.operation,
            "requests": each.requests,
            "of_requests": each.of_requests,
            "share_percent": 100 * each.share,
            "first_s": each.first_s,
            "last_s": each.last_s,
            "why": texts.get((each.operation, each.error), ""),
            "in_common": in_common(scenario, each, samples.get((each.operation, each.error), [])),
            "moments": list(each.moments),
        }
        for each in failed(scenario)
    ]


def shown_samples(scenario: ScenarioRun) -> list[dict[str, Any]]:
    """The first samples of each operation and class of error, with when they ended, s since the scenario's start."""
    start_ns = scenario.record.start_ns or 0
    chosen = [sample for some in _samples(scenario).values() for sample in some[:SAMPLES_OF_EACH]]
    return [{**sample, "at_s": (sample["t_ns"] - start_ns) / 1e9} for sample in chosen[:SAMPLES]]


def in_common(scenario: ScenarioRun, each: Failed, samples: Sequence[dict[str, Any]]) -> str:
    """What these requests have in common, in a sentence or two; "" where there is nothing, or one request."""
    if each.requests < 2:
        return ""
    said = [(f"All {each.requests:,}", [*_of_rows(scenario, each)])]
    said += [("All stored samples", [*_of_samples(scenario, each, samples)])]
    return " ".join(f"{who} {_and(what)}." for who, what in said if what)


def _of_rows(scenario: ScenarioRun, each: Failed) -> Iterator[str]:
    if len(each.statuses) == 1:
        yield f"have status {next(iter(each.statuses))}"
    many = each.requests >= _BY_CHANCE
    if many and len(each.workers) == 1 and len(scenario.record.workers) > 1:
        yield f"were sent by worker {next(iter(each.workers))}"
    hit = [moment for moment, count in enumerate(each.moments) if count]
    if many and hit[-1] - hit[0] + 1 <= _BRIEF * len(each.moments):
        yield f"ended between {number(each.first_s)} and {number(each.last_s)} s"


def _of_samples(scenario: ScenarioRun, each: Failed, samples: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What all samples share: the path where the operation's requests have many, and what the answers say is wrong."""
    if len(samples) < 2:
        return
    paths = {match[1] if (match := _REQUEST_LINE.match(sample["request"])) else "" for sample in samples}
    spec = next((one for one in scenario.spec.operations if one.name == each.operation), None)
    if "{" in str(getattr(spec, "path", "")) and len(paths) == 1 and (path := paths.pop()):
        yield f"asked for {one_line(path, _LONGEST)}"
    messages = {sample["message"] for sample in samples}
    if len(messages) == 1 and all(messages):
        yield "were answered with the same message"


def _and(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _samples(scenario: ScenarioRun) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The samples of each operation and class of error, in the order in which they came."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in scenario.samples().to_dict("records") if scenario.record.failures else ():
        found.setdefault((str(row["operation"]), str(row["error"])), []).append({str(key): row[key] for key in row})
    return found
