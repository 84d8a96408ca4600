"""Two runs, or several of each side: what shifted, by how much, with intervals, and whether it is no worse than a
margin.

compared = compare("20261124-101500-shop", "latest", margin_percent={"p95": 15, "buy: p95": 30})
compared.verdict; compared.changes[0].relative.low; print(compared.sentence)
compare(["run1", "run2", "run3"], ["run4", "run5", "run6"])      # the spread between runs is then part of the intervals

Pass: the whole 95 % interval of the change is within the margin. Fail: it is beyond the margin even when corrected for
all the figures judged (Holm, so that two runs of the same thing raise an alarm in at most 1 % of comparisons). Worse:
it is certainly worse, but perhaps within the margin. Else inconclusive. `seen` says, corrected alike, whether there is
any change at all, margin or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from perflib.errors import RunError
from perflib.metrics.parts import Measured, measure_all
from perflib.metrics.selection import Selection
from perflib.stats import Interval, Outcome
from perflib.store.records import GitRecord
from perflib.text import Spoken
from perflib.text.html import Heading, View, card
from perflib.verdicts import paired, spread
from perflib.verdicts.change import (
    ALARM,
    USUAL_SPREAD,
    Change,
    Held,
    changes_of,
    judged_together,
    margins_for,
    shift,
)
from perflib.verdicts.comparability import damage, differences, load_differences
from perflib.verdicts.figures import has_figures_alone
from perflib.verdicts.fitting import latest_two
from perflib.verdicts.run import Run, open_run, open_side, repeated

Side = Run | str | Path | Sequence[Run | str | Path]


_ROWS_SHOWN: Final = 12  # in a notebook


@dataclass(frozen=True)
class Comparison(Spoken):
    """Everything that two sides have in common, and what stands against comparing them.

    >>> compared = perflib.compare(run, run)
    >>> compared.exit_code() in (0, 3), compared.table().frame.shape[0] == len(compared.changes)
    (True, True)

    doubts    make the verdict inconclusive (another machine, another load), unless `forced`
    invalid   runs that can show nothing: interrupted, overloaded, broken off
    notes     what else differs, and what a comparison of so few runs cannot know
    """

    base: tuple[Run, ...]
    candidate: tuple[Run, ...]
    changes: tuple[Change, ...]
    measured: Mapping[Selection, tuple[tuple[Measured, ...], tuple[Measured, ...]]]
    doubts: tuple[str, ...]
    invalid: tuple[str, ...]
    notes: tuple[str, ...]
    forced: bool = False

    def __repr__(self) -> str:
        return f"<Comparison {self.title}: {self.verdict}>"

    def __str__(self) -> str:
        return f"{self.title}: {self.verdict}. {self.sentence}"

    @property
    def judged(self) -> list[Change]:
        return [change for change in self.changes if change.judged]

    @property
    def verdict(self) -> Outcome:
        if self.invalid:
            return Outcome.INVALID
        return Outcome.worst((change.verdict for change in self.judged), of_none=Outcome.INCONCLUSIVE)

    def exit_code(self, codes: Mapping[str, int] | None = None) -> int:
        """The exit code of the command line: of undecided verdicts as asked for, or as the candidate's suite says."""
        suite_s = {str(word): int(code) for word, code in self.candidate[0].suite.compare.exit.items()}
        return {**suite_s, **(codes or {})}.get(self.verdict, self.verdict.exit_code)

    @property
    def title(self) -> str:
        if paired.are_sides(self.base, self.candidate):
            return f"{self.base[0].suite.name}: b against a"
        return f"{named(self.candidate)} against {named(self.base)}"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        failed, worse, unclear = (
            [change for change in self.judged if change.verdict == outcome]
            for outcome in (Outcome.FAIL, Outcome.WORSE, Outcome.INCONCLUSIVE)
        )
        count = len(self.judged)
        if self.invalid:
            return f"These runs cannot be compared: {self.invalid[0]}."
        if self.doubts and not self.forced:
            return f"Not comparable: {'; '.join(self.doubts[:3])}."
        if failed:
            return f"Worse than the base: {len(failed)} of {count} figures beyond the margin: {_listed(failed)}."
        if worse:
            perhaps = "another run might not be" if all(c.is_beyond for c in worse) else "perhaps within the margin"
            return f"Worse, but {perhaps}: {len(worse)} of {count} figures: {_listed(worse)}."
        if unclear:
            undecided = f"{len(unclear)} of {count} could not be decided: {_listed(unclear)}"
            return f"No figure is beyond its margin for certain, but {undecided}."
        return (
            f"No worse than the base: all {count} figures are within their margins."
            if count
            else "No figure was judged."
        )

    @property
    def parts(self) -> list[Selection]:
        """The scenarios, stages and operations that have a figure on both sides, in the suite's order."""
        return [part for part in self.measured if any(change.part == part for change in self.changes)]

    def heading(self, part: Selection) -> Heading:
        """Of a part's section: its verdict, and the requests of both sides."""
        outcome = Outcome.worst(change.verdict for change in self.changes if change.part == part)
        base, candidate = (sum(measured.requests for measured in side) for side in self.measured[part])
        return Heading(str(part), outcome, f"{base:,} and {candidate:,} requests")

    def conclusion(self, title: str | None = None) -> View:
        """The verdict in one sentence, and what stands against comparing these runs."""
        return View("comparison/conclusion", compared=self, title=title or self.title)

    def table(self) -> View:
        """Every figure of both sides with its change, margin and verdict, what is worse first."""
        return View("comparison/changes", map(Change.as_dict, self.changes), changes=self._worst_first)

    def beside(self) -> View:
        """The same for a run's own report: how it compares with its baseline."""
        return View(
            "comparison/beside",
            map(Change.as_dict, self.changes),
            compared=self,
            base=named(self.base),
            changes=self._worst_first,
        )

    def sides(self) -> View:
        """Where and how each side was run, the command that repeats it, and how to read the comparison."""
        rows = [
            {
                "side": side,
                "run": run.id,
                "cpu": run.manifest.host.cpu,
                "python": run.manifest.versions.get("python", "?"),
                "commit": _commit(run.manifest.git),
                "started_at": run.manifest.started_at,
                "command": run.manifest.command,
            }
            for side, runs in (("base", self.base), ("candidate", self.candidate))
            for run in runs
        ]
        return View("comparison/sides", rows, rows=rows, in_pairs=self.base[0].manifest.ab is not None)

    @property
    def _worst_first(self) -> list[Change]:
        return sorted(self.changes, key=lambda change: -change.verdict.rank)

    def _repr_html_(self) -> str:
        first = sorted(self.judged, key=lambda change: -change.verdict.rank)[:_ROWS_SHOWN]
        rows = [
            (str(c.part), c.metric.name, f"{base} → {candidate}", f"{change} [{bounds}]", c.verdict)
            for c in first
            for base, candidate, change, bounds in [c.cells]
        ]
        more = len(self.judged) - len(first)
        lines = [self.sentence, *self.doubts, f"and {more} more figures" if more else ""]
        head = ("part", "figure", "base → candidate", "change [95 %]", "verdict")
        return card(self.title, self.verdict, self.verdict, lines, [head, *rows] if rows else [])

    def as_dict(self) -> dict[str, Any]:
        """The content of summary.json; infinite bounds become null."""
        return {
            "schema": 1,
            "kind": "comparison",
            "base": [run.id for run in self.base],
            "candidate": [run.id for run in self.candidate],
            "verdict": self.verdict,
            "title": self.title,
            "started_at": self.candidate[0].manifest.started_at,
            "sentence": self.sentence,
            "doubts": list(self.doubts),
            "invalid": list(self.invalid),
            "notes": list(self.notes),
            "forced": self.forced,
            "changes": [change.as_dict() for change in self.changes],
        }


