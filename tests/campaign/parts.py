"""The parts of the campaign. Each makes trials until its time is up, and returns lines of the table."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import perflib
from perflib.errors import PerflibError
from perflib.store import baselines
from perflib.store.runs import run_ids
from tests.campaign import commands
from tests.support import canaries, hostile
from tests.support.synthetic import synthetic_run

ROWS = 8_000
AT_ONCE = 3
ROLES = ("coordinator", "coordinator", "worker", "watcher", "keeper", "target")


@dataclass
class Line:
    """One line of the table. `rows_lost`: worst case, in rows, or with `lost_s` in seconds of load."""

    what: str
    trials: int = 0
    runs: int = 0
    opened: int = 0
    rows_lost: int = 0
    lost_s: float = 0.0
    orphans: int = 0
    harm: list[str] = field(default_factory=list)

    def as_cells(self) -> list[str]:
        lost = f"{self.lost_s:.2f} s" if self.lost_s else f"{self.rows_lost:,}"
        opened = f"{self.opened} of {self.runs}" if self.runs else "–"
        return [self.what, str(self.trials), lost, opened, str(self.orphans), str(len(self.harm))]


@dataclass(frozen=True)
class Budget:
    """How long a part may take, and how many trials it makes at most."""

    seconds: float
    trials: int

    def each(self, trial: Callable[[int], None]) -> None:
        """Make the trials, a few at once, and begin none after the time is up."""
        until = time.monotonic() + self.seconds

        def one(number: int) -> None:
            if time.monotonic() < until:
                trial(number)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, range(self.trials)))


def runs_that_are_killed(folder: Path, budget: Budget, chance: random.Random, command: str) -> list[Line]:
    """`perflib run` or `perflib ab`: one of its processes is killed at a random moment."""
    lines = {role: Line(f"{command}: {role} killed") for role in dict.fromkeys(ROLES)}

    def trial(number: int) -> None:
        here, role = folder / f"{command}{number}", ROLES[number % len(ROLES)]
        commands.prepare(here)
        more = ["--b", "targets.api.timeout_s=29", "--block", "0.1", "--budget", "4"] if command == "ab" else []
        process = commands.start(here, [command, "s.toml", *more])
        _wait_and_kill(process, role, chance.uniform(0.0, 6.0))
        killed_at = time.time()
        process.join(commands.END_S)
        line = lines[role]
        line.trials += 1
        line.harm += [f"{here.name}: {commands.printed(here)[-200:]}"] if process.exitcode == 2 else []
        left = commands.orphans(here)
        line.orphans += len(left)
        line.harm += [f"{here.name}: {word}" for word in left]
        _look_at(here, line, killed_at if role in ("coordinator", "worker") else None)
        shutil.rmtree(here, ignore_errors=True)

    budget.each(trial)
    return list(lines.values())


def _wait_and_kill(process: commands.BaseProcess, role: str, after_s: float) -> None:
    """Kill the process with this role at that moment, or as soon as there is one."""
    time.sleep(after_s)
    until = time.monotonic() + 20
    while process.is_alive() and time.monotonic() < until and not commands.kill(commands.victim_of(process, role)):
        time.sleep(0.02)


def _look_at(here: Path, line: Line, killed_at: float | None) -> None:
    """Whether the run of a trial opens, with the rows until it was killed, and whether only lines were printed."""
    for name in run_ids(here / "data"):
        path = here / "data" / "runs" / name
        if not (path / "run.json").exists():
            continue
        line.runs += 1
        try:
            run = perflib.open_run(path)
            ((last_ns,),) = run.query("select max(end_ns) from rows").fetchall()
            line.opened += 1
        except PerflibError as error:
            line.harm.append(f"{name}: {error}")
            continue
        if killed_at is not None and last_ns is not None and run.manifest.scenarios[0].stop_ns is None:
            began = datetime.fromisoformat(run.manifest.started_at).timestamp()
            ended = (run.manifest.scenarios[0].start_ns or 0) / 1e9 + 3.1  # no later than the load would have ended
            line.lost_s = max(line.lost_s, min(killed_at - began, ended) - last_ns / 1e9)
    if "Traceback" in commands.printed(here):
        line.harm.append(f"{here.name}: a traceback")


def commands_that_are_killed(folder: Path, budget: Budget, chance: random.Random) -> list[Line]:
    """report, compact, baseline set, history, compare: killed at a random moment; runs and baselines stay whole."""
    named = {
        "compact": (["compact"], 1.5), "baseline set": (["baseline", "set", "main", "first"], 1.0),
        "history": (["history"], 1.5), "compare": (["compare", "main", "first", "--force"], 4.0),
        "report": (["report", "first"], 8.0),
    }  # fmt: skip
    lines = {name: Line(f"{name} killed") for name in named}
    original = synthetic_run(folder / "made", ROWS).path
    names = [*(["compact", "baseline set", "history", "compare"] * 5), "report"]

    def trial(number: int) -> None:
        name = names[number % len(names)]
        line, here = lines[name], folder / f"command{number}"
        runs = _copies(original, here)
        baselines.set_baseline("main", perflib.open_run(runs[0]), here / "data")
        arguments, longest_s = named[name]
        arguments = [str(runs[0]) if word == "first" else word for word in arguments]
        process = commands.start(here, arguments)
        time.sleep(chance.uniform(0.0, longest_s))
        commands.kill(process.pid)
        process.join(commands.END_S)
        left = commands.orphans(here)
        if number % 4 == 0:  # and then again, undisturbed
            code = commands.whole(here, *arguments)
            again = f"{here.name}: {name} again: exit code {code}: {commands.printed(here)[-300:]}"
            line.harm += [again] if code not in (0, 1, 3) else []
        line.trials += 1
        line.orphans += len(left)
        line.harm += [f"{here.name}: {word}" for word in left]
        _whole(here, line, [*runs, here / "data" / "baselines" / "main"])
        shutil.rmtree(here, ignore_errors=True)

    budget.each(trial)
    return list(lines.values())


def _copies(original: Path, here: Path) -> list[Path]:
    """Two copies of a run in the data folder of a trial."""
    runs = []
    for number in range(2):
        runs.append(here / "data" / "runs" / f"2026010{number + 1}-000000-copy")
        shutil.copytree(original, runs[-1])
        file = runs[-1] / "run.json"
        file.write_text(file.read_text("utf-8").replace(original.name, runs[-1].name), "utf-8")
    return runs


def _whole(here: Path, line: Line, paths: list[Path]) -> None:
    """Count the runs that open with all of their rows, each once."""
    baselines.recover(here / "data")
    for path in paths:
        line.runs += 1
        try:
            run = perflib.open_run(path)
            ((rows, distinct),) = run.query(
                "select count(*), count(distinct (scenario, worker, seq)) from rows"
            ).fetchall()
            line.opened += 1
            line.rows_lost = max(line.rows_lost, abs(ROWS - rows), abs(ROWS - distinct))
        except Exception as error:
            line.harm.append(f"{path.name}: {type(error).__name__} {error}")
    if "Traceback" in (said := commands.printed(here)):
        line.harm.append(f"{here.name}: a traceback: {said[-300:]}")


def pairs_of_writers(folder: Path, budget: Budget, chance: random.Random) -> list[Line]:
    """Two commands at once on one run, the second a moment after the first."""
    choices = [
        (["compact"], ["compact"]), (["compact"], ["baseline", "set", "main"]), (["history"], ["compact"]),
        (["baseline", "set", "main"], ["baseline", "set", "main"]), (["history"], ["history"]),
        (["compact"], ["check"]), (["compact"], ["show"]),
    ]  # fmt: skip
    line = Line("pairs of writers")
    original = synthetic_run(folder / "made-for-pairs", ROWS).path

    def trial(number: int) -> None:
        here = folder / f"pair{number}"
        runs = _copies(original, here)
        first = commands.start(here, choices[number % len(choices)][0])
        time.sleep(chance.uniform(0.0, 0.5))
        second = commands.start(here, choices[number % len(choices)][1])
        for process in (first, second):
            process.join(commands.END_S)
        line.trials += 1
        line.orphans += len(commands.orphans(here))
        _whole(here, line, runs)
        shutil.rmtree(here, ignore_errors=True)

    budget.each(trial)
    return [line]


def limits(folder: Path, budget: Budget, chance: random.Random) -> list[Line]:
    """A run on a full disk, with few descriptors, with little memory: one line, and what was written opens."""
    import resource

    named = {
        "disk full": (resource.RLIMIT_FSIZE, 2_000, 60_000),
        "few descriptors": (resource.RLIMIT_NOFILE, 24, 160),
        "little memory": (resource.RLIMIT_AS, 500_000_000, 2_900_000_000),
    }
    lines = {name: Line(name) for name in named}

    def trial(number: int) -> None:
        name = list(named)[number % len(named)]
        limit, least, most = named[name]
        here, line = folder / f"limit{number}", lines[name]
        commands.prepare(here)
        process = commands.start(here, ["run", "s.toml"], [(limit, chance.randint(least, most))])
        process.join(commands.END_S)
        line.trials += 1
        line.orphans += len(commands.orphans(here))
        if process.exitcode not in (0, 1, 2, 3, 4):
            line.harm.append(f"{here.name}: exit code {process.exitcode}: {commands.printed(here)[-300:]}")
        _look_at(here, line, None)
        shutil.rmtree(here, ignore_errors=True)

    budget.each(trial)
    return list(lines.values())


def hostile_answers(folder: Path, transports: tuple[str, ...]) -> list[Line]:
    """The table of hostile answers: every second request is good."""
    lines = []
    for transport in transports:
        line = Line(f"hostile answers: {transport}")
        run = (
            hostile.http_run(folder / transport)
            if transport == "HTTP"
            else hostile.mcp_run(folder / transport, transport)
        )
        rows = run.rows(phase=None)
        line.trials, line.runs, line.opened = int((~rows["operation"].str.startswith("good ")).sum()), 1, 1
        line.harm = hostile.harm_done(run)
        lines.append(line)
    return lines


def secrets(folder: Path, *, quick: bool) -> list[Line]:
    """Canaries, and those that got out."""
    folder.mkdir()
    planted = canaries.plant(folder)
    leaks = canaries.leaks(planted, canaries.use(planted, quick=quick))
    return [Line("canaries", trials=len(planted.canaries), harm=leaks)]


def table(lines: list[Line]) -> str:
    """The lines as a Markdown table."""
    heads = ["what", "trials", "rows lost, worst", "runs that open", "orphans", "leaks or harm"]
    cells = [heads, ["---"] * len(heads), *(line.as_cells() for line in lines if line.trials)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def is_harmless(lines: list[Line]) -> bool:
    """Whether nothing was lost, left or leaked; a kill may cost the seconds of load that are not on disk yet."""
    return not any(line.orphans or line.harm or line.rows_lost or line.opened < line.runs for line in lines)
