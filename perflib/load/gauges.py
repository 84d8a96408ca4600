"""Gauges: numbers that a target reports about itself, like open sessions, read once a second during the load."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Final

from perflib.store.schema import GAUGES, label, table_of, write_part
from perflib.suite.model import Target
from perflib.targets.connection import Address
from perflib.targets.exchange import get

PERIOD_S: Final = 1.0
MAX_GAUGES: Final = 64  # of one target
LONGEST_BYTES: Final = 65_536  # of an answer
LARGEST: Final = 1e300  # a larger number is none, and neither is NaN


class Gauges:
    """Reads gauges in a thread of its own until `close`. A gauge that cannot be read is left out."""

    def __init__(self, run_dir: Path, t0_ns: int) -> None:
        self._run_dir, self._t0_ns = run_dir, t0_ns
        self._specs: dict[str, tuple[Target, str]] = {}
        self._rows: list[tuple[int, str, str, float]] = []
        self._parts, self._stop = 0, threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: OSError | None = None

    def watch(self, name: str, spec: Target, folder: str) -> None:
        """Read gauges of this target from the path `gauges` of its host, which returns a JSON object of numbers."""
        self._specs[name] = spec, folder
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self._write()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            for name, (spec, folder) in list(self._specs.items()):
                now = time.monotonic_ns() - self._t0_ns
                self._rows += [(now, name, gauge, value) for gauge, value in read(spec, folder).items()]
            self._write()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            write_part([table_of(rows, GAUGES)], GAUGES, self._run_dir / "gauges", f"part-{self._parts:06d}")
            self._parts += 1
        except OSError as error:  # a full disk, say
            self.failure = error


def read(spec: Target, folder: str = "") -> dict[str, float]:
    """The gauges of a target by name; empty if it does not return a JSON object, whatever else it does."""
    try:
        address = Address.of(spec, "url", folder)
        _, body = get(address, spec.gauges or "/", timeout_s=PERIOD_S, most_bytes=LONGEST_BYTES)
        values = json.loads(body)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    numbers: dict[str, float] = {}
    for name, value in itertools.islice(values.items(), MAX_GAUGES):
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
            numbers[label(name)] = float(value)
    return numbers