def compare(
    base: Side | None = None,
    candidate: Side | None = None,
    *,
    margin_percent: Mapping[str, float | None] | None = None,
    data: str | Path | None = None,
    force: bool = False,
    only: Sequence[str] = (),
) -> Comparison:
    """Compare runs, each an id, a path, a baseline's name, `latest`, or a list of them ("a,b,c" as well).

    >>> perflib.compare(run, run, margin_percent={"p95": 20}).base[0].id == run.id
    True

    Without sides, the latest two runs of one suite are compared; without a base, the run with its latest predecessor.

    The two sides of an A/B ("latest@a", "latest@b") are compared pair by pair of their blocks, with what the looks at
    it cost.

    margin_percent    by metric (p50, p95, p99, mean, throughput, errors, memory, cpu), or by "operation: metric", in %
                      of the base; errors in percentage points; None: show it, do not judge it. Default: those of the
                      candidate's suite, else p50, p95, throughput and errors, of several runs a side memory and cpu
    force             judge in spite of doubts
    only              these scenarios

    Raises RunError where a run is not there or the sides have nothing in common, SuiteError for an unknown metric.
    """
    sides = _sides(base, candidate, data)
    for run in (*sides[0], *sides[1]):
        if has_figures_alone(run):
            mend = "perflib compare prints them side by side, without a verdict"
            raise RunError("it has figures alone, which cannot be judged", where=run.id, mend=mend)
    scenarios = _common(*sides, only)
    if paired.are_sides(*sides):
        return _of_trial(*sides, scenarios, margin_percent or {}, force)
    margins = margins_for(sides[1][0].suite, margin_percent or {}, min(map(len, sides)))
    known = _known(sides, scenarios)
    doubts, notes = _differences(sides)
    against = {name: _load_differences(sides, name) for name in scenarios}
    alone = len(sides[0]) == len(sides[1]) == 1
    spreads = spread.borrowed(sides[0][0], sides[1][0], data) if alone else {}
    changes = [change for part, (a, b) in known.items() for change in changes_of(part, a, b, margins, spreads)]
    held = {name: _held(sides, name, (doubts or against[name] or [""])[0], force) for name in scenarios}
    found = judged_together(changes, lambda change: held[change.part.scenario])
    doubts += [text for texts in against.values() for text in texts]
    return Comparison(
        *sides, tuple(found), known, tuple(doubts), _invalid(sides),
        (*notes, *_disturbed(sides, scenarios), *_counted(sides), *_limits(sides, bool(spreads))), force,
    )  # fmt: skip


