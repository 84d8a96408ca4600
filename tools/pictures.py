"""`python -m tools.pictures [NAME …]`: the pictures of the README and docs/, from runs made here, in about four
minutes.

Names are those of `perflib.charts`' functions, and `report`, the opening of reports/sample/report.html; default: all.
"""

from __future__ import annotations

import io
import math
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

import perflib
from perflib import Load, Operation, Scenario, Suite, Target, charts
from perflib.metrics.selection import Selection
from perflib.suite.file import from_table
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.history import Series, history, record_all
from perflib.verdicts.run import Run

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 60_000
FAULTS = ("--error-rate", "0.01", "--stall-after-s", "22", "--stall-s", "0.4", "--leak-bytes-per-request", "15000")

CHARTS: dict[str, Callable[[], Figure]] = {
    "overview": lambda: charts.overview(several()),
    "scenarios_together": lambda: charts.scenarios_together(beside()),
    "latency_percentiles": lambda: charts.latency_percentiles(shop(), "browse"),
    "response_over_time": lambda: charts.response_over_time(shop(), "browse"),
    "throughput": lambda: charts.throughput(shop(), "browse"),
    "inflight": lambda: charts.inflight(shop(), "browse"),
    "response_by_inflight": lambda: charts.response_by_inflight(shop(), "browse"),
    "breakdown": lambda: charts.breakdown(shop(), "browse"),
    "errors_over_time": lambda: charts.errors_over_time(shop(), "browse"),
    "memory": lambda: charts.memory(shop(), "browse"),
    "cpu": lambda: charts.cpu(shop(), "browse"),
    "gauges": lambda: charts.gauges(shop(), "browse"),
    "shift_function": lambda: charts.shift_function(compared(), Selection("browse")),
    "forest": lambda: charts.forest(compared(), Selection("browse")),
    "ecdf": lambda: charts.ecdf(compared(), Selection("browse")),
    "two_distributions": lambda: charts.two_distributions(compared(), Selection("browse")),
    "capacity_throughput": lambda: charts.capacity_throughput(rising(), "clerks"),
    "capacity_times": lambda: charts.capacity_times(rising(), "clerks"),
    "capacity_scaling": lambda: charts.capacity_scaling(rising(), "clerks"),
    "paired_differences": lambda: charts.paired_differences(ways(), "mcp_overhead"),
    "ladder": lambda: charts.ladder(ways(), "mcp_overhead"),
    "ladder_parts": lambda: charts.ladder_parts(ways(), "mcp_overhead"),
    "history": lambda: charts.history(changed()),
}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or [*CHARTS, "report"]:
        write(name, opening(ROOT / "reports" / "sample") if name == "report" else drawn(CHARTS[name]()))
    shutil.rmtree(data(), ignore_errors=True)


