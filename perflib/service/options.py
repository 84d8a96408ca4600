"""Options of the reference service: its internals, and faults to inject."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "PERFLIB_SERVICE_OPTIONS"


@dataclass(frozen=True)
class Options:
    """Options(cache=256, pool=8, parallel=4, error_rate=0.01)

    database                path of the SQLite file; None: a temporary one, removed at the end
    cache                   number of results cached for repeated content; 0: no cache
    pool                    number of open connections; 0: a new one for every operation
    parallel                number of rules checked at the same time; 0: one after the other
    threads                 number of requests handled at the same time; others wait
    leak_bytes_per_request  memory that every request leaks
    stall_after_s, stall_s  the service freezes once: when, after the start, and for how long
    error_rate              share of requests that fail, 0…1, drawn with `seed`
    latency_s               extra time for every request
    """

    database: str | None = None
    cache: int = 0
    pool: int = 8
    parallel: int = 0
    threads: int = 16
    leak_bytes_per_request: int = 0
    stall_after_s: float = 0.0
    stall_s: float = 0.0
    error_rate: float = 0.0
    latency_s: float = 0.0
    seed: int = 0

    @classmethod
    def from_environment(cls) -> Options:
        """The options in PERFLIB_SERVICE_OPTIONS, as JSON, or the defaults."""
        return cls(**json.loads(os.environ.get(VARIABLE) or "{}"))

    def as_json(self) -> str:
        return json.dumps(asdict(self))