def _sides(
    base: Side | None, candidate: Side | None, data: str | Path | None
) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """The runs of both sides; one that is not named is the latest that fits."""
    if base is not None and candidate is not None:
        return opened(base, data), opened(candidate, data)
    if base is not None:
        return opened(base, data), opened("latest", data)
    given = opened(candidate, data) if candidate is not None else ()
    earlier, later = (repeated(open_run(name, data), data) for name in latest_two(data, before=given))
    return earlier, given or later


def _held(sides: tuple[tuple[Run, ...], tuple[Run, ...]], scenario: str, doubt: str, force: bool) -> Held:
    """What keeps a scenario's figures from being judged, from failing, or from passing."""
    if force:
        return Held()
    alone = len(sides[0]) == len(sides[1]) == 1  # of several runs a side the intervals hold what disturbed some
    disturbed = (spread.keeps_from_failing, spread.keeps_from_passing)
    fail, passed = (keeps(*sides, scenario) if alone else "" for keeps in disturbed)
    return Held(doubt, fail, passed, alike=alone and spread.disturbed_alike(*sides, scenario))


def _disturbed(sides: tuple[tuple[Run, ...], tuple[Run, ...]], scenarios: Sequence[str]) -> list[str]:
    """What else took the machine's time while each run was measured."""
    return [
        f"{run.id}, {name}: {words}"
        for run in (*sides[0], *sides[1])
        for name in scenarios
        for _, words in spread.disturbances(run, name)
    ]