def write(name: str, picture: Image.Image) -> None:
    """In as many colours as the size allows."""
    path = PICTURES / f"{name}.png"
    for colours in (160, 96, 64, 32, 16):
        picture.quantize(colours, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    print(f"{path.stat().st_size:>7,} bytes  {path.relative_to(ROOT)}")


def drawn(figure: Figure) -> Image.Image:
    made = io.BytesIO()
    figure.savefig(made, format="png")
    return Image.open(made).convert("RGB")


@cache
def data() -> Path:
    return Path(tempfile.mkdtemp(prefix="pictures-"))


@cache
def shop() -> Run:
    """Half a minute of queries and validations on a service that leaks, fails now and then, and freezes once."""
    start = ["{python}", "-m", "perflib.service", "--http", "{port}", *FAULTS]
    target = {
        "kind": "http",
        "url": "http://127.0.0.1:{port}",
        "start": start,
        "ready": {"http": "/health"},
        "gauges": "/gauges",
    }
    validate = {
        "name": "validate",
        "method": "POST",
        "path": "/validate",
        "json": {"path": "{path}"},
        "data": "documents.csv",
    }
    scenario = {
        "name": "browse", "target": "api", "operations": [{"name": "stats", "path": "/stats", "weight": 3}, validate],
        "load": {"model": "poisson", "rate_per_s": 60, "duration_s": 30}, "warmup": {"duration_s": 3},
        "objectives": ["p95 response < 100 ms", "error rate < 5 %"],
    }  # fmt: skip
    made = from_table(
        {"name": "shop", "targets": {"api": target}, "scenarios": [scenario]},
        folder=str(ROOT / "perflib" / "suite" / "builtin"),
    )
    return perflib.run(made, data=data())


@cache
def several() -> Run:
    """Three loads on the reference service, six seconds each."""
    start = ["{python}", "-m", "perflib.service", "--http", "{port}"]
    target = {"kind": "http", "url": "http://127.0.0.1:{port}", "start": start, "ready": {"http": "/health"}}
    loads = {
        "visitors": {"model": "poisson", "rate_per_s": 80, "duration_s": 6},
        "one user": {"model": "closed", "concurrency": 1, "duration_s": 6},
        "twenty users": {"model": "closed", "concurrency": 20, "duration_s": 6},
    }
    scenarios = [
        {"name": name, "target": "api", "operations": [{"name": "stats", "path": "/stats"}], "load": load,
         "objectives": ["p95 response < 50 ms"]} for name, load in loads.items()
    ]  # fmt: skip
    return perflib.run(from_table({"name": "shop", "targets": {"api": target}, "scenarios": scenarios}), data=data())


@cache
def beside() -> Run:
    """Visitors of the reference service, and after a while a job that takes its time."""
    start = ["{python}", "-m", "perflib.service", "--http", "{port}"]
    target = {"kind": "http", "url": "http://127.0.0.1:{port}", "start": start, "ready": {"http": "/health"}}
    validate = {"name": "validate", "path": "/validate", "json": {"text": "# Retries\n\n" + "and again\n" * 400}}
    scenarios = [
        {"name": "visitors", "target": "api", "operations": [{"name": "stats", "path": "/stats"}],
         "load": {"model": "poisson", "rate_per_s": 80, "duration_s": 24}},
        {"name": "nightly job", "target": "api", "operations": [validate], "with": ["visitors"], "at_s": 8,
         "load": {"model": "closed", "concurrency": 2, "duration_s": 10}},
    ]  # fmt: skip
    return perflib.run(from_table({"name": "shop", "targets": {"api": target}, "scenarios": scenarios}), data=data())


@cache
def compared() -> Comparison:
    """A function that waits as a database would; the candidate a little longer, and its slow calls much."""
    load = Load(model="closed", concurrency=16, duration_s=12)
    return perflib.compare(
        *(perflib.run(_waiting(load, *times), data=data()) for times in ((0.02, 0.3), (0.021, 0.45)))
    )


@cache
def rising() -> Run:
    """Four clerks who take 20 ms each: 200 calls a second at most."""
    load = Load(model="steps", from_per_s=60, to_per_s=320, step_per_s=20, step_s=4)
    objectives = ["p95 response < 250 ms", "error rate < 1 %", "capacity >= 150 /s"]
    return perflib.run(
        _suite("clerks", Target(kind="callable", function="tools.pictures:clerk"), load, [], objectives), data=data()
    )


@cache
def ways() -> Run:
    return perflib.run("overhead", quick=True, data=data())


def changed() -> Series:
    """The median of a function that from the eleventh run on takes a fifth longer."""
    load = Load(model="closed", concurrency=4, duration_s=1.5)
    for n in range(18):
        perflib.run(_waiting(load, 0.005 if n < 10 else 0.006, 0.2), data=data() / "history")
    record_all(data() / "history")
    return history("p50", data() / "history")[0]


def wait(median_s: float, spread: float) -> None:
    time.sleep(random.lognormvariate(math.log(median_s), spread))


COUNTER = threading.Semaphore(4)


def clerk() -> None:
    with COUNTER:
        time.sleep(0.02)


def _waiting(load: Load, *args: float) -> Suite:
    return _suite("browse", Target(kind="callable", function="tools.pictures:wait"), load, list(args))


def _suite(name: str, target: Target, load: Load, args: list[float], objectives: Sequence[str] = ()) -> Suite:
    scenario = Scenario(
        name=name, target="it", operations=[Operation(name=name, args=args)], load=load, objectives=objectives
    )
    return Suite(name=name, targets={"it": target}, scenarios=[scenario], workers=1)


def opening(folder: Path) -> Image.Image:
    """The verdict of a report, what was tested, and the chart of all scenarios."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox", "--disable-gpu"]}
        browser = playwright.chromium.launch(**options)
        page = browser.new_page(viewport={"width": 1200, "height": 1000}, color_scheme="light")
        page.goto((folder / "report.html").as_uri())
        box = page.get_by_role("heading", name="Objectives", exact=True).bounding_box()
        whole = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        browser.close()
    height = int(box["y"]) - 20 if box else 1000
    return whole.crop((0, 0, 1200, height)).resize((960, height * 960 // 1200), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
