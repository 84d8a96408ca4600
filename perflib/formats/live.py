"""A run that is going on, as metrics: what was sent and answered so far, counted from its part files.

    exporter = Exporter(metrics=":9464", otlp="http://127.0.0.1:4318")
    exporter.follow(view, folder, "checkout")        # a View: serves and pushes until the run has ended

Workers write their part files anyway; they are read by a thread of the coordinator, so that the load costs no more.
What is shown is one to two seconds old.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from perflib.errors import PerflibError, SuiteError, install
from perflib.formats.exporting import BUCKETS_MS
from perflib.formats.pushing import Push
from perflib.load.progress import View
from perflib.store.live import Parts, read_part
from perflib.store.metadata import perflib_version

if TYPE_CHECKING:
    import pyarrow as pa
    from prometheus_client import Metric

EVERY_S: Final = 1.0  # part files are read
PUSH_S: Final = 5.0
RECENT_S: Final = 10  # of which rates are shown
MEMORY_S: Final = 60
LATE_S: Final = 2  # a second is complete when it is so long ago
_COLUMNS: Final = ("scenario", "operation", "worker", "scheduled_ns", "start_ns", "end_ns", "ok", "error", "inflight")
_EDGES_NS: Final = np.array(BUCKETS_MS) * 1e6
_LE: Final = (*(repr(edge / 1000) for edge in BUCKETS_MS), "+Inf")
_GIVEN_UP: Final = ("timeout", "unsent", "aborted")  # failures that took at least as long as they did


class _Times:
    """Times counted in buckets."""

    def __init__(self) -> None:
        self.counts, self.sum_s = np.zeros(len(_LE), np.int64), 0.0

    def add(self, times_ns: NDArray[np.int64]) -> None:
        self.counts += np.bincount(np.searchsorted(_EDGES_NS, times_ns), minlength=len(_LE))
        self.sum_s += float(times_ns.sum()) / 1e9

    @property
    def buckets(self) -> list[tuple[str, float]]:
        return list(zip(_LE, np.cumsum(self.counts).astype(float).tolist(), strict=True))


class Counts:
    """What a run has sent and got so far. `update` reads its new part files."""

    def __init__(self, folder: Path, suite: str) -> None:
        self.run, self.suite = folder.name, suite
        self._parts, self._lock = Parts(folder / "rows"), threading.Lock()
        self._requests, self._errors = Counter[tuple[str, str]](), Counter[tuple[str, str, str]]()
        self._times: dict[tuple[str, str], _Times] = {}
        self._late: dict[str, _Times] = {}
        self._inflight: dict[str, dict[int, int]] = {}
        self._seconds: dict[str, dict[int, list[int]]] = {}  # by scenario and second: offered, achieved

    def update(self) -> None:
        for path in self._parts.new():
            table = read_part(path, _COLUMNS)
            if table is not None and len(table):
                with self._lock:
                    self._take(table)

    def _take(self, table: pa.Table) -> None:
        scenario = str(table["scenario"][0].as_py())
        start, end, ok = (table[name].to_numpy() for name in ("start_ns", "end_ns", "ok"))
        due = table["scheduled_ns"].combine_chunks().fill_null(-1).to_numpy()
        scheduled = due >= 0
        operation, operations = _codes(table["operation"])
        error, errors = _codes(table["error"])
        taken = end - np.where(scheduled, due, start)
        timed = ok | np.isin(error, [code for code, name in enumerate(errors) if name in _GIVEN_UP])
        for code, name in enumerate(operations):
            here = operation == code
            if not here.any():
                continue
            self._requests[scenario, name] += int(np.count_nonzero(here))
            self._times.setdefault((scenario, name), _Times()).add(taken[here & timed])
            for kind, n in enumerate(np.bincount(error[here & (error >= 0)]).tolist()):
                if n:
                    self._errors[scenario, name, errors[kind]] += n
        sent = scheduled & ~np.isin(error, [code for code, name in enumerate(errors) if name == "unsent"])
        self._late.setdefault(scenario, _Times()).add(np.maximum(start - due, 0)[sent])
        inflight = table["inflight"][-1].as_py()
        self._inflight.setdefault(scenario, {})[table["worker"][0].as_py()] = int(inflight or 0)
        self._count_seconds(scenario, np.where(scheduled, due, start), end[ok])

    def _count_seconds(self, scenario: str, due_ns: NDArray[np.int64], answered_ns: NDArray[np.int64]) -> None:
        known = self._seconds.setdefault(scenario, {})
        for which, times_ns in enumerate((due_ns, answered_ns)):
            for second, n in zip(*np.unique(times_ns // 1_000_000_000, return_counts=True), strict=True):
                known.setdefault(int(second), [0, 0])[which] += int(n)
        for second in [second for second in known if second < max(known) - MEMORY_S]:
            del known[second]

    def _rates(self, scenario: str) -> list[float]:
        """Offered and achieved requests per second in the last seconds that are complete; none before there are any."""
        known = self._seconds[scenario]
        last = max(known, default=0) - LATE_S
        first = max(min(known, default=0) + 1, last - RECENT_S + 1)  # the load began somewhere in the very first
        recent = [known.get(second, [0, 0]) for second in range(first, last + 1)]
        return [sum(each[which] for each in recent) / len(recent) for which in (0, 1)] if recent else []

    def collect(self) -> Iterator[Metric]:
        """The metrics, as prometheus_client's registry asks for them."""
        with self._lock:
            yield from list(self._families())

    def _families(self) -> Iterator[Metric]:
        from prometheus_client.core import InfoMetricFamily

        about = {"run": self.run, "suite": self.suite, "version": perflib_version()}
        yield InfoMetricFamily("perflib_run", "The run that is going on.", about)
        yield from self._of_operations("suite", "scenario", "operation")
        yield from self._of_scenarios("suite", "scenario")

    def _of_operations(self, *of: str) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("perflib_requests", "Requests that are over, warm-up included.", labels=of)
        errors = CounterMetricFamily("perflib_request_errors", "Requests that failed.", labels=(*of, "error"))
        said = "Response times, from when a request was due."
        times = HistogramMetricFamily("perflib_response_seconds", said, labels=of, unit="seconds")
        for each, n in self._requests.items():
            requests.add_metric((self.suite, *each), n)
            times.add_metric((self.suite, *each), self._times[each].buckets, self._times[each].sum_s)
        for failed, n in self._errors.items():
            errors.add_metric((self.suite, *failed), n)
        yield from (requests, errors, times)

    def _of_scenarios(self, *of: str) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

        said = "How much later than due requests were sent."
        late = HistogramMetricFamily("perflib_late_seconds", said, labels=of, unit="seconds")
        inflight = GaugeMetricFamily(
            "perflib_in_flight",
            "Requests that waited for an answer when the last one that is over was sent.",
            labels=of,
        )
        said = "Requests that were {}, per second, of the last seconds."
        offered = GaugeMetricFamily("perflib_offered_per_second", said.format("due"), labels=of)
        achieved = GaugeMetricFamily("perflib_achieved_per_second", said.format("answered well"), labels=of)
        for scenario, held in self._late.items():
            labels = (self.suite, scenario)
            late.add_metric(labels, held.buckets, held.sum_s)
            inflight.add_metric(labels, sum(self._inflight[scenario].values()))
            for gauge, rate in zip((offered, achieved), self._rates(scenario), strict=False):
                gauge.add_metric(labels, rate)
        yield from (late, inflight, offered, achieved)


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """A column of names as codes, −1 for null, and the names."""
    names = column.unify_dictionaries().combine_chunks()
    return names.indices.fill_null(-1).to_numpy(), names.dictionary.to_pylist()


