"""What to run: Suite ∋ Scenario (Load, Operation, Objective) and Target, frozen and validated.

    suite = Suite(name="checkout",
                  targets={"api": Target(kind="http", url="http://127.0.0.1:8080")},
                  scenarios=[Scenario(name="browse", target="api",
                                      operations=[Operation(name="list", path="/items")],
                                      load=Load(model="constant", rate_per_s=500, duration_s=20),
                                      objectives=["p99 response < 250 ms"])])

A suite's TOML file, which `perflib.suite.file` reads, has keys of the same names. The comment behind each field is its
description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.answers import Expect
from perflib.suite.compare import Compare
from perflib.suite.fields import CONFIG, Burst, Count, Figure, Judged, Name, NotNegative, Positive, Seq
from perflib.suite.journey import Journey, Step
from perflib.suite.load import ClosedLoad, Load
from perflib.suite.messages import in_one_line
from perflib.suite.objectives import KNOWN_METRICS, OF_JOURNEYS, Objective
from perflib.suite.operation import Operation, bound
from perflib.suite.target import Ready, Target
from perflib.text import Spoken
from perflib.text.html import View

__all__ = ["Compare", "Expect", "Journey", "Load", "Operation", "Ready", "Scenario", "Suite", "Target", "Warmup"]

GROUPS: Final = ("operations", "prepare", "setup", "each_user", "teardown")  # keys of a scenario with operations
IN_ORDER: Final = "journey"  # what the journey of a `sequence` is called in objectives and in the report


@in_one_line("warmup")
@dataclass(frozen=True, config=CONFIG)
class Warmup:
    """Load before the measured part; its rows are stored with phase "warmup". duration_s = 0 turns it off.

    >>> Warmup(duration_s=2).duration_s
    2.0
    """

    duration_s: NotNegative  # length of the warm-up; 0: no warm-up


@in_one_line("scenarios")
@dataclass(frozen=True, config=CONFIG)
class Scenario(Spoken):
    """One load on one or more targets, and the objectives that it must meet.

    >>> print(Scenario(name="browse", target="api", operations=[Operation(name="list", path="/items")],
    ...                load=Load(model="closed", concurrency=10, duration_s=20), objectives=["p99 < 250 ms"]))
    browse: 10 users for 20 s; list; p99 < 250 ms

    order     "weighted": operations at random by weight (default) · "sequence": each user does all of them in order;
              in a load with a rate, a user who arrives begins with the first one ·
              "interleaved": every operation once per round, in random order, with the same data ·
              "blocks": one operation at a time for `block_s`, in balanced random order ·
              "recorded": those that the column `operation` of their data file names, row by row
    setup     done once before the load; what they keep fills in all requests, and the headers of the targets
    each_user done once by each user before its first request; what they keep, and the cookies, are the user's
    prepare   each of these operations is done `count` times (default: once for every request). Each measured request
              uses the values of one round; with reuse_prepared, the values are used again and again
    teardown  done once after the load, whatever has ended it

    A steps load searches for the target's capacity, in journeys per second where these arrive. The objectives about
    times, errors or throughput / offered are then limits, which are judged step by step, and the load ends at the first
    rate that certainly breaks one of them. They neither pass nor fail, but say up to which rate they hold; "capacity >=
    400 /s" passes if all hold at 400 /s or at a higher rate.
    """

    name: Name  # name in the report
    load: Load  # when requests, or journeys, start
    operations: Seq[Operation] = ()  # the requests to make; required, but for journeys that are functions
    target: str | None = None  # name of the target; an operation may name another one
    description: str = ""  # shown in the report
    order: Literal["weighted", "sequence", "interleaved", "blocks", "recorded"] = "weighted"  # which operation is next
    journeys: Seq[Journey] = ()  # what users do, step by step: one of them each time, by weight
    on_error: Literal["continue", "end round"] = "continue"  # what a user does after a failed step of a journey
    block_s: Positive = 1.0  # length of a block, with order `blocks`
    reuse_prepared: StrictBool = False  # use prepared values again and again, instead of once each
    warmup: Warmup | None = None  # load before the measured part; default: estimated from the response times
    setup: Seq[Operation] = ()  # operations that are done once before the load; all requests get what they keep
    each_user: Seq[Operation] = ()  # operations that each user does before its first request; they are not measured
    prepare: Seq[Operation] = ()  # operations before the load, in this order; they are not measured
    teardown: Seq[Operation] = ()  # operations that are done once after the load, also where it was aborted
    with_scenarios: Annotated[Seq[str], Field(alias="with")] = ()  # scenarios that run at the same time as this one
    at_s: NotNegative = 0.0  # with others: how long after the first of them its load begins
    workers: Count | None = None  # number of worker processes; default: the suite's
    objectives: Seq[Judged] = ()  # what must hold, one text per objective
    figures: Seq[Figure] = ()  # the same without a limit: measured and shown, but not judged
    abort_on: Burst | None = None  # error rate that ends the run: `error rate > 50 % for 5 s`
    patience_s: Positive = 30.0  # the run ends as invalid if nothing at all was answered for so long
    quick: Mapping[str, Any] = Field(default_factory=dict)  # values that `--quick` gives to keys of the load

    def __post_init__(self) -> None:
        self._check_journeys()
        for key in GROUPS:
            _check_names(getattr(self, key), f"scenario {self.name!r}")
        if self.each_user and (self.load.is_open or self.order == "interleaved"):
            what = "each_user needs users who wait for answers, and have requests of their own"
            raise SuiteError(what, mend='use load model "closed" or "users", or `prepare`')
        if self.order == "blocks" and not isinstance(self.load, ClosedLoad):
            mend = 'use load model "closed", or order "weighted"'
            raise SuiteError("order 'blocks' needs users who wait for answers", mend=mend)
        if self.on_error != "continue" and self.order != "sequence":
            raise SuiteError(f"on_error = {self.on_error!r} without rounds of users", mend='set order = "sequence"')
        if self.order == "blocks" and not self.load.seconds():
            raise SuiteError("order 'blocks' needs a duration", mend="give the load duration_s instead of requests")
        self._check_recorded()
        self._check_objectives()

    @property
    def flows(self) -> dict[str, Journey]:
        """The journeys of its users, by what they are called in objectives; of a `sequence` all operations in order."""
        if self.order == "sequence" and not self.journeys:
            return {IN_ORDER: Journey(name=IN_ORDER, steps=tuple(Step(operation=op.name) for op in self.operations))}
        return {f"{IN_ORDER} {journey.name}": journey for journey in self.journeys}

    @property
    def requests_each(self) -> float:
        """How many requests an arrival makes on average: those of a journey, a loop over a list counted once."""
        journeys = [each for each in self.flows.values() if each.steps]
        weights = sum(each.weight for each in journeys)
        return (
            sum(each.weight * sum(step.repeat for step in each.steps) for each in journeys) / weights if weights else 1
        )

    @property
    def has_functions(self) -> bool:
        """Whether some of its journeys are functions, whose requests have names that a suite does not know."""
        return any(journey.function is not None for journey in self.journeys)

    @property
    def load_words(self) -> str:
        """The load in words: "80 requests/s at random times for 20 s"; journeys where these are what arrives."""
        return self.load.words.replace("requests/s", "journeys/s") if self.flows else self.load.words

    def __str__(self) -> str:
        """browse: 50 requests/s for 10 s; list, stats; p95 response < 200 ms"""
        operations = ", ".join(operation.name for operation in self.operations)
        judged = ", ".join(objective.text for objective in (*self.objectives, *self.figures))
        return f"{self.name}: {'; '.join(filter(None, (self.load_words, operations, judged)))}"

    def _repr_html_(self) -> str:
        return View("suite", title=self.name, description=self.description, scenarios=[self])._repr_html_()

    def shortened(self) -> Scenario:
        """The scenario with the keys of `quick` in its load. Raises SuiteError for one that the load does not take."""
        try:
            load = self.load.with_keys(self.quick)
        except SuiteError as error:
            where = f"scenario {self.name!r}, quick{error.where.removeprefix('Load').replace(': ', '.')}"
            raise SuiteError(error.what, where=where, mend=error.mend) from None
        return replace(self, load=load)

    @property
    def warmup_s(self) -> float:
        """How long its warm-up is, s; 0 where it sets none."""
        return self.warmup.duration_s if self.warmup else 0.0

    @property
    def reached(self) -> list[str]:
        """Names of the targets that its operations reach, the first one first."""
        of_functions = [self.target or ""] if self.has_functions else []
        named = (op.target or self.target or "" for op in self.own_operations)
        return list(dict.fromkeys((*of_functions, *named)))

    @property
    def own_operations(self) -> list[Operation]:
        """All its operations: those of the load, and those that are not measured."""
        return [operation for key in GROUPS for operation in getattr(self, key)]

    def _check_journeys(self) -> None:
        if self.journeys:
            if self.order not in ("weighted", "sequence"):
                raise SuiteError(f"journeys with order {self.order!r}", mend="remove `order`: their steps come in turn")
            object.__setattr__(self, "order", "sequence")
            if len({journey.name for journey in self.journeys}) < len(self.journeys):
                raise SuiteError("two journeys have the same name", mend="rename one of them")
        names = [operation.name for operation in self.operations]
        steps = [(journey, step) for journey in self.journeys for step in journey.steps]
        for journey, step in steps:
            if step.operation not in names:
                mend = f"operations are {', '.join(names) or 'none'}"
                raise SuiteError(f"journey {journey.name!r} has no operation {step.operation!r}", mend=mend)
        unused = [name for name in names if name not in {step.operation for _, step in steps}]
        if self.journeys and unused:
            raise SuiteError(f"no journey does {unused[0]!r}", mend="add it to the steps of one, or remove it")
        if not names and not self.has_functions:
            raise SuiteError(f"scenario {self.name!r} has no operations", mend="list at least one under `operations`")
        taken = next((name for name in names if self.journeys and name in self.flows), None)
        if taken:
            raise SuiteError(f"operation {taken!r} has the name of a journey", mend="rename one of them")

    def _check_recorded(self) -> None:
        """Refuse what would part the rows of a recording from its requests."""
        if self.order != "recorded":
            return
        if len({operation.data for operation in self.operations} - {None}) != 1:
            mend = "set the same `data` for all of them"
            raise SuiteError("order 'recorded' needs operations with one data file", mend=mend)
        other = [op for op in self.operations if op.data is None or op.pick not in ("in turn", "once")]
        if other:
            what = f"operation {other[0].name!r} does not use the rows of the recording in turn"
            raise SuiteError(what, mend="set the `data` of the others, and no `pick`")
        if self.warmup and self.warmup.duration_s:
            raise SuiteError("a warm-up would use the first requests of a recording", mend="remove `warmup`")

    def _check_objectives(self) -> None:
        names = [operation.name for operation in self.operations]
        for objective in (*self.objectives, *self.figures):
            self._check_flow(objective)
            for name in (objective.operation, *(objective.versus or ())):
                if name is not None and not (name in names or name in self.flows or self.has_functions):
                    mend = f"its operations are {', '.join([*names, *self.flows])}"
                    raise SuiteError(f"objective {objective.text!r} names an unknown operation {name!r}", mend=mend)
            if objective.versus and self.order not in ("interleaved", "blocks"):
                raise SuiteError(
                    f"objective {objective.text!r} compares operations that are not interleaved",
                    mend='set order = "interleaved"',
                )
            alone = isinstance(self.load, ClosedLoad) and self.load.concurrency == 1
            if objective.metric == "median difference" and not alone:
                raise SuiteError(
                    f"objective {objective.text!r} needs one request at a time",
                    mend="use a closed load with concurrency = 1",
                )
            if objective.metric == "throughput ratio" and self.order != "blocks":
                raise SuiteError(f"objective {objective.text!r} needs blocks", mend='set order = "blocks"')
            self._check_rates(objective)
            stages = self.load.stage_count
            if objective.stage is not None and not 1 <= objective.stage <= stages:
                what = f"objective {objective.text!r}: there is no stage {objective.stage}"
                raise SuiteError(what, mend=f"the load has {stages} stages")

    def _check_flow(self, objective: Objective) -> None:
        """Refuse objectives that only requests can have, or only journeys."""
        of_journey = objective.operation in self.flows
        if of_journey and objective.metric not in OF_JOURNEYS:
            mend = f"for a journey there are {', '.join(OF_JOURNEYS)}"
            raise SuiteError(f"objective {objective.text!r} is not possible for a journey", mend=mend)
        if objective.metric == "elapsed" and not of_journey:
            known = ", ".join(f'"{label}: p95 elapsed < 30 s"' for label in self.flows)
            mend = f"write {known}" if known else "write p95 response, or give the scenario journeys"
            raise SuiteError(f"objective {objective.text!r} is for a journey", mend=mend)

    def _check_rates(self, objective: Objective) -> None:
        """Refuse objectives that make sense only for another load model."""
        text, model = objective.text, self.load.model
        if objective.metric == "capacity" and model != "steps":
            raise SuiteError(f"objective {text!r} needs a load that rises", mend='use load model "steps"')
        if objective.metric == "throughput / offered" and not self.load.is_open:
            mend = "use a load with a rate, or an objective on throughput"
            raise SuiteError(f"objective {text!r} needs a load with a rate", mend=mend)
        if model == "steps" and objective.limit is not None and objective.metric in ("throughput", "response drift"):
            mend = 'write "capacity >= 400 /s", and list what must hold at that rate as further objectives'
            raise SuiteError(f"objective {text!r} is not possible with a load that rises", mend=mend)


def _check_names(operations: Sequence[Operation], where: str) -> None:
    """Refuse operations of one group that have the same name."""
    twice = [name for name, times in Counter(operation.name for operation in operations).items() if times > 1]
    if twice:
        raise SuiteError(f"{where} names an operation twice: {min(twice)!r}", mend="give each operation its own name")


@in_one_line()
@dataclass(frozen=True, config=CONFIG)
class Suite(Spoken):
    """Scenarios, and the targets they load. They run one after the other, or at the same time with those they name.

    >>> browse = Scenario(name="browse", target="api", operations=[Operation(name="list", path="/items")],
    ...                   load=Load(model="closed", concurrency=10, duration_s=20), objectives=["p99 < 250 ms"])
    >>> print(Suite(name="shop", targets={"api": Target(kind="http", url="http://127.0.0.1:8080")}, scenarios=[browse]))
    suite shop
      browse: 10 users for 20 s; list; p99 < 250 ms
    """

    name: Name  # name of the suite; run ids contain it
    scenarios: Seq[Scenario]  # run one after the other, or at the same time: see `with`
    targets: Mapping[str, Target] = Field(default_factory=dict)  # the systems under test, by name
    description: str = ""  # shown in the report
    setup: Seq[Operation] = ()  # operations that are done once before all scenarios; all requests get what they keep
    teardown: Seq[Operation] = ()  # operations that are done once after all scenarios, also where the run was aborted
    seed: int = 0  # seed of all random choices; `--seed` replaces it
    workers: Count | None = None  # number of worker processes; default: as many as the load needs, at most one per core
    allow_hosts: Seq[str] = ()  # hosts that may be tested, besides this machine
    max_rate_per_s: Positive | None = None  # the highest rate that a scenario may request
    max_requests: Count | None = None  # a scenario ends after this number of requests
    on_lost: Literal["stop", "continue"] = "stop"  # when a worker is lost, the others stop or go on without its share
    compare: Compare = Field(default_factory=Compare)  # what comparisons of its runs judge
    folder: str = ""  # (not a key: where the suite's file is)

    HIDDEN: ClassVar[tuple[str, ...]] = ("folder",)

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise SuiteError(f"suite {self.name!r} has no scenarios", mend="add one under [[scenarios]]")
        for name in self.targets:  # its log has its name
            if not re.fullmatch(r"[^\x00-\x1f\x7f/\\:.][^\x00-\x1f\x7f/\\:]{0,79}", name):
                mend = "use up to 80 letters, digits and signs, no slashes and colons, and no dot at the beginning"
                raise SuiteError(f"{name!r} is no name for a target", where="targets", mend=mend)
        names = [scenario.name for scenario in self.scenarios]
        for index, scenario in enumerate(self.scenarios):
            if names.count(scenario.name) > 1:
                where = f"scenarios[{index}] {scenario.name!r}"
                raise SuiteError("two scenarios have the same name", where=where, mend="rename one of them")
            for name in scenario.with_scenarios:
                if name not in names or name == scenario.name:
                    others = ", ".join(other for other in names if other != scenario.name) or "none"
                    where, what = f"scenarios[{index}] {scenario.name!r}.with", f"there is no other scenario {name!r}"
                    raise SuiteError(what, where=where, mend=f"the others are {others}")
        for group in self.groups:
            if len(group) == 1 and group[0].at_s:
                where = f"scenario {group[0].name!r}.at_s"
                raise SuiteError(
                    "it runs alone, so that it begins at once", where=where, mend="set `with`, or remove it"
                )
        object.__setattr__(self, "scenarios", tuple(self._bound(*each) for each in enumerate(self.scenarios)))
        for key in ("setup", "teardown"):
            _check_names(getattr(self, key), f"suite {self.name!r}")
            object.__setattr__(self, key, self._all_bound(getattr(self, key), None, key, key))

    @property
    def groups(self) -> list[list[Scenario]]:
        """The scenarios in order, those together that run at the same time."""
        groups: list[list[Scenario]] = []
        for scenario in self.scenarios:
            joined = [
                group
                for group in groups
                if any(
                    other.name in scenario.with_scenarios or scenario.name in other.with_scenarios for other in group
                )
            ]
            merged = [other for group in joined for other in group]
            groups = [group for group in groups if group not in joined]
            groups.append([*merged, scenario])
        place = {scenario.name: number for number, scenario in enumerate(self.scenarios)}
        return sorted(groups, key=lambda group: place[group[0].name])

    @property
    def around(self) -> Scenario | None:
        """The set-up and teardown of the whole suite, as those of a scenario; None where it has neither."""
        if not (self.setup or self.teardown):
            return None
        once = ClosedLoad(concurrency=1, requests=1)
        operations = self.setup or self.teardown
        return Scenario(name=self.name, operations=operations, load=once, setup=self.setup, teardown=self.teardown)

    def __str__(self) -> str:
        return "\n".join((f"suite {self.name}", *(f"  {scenario}" for scenario in self.scenarios)))

    def _repr_html_(self) -> str:
        title = f"Suite {self.name}"
        return View("suite", title=title, description=self.description, scenarios=self.scenarios)._repr_html_()

    def _bound(self, index: int, scenario: Scenario) -> Scenario:
        """The scenario with operations of the kinds of their targets."""
        if scenario.has_functions:
            where = f"scenarios[{index}] {scenario.name!r}"
            kind = self._kind_named(scenario.target, "the journeys have no target", where)
            if kind != "http":
                mend = "use steps, or an HTTP target"
                raise SuiteError(
                    f"a journey in Python needs an HTTP target, and this is {kind!r}", where=where, mend=mend
                )
        where = f"scenarios[{index}]"
        groups = {
            key: self._all_bound(
                getattr(scenario, key), scenario.target, f"{where} {scenario.name!r}", f"{where}.{key}"
            )
            for key in GROUPS
        }
        self._check_gauges(index, scenario)
        changed: dict[str, Any] = {key: group for key, group in groups.items() if group != getattr(scenario, key)}
        return replace(scenario, **changed) if changed else scenario

    def _check_gauges(self, index: int, scenario: Scenario) -> None:
        """Refuse objectives on metrics of targets that report none; the name may be that of a metric, mistyped."""
        reported = any(self.targets[name].gauges for name in scenario.reached if name in self.targets)
        for objective in (*scenario.objectives, *scenario.figures):
            if objective.metric == "gauge" and not reported:
                mend = f"{KNOWN_METRICS}; {objective.gauge} is none of them, and its target has no `gauges`"
                where = f"scenarios[{index}] {scenario.name!r}"
                raise SuiteError(f"unknown metric {objective.name!r} in {objective.text!r}", where=where, mend=mend)

    def _all_bound(
        self, operations: tuple[Operation, ...], target: str | None, where: str, key: str
    ) -> tuple[Operation, ...]:
        """Operations of the kinds of their targets. `target`: of those that do not name one; None: the only one."""
        bare = target is None and len(self.targets) == 1 and key in ("setup", "teardown")
        only = next(iter(self.targets)) if bare else None
        given = [replace(op, target=only) if only and op.target is None else op for op in operations]
        return tuple(
            bound(operation, self._kind_of(operation, operation.target or target, where), f"{key}[{number}]")
            for number, operation in enumerate(given)
        )

    def _kind_of(self, operation: Operation, name: str | None, where: str) -> str:
        return self._kind_named(name, f"operation {operation.name!r} has no target", where)

    def _kind_named(self, name: str | None, without: str, where: str) -> str:
        known = f"targets are {', '.join(self.targets) or 'none'}"
        if name is None:
            raise SuiteError(without, where=where, mend=f"set `target`; {known}")
        if name not in self.targets:
            raise SuiteError(f"unknown target {name!r}", where=f"{where}.target", mend=known)
        return self.targets[name].kind
