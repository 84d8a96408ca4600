"""Options of the reference service: how it works inside, and faults to inject."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "PERFLIB_SERVICE_OPTIONS"


@dataclass(frozen=True)
class Options:
    """Options(cache=256, pool=8, parallel=4, error_rate=0.01)

    database                path of the SQLite file; None: a temporary one, removed at the end
    cache                   results kept for repeated content; 0: none
    pool                    connections kept open; 0: one is opened for every operation
    parallel                rules that are checked at the same time; 0: one after the other
    threads                 requests that are worked on at the same time; the others wait
    leak_bytes_per_request  memory that every request leaves behind
    stall_after_s, stall_s  all answers freeze once, this long after the start, for so long
    error_rate              share of requests that fail, 0…1, drawn with `seed`
    latency_s               extra time of every request
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
        """The options in PERFLIB_SERVICE_OPTIONS, as JSON; defaults where there are none."""
        return cls(**json.loads(os.environ.get(VARIABLE) or "{}"))

    def as_json(self) -> str:
        return json.dumps(asdict(self))
