"""A worker process: it connects, prepares, waits for the start, puts the load on, writes rows and reports its health.

The coordinator sends commands through stdin ("go <ns>", "stop"). The end of stdin means stop as well, so that no worker
outlives a killed run. The worker reports on stdout, one JSON message per line.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from perflib.errors import PerflibError
from perflib.load.generator import plan
from perflib.load.generator.driver import WorkerDriver
from perflib.load.generator.health import Health, late_ms
from perflib.load.generator.job import ORPHANED, Channel, Job
from perflib.load.generator.prepare import compile_operations, lanes_allowed, make_driver, prepare, set_up_users
from perflib.store.failures import SAMPLES, Failures
from perflib.store.schema import SECONDS_PER_PART, UNANSWERED, Recorder
from perflib.suite.data_file import DataFile
from perflib.suite.load import ClosedLoad, StagesLoad, UsersLoad
from perflib.suite.redaction import learn, learn_environment, learn_kept
from perflib.targets.base import Op, TargetKind
from perflib.targets.guard import KILL, adopt_orphans, end_descendants

PROGRESS_S = 0.25
_BEFORE_NS = 20_000_000  # the start, from which on the health of the load generator is looked at
ORPHAN_S = 15.0  # that an orphaned worker may take to write its last rows


async def run_worker(job: Job, channel: Channel, started: Callable[[WorkerDriver], None]) -> None:
    """Do a job from start to end. `started` receives the driver, to stop it. A failure becomes a "failed" message."""
    targets: list[TargetKind] = []
    files: dict[str, DataFile] = {}
    try:
        scenario = job.scenario
        of_users = scenario.order == "sequence" or bool(scenario.each_user)
        targets, ops = compile_operations(job, scenario.operations, files, in_sequence=of_users)
        user_ops: list[Op] = []
        if scenario.each_user:
            targets, user_ops = compile_operations(job, scenario.each_user, files, in_sequence=True, beside=targets)
        driver = make_driver(
            job,
            targets,
            ops,
            Recorder(
                Path(job.run_dir),
                worker=job.worker,
                scenario=job.scenario.name,
                operations=[op.name for op in ops],
                t0_ns=job.t0_ns,
                failures=Failures(max(1, plan.share(SAMPLES, job.index, job.of))),
            ),
        )
        started(driver)
        driver.most_lanes = lanes_allowed(job, targets)
        for target in targets:
            await target.open(driver)
        prepared = await prepare(job, channel, files)
        await set_up_users(job, driver, user_ops)
        driver.picker.prepared, driver.picker.reuse_prepared = prepared, job.scenario.reuse_prepared
        channel.send(
            "ready",
            pids=[pid for t in targets for pid in t.children],
            targets={t.name: t.info() for t in targets},
            children={t.name: t.children for t in targets},
        )
        await _load(job, channel, driver, await channel.start_ns())
    except PerflibError as error:
        channel.send("failed", what=error.what, where=error.where, mend=error.mend)
    except OSError as error:
        channel.send(
            "failed",
            what=f"{error.strerror or error}",
            where="writing rows",
            mend="free some space, or choose another --data",
        )
    except Exception as error:
        traceback.print_exc()
        channel.send(
            "failed", what=f"{type(error).__name__}: {error}", where="in the worker", mend="its log says where"
        )
    finally:
        for target in targets:
            await target.close()


async def _load(job: Job, channel: Channel, driver: WorkerDriver, start_ns: int) -> None:
    recorder, health = driver.recorder, Health(driver.loop)
    reporting = driver.loop.create_task(_report(driver, channel))
    gc.collect()
    gc.freeze()  # the garbage collector does not look at what exists by now
    if job.turns:
        await _turns(job, channel, driver, health, start_ns)
    else:
        await driver.sleep_until(start_ns - _BEFORE_NS)  # it may begin later than others
        health.start()
        at_ns = start_ns
        for segment in plan.segments(job.scenario, job.seed):
            at_ns = await _drive(job, channel, driver, segment, at_ns)
        health.stop()
    reporting.cancel()
    driver.close()
    _send_progress(driver, channel)
    recorder.close()
    channel.send(
        "done",
        rows=recorder.count,
        errors=recorder.errors_by_class,
        unsent=driver.unsent,
        resent=driver.resent,
        failures=recorder.failure_records(),
        operations=recorder.operations,
        each_user={"requests": driver.user_setup.requests, "failed": driver.user_setup.failed}
        if driver.user_setup
        else {},
        stopped=driver.stopping,
        ended=driver.ended,
        health={
            **health.summary(),
            "late_ms": late_ms(driver.late),
            "waited": driver.waited,
            "few_descriptors": driver.most_lanes < min(target.spec.max_connections for target in driver.targets),
            "unanswered": driver.unanswered.as_dict(),
        },
    )


async def _turns(job: Job, channel: Channel, driver: WorkerDriver, health: Health, start_ns: int) -> None:
    """Run one turn after the other, each when the coordinator says so. Between them all rows are on disk."""
    for number in itertools.count():
        if driver.stopping or driver.ended:
            return
        health.start()
        await _drive(job, channel, driver, plan.turn(job.scenario, number), start_ns)
        health.stop()
        driver.recorder.flush()
        channel.send("turn")
        start_ns = await channel.start_ns()


async def _drive(job: Job, channel: Channel, driver: WorkerDriver, segment: plan.Segment, start_ns: int) -> int:
    """Run one segment and report it. Returns when it was over."""
    offered = await driver.run(segment, start_ns)
    now = time.monotonic_ns()
    for phase, stage, begin_ns, end_ns in _recorded_segments(segment, start_ns, now, job.folder):
        channel.send(
            "segment", phase=phase, stage=stage, operation=_operation_name(driver, segment), turn=segment.turn,
            start_ns=begin_ns, stop_ns=end_ns, offered=offered,
        )  # fmt: skip
    return now


def _recorded_segments(
    segment: plan.Segment, start_ns: int, stop_ns: int, folder: str
) -> list[tuple[str, int | None, int, int]]:
    """A segment as (phase, stage, start, stop), one for each stage of an open load.

    It ends when the load ended, not when the last answer came: one slow answer would make it look longer.
    """
    from perflib.load.generator.arrivals import length_ns

    if isinstance(segment.load, ClosedLoad) and segment.load.duration_s is not None:
        stop_ns = min(stop_ns, start_ns + int(segment.load.duration_s * 1e9))
    if isinstance(segment.load, UsersLoad):
        return [*_user_stages(segment, start_ns, stop_ns)]
    if not segment.load.is_open:
        return [(segment.phase, segment.stage, start_ns, stop_ns)]
    measured_ns = start_ns + segment.warmup_ns
    segments: list[tuple[str, int | None, int, int]] = (
        [("warmup", None, start_ns, measured_ns)] if segment.warmup_ns else []
    )
    staged = isinstance(segment.load, StagesLoad)
    for number, part in enumerate(segment.load.parts(), 1):
        end_ns = measured_ns + length_ns(part, folder)
        segments.append((segment.phase, number if staged else None, measured_ns, min(end_ns, stop_ns)))
        measured_ns = end_ns
    return segments


def _user_stages(segment: plan.Segment, start_ns: int, stop_ns: int) -> Iterator[tuple[str, int | None, int, int]]:
    """The stages of a load of users that were begun."""
    assert isinstance(segment.load, UsersLoad)
    for number, stage in enumerate(segment.load.stages, 1):
        end_ns = start_ns + int(stage.over_s * 1e9)
        if start_ns < stop_ns:
            yield segment.phase, number, start_ns, min(end_ns, stop_ns)
        start_ns = end_ns


def _operation_name(driver: WorkerDriver, segment: plan.Segment) -> str | None:
    return None if segment.operation is None else driver.ops[segment.operation].name


async def _report(driver: WorkerDriver, channel: Channel) -> None:
    """Report progress, write a part file every second, and stop where rows cannot be written."""
    wrote = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_S)
        recorder = driver.recorder
        with driver.lock:
            if time.monotonic() - wrote >= SECONDS_PER_PART:
                wrote = time.monotonic()
                recorder.tick()
        _send_progress(driver, channel)
        if recorder.failure is not None:
            driver.stop(f"rows cannot be written: {recorder.failure}")


def _send_progress(driver: WorkerDriver, channel: Channel) -> None:
    recorder = driver.recorder
    errors = sum(recorder.error_counts[1:])
    unanswered = sum(n for name, n in recorder.errors_by_class.items() if name in UNANSWERED)
    channel.send(
        "progress", rows=recorder.count, errors=errors, inflight=driver.inflight, lost=unanswered, slow=driver.slow
    )


class PipeChannel:
    """The channel of a worker process over stdin and stdout."""

    def __init__(self, output: int) -> None:
        self._output, self._lock = output, threading.Lock()
        self._go: asyncio.Queue[int] = asyncio.Queue()
        self._driver: WorkerDriver | None = None
        self._stopped = ""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop,), name="commands", daemon=True).start()

    def send(self, kind: str, **content: Any) -> None:
        line = json.dumps({"kind": kind, **content}, default=str).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._output, line) :]
            except OSError:
                pass  # the coordinator is gone, which _listen notices as well

    async def start_ns(self) -> int:
        return await self._go.get()

    def started(self, driver: WorkerDriver) -> None:
        self._driver = driver
        if self._stopped:
            driver.stop(self._stopped)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin.buffer:
            command, _, argument = line.decode().strip().partition(" ")
            loop.call_soon_threadsafe(self._obey, command, argument)
        loop.call_soon_threadsafe(self._obey, "stop", ORPHANED)
        time.sleep(ORPHAN_S)
        os._exit(1)  # a function that blocks the loop must not outlive the run

    def _obey(self, command: str, argument: str) -> None:
        if command == "go":
            self._go.put_nowait(int(argument))
        elif command == "stop":
            self._stopped = argument or "stopped"
            if self._driver is not None:
                self._driver.stop(self._stopped)
            self._go.put_nowait(time.monotonic_ns())


def main() -> None:
    """`python -m perflib.load.generator.worker`: reads its Job, length first, then commands."""
    import cloudpickle

    adopt_orphans()
    output = os.dup(1)
    os.dup2(2, 1)  # so that what the target prints is no message
    length = sys.stdin.buffer.read(8)
    if not length:
        return  # it was started ahead, and no job came
    packed = sys.stdin.buffer.read(*struct.unpack("<Q", length))
    search_path, packed_job = cloudpickle.loads(packed)
    sys.path += [place for place in search_path if place not in sys.path]
    job: Job = cloudpickle.loads(packed_job)
    learn_environment()
    learn([job.scenario, *job.targets.values()])
    learn_kept(job.values, [job.scenario, *job.targets.values()])

    async def run() -> None:
        channel = PipeChannel(output)
        await run_worker(job, channel, channel.started)

    if sys.platform == "win32":
        asyncio.run(run())
    else:
        import uvloop

        uvloop.run(run())
    sys.stdout.flush()
    end_descendants(KILL)  # what servers and functions have started and left behind, daemons too
    os._exit(0)  # threads of callables that never return must not keep the process


if __name__ == "__main__":
    main()
