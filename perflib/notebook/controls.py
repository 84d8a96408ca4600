"""The controls of an explorer, as widgets: run, scenario, operation, time window, band of percentiles.

With ipympl installed, the charts can be brushed: dragging over time sets the window, dragging or clicking on the
percentile curve sets the band, and the tool bar zooms. Without it the charts are pictures, and sliders set both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from perflib.errors import PerflibError, install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perflib.verdicts.run import Run

SIZE: Final = (11.0, 6.0)  # inches
_DPI: Final = 76  # so that the charts fit beside JupyterLab's side bar
_CLICK: Final = 4  # pixels; a shorter move is a click
SHARES: Final = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_TABLE: Final = (
    "<style>.perflib-slow{font:12px system-ui,sans-serif;color:var(--jp-ui-font-color1,inherit);overflow-x:auto}"
    ".perflib-slow table{border-collapse:collapse;font-variant-numeric:tabular-nums}.perflib-slow th,.perflib-slow td"
    "{padding:2px 10px 2px 0;text-align:right;border-bottom:1px solid rgba(128,128,128,.25)}</style>"
)


class Explored(Protocol):
    """The interface of an `Explorer`, as the controls use it."""

    run: Run
    scenario: str
    operation: str | None
    window_s: tuple[float, float]
    band: tuple[float, float]
    metric: str | None

    @property
    def operations(self) -> list[str]: ...

    @property
    def metrics(self) -> list[str]: ...

    @property
    def seconds(self) -> float: ...

    def choose(
        self,
        *,
        scenario: str | None = None,
        operation: str | None = None,
        window_s: tuple[float, float] | None = None,
        band: tuple[float, float] = (99.0, 100.0),
        metric: str | None = None,
    ) -> Any: ...

    def draw(self, figure: Figure) -> Figure: ...

    def open_other(self, run_id: str) -> None: ...

    def others(self) -> list[str]: ...

    def png(self) -> bytes: ...

    def table(self, most: int = 20) -> str: ...


def widgets_module() -> Any:
    """The module ipywidgets. Raises PerflibError if it is not installed."""
    try:
        import ipywidgets
    except ImportError:
        raise PerflibError("controls in a notebook need ipywidgets", mend=install("lab")) from None
    return ipywidgets


def controls(explored: Explored) -> Any:
    """A box of controls; every change redraws the charts and the table below them."""
    return _Controls(explored).box


class _Picture:
    """The charts as a picture."""

    def __init__(self, explored: Explored) -> None:
        widgets = widgets_module()
        self._explored = explored
        self.widget = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", width="990px"))

    def show(self) -> None:
        self.widget.value = self._explored.png()


class _Brushed:
    """The charts as a canvas. Callbacks receive the brushed window in seconds, or the band in values of SHARES."""

    def __init__(
        self, explored: Explored, window: Callable[[float, float], None], band: Callable[[float, float], None]
    ) -> None:
        from ipympl.backend_nbagg import new_figure_manager_given_figure
        from matplotlib.figure import Figure

        self._explored, self._window, self._band = explored, window, band
        self._figure = Figure(figsize=SIZE, dpi=_DPI)
        self._brushes: list[Any] = []
        self._pressed_at = 0.0
        self.widget = new_figure_manager_given_figure(0, self._figure).canvas
        self.widget.header_visible = self.widget.footer_visible = self.widget.resizable = False
        self.widget.mpl_connect("button_press_event", self._press)
        self.widget.mpl_connect("button_release_event", self._release)

    def show(self) -> None:
        for brush in self._brushes:
            brush.disconnect_events()
        over_time, curve, rate, memory = self._explored.draw(self._figure).axes
        self._curve = curve
        self._brushes = [self._brush(axes, self._window) for axes in (over_time, rate, memory)]
        self._brushes.append(self._brush(curve, lambda low, high: self._band(_share(low), _share(high))))
        self.widget.draw_idle()

    def _brush(self, axes: Axes, callback: Callable[[float, float], None]) -> Any:
        from matplotlib.widgets import SpanSelector

        return SpanSelector(
            axes, callback, "horizontal", useblit=True, minspan=1e-9, props={"alpha": 0.25, "facecolor": "#777777"}
        )

    def _press(self, event: Any) -> None:
        self._pressed_at = event.x

    def _release(self, event: Any) -> None:
        """A click on the curve selects the band that contains it."""
        if event.inaxes is self._curve and abs(event.x - self._pressed_at) < _CLICK:
            self._band(_share(event.xdata), _share(event.xdata))


def _share(nines: float) -> float:
    """The percentage of requests at a position on the axis of the percentile curve."""
    return 100 * (1 - 10 ** -max(nines, 0.0))


def _band(low: float, high: float) -> tuple[float, float]:
    """The smallest range of SHARES that contains both."""
    below = max(share for share in SHARES[:-1] if share <= low)
    above = min(share for share in SHARES if share >= high and share > below)
    return below, above


class _Controls:
    def __init__(self, explored: Explored) -> None:
        widgets = widgets_module()
        self._explored, self._quiet = explored, False
        wide, style = widgets.Layout(width="420px"), {"description_width": "90px"}
        self.run = widgets.Dropdown(
            options=explored.others(), value=explored.run.id, description="run", layout=wide, style=style
        )
        self.scenario = widgets.Dropdown(description="scenario", layout=wide, style=style)
        self.operation = widgets.Dropdown(description="operation", layout=wide, style=style)
        self.metric = widgets.Dropdown(description="target's", layout=wide, style=style)
        self.window = widgets.FloatRangeSlider(
            description="time, s",
            continuous_update=False,
            layout=widgets.Layout(width="640px"),
            style=style,
            readout_format=".1f",
            max=1e9,
        )
        self.band = widgets.SelectionRangeSlider(
            options=[(f"{share:g} %", share) for share in SHARES],
            description="percentiles",
            continuous_update=False,
            layout=widgets.Layout(width="640px"),
            style=style,
        )
        self.whole = widgets.Button(description="all of the time", tooltip="Show the whole scenario again")
        self.whole.on_click(lambda _: self._brush(0.0, self.window.max))
        self.charts = self._charts()
        self.slow = widgets.HTML()
        self._offer()
        for control, heard in (
            (self.run, self._other_run),
            (self.scenario, self._other_scenario),
            (self.operation, self._changed),
            (self.metric, self._changed),
            (self.window, self._changed),
            (self.band, self._changed),
        ):
            control.observe(heard, "value")
        choices = widgets.HBox(
            [self.run, self.scenario, self.operation, self.metric], layout=widgets.Layout(flex_flow="row wrap")
        )
        time = widgets.HBox([self.window, self.whole])
        self.box = widgets.VBox([choices, time, self.band, self.charts.widget, self.slow])
        self._show()

    def _charts(self) -> _Picture | _Brushed:
        try:
            return _Brushed(self._explored, self._brush, self._choose_band)
        except ImportError:
            return _Picture(self._explored)

    def _brush(self, low: float, high: float) -> None:
        self.window.value = (max(low, 0.0), min(high, self.window.max))

    def _choose_band(self, low: float, high: float) -> None:
        self.band.value = _band(low, high)

    def _offer(self) -> None:
        """Show the options that the run has, and the present selection."""
        explored = self._explored
        self._quiet = True
        low, high = explored.window_s
        self.scenario.options = [entry.name for entry in explored.run.scenarios]
        self.scenario.value = explored.scenario
        self.operation.options = [("all operations", ""), *((name, name) for name in explored.operations)]
        self.operation.value = explored.operation or ""
        self.metric.options = [("memory", ""), *((name, name) for name in explored.metrics)]
        self.metric.value = explored.metric or ""
        self.window.min, self.window.max = 0, round(explored.seconds, 3)
        self.window.step = max(round(explored.seconds / 500, 3), 0.001)
        self.window.value = (low, high)
        self.band.value = tuple(min(SHARES, key=lambda share: abs(share - edge)) for edge in explored.band)
        self._quiet = False

    def _other_run(self, change: dict[str, Any]) -> None:
        self._explored.open_other(change["new"])
        self._offer()
        self._show()

    def _other_scenario(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self._explored.choose(scenario=change["new"], band=self.band.value)
            self._offer()
            self._show()

    def _changed(self, change: dict[str, Any]) -> None:
        low, high = self.band.value
        if self._quiet or low == high or self.window.value[0] == self.window.value[1]:
            return
        self._explored.choose(
            operation=self.operation.value or None,
            window_s=self.window.value,
            band=(low, high),
            metric=self.metric.value or None,
        )
        self._show()

    def _show(self) -> None:
        self.charts.show()
        self.slow.value = f'{_TABLE}<div class="perflib-slow">{self._explored.table()}</div>'
