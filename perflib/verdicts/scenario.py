"""One scenario of a run that is judged: its verdicts, and its figures as tables that show themselves in a notebook.

scenario = run.scenario("browse")
scenario.percentiles(); scenario.percentiles().frame; scenario.errors(); scenario.memory(); scenario.incidents()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from perflib.metrics.incidents import incidents
from perflib.metrics.processes import growth, unread
from perflib.metrics.scenario import PROCESSES as LISTED
from perflib.metrics.scenario import scenario_figures, shown_time
from perflib.metrics.totals import constant_inflight
from perflib.stats import Outcome
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.records import ScenarioRecord
from perflib.text import number
from perflib.text.html import Heading, View, card
from perflib.verdicts.capacity import CapacityTables
from perflib.verdicts.errors import error_rows, shown_samples
from perflib.verdicts.overhead import OverheadTables
from perflib.verdicts.verdict import Verdict, Verdicts

PROCESSES: Final = 8  # shown, those that gained most first
TIMES: Final = ("mean", "p50", "p90", "p95", "p99", "p99_9", "max")
_MEMORY: Final = {
    "leak": "The target leaks memory",
    "no leak": "No leak of memory",
    "inconclusive": "It is not clear whether the target leaks memory",
}


class JudgedScenario(ScenarioRun):
    """A run's one scenario with its verdicts; `verdicts_of_run` gives those of all when they are asked for."""

    def __init__(self, run: Recording, record: ScenarioRecord, verdicts_of_run: Callable[[], list[Verdict]]) -> None:
        super().__init__(run, record)
        self._verdicts_of_run = verdicts_of_run

    def verdicts(self) -> list[Verdict]:
        """One per objective and figure of this scenario, in the suite's order."""
        return Verdicts(v for v in self._verdicts_of_run() if v.scenario == self.name)

    @property
    def verdict(self) -> Outcome:
        """The most severe of its objectives; SHOWN where it has none."""
        if self.record.status != "complete":
            return Outcome.INVALID
        return Outcome.worst(v.verdict for v in self.verdicts() if v.judged)

    @property
    def heading(self) -> Heading:
        """Of its section: its name with its verdict, and its figures in short."""
        figures = scenario_figures(self)
        times = figures["response_ms"]
        highest = next(
            (
                f", {name} {shown_time(figures, name)} ms"
                for name in ("p99", "p95", "p90", "p50")
                if times[name] is not None
            ),
            "",
        )
        note = f"{figures['requests']:,} requests, {figures['errors']:,} errors{highest}"
        return Heading(self.name, self.verdict, note)

    @property
    def description(self) -> str:
        """What the suite says that it does, as a sentence; "" where it says nothing."""
        return f"{self.spec.description}." if self.spec.description else ""

    def overview(self) -> dict[str, Any]:
        """The scenario as a row of what was tested; times in ms, memory as its change in words."""
        figures, times = scenario_figures(self), ("p50", "p95", "p99")
        return {
            "scenario": self.name,
            "verdict": self.verdict,
            "load": self.spec.load_words,
            "requests": figures["requests"],
            "errors": figures["errors"],
            "errors_by_class": dict(figures["errors_by_class"]),
            "throughput_per_s": figures["throughput_per_s"],
            **{f"{key}_ms": figures["response_ms"][key] for key in times},
            "memory": (figures["memory_growth"] or {}).get("verdict"),
            "shown": {key: shown_time(figures, key) for key in times},
        }

    def percentiles(self) -> View:
        """Requests, errors, good answers per second, and percentiles of response and service time, ms, of the scenario
        and of each operation."""
        figures = scenario_figures(self)
        rows = list(_time_rows(figures))
        few = figures["requests"] and any(number(row[f"{key}_ms"]) == "–" for row in rows for key in TIMES)
        records = [{key: value for key, value in row.items() if key != "shown"} for row in rows]
        return View("scenario/percentiles", records, name=self.name, rows=rows, few=few)

    def errors(self) -> View:
        """How many requests failed, by operation and class of error: which share of the operation's that is, %, when,
        why, and what they have in common; and samples."""
        rows, requests = error_rows(self), scenario_figures(self)["requests"]
        records = [{key: value for key, value in row.items() if key != "moments"} for row in rows]
        return View(
            "scenario/errors", records, name=self.name, rows=rows, requests=requests, samples=shown_samples(self)
        )

    def memory(self) -> View:
        """Whether the target's memory grows, by how much, MB, and that of each of its processes."""
        found, figures = growth(self), scenario_figures(self)["memory_growth"] or {"processes": []}
        who = found.describe() if found.each and found.verdict != "no leak" else ""
        rows: list[tuple[Any, Any]] = [(one, one.growth) for one in found.each[:PROCESSES]]
        if len(found.each) > 1:
            rows.insert(0, (None, found.whole))
        return View(
            "scenario/memory",
            figures["processes"],
            name=self.name,
            rows=rows,
            said="; ".join(text for text in (_MEMORY[found.verdict], who, unread(self)) if text) if rows else "",
            more=len(found.each) - PROCESSES,
            listed=LISTED,
        )

    def incidents(self) -> View:
        """Stalls, in which nothing was answered, and bursts of errors, ns since the run's start."""
        found = incidents(self)
        return View("scenario/incidents", [vars(each) for each in found], incidents=found)

    def constants(self) -> str:
        """What stayed the same all the time, in a sentence instead of a chart; "" where nothing did."""
        count = constant_inflight(self)
        return f"All the time {count:,} request{'s were' if count > 1 else ' was'} in flight." if count else ""

    def _repr_html_(self) -> str:
        """Its load and its objectives, and what run.json says of it; its figures would take a look at all rows."""
        requests, seconds = f"{self.record.requests:,} requests", self.record.seconds
        lines = [
            self.description,
            f"{self.spec.load_words}; {requests}" + (f" in {seconds:.1f} s" if seconds is not None else ""),
            *(objective.text for objective in self.spec.objectives),
        ]
        outcome = Outcome.PASS if self.record.status == "complete" else Outcome.INVALID
        return card(f"{self.name} of {self.run.id}", outcome, self.record.status, lines)

    def capacity(self) -> CapacityTables:
        """What its target can bear, of a scenario whose load is `steps`."""
        return CapacityTables(self)

    def overhead(self) -> OverheadTables:
        """What each way to an MCP server's function adds, of a scenario whose operations are those ways."""
        return OverheadTables(self)


def _time_rows(figures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The scenario, each of its operations and of its journeys; a row of response times, and one of service times, and
    of what elapsed with a user's pauses, where they differ."""
    parts = [*(figures["operations"] if len(figures["operations"]) > 1 else []), *figures["journeys"]]
    for each, label in ((figures, "all"), *((part, part["name"]) for part in parts)):
        for kind in ("response", "service", "elapsed"):
            times = each.get(f"{kind}_ms")
            if times is None or (kind != "response" and times == each["response_ms"]):
                continue  # nothing was scheduled, or nobody paused: they are the same
            counts = {key: each[key] for key in ("requests", "errors", "throughput_per_s")}
            shown = {key: shown_time(each, key, kind) for key in TIMES}
            figures_ms = {f"{key}_ms": times[key] for key in TIMES}
            yield {"operation": label, **counts, "kind": kind, **figures_ms, "shown": shown}
