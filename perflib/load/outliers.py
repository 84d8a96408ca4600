"""Finds a worker that differs from the others, by a rule that a single outlier cannot distort.

A figure of a worker is an outlier if it is further than 3.5 robust standard deviations (1.4826 × the median absolute
deviation) from the median of all workers (Iglewicz and Hoaglin 1993). It must also differ by a least difference,
because the deviation of nearly equal workers is nearly 0. Three workers are needed: of two, either could be the
outlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from perflib.suite.model import Load

FEWEST: Final = 3
FAR: Final = 3.5  # robust standard deviations
PARTS: Final = 4  # number of the last part files of a worker that its median is computed from


@dataclass(frozen=True)
class Trait:
    """A figure to compare: its name, its unit, and the least difference, in that unit and as a share of the median."""

    name: str
    unit: str
    least: float
    least_share: float = 0.5

    def outliers(self, values: Mapping[int, float]) -> Iterator[tuple[int, str]]:
        """Each worker that is an outlier, and how it differs."""
        all_values = np.array(list(values.values()))
        middle = float(np.median(all_values))
        spread = 1.4826 * float(np.median(np.abs(all_values - middle)))
        for worker, value in values.items():
            apart = abs(value - middle)
            if apart > max(FAR * spread, self.least, self.least_share * middle):
                yield worker, f"{self.name} is {value:,.4g}{self.unit}, theirs {middle:,.4g}{self.unit}"


LATE: Final = Trait("lateness at the 99th percentile", " ms", 5.0, 1.0)  # known to a factor of two
PAUSE: Final = Trait("pause of its event loop at the 99th percentile", " ms", 10.0)
CPU: Final = Trait("CPU time of a request", " µs", 5.0)
RATE: Final = Trait("rate", " /s", 1.0, 0.2)
SERVICE: Final = Trait("median service time", " ms", 1.0)


def describe_outliers(
    load: Load, workers: Sequence[dict[str, Any]], medians_ms: Mapping[int, float], *, calls_inside: bool
) -> Iterator[str]:
    """A sentence about each figure of a worker that is an outlier. `workers`: their health, as in run.json."""
    if len(workers) < FEWEST:
        return

    def figures(figure: Callable[[dict[str, Any]], float]) -> dict[int, float]:
        return {about["worker"]: figure(about) for about in workers if about["rows"] and about["wall_s"]}

    by_trait = {
        SERVICE: {about["worker"]: medians_ms[about["worker"]] for about in workers if about["worker"] in medians_ms},
        CPU: figures(lambda about: about["cpu_s"] / about["rows"] * 1e6),
        **({RATE: figures(lambda about: about["rows"] / about["wall_s"])} if _is_divisible(load, len(workers)) else {}),
        **({LATE: figures(lambda about: about["late_ms"]["p99"])} if load.is_open else {}),
        **({} if calls_inside else {PAUSE: figures(lambda about: about["loop_pause_ms"]["p99"])}),
    }
    for trait, values in by_trait.items():
        for worker, difference in trait.outliers(values) if len(values) >= FEWEST else ():
            yield f"worker {worker} differs from its peers: its {difference}"


def _is_divisible(load: Load, workers: int) -> bool:
    """Whether all workers have the same share, since the users of a closed load may not be divisible."""
    return all(part.users % workers == 0 for part in load.parts()) if workers else False


def medians_ms(folder: Path, workers: Sequence[int]) -> dict[int, float]:
    """The median service time of the last answers of each worker, ms. Empty if there are too few workers to compare."""
    if len(workers) < FEWEST:
        return {}
    times_ms = {
        worker: _service_ms(sorted((folder / "rows").glob(f"part-{worker:04d}-*.parquet"))[-PARTS:])
        for worker in workers
    }
    return {worker: float(np.median(times)) for worker, times in times_ms.items() if len(times)}


def _service_ms(parts: list[Path]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    times = [np.zeros(0)]
    for part in parts:
        try:
            table = pq.read_table(part, columns=["start_ns", "end_ns", "ok"])
        except (OSError, pa.ArrowException):
            continue  # the report says which ones cannot be read
        ok = table["ok"].to_numpy()
        times.append((table["end_ns"].to_numpy() - table["start_ns"].to_numpy())[ok] / 1e6)
    return np.concatenate(times)