def _of_trial(
    base: tuple[Run, ...],
    candidate: tuple[Run, ...],
    scenarios: Sequence[str],
    margin_percent: Mapping[str, float | None],
    force: bool,
) -> Comparison:
    """The sides of an A/B: changes by pairs of blocks, each scenario judged at the confidence of its last look."""
    about = paired.ab_of(base[0])
    margins = margins_for(base[0].suite, {**about.margin_percent, **margin_percent})
    known = _known((base, candidate), scenarios)
    doubts = damage(base[0], candidate[0])
    found: list[Change] = []
    for name in scenarios:
        shifts = paired.shifts(base[0], candidate[0], name)
        each = [
            change
            for part, (a, b) in known.items()
            if part.scenario == name
            for change in changes_of(part, a, b, margins)
        ]
        each = [_paired(change, shifts) for change in each]
        alarm = 1 - paired.look_of(base[0].scenario(name)).confidence(1 - ALARM / len(about.scenarios))
        held = Held("" if force else (doubts or [""])[0])
        found += judged_together(each, lambda _, held=held: held, alarm)  # type: ignore[misc]
    notes = paired.notes(base[0], scenarios)
    return Comparison(
        base, candidate, tuple(found), known, tuple(doubts), _invalid((base, candidate)), tuple(notes), force
    )


def _paired(change: Change, shifts: Mapping[tuple[Selection, str], paired.Shift]) -> Change:
    """The change as pairs of blocks show it."""
    shift = shifts.get((change.part, change.metric.key))
    if shift is None or change.reason:
        return change
    return replace(
        change,
        difference=shift.difference,
        relative=shift.relative,
        freedom=shift.freedom,
        reason=shift.reason,
        between=0.0,
    )


def _known(
    sides: tuple[tuple[Run, ...], tuple[Run, ...]], scenarios: Sequence[str]
) -> dict[Selection, tuple[tuple[Measured, ...], tuple[Measured, ...]]]:
    """What both sides have measured of each part that every run has."""
    base, candidate = ([measure_all(run, scenarios) for run in runs] for runs in sides)
    return {part: (_of(part, base), _of(part, candidate)) for part in _parts(base + candidate)}


def _invalid(sides: tuple[tuple[Run, ...], tuple[Run, ...]]) -> tuple[str, ...]:
    """Runs that can show nothing, and why."""
    each = [f"{run.id} is {run.status}{_why(run)}" for run in (*sides[0], *sides[1]) if run.status != "complete"]
    return tuple(dict.fromkeys(each))


def curve(compared: Comparison, part: Selection) -> list[Interval]:
    """The shift function (Doksum & Sievers 1976): the change of each quantile of `measures.GRID`, % of the base."""
    base, candidate = ([m.grid for m in side] for side in compared.measured[part])
    if not all(base) or not all(candidate):
        return []
    quantiles = range(len(base[0]))
    return [shift([g[i] for g in base], [g[i] for g in candidate], relative=True)[0] for i in quantiles]


def opened(side: Side, data: str | Path | None = None) -> tuple[Run, ...]:
    """The runs of a side. Raises RunError where one is not there."""
    if isinstance(side, Run):
        return (side,)
    if isinstance(side, str):
        side = [name.strip() for name in side.split(",") if name.strip()]
    runs = [
        run
        for which in ([side] if isinstance(side, Path) else side)
        for run in ((which,) if isinstance(which, Run) else open_side(which, data))
    ]
    if not runs:
        raise RunError("a side of the comparison has no run", mend="name one: perflib compare BASE CANDIDATE")
    return tuple(runs)


def named(runs: Sequence[Run]) -> str:
    """A side in a few words."""
    return runs[0].id if len(runs) == 1 else f"{runs[0].id} and {len(runs) - 1} more"


