"""What a worker and a machine that do well report of themselves, for tests of what is said about others."""

from __future__ import annotations

from typing import Any

HEALTHY_WORKER: dict[str, Any] = {
    "worker": 0,
    "rows": 1000,
    "wall_s": 10.0,
    "loop_cpu_s": 2.0,
    "loop_pause_ms": {"p99": 1.0},
    "late_ms": {"p99": 0.5},
    "waited": 0,
    "few_descriptors": False,
    "errors": 0,
    "unanswered": {"users_s": 0.0, "waited_s": 0.0, "users": 0, "at_end": 0},
    "gc_ms": 1.0,
}
CALM_MACHINE = {
    "seconds": 10.0,
    "busy_share": 0.5,
    "other_share": 0.01,
    "steal_share": 0.0,
    "throttled_share": 0.0,
    "clock_ns": 1.0,
}
OPEN_LOAD = {"model": "constant", "rate_per_s": 100, "duration_s": 10}
