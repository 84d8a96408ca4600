"""What each way to an MCP server's function adds, as tables that show themselves in a notebook:
notebooks/overhead.ipynb."""

from __future__ import annotations

from dataclasses import dataclass

from perflib.metrics.overhead import parts, rungs, sentence
from perflib.store.recording import ScenarioRun
from perflib.text.html import View


@dataclass(frozen=True)
class OverheadTables:
    """Of a scenario whose operations are the ways to one function.

    found = run.scenario("mcp_overhead").overhead()
    found.conclusion(); found.ways(); found.parts_of_a_call()
    """

    scenario: ScenarioRun

    def conclusion(self) -> View:
        """What MCP costs over a direct call and over REST, in words."""
        return View("overhead/conclusion", sentence=sentence(self.scenario))

    def ways(self) -> View:
        """Each way's response times, ms, and how much more it takes than the way it builds on, pair by pair."""
        found = rungs(self.scenario)
        records = [
            {
                "way": rung.operation,
                "p50_ms": rung.p50.bounds,
                "p99_ms": rung.p99.bounds,
                "builds_on": rung.below,
                "takes_more_ms": rung.more.bounds if rung.more else {},
                "rounds": rung.requests,
            }
            for rung in found
        ]
        return View("overhead/ways", records, rungs=found)

    def parts_of_a_call(self) -> View:
        """What a call by the SDK's client over streamable HTTP is made of, ms, from the inside out."""
        found = parts(self.scenario)
        return View("overhead/parts", [{"part": part.name, **part.takes.bounds} for part in found], parts=found)

    def _repr_html_(self) -> str:
        return self.conclusion()._repr_html_()
