"""Is one of several load generators unlike its peers? By name, and by a rule that one odd one cannot bend.

A figure of a worker is odd where it is further than 3.5 robust standard deviations (1.4826 × the median absolute deviation) from
the median of all (Iglewicz and Hoaglin 1993), and by more than a least difference as well: among peers that are all
alike the deviation is nearly nothing. Two cannot say which one of them is odd; there must be three.
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
PARTS: Final = 4  # part files of a worker that its median is taken from, its last ones


@dataclass(frozen=True)
class Trait:
    """What is compared: its name, its unit, and by how much two may differ, in that unit or as a share of the median."""

    name: str
    unit: str
    least: float
    least_share: float = 0.5

    def odd(self, values: Mapping[int, float]) -> Iterator[tuple[int, str]]:
        """(worker, what is odd)."""
        each = np.array(list(values.values()))
        middle = float(np.median(each))
        spread = 1.4826 * float(np.median(np.abs(each - middle)))
        for worker, value in values.items():
            apart = abs(value - middle)
            if apart > max(FAR * spread, self.least, self.least_share * middle):
                yield worker, f"{self.name} is {value:,.4g}{self.unit}, theirs {middle:,.4g}{self.unit}"


LATE: Final = Trait("lateness at the 99th percentile", " ms", 5.0, 1.0)  # known to a factor of two
PAUSE: Final = Trait("pause of its event loop at the 99th percentile", " ms", 10.0)
CPU: Final = Trait("CPU time of a request", " µs", 5.0)
RATE: Final = Trait("rate", " /s", 1.0, 0.2)
SERVICE: Final = Trait("median service time", " ms", 1.0)


def unlike(
    load: Load, workers: Sequence[dict[str, Any]], medians_ms: Mapping[int, float], *, calls_inside: bool
) -> Iterator[str]:
    """What is odd about any of the workers, a line for each. `workers`: their health, as in run.json."""
    if len(workers) < FEWEST:
        return

    def figures(figure: Callable[[dict[str, Any]], float]) -> dict[int, float]:
        return {about["worker"]: figure(about) for about in workers if about["rows"] and about["wall_s"]}

    found = {
        SERVICE: {about["worker"]: medians_ms[about["worker"]] for about in workers if about["worker"] in medians_ms},
        CPU: figures(lambda about: about["cpu_s"] / about["rows"] * 1e6),
        **({RATE: figures(lambda about: about["rows"] / about["wall_s"])} if _even(load, len(workers)) else {}),
        **({LATE: figures(lambda about: about["late_ms"]["p99"])} if load.is_open else {}),
        **({} if calls_inside else {PAUSE: figures(lambda about: about["loop_pause_ms"]["p99"])}),
    }
    for trait, values in found.items():
        for worker, said in trait.odd(values) if len(values) >= FEWEST else ():
            yield f"worker {worker} differs from its peers: its {said}"


def _even(load: Load, workers: int) -> bool:
    """Whether all workers have the same share of it: the users of a closed load may not be divisible."""
    return all(part.users % workers == 0 for part in load.parts()) if workers else False


def medians_ms(folder: Path, workers: Sequence[int]) -> dict[int, float]:
    """The median service time of the last answers of each worker, ms; nothing where they are too few to compare, or not here."""
    if len(workers) < FEWEST:
        return {}
    found = {
        worker: _service_ms(sorted((folder / "rows").glob(f"part-{worker:04d}-*.parquet"))[-PARTS:])
        for worker in workers
    }
    return {worker: float(np.median(times)) for worker, times in found.items() if len(times)}


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
