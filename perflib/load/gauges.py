"""Gauges: what a target, and what it depends on, reports about itself, read at an interval during the load."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from perflib.errors import SuiteError
from perflib.load.exposition import Page, Reading
from perflib.store.arrow import array, column, constant
from perflib.store.schema import GAUGES, write_part
from perflib.suite.environment import from_environment
from perflib.suite.gauges import GaugeSource
from perflib.suite.model import Target
from perflib.suite.target import HttpTargetSpec, Network
from perflib.targets.connection import Address
from perflib.targets.exchange import get

TIMEOUT_S: Final = 5.0  # a reading takes no longer, nor than its interval, but a second
LONGEST_BYTES: Final = 2_000_000  # of an answer
PART_S: Final = 5.0  # a part file is written no more often
_Read = tuple[int, list[Reading]]  # when, ns since the run's start, and what
_ACCEPT: Final = "application/json, text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.8, */*;q=0.1"


class Gauges:
    """Reads each source in a thread of its own until `close`. What cannot be read is left out; `problems` says why."""

    def __init__(self, run_dir: Path, t0_ns: int) -> None:
        self._run_dir, self._t0_ns = run_dir, t0_ns
        self._numbers, self._stop = itertools.count(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.problems: dict[tuple[str, str], str] = {}  # the last one, by the name of the target and the source's URL
        self.failure: OSError | None = None

    def watch(self, name: str, spec: Target, folder: str) -> None:
        """Read this target's sources from now on; each is read once before this returns, so that what the first
        reading costs, and a missing package, come before the load. Raises PerflibError."""
        for source in spec.gauges:
            reader = Reader(spec, source, folder)
            first = self._read(name, reader)
            thread = threading.Thread(target=self._run, args=(name, reader, first), name="gauges", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def _run(self, name: str, reader: Reader, read: list[_Read]) -> None:
        period_s = reader.source.every_s
        due, written = time.monotonic() + period_s, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            read += self._read(name, reader)
            due = max(due + period_s, time.monotonic())
            if time.monotonic() - written >= PART_S:
                self._write(name, read)
                read, written = [], time.monotonic()
        self._write(name, read)

    def _read(self, name: str, reader: Reader) -> list[_Read]:
        now = time.monotonic_ns() - self._t0_ns
        readings = reader.read()
        if reader.problem:
            self.problems[name, reader.source.url] = reader.problem
        return [(now, readings)] if readings else []

    def _write(self, name: str, read: Sequence[_Read]) -> None:
        if not read:
            return
        try:
            folder, number = self._run_dir / "gauges", next(self._numbers)
            write_part([_table(name, read)], GAUGES, folder, f"part-{number:06d}")
        except OSError as error:  # a full disk, say
            self.failure = error


def _table(name: str, read: Sequence[_Read]) -> pa.Table:
    """Readings of a target as rows. Whole columns are made at once: row by row it takes three times as long."""
    gauges, kinds, values = zip(*(reading for _, readings in read for reading in readings), strict=True)
    times = np.repeat([t_ns for t_ns, _ in read], [len(readings) for _, readings in read])
    columns = {
        "t_ns": array(times),
        "target": constant(name, len(values)),
        "gauge": column(gauges, GAUGES.field("gauge").type),
        "value": array(np.array(values, np.float64)),
        "kind": column(kinds, GAUGES.field("kind").type),
    }
    return pa.table(columns, schema=GAUGES)


class Reader:
    """Reads one source of a target again and again. `problem`: why the last reading found nothing, "" if it did.

    Raises SuiteError for a source without an address.
    """

    def __init__(self, spec: Target, source: GaugeSource, folder: str = "") -> None:
        self.source, self.problem = source, ""
        self._path, where, instance = source.url, "gauges", ""
        if source.url.startswith("/"):
            if not spec.url:
                mend = "give the target a `url`, or write a whole URL"
                raise SuiteError(f"{source.url!r} is a path, and the target has no URL", where=where, mend=mend)
        else:  # another server, which is not reached by the proxy or the socket of the target's
            known = spec if isinstance(spec, Network) else Network()
            spec = HttpTargetSpec(
                url=source.url, verify_tls=known.verify_tls, ca_file=known.ca_file, client_cert=known.client_cert
            )
        self._address = Address.of(spec, where, folder)
        if not source.url.startswith("/"):
            self._path = f"{self._address.base_path or '/'}{'?' * bool(self._address.query)}{self._address.query}"
            instance = f"{self._address.authority}{self._path}".removesuffix("/metrics")
        self._page = Page(source.only, instance)
        self._headers = {"Accept": _ACCEPT} | {
            name: from_environment(value, f"{where}.headers") for name, value in source.headers.items()
        }

    def read(self) -> list[Reading]:
        """The present numbers; none if the source cannot be read. Raises PerflibError if a package is missing."""
        timeout_s = min(max(1.0, self.source.every_s), TIMEOUT_S)
        self.problem = ""
        try:
            status, body = get(
                self._address, self._path, timeout_s=timeout_s, most_bytes=LONGEST_BYTES, headers=self._headers
            )
            if status < 400:
                return self._page.read(body)
            self.problem = f"HTTP status {status}"
        except (OSError, ValueError) as error:
            self.problem = str(error) or type(error).__name__
        return []
