"""The driver of a worker: assigns requests to lanes when they are due, and records finished ones as rows.

In a closed segment a lane gets its next request when its last one is over. In an open segment a timer assigns what is
due; a request that finds no free lane waits for one, and its response time counts from when it was due.

Whatever is raised on the way to a request ends that request, or the load with a reason, and never a user in silence.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import arrivals, plan
from perflib.load.generator.data_rows import DataUsedUpError
from perflib.load.generator.next_operation import OperationPicker
from perflib.load.generator.plan import Segment
from perflib.load.generator.sample import sample_of
from perflib.load.generator.timeouts import Timeouts, Unanswered
from perflib.load.generator.timer import Timer
from perflib.load.generator.user_setup import UserSetup
from perflib.load.generator.users import Crowd, Pauses
from perflib.store.schema import NONE_NS, NONE_STATUS, PHASES, Recorder
from perflib.suite.load import ClosedLoad, UsersLoad, opening_s
from perflib.targets.base import Lane, Op, TargetKind, in_words

FOREVER = 2**62
BATCH = 256
PAUSE_S = 0.1  # after a lane that could not even start
MARGIN_S = 5.0  # of a load that should be over, for whatever no timeout has ended
SLOW_NS = 2_000_000_000


class WorkerDriver:
    """Drives the lanes of one worker through the segments of one scenario.

    driver = WorkerDriver(targets, ops, recorder, order="weighted", seed=0, index=0, of=1)
    await driver.run(segment, start_ns)
    """

    def __init__(
        self,
        targets: list[TargetKind],
        ops: list[Op],
        recorder: Recorder,
        *,
        order: str,
        seed: int,
        index: int = 0,
        of: int = 1,
        max_requests: int | None = None,
        max_rate_per_s: float | None = None,
        folder: str = "",
        counter: Iterator[int] | None = None,
        given: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.lock = threading.RLock()
        self.targets, self.ops, self.recorder = targets, ops, recorder
        self._add, self._same_again, self._refills = recorder.add, False, False
        if any(target.threaded for target in targets):
            self.finish = self._finish_locked  # type: ignore[method-assign, assignment]
        self.picker = OperationPicker(ops, order=order, seed=seed, index=index, of=of, counter=counter, given=given)
        self.user_setup: UserSetup | None = None  # what each user does first
        self.seed, self.index, self.of, self.folder = seed, index, of, folder
        self.error_code, self.span, self.explain = recorder.error_code, recorder.span, recorder.explain
        self.wants = recorder.failures.wants
        self.resent, self.unanswered = 0, Unanswered()
        self.budget = FOREVER if max_requests is None else plan.share(max_requests, index, of)
        self._gap_ns = (
            0 if max_rate_per_s is None else int(of * 1e9 / max_rate_per_s)
        )  # between starts in closed models
        self._next_start_ns = 0
        self.inflight = self.unsent = self.waited = 0
        self.late = [0] * 64  # requests by how late they were assigned: the k-th counts those below 2^k ns
        self.stopping, self.most_lanes = "", FOREVER
        self.ended = ""  # why the load ended before its time, where that is no failure
        self.users: list[Lane] = []
        self._lanes: list[Lane] = []
        self._only_op: Op | None = None
        self._measure, self._phase = PHASES.index("measure"), 0
        self._assign: Callable[[Lane, int], bool] = self._assign_closed
        self._round = 1  # requests that belong together, so that no worker's share of the load cuts them
        self._requests_left, self._until_ns, self.busy = 0, 0, 0
        self._random = random.Random(f"{seed}/{index}/pauses")
        self._pauses, self._crowd = Pauses(0.0, 0.0, self._random), None  # type: tuple[Pauses, Crowd | None]
        self._start_ns, self._judged_from_ns, self._due_at = 0, 0, 0
        self._due: list[int] = []
        self._finished: asyncio.Future[None] = self.loop.create_future()
        self._timeouts = Timeouts(self.loop, self.lock, self._lanes, ops, self._time_out)
        self._free_lanes: list[list[Lane]] = [[] for _ in targets]
        self._waiting: list[deque[tuple[int, Op]]] = [deque() for _ in targets]
        self._lane_counts = [0] * len(targets)
        self._exhausted, self._is_open = False, True

    async def run(self, segment: Segment, start_ns: int) -> int:
        """Run one segment from `start_ns` until all its requests are over. Returns how many it offered."""
        if self.stopping or self.ended:
            return 0
        self._only_op = self.picker.begin(segment)
        self._phase = PHASES.index(segment.phase)
        before = self.recorder.count
        self._finished = self.loop.create_future()
        if segment.load.is_open:
            await self._run_open(segment, start_ns)
        else:
            await self._run_closed(segment, start_ns)
        return self.recorder.count - before

    def stop(self, reason: str) -> None:
        """End the load now: send nothing new, and let requests in flight finish for one second."""
        with self.lock:
            if self.stopping:
                return
            self.stopping = reason
            self._requests_left, self._until_ns = 0, 0
        self._exhaust()
        self._later(1.0, self._give_up, "aborted")

    def _end_of_data(self, reason: Exception) -> None:
        """There are no values for another request: the load ends, as planned where rows are used once."""
        if not isinstance(reason, DataUsedUpError):
            self.stop(str(reason))
        elif not self.ended:
            self.ended = str(reason)
            self._requests_left, self._until_ns = 0, 0
            for waiting in self._waiting:
                waiting.clear()
            self._exhaust()

    @property
    def slow(self) -> int:
        """How many requests in flight have waited for long, and may still be answered."""
        now = time.monotonic_ns()
        return sum(bool(lane.start_ns) and now - lane.start_ns > SLOW_NS for lane in self._lanes)

    def close(self) -> None:
        self._timeouts.close()
        for lane in self._lanes:
            lane.close()

    # The hot path: a request is over, and the lane may take the next.

    def finish(
        self,
        lane: Lane,
        end_ns: int,
        first_byte_ns: int,
        error: int,
        status: int,
        bytes_sent: int,
        bytes_received: int,
        server_ns: int,
    ) -> bool:
        """See targets.base.Driver."""
        if error:
            self._failed(lane, error, status, end_ns)
        self._add(
            lane.scheduled_ns,
            lane.start_ns,
            first_byte_ns,
            end_ns,
            bytes_sent,
            bytes_received,
            server_ns,
            lane.inflight,
            status,
            lane.op.code,
            error,
            lane.phase,
        )
        if self._same_again and self._requests_left > 0 and end_ns < self._until_ns:
            self._requests_left -= 1  # one is over, one begins: nothing about the lane or the number in flight changes
            return not self._refills or self._refill(lane)
        self.inflight -= 1
        return self._assign(lane, end_ns)

    def _refill(self, lane: Lane) -> bool:
        """Fill the request of the only operation anew."""
        try:
            self.picker.fill_row(lane, lane.op)
        except (TargetError, DataUsedUpError) as reason:
            self.inflight -= 1
            self._end_of_data(reason)
            return self._retire(lane)
        return True

    def _failed(self, lane: Lane, error: int, status: int, end_ns: int) -> None:
        """Keep a sample of the request that failed, while samples of its kind are still taken."""
        recorder, op = self.recorder, lane.op
        if recorder.failures.wants_of(op.code, error):
            sample = sample_of(lane, status, recorder.failures.why(error))
            if sample is not None:
                recorder.explain(recorder.error_name(error), sample.message)
                recorder.sample(
                    op.code, error, status, sample.message, sample.request_line, sample.head, sample.body, end_ns
                )

    def _finish_locked(self, *answer: Any) -> bool:
        """`finish` where lanes have threads of their own."""
        with self.lock:
            return type(self).finish(self, *answer)

    def _assign_closed(self, lane: Lane, now: int) -> bool:
        if self._requests_left <= 0 or now >= self._until_ns:
            return self._retire(lane)
        if self._crowd is not None and self.busy > self._crowd.wanted:
            return self._retire(lane)
        if (self._pauses.is_any or self._gap_ns) and lane.start_ns:
            pause_s = max(self._pauses.next_s(lane, now), self._wait_s(now))
            if pause_s > 0:
                lane.start_ns = 0
                self._later(min(pause_s, (self._until_ns - now) / 1e9 + 0.001), self._resume, lane)
                return False
        if self._pauses.pacing_ns:
            self._pauses.begin(lane, now)
        self._requests_left -= 1
        try:
            op = self._only_op or self.picker.next_operation()
        except (TargetError, DataUsedUpError) as reason:
            self._end_of_data(reason)
            return self._retire(lane)
        return self._fill(lane, op, NONE_NS)

    def _wait_s(self, now: int) -> float:
        """How long a start must wait, so that no more than `max_rate_per_s` begin."""
        if not self._gap_ns:
            return 0.0
        slot_ns = max(self._next_start_ns, now)
        self._next_start_ns = slot_ns + self._gap_ns
        return (slot_ns - now) / 1e9

    def _assign_open(self, lane: Lane, now: int) -> bool:
        waiting = self._waiting[lane.target]
        if waiting:
            scheduled, op = waiting.popleft()
            return self._fill(lane, op, scheduled)
        lane.start_ns = 0
        self._free_lanes[lane.target].append(lane)
        if self._exhausted and self.inflight == 0:
            self._end()
        return False

    def _fill(self, lane: Lane, op: Op, scheduled_ns: int) -> bool:
        """Assign the request to the lane, or to the lane of the same user that reaches the operation's target."""
        chosen = lane
        if op.target != lane.target:
            chosen = lane.siblings[op.target]
            lane.start_ns = 0
        if op.variables:
            try:
                self.picker.fill_row(chosen, op)
            except (TargetError, DataUsedUpError) as reason:
                self._end_of_data(reason)
                return self._assign(lane, time.monotonic_ns())
        chosen.op, chosen.scheduled_ns = op, scheduled_ns
        chosen.phase = self._phase if scheduled_ns < self._until_ns else self._measure
        self.inflight += 1
        chosen.inflight = self.inflight
        if chosen is lane:
            return True
        self.loop.call_soon_threadsafe(self._start, chosen)
        return False

    def _start(self, lane: Lane) -> None:
        """Start the lane's request. What a lane raises ends the request, and its user goes on."""
        try:
            lane.start()
        except Exception as problem:
            with self.lock:
                now, error = time.monotonic_ns(), f"exception:{type(problem).__name__}"
                self.explain(error, in_words(problem))
                lane.start_ns = now
                more = self.finish(lane, now, NONE_NS, self.error_code(error), NONE_STATUS, 0, 0, NONE_NS)
                lane.start_ns = 0
            if more:
                self._later(PAUSE_S, self._start, lane)

    # Closed segments.

    async def _run_closed(self, segment: Segment, start_ns: int) -> None:
        load = segment.load
        assert isinstance(load, ClosedLoad | UsersLoad)
        seconds, requests = load.seconds(), FOREVER
        if load.total_requests:
            requests = plan.share_of_rounds(load.total_requests, self._round, self.index, self.of)
        await self.sleep_until(start_ns)
        with self.lock:
            self._assign, self._is_open = self._assign_closed, False
            self._pauses = Pauses(load.think_time_s, load.pacing_s, self._random)
            self._crowd = Crowd(self, load, start_ns) if isinstance(load, UsersLoad) else None
            self._requests_left = min(requests, self.budget) if not self.stopping else 0
            # One operation, no pause: then a lane repeats what it has just done.
            op, varies = self._only_op, bool(self._pauses.is_any or self._gap_ns or self._crowd)
            self._same_again, self._refills = op is not None and not varies, bool(op and op.variables)
            self._until_ns = FOREVER if seconds is None else start_ns + int(seconds * 1e9)
            before, until_ns = self._requests_left, self._until_ns
            self.unanswered.begin(load.mean_think_s)
            users = self._begin_users(load)
        if users:
            await self._closed_end(seconds)
        with self.lock:
            over_ns = min(time.monotonic_ns(), until_ns)
            mean = load.mean_users / self.of if isinstance(load, UsersLoad) else users
            self.unanswered.end(users, mean * (over_ns - start_ns) / 1e9, over_ns - start_ns, over_ns)
        self.budget -= before - self._requests_left if not self.stopping else 0

    def _begin_users(self, load: ClosedLoad | UsersLoad) -> int:
        """Begin with the users of a load; their number, or how many they will be at most."""
        most = plan.share(load.users, self.index, self.of)
        if self._crowd is not None:
            self.busy = 0
            if most:
                self._crowd.follow()
            return most
        self.new_users(most - len(self.users))
        self.busy = most
        for user in self.users[:most]:
            self._begin_user(user)
        return most

    def new_users(self, count: int) -> list[Lane]:
        """Further users of a closed load, who send nothing yet."""
        users = [self._new_user() for _ in range(count)]
        self.users += users
        return users

    def _begin_user(self, user: Lane) -> None:
        if self.user_setup is not None and user.own_fields is None:
            self.user_setup.begin(user, self._begin_user)
            return
        now = time.monotonic_ns()
        if (wait_s := self._wait_s(now)) > 0:
            self._later(wait_s, self._resume, user)
        elif self._assign(user, now):
            self._start(user)

    def begin_new_user(self) -> None:
        """Begin with one more user of a crowd."""
        self.busy += 1
        self._begin_user(self._new_user())

    @property
    def is_over(self) -> bool:
        """Whether the segment of a crowd sends nothing more."""
        return self._requests_left <= 0 or time.monotonic_ns() >= self._until_ns

    def end_crowd(self) -> None:
        """The load of a crowd is over: the segment ends with the last request in flight."""
        self._crowd = None
        if self.busy == 0:
            self._end()

    async def _closed_end(self, duration_s: float | None) -> None:
        """Wait until all users are done: after the load at most as long as its requests may take."""
        if duration_s is None:
            await self._finished
            return
        longest_s = max(op.timeout_ns for op in self.ops) / 1e9
        sessions_s = max(target.spec.ready.timeout_s for target in self.targets)  # MCP: a session has its own time
        watchdog = self.loop.call_later(duration_s + longest_s + sessions_s + MARGIN_S, self._give_up, "aborted")
        try:
            await self._finished
        finally:
            watchdog.cancel()

    def _retire(self, lane: Lane) -> bool:
        lane.start_ns = 0
        self.busy -= 1
        if self._crowd is not None:
            self.loop.call_soon_threadsafe(self._leave, lane.siblings)
        elif self.busy == 0:
            self._end()
        return False

    def _leave(self, lanes: list[Lane]) -> None:
        """A user has left: whoever comes later is another one, with connections of its own."""
        with self.lock:
            self._pauses.forget(lanes[0])
            for lane in lanes:
                self._lanes.remove(lane)
                lane.close()

    def _resume(self, lane: Lane) -> None:
        with self.lock:
            if self._assign(lane, time.monotonic_ns()):
                self._start(lane)

    # Open segments.

    async def _run_open(self, segment: Segment, start_ns: int) -> None:
        only_warmup = segment.phase == "warmup"
        self._until_ns = FOREVER if only_warmup else start_ns + segment.warmup_ns  # due before it: warm-up
        self._phase = 0 if only_warmup or segment.warmup_ns else self._measure
        self._is_open = True
        self._assign, self._exhausted, self._same_again = self._assign_open, False, False
        self._start_ns = start_ns
        # Lateness leaves the warm-up out, as the figures do: at first every request has to connect.
        length_ns = arrivals.length_ns(segment.load, self.folder)
        opening = 0.0 if segment.warmup_ns or segment.turn else opening_s(length_ns / 1e9)
        judged_from_ns = start_ns + segment.warmup_ns + int(opening * 1e9)
        self._judged_from_ns = FOREVER if only_warmup else judged_from_ns
        self._chunks = arrivals.shard(segment.chunks(self.seed, self.folder), self.index, self.of)
        self._timer = Timer(self.loop, self._dispatch)
        self._next_chunk()
        self._dispatch()
        last_ns = start_ns + segment.warmup_ns + length_ns
        grace_s = max(op.timeout_ns for op in self.ops) / 1e9
        cut_timer = self.loop.call_later((last_ns - time.monotonic_ns()) / 1e9 + grace_s, self._cut_short, grace_s)
        try:
            await self._finished
        finally:
            cut_timer.cancel()
            self._timer.close()
            self._record_unsent()

    def _cut_short(self, grace_s: float) -> None:
        """Stop sending: the schedule has been over for as long as an answer may take."""
        with self.lock:
            if self._exhausted:
                self._record_unsent()
            else:
                self.stop(
                    f"the load generator was overloaded: {grace_s:g} s after its last request was due "
                    "it had not come to all of them; use more workers, a lower rate, or another machine"
                )

    def _dispatch(self) -> None:
        """Assign all requests that are due, and set the timer for the next one."""
        with self.lock:
            now = time.monotonic_ns()
            for _ in range(BATCH):
                if self._exhausted:
                    return
                scheduled = self._due[self._due_at]
                if scheduled > now:
                    now = time.monotonic_ns()
                    if scheduled > now:
                        self._timer.set(scheduled)
                        return
                self._due_at += 1
                if scheduled >= self._judged_from_ns:
                    self.late[(now - scheduled).bit_length()] += 1
                self._offer(scheduled)
                if self._due_at == len(self._due):
                    self._next_chunk()
            self._timer.set(now)  # late: answers are received before more is sent

    def _offer(self, scheduled_ns: int) -> None:
        if self.budget <= 0:
            self._exhaust()
            return
        self.budget -= 1
        try:
            op = self._only_op or self.picker.next_operation()
        except (TargetError, DataUsedUpError) as reason:
            self._end_of_data(reason)
            return
        free = self._free_lanes[op.target]
        if free:
            lane = free.pop()
        elif self._lane_counts[op.target] < min(self.targets[op.target].spec.max_connections, self.most_lanes):
            self._lane_counts[op.target] += 1
            lane = self._new_lane(op.target)
        else:
            self.waited += 1
            self._waiting[op.target].append((scheduled_ns, op))
            return
        if self._fill(lane, op, scheduled_ns):
            self._start(lane)

    def _next_chunk(self) -> None:
        for chunk in self._chunks:
            if len(chunk):
                self._due, self._due_at = (chunk + self._start_ns).tolist(), 0
                return
        self._exhaust()

    def _exhaust(self) -> None:
        """No more requests come: the segment ends with the last one in flight, or with its timeout."""
        self._exhausted = True
        if self.inflight == 0:
            self.loop.call_soon_threadsafe(self._end_if_idle)

    def _record_unsent(self) -> None:
        """Record what was due and never sent as rows with the error "unsent"."""
        now, code = time.monotonic_ns(), self.error_code("unsent")
        for waiting in self._waiting:
            for scheduled, op in waiting:
                phase = self._phase if scheduled < self._until_ns else self._measure
                self.recorder.add(
                    scheduled, now, NONE_NS, now, 0, 0, NONE_NS, self.inflight, NONE_STATUS, op.code, code, phase
                )
                self.unsent += 1
            waiting.clear()

    # Lanes, their timeouts, the end.

    def _new_lane(self, target: int) -> Lane:
        lane = self.targets[target].lane(self, target)
        self._lanes.append(lane)
        return lane

    def _new_user(self) -> Lane:
        """The first lane of a new user, who has one per target, since operations may name different ones."""
        lanes = [self._new_lane(target) for target in range(len(self.targets))]
        for lane in lanes:
            lane.siblings = lanes
        return lanes[0]

    def _time_out(self, lane: Lane, now: int) -> None:
        """End a request that is over its time, and note how long its user waited."""
        began, before = lane.start_ns, self.recorder.count
        self._abort(lane, "timeout")
        if self.recorder.count > before and not self._is_open:
            self.unanswered.note(lane.siblings[0], began, now)

    def _abort(self, lane: Lane, error: str) -> None:
        try:
            lane.abort(error)
        except Exception as problem:  # of a lane of another package
            self.explain(error, in_words(problem))

    def _give_up(self, error: str) -> None:
        with self.lock:
            self._record_unsent()
            for lane in list(self._lanes):
                if lane.start_ns:
                    self._abort(lane, error)
            if not self._finished.done():
                self._finished.set_result(None)

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.inflight == 0 and not self._finished.done():
            self._finished.set_result(None)

    def _later(self, delay_s: float, callback: Callable[..., None], argument: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.call_later, delay_s, callback, argument)

    async def sleep_until(self, when_ns: int) -> None:
        """Wait until that time of the monotonic clock, or until the load is stopped."""
        while (left_ns := when_ns - time.monotonic_ns()) > 0 and not self.stopping:
            await asyncio.sleep(min(0.1, left_ns / 1e9))
