"""The live panel of a run in a notebook: figures, the last two minutes as small charts, and a button that stops it.

The coordinator draws it between messages of its workers. A click on Stop works while the cell is busy, because
JupyterLab sends it through a subshell of the kernel (ipykernel 7), which is a separate thread. There it interrupts the
main thread, and the run ends as after a Ctrl-C.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from perflib.load.progress import Bar, Glance, Lines, Progress, Quiet, View, terminal
from perflib.store.live import Now
from perflib.text import number
from perflib.text.html import render

_WIDTH, _HEIGHT = 232, 56
RATE, TIME, MEMORY, WRONG = "#2b7bba", "#c2571a", "#2f8f6b", "#d1343f"  # legible on white and on black


class Panel(Quiet):
    """The panel of a whole run, through all scenarios; it stays as static HTML when the run is over."""

    def __init__(self, run: Path) -> None:
        import ipywidgets as widgets
        from IPython.display import DisplayHandle

        self._glance, self._run = Glance(run), run.name
        self._html = widgets.HTML(html(Now(), "starting", 0.0))
        self._button = widgets.Button(
            description="Stop", icon="stop", tooltip="End the run now; its rows are kept", button_style="warning"
        )
        self._button.on_click(lambda _: self.stop())
        # Since 7.4, ipykernel sends a click to the loop that created the button, which is busy. Without this
        # entry, the click goes where JupyterLab sends it: to a subshell.
        vars(self._button.comm).pop("_reply_subshell_id", None)
        self._handle = DisplayHandle()  # type: ignore[no-untyped-call]
        self._handle.display(widgets.VBox([self._html, self._button]))  # type: ignore[no-untyped-call]
        self._said = "starting"

    def stop(self) -> None:
        """The action of the button: interrupt the cell, once."""
        if not self._button.disabled:
            self.stopped = True
            self._button.description, self._button.disabled = "Stopping …", True
            _thread.interrupt_main()

    def freeze(self) -> None:
        self._button.disabled = True

    def begin(self, progress: Progress) -> None:
        self._draw(progress, self._glance.now)

    def show(self, progress: Progress) -> None:
        if self._glance.due:
            self._draw(progress, self._glance.look())

    def close(self, progress: Progress) -> None:
        self._draw(progress, self._glance.look(over=True))

    def end(self, status: str) -> None:
        """Replace the widgets, which a saved notebook cannot show, by their last content as plain HTML."""
        last = {
            "text/html": html(self._glance.now, f"{status}; {self._said}", 1.0),
            "text/plain": f"{self._run}: {status}",
        }
        self._handle.update(last, raw=True)  # type: ignore[no-untyped-call]
        self._button.close()
        self._html.close()

    def _draw(self, progress: Progress, now: Now) -> None:
        total = f" of {progress.seconds:.0f} s" if progress.seconds else " s"
        self._said = f"{progress.elapsed_s:.0f}{total}"
        shown = now if now.scenario in ("", progress.name) else Now()
        self._html.value = html(shown, self._said, progress.share or 0.0, progress.name)


def html(now: Now, said: str, share: float, scenario: str | None = None) -> Markup:
    """The panel's content."""
    charts = [
        _chart("requests/s", now.rates, RATE, now.failures),
        _chart("p95 response, ms", now.p95s_ms, TIME),
        *([_chart("memory of the target, MB", now.memories_mb, MEMORY)] if now.memory_mb is not None else []),
    ]
    return render(
        "live",
        now=now,
        said=said,
        share=share,
        scenario=scenario or now.scenario or "perflib",
        rate=number(round(now.rate_per_s, 1)) if now.seconds else "–",
        times=[("p50", now.p50_ms), ("p95", now.p95_ms), ("p99", now.p99_ms)],
        wrong=", ".join(f"{count:,} {name}" for name, count in now.errors_by_class),
        charts=charts,
        width=_WIDTH,
        height=_HEIGHT,
    )


def _chart(
    what: str, values: Sequence[float | None], colour: str, wrong: Sequence[float | None] = ()
) -> dict[str, Any]:
    """A line over the last two minutes from zero to its highest value, which its caption names."""
    highest = max((value for value in values if value is not None), default=0.0)
    lines = [(_points(values, highest), colour), *([(_points(wrong, highest), WRONG)] if any(wrong) else [])]
    return {"caption": f"{what}, at most {number(highest)}" if highest else what, "lines": lines}


def _points(values: Sequence[float | None], highest: float) -> str:
    step = _WIDTH / max(len(values) - 1, 30)
    return " ".join(
        f"{i * step:.1f},{_HEIGHT - 2 - (_HEIGHT - 5) * value / (highest or 1):.1f}"
        for i, value in enumerate(values)
        if value is not None
    )


def view(run: Path, *, show: bool) -> View:
    """The display of a run's progress: a panel in a notebook, lines under papermill, otherwise the terminal."""
    if not show:
        return Quiet()
    if not in_kernel():
        return terminal(run)
    if not somebody_looks():
        return Lines(sys.stdout)
    try:
        return Panel(run)
    except ImportError:  # no ipywidgets
        return Bar(run, sys.stderr)


def in_kernel() -> bool:
    """Whether this is a Jupyter kernel."""
    return _kernel() is not None


def somebody_looks() -> bool:
    """Whether a person can use the notebook: not under papermill, nbconvert and Voilà."""
    kernel = _kernel()
    return bool(kernel and kernel.get_parent().get("content", {}).get("allow_stdin"))


def shell() -> Any:
    """IPython's shell, in which the code of a notebook runs; None outside."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def _kernel() -> Any:
    return getattr(shell(), "kernel", None)
