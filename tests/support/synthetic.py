"""Synthetic runs of any size: scenarios, operations, workers, autocorrelated times, bursts of errors, resources.

The part files are as perflib.store.schema has them; only the values are drawn at random and not measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from perflib.store.manifest import RunDirectory
from perflib.store.schema import RESOURCES, ROWS, write_part
from perflib.verdicts.run import Run
from tests.support.simulate import ar1_normal
from tests.support.written import HOST as TEST_HOST

SCENARIOS: Final = {
    "browse": ("front", "list", "item"),
    "search": ("plain", "filtered"),
    "order": ("cart", "pay", "status"),
    "api": ("call",),
}
OBJECTIVES: Final = [
    "p95 response < 25 ms",
    "p99 response < 250 ms",
    "mean response < 12 ms",
    "error rate < 2 %",
    "throughput >= 1000 /s",
]
WORKERS: Final = 2
RATE_PER_S: Final = 40_000.0  # of each scenario
PART_S: Final = 1.0  # as the recorder's
PIECE: Final = 8_192
ERRORS: Final = ("http_5xx", "timeout", "reset")
HOST: Final = {**TEST_HOST, "cpu": "synthetic"}


def synthetic_run(data: Path, rows: int, *, seed: int = 0, slower: float = 1.0) -> Run:
    """A complete run of so many rows, evenly over SCENARIOS; `slower` multiplies its times."""
    per_scenario, rng = rows // len(SCENARIOS), np.random.default_rng(seed)
    length_ns = int(per_scenario / RATE_PER_S * 1e9)
    entries, specs = [], []
    for place, (name, operations) in enumerate(SCENARIOS.items()):
        start_ns = place * (length_ns + 1_000_000_000) + 1_000_000
        segment = {
            "phase": "measure",
            "stage": None,
            "operation": None,
            "start_ns": start_ns,
            "stop_ns": start_ns + length_ns,
            "offered": per_scenario,
        }
        entries.append(
            {
                "name": name,
                "status": "complete",
                "start_ns": start_ns,
                "stop_ns": start_ns + length_ns,
                "segments": [segment],
                "prepare": {"requests": 0},
                "workers": [],
                "doubts": [],
                "unsent": 0,
            }
        )
        specs.append(
            {
                "name": name,
                "target": "api",
                "operations": [{"name": op, "path": "/"} for op in operations],
                "objectives": OBJECTIVES,
                "load": {"model": "constant", "rate_per_s": RATE_PER_S, "duration_s": length_ns / 1e9},
            }
        )
    run = RunDirectory(
        data,
        suite={"name": f"synthetic-{rows}", "scenarios": specs, "targets": {"api": {"kind": "http"}}},
        command="perflib run synthetic",
        seed=seed,
        quick=False,
        host=HOST,
        versions={"python": "3.11.7", "perflib": "0.1.0"},
        git=None,
        started_at=datetime.now(UTC).isoformat(),
        stopped_ns=entries[-1]["stop_ns"],
        targets={"api": {"kind": "http", "via": []}},
        events=[],
        scenarios=entries,
    )
    per_part = round(RATE_PER_S * PART_S / WORKERS)
    for worker in range(WORKERS):
        count = itertools.count()
        for entry, operations in zip(entries, SCENARIOS.values(), strict=True):
            for first in range(0, per_scenario // WORKERS, per_part):
                n = min(per_part, per_scenario // WORKERS - first)
                table = _rows(rng, entry, operations, worker, first, n, slower)
                pieces = (table.slice(at, PIECE) for at in range(0, n, PIECE))
                write_part(pieces, ROWS, run.path / "rows", f"part-{worker:04d}-{next(count):06d}")
    _write_resources(run.path, entries)
    run.manifest.status = "complete"
    run.save()
    return Run(run.path)


def _rows(
    rng: np.random.Generator,
    entry: dict[str, Any],
    operations: tuple[str, ...],
    worker: int,
    first: int,
    n: int,
    slower: float,
) -> pa.Table:
    """The rows of one part, in the order in which they ended."""
    operation = rng.integers(0, len(operations), n)
    level = 0.35 * ar1_normal(rng, n, 0.8) + 0.15 * ar1_normal(rng, n, 0.999)
    took = (5e6 * slower * (1 + 0.5 * operation) * np.exp(level)).astype(np.int64)
    due = entry["start_ns"] + ((np.arange(first, first + n) * WORKERS + worker) / RATE_PER_S * 1e9).astype(np.int64)
    start = due + rng.integers(20_000, 200_000, n)
    failed = ar1_normal(rng, n, 0.9) > 2.6
    error = rng.integers(0, len(ERRORS), n)
    took[failed & (error == 1)] += 200_000_000
    order = np.argsort(start + took, kind="stable")
    operation, took, due, start, failed, error = (x[order] for x in (operation, took, due, start, failed, error))
    columns: dict[str, Any] = {
        "scenario": _texts(np.zeros(n, np.int32), [entry["name"]]),
        "operation": _texts(operation, list(operations)),
        "phase": _texts(np.zeros(n, np.int32), ["measure"]),
        "worker": np.full(n, worker, np.int16),
        "seq": np.arange(first, first + n),
        "scheduled_ns": due,
        "start_ns": start,
        "first_byte_ns": start + took * 9 // 10,
        "end_ns": start + took,
        "ok": ~failed,
        "error": _texts(error, list(ERRORS), ~failed),
        "status": np.where(failed, 500, 200).astype(np.int32),
        "bytes_sent": np.full(n, 120),
        "bytes_received": rng.integers(400, 4000, n),
        "inflight": rng.integers(1, 400, n, np.int32),
        "server_ns": pa.nulls(n, pa.int64()),
    }
    return pa.table(
        [pa.array(columns[f.name]) if isinstance(columns[f.name], np.ndarray) else columns[f.name] for f in ROWS],
        schema=ROWS,
    )


def _texts(codes: Any, names: list[str], null: Any = None) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=null), pa.array(names))


def _write_resources(path: Path, entries: list[dict[str, Any]]) -> None:
    t = np.arange(entries[0]["start_ns"], entries[-1]["stop_ns"], 250_000_000)
    n, noise = len(t), np.random.default_rng(len(t)).normal(0, 0.2, len(t))
    columns: dict[str, Any] = {
        "t_ns": t,
        "role": _texts(np.zeros(n, np.int32), ["target"]),
        "pid": np.full(n, 7, np.int32),
        "name": _texts(np.zeros(n, np.int32), ["api"]),
        "rss_bytes": ((200 + noise) * 1e6).astype(np.int64),
        "uss_bytes": pa.nulls(n, pa.int64()),
        "cpu_ns": ((t - t[0]) * 0.6).astype(np.int64),
        "threads": np.ones(n, np.int32),
        "fds": np.ones(n, np.int32),
        "process": _texts(np.zeros(n, np.int32), ["server"]),
    }
    table = pa.table(
        [pa.array(columns[f.name]) if isinstance(columns[f.name], np.ndarray) else columns[f.name] for f in RESOURCES],
        schema=RESOURCES,
    )
    write_part(_sliced(table), RESOURCES, path / "resources", "part-0000-000000")


def _sliced(table: pa.Table) -> Iterator[pa.Table]:
    yield from (table.slice(at, PIECE) for at in range(0, len(table), PIECE))
