"""What to run: Suite ∋ Scenario (Load, Operation, Objective) and Target, frozen and validated.

    suite = Suite(name="checkout",
                  targets={"api": Target(kind="http", url="http://127.0.0.1:8080")},
                  scenarios=[Scenario(name="browse", target="api",
                                      operations=[Operation(name="list", path="/items")],
                                      load=Load(model="constant", rate_per_s=500, duration_s=20),
                                      objectives=["p99 response < 250 ms"])])

The same names are the keys of a suite's TOML file, which `perflib.suite.file` reads. What each field is for stands
behind it in a comment: docs/suite.md is made of these (`python -m tools.reference`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, Burst, Count, Figure, Judged, Name, NotNegative, Positive, Seq
from perflib.suite.load import ClosedLoad, Load, StagesLoad
from perflib.suite.messages import in_one_line
from perflib.suite.objectives import Objective
from perflib.suite.operation import Expect, Operation, bound
from perflib.suite.target import Ready, Target

__all__ = ["Expect", "Load", "Operation", "Ready", "Scenario", "Suite", "Target", "Warmup"]


@in_one_line("warmup")
@dataclass(frozen=True, config=CONFIG)
class Warmup:
    """Load before the measured one; its rows are kept with phase "warmup". duration_s = 0 turns it off."""

    duration_s: NotNegative  # how long; 0: none


@in_one_line("scenarios")
@dataclass(frozen=True, config=CONFIG)
class Scenario:
    """One load on one or more targets, and what is asked of it.

    order     "weighted": operations at random by weight (default) · "sequence": each user does all of them in turn ·
              "interleaved": every operation once a round, in random order, with the same data ·
              "blocks": one operation at a time for `block_s`, in balanced random order
    prepare   each operation of it is done `count` times (default: once for every request); each measured request takes
              what one round of them kept, once, or again and again with reuse_prepared

    A steps load searches for the target's capacity: the objectives about times, errors or throughput / offered are then
    limits, judged step by step, and the load ends at the first rate that surely breaks one. They neither pass nor fail,
    but say up to which rate they hold; "capacity >= 400 /s" passes where all hold at 400 /s, or at a higher rate.
    """

    name: Name  # as it is named in the report
    operations: Seq[Operation]  # what is requested
    load: Load  # when
    target: str | None = None  # which target; an operation may name another
    description: str = ""  # for the report
    order: Literal["weighted", "sequence", "interleaved", "blocks"] = "weighted"  # which operation is next
    block_s: Positive = 1.0  # of order `blocks`: how long a block lasts
    reuse_prepared: StrictBool = False  # prepared values are used again and again, instead of once each
    warmup: Warmup | None = None  # load before the measured one; default: found in the response times
    prepare: Seq[Operation] = ()  # unmeasured operations before the load, in turn
    workers: Count | None = None  # processes that make the load; default: the suite's
    objectives: Seq[Judged] = ()  # what must hold, one line of text each
    figures: Seq[Figure] = ()  # the same without a limit: measured, shown, not judged
    abort_on: Burst | None = None  # a burst of errors that ends the run: `error rate > 50 % for 5 s`
    patience_s: Positive = 30.0  # nothing at all answered for so long ends the run as invalid
    quick: Mapping[str, Any] = Field(default_factory=dict)  # keys of the load that `--quick` replaces

    def __post_init__(self) -> None:
        if not self.operations:
            raise SuiteError(f"scenario {self.name!r} has no operations", mend="list at least one under `operations`")
        for group in (self.operations, self.prepare):
            names = [operation.name for operation in group]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise SuiteError(
                    f"scenario {self.name!r} names an operation twice: {min(twice)!r}", mend="give each its own name"
                )
        if self.order in ("sequence", "blocks") and not isinstance(self.load, ClosedLoad):
            raise SuiteError(
                f"order {self.order!r} with an open load", mend='use load model "closed", or order "weighted"'
            )
        if self.order == "blocks" and not self.load.seconds():
            raise SuiteError("order 'blocks' needs a duration", mend="give the load duration_s instead of requests")
        self._check_objectives()

    def shortened(self) -> Scenario:
        """The scenario with the keys of `quick` in its load. Raises SuiteError for one that the load does not take."""
        try:
            load = self.load.with_keys(self.quick)
        except SuiteError as error:
            where = f"scenario {self.name!r}, quick{error.where.removeprefix('Load').replace(': ', '.')}"
            raise SuiteError(error.what, where=where, mend=error.mend) from None
        return replace(self, load=load)

    @property
    def reached(self) -> list[str]:
        """Names of the targets that its operations reach, the first one first."""
        return list(dict.fromkeys(op.target or self.target or "" for op in (*self.operations, *self.prepare)))

    def _check_objectives(self) -> None:
        names = [operation.name for operation in self.operations]
        for objective in (*self.objectives, *self.figures):
            for name in (objective.operation, *(objective.versus or ())):
                if name is not None and name not in names:
                    mend = f"its operations are {', '.join(names)}"
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
            stages = len(self.load.stages) if isinstance(self.load, StagesLoad) else 0
            if objective.stage is not None and not 1 <= objective.stage <= stages:
                what = f"objective {objective.text!r}: there is no stage {objective.stage}"
                raise SuiteError(what, mend=f"the load has {stages} stages")

    def _check_rates(self, objective: Objective) -> None:
        """What only one kind of load can be asked."""
        text, model = objective.text, self.load.model
        if objective.metric == "capacity" and model != "steps":
            raise SuiteError(f"objective {text!r} with a load of one rate", mend='use load model "steps"')
        if objective.metric == "throughput / offered" and not self.load.is_open:
            mend = "use a load with a rate, or ask for the throughput itself"
            raise SuiteError(f"objective {text!r} with a load that offers no rate", mend=mend)
        if model == "steps" and objective.limit is not None and objective.metric in ("throughput", "response drift"):
            mend = 'write "capacity >= 400 /s", and what must hold there as further objectives'
            raise SuiteError(f"objective {text!r} with a load that rises", mend=mend)


@in_one_line()
@dataclass(frozen=True, config=CONFIG)
class Suite:
    """Scenarios, run one after the other, and the targets they load."""

    name: Name  # names the runs
    scenarios: Seq[Scenario]  # run one after the other
    targets: Mapping[str, Target] = Field(default_factory=dict)  # by name
    description: str = ""  # for the report
    seed: int = 0  # of all that is random; `--seed` replaces it
    workers: Count | None = None  # processes that make the load; default: as many as it needs, at most the cores
    allow_hosts: Seq[str] = ()  # hosts besides this machine that may be loaded
    max_rate_per_s: Positive | None = None  # no scenario may ask for more
    max_requests: Count | None = None  # a scenario ends there
    on_lost: Literal["stop", "continue"] = "stop"  # a worker is lost: the others stop, or go on without its share
    folder: str = ""  # (not a key: where the suite's file is)

    HIDDEN: ClassVar[tuple[str, ...]] = ("folder",)

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise SuiteError(f"suite {self.name!r} has no scenarios", mend="add one under [[scenarios]]")
        names = [scenario.name for scenario in self.scenarios]
        for index, scenario in enumerate(self.scenarios):
            if names.count(scenario.name) > 1:
                where = f"scenarios[{index}] {scenario.name!r}"
                raise SuiteError("two scenarios of the same name", where=where, mend="rename one of them")
        object.__setattr__(self, "scenarios", tuple(self._bound(*each) for each in enumerate(self.scenarios)))

    def _bound(self, index: int, scenario: Scenario) -> Scenario:
        """The scenario with operations of the kinds of their targets."""
        groups = [
            tuple(
                bound(operation, self._kind_of(scenario, operation, index), f"scenarios[{index}].{key}[{number}]")
                for number, operation in enumerate(given)
            )
            for key, given in (("prepare", scenario.prepare), ("operations", scenario.operations))
        ]
        if groups == [scenario.prepare, scenario.operations]:
            return scenario
        return replace(scenario, prepare=groups[0], operations=groups[1])

    def _kind_of(self, scenario: Scenario, operation: Operation, index: int) -> str:
        where = f"scenarios[{index}] {scenario.name!r}"
        name = operation.target or scenario.target
        known = f"targets are {', '.join(self.targets) or 'none'}"
        if name is None:
            raise SuiteError(f"operation {operation.name!r} has no target", where=where, mend=f"set `target`; {known}")
        if name not in self.targets:
            raise SuiteError(f"unknown target {name!r}", where=f"{where}.target", mend=known)
        return self.targets[name].kind
