"""Run directories written through the real recorder, with response times that a test has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perflib.store.manifest import RunDirectory
from perflib.store.schema import NONE_NS, NONE_STATUS, RESOURCES, Recorder, write_part
from perflib.verdicts.run import Run

HOST = {
    "cpu": "Test CPU",
    "cores": 2,
    "memory_bytes": 8_000_000_000,
    "os": "Linux",
    "kernel": "6",
    "machine": "x86_64",
    "load_average": 0.0,
}
START_NS = 1_000_000


def written(
    data: Path,
    times_ms: Any,
    *,
    name: str = "tested",
    scenario: str = "one",
    operations: Sequence[str] = ("get",),
    rate_per_s: float = 500.0,
    failed: Any = (),
    error: str = "http_5xx",
    status: str = "complete",
    reasons: Sequence[str] = (),
    host: dict[str, Any] | None = None,
    python: str = "3.11.7",
    memory_mb: float | None = None,
    cpu_ms: float = 1.0,
    model: str = "constant",
    warmup_s: float | None = 0.0,
    objectives: Sequence[str] = (),
    compare: dict[str, Any] | None = None,
) -> Run:
    """A run of one scenario at a constant rate.

    Request i takes times_ms[i], goes to operations[i % len(operations)], and fails with this error where `failed` is
    true.
    """
    times_ns = np.asarray(np.asarray(times_ms, float) * 1e6, np.int64)
    stop_ns = START_NS + int(max(len(times_ns), 1) / rate_per_s * 1e9)
    segment = {
        "phase": "measure",
        "stage": None,
        "operation": None,
        "start_ns": START_NS,
        "stop_ns": stop_ns,
        "offered": len(times_ns),
    }
    spec = {
        "name": scenario,
        "target": "api",
        "operations": [{"name": op, "path": "/"} for op in operations],
        "objectives": list(objectives),
        "warmup": None if warmup_s is None else {"duration_s": warmup_s},
        "load": {
            "model": model,
            **({"rate_per_s": rate_per_s} if model == "constant" else {"concurrency": int(rate_per_s)}),
            "duration_s": (stop_ns - START_NS) / 1e9,
        },
    }
    made = RunDirectory(
        data,
        suite={"name": name, "scenarios": [spec], "targets": {"api": {"kind": "http"}}, "compare": compare or {}},
        command=f"perflib run {name}",
        seed=0,
        quick=False,
        host={**HOST, **(host or {})},
        versions={"python": python, "perflib": "0.1.0"},
        git=None,
        started_at=datetime.now(UTC).isoformat(),
        stopped_ns=stop_ns,
        targets={"api": {"kind": "http", "via": []}},
        events=[],
        scenarios=[
            {
                "name": scenario,
                "status": "complete",
                "start_ns": START_NS,
                "stop_ns": stop_ns,
                "segments": [segment],
                "prepare": {"requests": 0},
                "workers": [],
                "doubts": [],
                "unsent": 0,
            }
        ],
    )
    recorder = Recorder(made.path, worker=0, scenario=scenario, operations=list(operations), t0_ns=0)
    wrong = set(np.flatnonzero(failed).tolist()) if len(failed) else set()
    code = recorder.error_code(error)
    gap_ns = int(1e9 / rate_per_s)
    for i, took_ns in enumerate(times_ns.tolist()):
        due, bad = START_NS + i * gap_ns, i in wrong
        recorder.add(
            due, due, NONE_NS, due + took_ns, 0, 0, NONE_NS, 1, NONE_STATUS, i % len(operations), code if bad else 0, 1
        )
    recorder.close()
    if memory_mb is not None:
        _resources(made.path, stop_ns, memory_mb, cpu_ms * rate_per_s / 1e3)
    made.manifest.status, made.manifest.reasons = status, list(reasons)
    made.save()
    return Run(made.path)


def latencies(n: int, seed: int, median_ms: float = 5.0) -> Any:
    """Skewed times, each a little like the one before."""
    draws = np.random.default_rng(seed).normal(size=n)
    for i in range(1, n):
        draws[i] = 0.5 * draws[i - 1] + draws[i] * 0.75**0.5
    return median_ms * np.exp(0.35 * draws)


def _resources(path: Path, stop_ns: int, memory_mb: float, cores: float) -> None:
    t = np.arange(START_NS, stop_ns, 100_000_000, np.int64)
    noise = np.random.default_rng(len(t)).normal(0, 0.2, len(t))
    columns = {
        "t_ns": t,
        "role": ["target"] * len(t),
        "pid": np.full(len(t), 7, np.int32),
        "name": ["api"] * len(t),
        "rss_bytes": ((memory_mb + noise) * 1e6).astype(np.int64),
        "uss_bytes": pa.nulls(len(t), pa.int64()),
        "cpu_ns": ((t - START_NS) * cores).astype(np.int64),
        "threads": np.ones(len(t), np.int32),
        "fds": np.ones(len(t), np.int32),
        "process": ["server"] * len(t),
    }
    table = pa.table(
        [
            pa.array(columns[f.name]).cast(f.type) if not isinstance(columns[f.name], pa.Array) else columns[f.name]
            for f in RESOURCES
        ],
        schema=RESOURCES,
    )
    write_part([table], RESOURCES, path / "resources", "part-0000-000000")
