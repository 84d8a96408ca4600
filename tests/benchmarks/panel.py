"""What the live panel costs the load: the same suite in a Jupyter kernel, with the panel and without, in turn."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from perflib import compare
from perflib.verdicts.run import Run
from tests.benchmarks.tables import show
from tests.support.suites import pings

LOADS = {
    "at a rate": 'model = "constant", rate_per_s = 300, duration_s = %d',
    "as fast as it goes": 'model = "closed", concurrency = 16, duration_s = %d',
}
FIGURES = ("p50", "p95", "p99", "throughput")


def panel(options: argparse.Namespace) -> None:
    """The panel's cost: changes of rate and response times, with the panel against without it, over several runs."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "panel.toml")
        suite.write_text(pings("panel", {name: load % options.seconds for name, load in LOADS.items()}))
        sides: dict[bool, list[Run]] = {False: [], True: []}
        with _kernel() as client:
            for number in range(2 * options.rounds):
                shown = number % 4 in (1, 2)  # without, with, with, without
                sides[shown].append(_run(client, suite, Path(folder), shown))
        compared = compare(sides[False], sides[True])
    rows = [
        (
            str(c.part),
            c.metric.name,
            f"{c.base:.4g} {c.metric.unit}",
            f"{c.candidate:.4g} {c.metric.unit}",
            f"{c.relative.estimate:+.1f} % [{c.relative.low:+.1f}, {c.relative.high:+.1f}]",
            c.seen or "none seen",
        )
        for c in compared.changes
        if c.metric.key in FIGURES
    ]
    show(
        (
            "scenario",
            "figure",
            "without",
            "with the panel",
            f"change [95 %], {options.rounds} runs a side",
            "any change",
        ),
        rows,
    )


class _kernel:
    """A Jupyter kernel, as a notebook has one."""

    def __enter__(self) -> Any:
        from jupyter_client.manager import start_new_kernel

        self._manager, self._client = start_new_kernel()
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def _run(client: Any, suite: Path, data: Path, shown: bool) -> Run:
    """A run in the kernel, by a cell that accepts input: only where a person runs a cell the panel is shown."""
    code = (
        f"import perflib; run = perflib.run({str(suite)!r}, data={str(data)!r}, progress={shown})\n"
        "print('at', run.path)"
    )
    said: list[str] = []
    widgets = 0

    def heard(message: dict[str, Any]) -> None:
        nonlocal widgets
        said.append(message["content"].get("text", "") + "\n".join(message["content"].get("traceback", [])))
        widgets += message["msg_type"] == "comm_msg"

    client.execute_interactive(code, allow_stdin=True, stdin_hook=lambda _: None, output_hook=heard, timeout=600)
    where = [line for line in "".join(said).splitlines() if line.startswith("at ")]
    if not where or bool(widgets) != shown:
        raise RuntimeError(f"the run in the kernel went wrong ({widgets} messages of a panel): {''.join(said)[-500:]}")
    return Run(Path(where[0][3:]))