def _parts(each: Iterable[Mapping[Selection, Measured]]) -> list[Selection]:
    """Parts that every run has, in the suite's order."""
    first, *others = each
    return [part for part in first if all(part in other for other in others)]


def _of(part: Selection, each: Iterable[Mapping[Selection, Measured]]) -> tuple[Measured, ...]:
    return tuple(found[part] for found in each)


def _common(base: Sequence[Run], candidate: Sequence[Run], only: Sequence[str]) -> list[str]:
    """Scenarios that every run has, or those of them that are asked for. Raises RunError where there is none."""
    each = [[s.name for s in run.scenarios if not only or s.name in only] for run in (*base, *candidate)]
    common = [name for name in each[0] if all(name in names for names in each)]
    if not common:
        there = " and ".join(
            f"{runs[0].id} has {', '.join(names[:4]) or 'none'}"
            for runs, names in ((base, each[0]), (candidate, each[-1]))
        )
        raise RunError("the runs have no scenario in common", where="compare", mend=there)
    return common


def _differences(sides: tuple[tuple[Run, ...], tuple[Run, ...]]) -> tuple[list[str], list[str]]:
    """Doubts and notes about every run against the first."""
    first, *others = (*sides[0], *sides[1])
    each = [differences(first, other) for other in others]
    doubts, notes = (list(dict.fromkeys(text for found in each for text in found[i])) for i in (0, 1))
    counts = Counter(scenario.name for run in (first, *others) for scenario in run.scenarios)
    missing = sorted(name for name, count in counts.items() if count <= len(others))
    return _twice((first, *others)) + doubts, notes + [f"not every run has the scenario {name}" for name in missing]


def _load_differences(sides: tuple[tuple[Run, ...], tuple[Run, ...]], scenario: str) -> list[str]:
    """Why a scenario's figures cannot be set side by side: every run against the first."""
    first, *others = (*sides[0], *sides[1])
    return list(dict.fromkeys(text for other in others for text in load_differences(first, other, scenario)))


def _twice(runs: Sequence[Run]) -> list[str]:
    """Runs that are compared with themselves, or counted again."""
    seen = Counter((run.id, run.manifest.started_at, run.manifest.stopped_ns) for run in runs)
    return [
        f"{name} is named {'twice' if count == 2 else f'{count} times'}, and a run says nothing about itself"
        for (name, *_), count in seen.items()
        if count > 1
    ]


def _counted(sides: tuple[tuple[Run, ...], tuple[Run, ...]]) -> list[str]:
    many = any(run.many for run in (*sides[0], *sides[1]))
    return ["more than a million rows: counted, percentiles within 0.1 %"] if many else []


def _limits(sides: tuple[tuple[Run, ...], tuple[Run, ...]], is_borrowed: bool) -> list[str]:
    """What so few runs cannot know."""
    counts = [len(side) for side in sides]
    if min(counts) > 1:
        return [f"{counts[0]} and {counts[1]} runs: the intervals hold the spread between runs"]
    if max(counts) > 1:
        return ["one side has one run: it is taken to spread as the runs of the other side do"]
    if is_borrowed:
        return ["one run a side: how much two runs of the same thing differ is that of the runs in the history"]
    several = "A1,A2,A3" if sides[0][0].manifest.imported else "perflib run --repeat 3"
    return [
        "one run a side: the intervals know what varies within a run, but not how much two runs of the same thing "
        f"differ (start-up, memory layout, other load). A fail takes that to be {100 * USUAL_SPREAD:.1f} %; several "
        f"runs a side would show it: {several}"
    ]


def _commit(git: GitRecord | None) -> str:
    return f"{git.commit[:12]}{' + changes' if git.dirty else ''}" if git else "–"


def _why(run: Run) -> str:
    return f": {run.manifest.reasons[0]}" if run.manifest.reasons else ""


def _listed(changes: Sequence[Change]) -> str:
    texts = [f"{c.part}, {c.metric.name} {c.percent}".strip() for c in changes[:3]]
    return "; ".join(texts) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