class Exporter:
    """Serves a run's metrics at an address, and pushes them, while it is going on.

    metrics   "[HOST]:PORT"; without a host this machine alone can ask
    pushes    where to send them every five seconds, and when the run has ended

    Raises SuiteError for an address that is none or is in use, PerflibError without the packages of the extra.
    """

    def __init__(self, metrics: str | None = None, pushes: Sequence[Push] = ()) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            mend = install("prometheus")
            raise PerflibError("it needs the package prometheus-client", where="--metrics", mend=mend) from None
        self._registry, self._pushes, self._server = CollectorRegistry(), pushes, None
        self._over, self._thread = threading.Event(), cast("threading.Thread | None", None)
        if metrics is not None:
            host, port = host_and_port(metrics)
            try:
                self._server, _ = start_http_server(port, host, self._registry)
            except OSError as error:
                mend = "choose another: --metrics :PORT"
                raise SuiteError(
                    f"cannot listen at {host}:{port}: {error.strerror}", where="--metrics", mend=mend
                ) from None

    @property
    def port(self) -> int | None:
        """The port at which it serves."""
        return self._server.server_port if self._server is not None else None

    def follow(self, view: View, folder: Path, suite: str) -> View:
        """The view, with which this run is followed until it ends."""
        counts = Counts(folder, suite)
        self._registry.register(cast(Any, counts))
        self._thread = threading.Thread(target=self._run, args=(counts,), name="metrics", daemon=True)
        self._thread.start()
        return cast(View, _Followed(view, self))

    def close(self) -> None:
        """Count and push what the run has left, and end the server."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _run(self, counts: Counts) -> None:
        started_ns, pushed = time.time_ns(), time.monotonic()
        while not self._over.wait(EVERY_S):
            counts.update()
            if self._pushes and time.monotonic() - pushed >= PUSH_S:
                pushed = time.monotonic()
                self._push(counts, started_ns)
        counts.update()
        self._push(counts, started_ns)

    def _push(self, counts: Counts, started_ns: int) -> None:
        families = list(counts.collect()) if self._pushes else []
        for push in self._pushes:
            push.send(families, counts.run, started_ns, time.time_ns())


class _Followed:
    """A view, of which the exporter sees the end."""

    def __init__(self, view: View, exporter: Exporter) -> None:
        self._view, self._exporter = view, exporter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def end(self, status: str) -> None:
        self._exporter.close()
        self._view.end(status)


def host_and_port(text: str) -> tuple[str, int]:
    """ ":9464" as ("127.0.0.1", 9464). Raises SuiteError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise SuiteError(
            f"{text!r} is no address", where="--metrics", mend="write :9464, or 0.0.0.0:9464 for all hosts"
        )
    return host.strip("[]") or "127.0.0.1", int(port)
