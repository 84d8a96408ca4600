"""The controls of an explorer, as widgets: run, scenario, operation, time window, band of percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perflib.explorer import Explorer

SHARES: Final = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_TABLE: Final = (
    "<style>.perflib-slow{font:12px system-ui,sans-serif;color:var(--jp-ui-font-color1,inherit);overflow-x:auto}"
    ".perflib-slow table{border-collapse:collapse;font-variant-numeric:tabular-nums}.perflib-slow th,.perflib-slow td"
    "{padding:2px 10px 2px 0;text-align:right;border-bottom:1px solid rgba(128,128,128,.25)}</style>"
)


def controls(explored: Explorer) -> Any:
    """A box of controls; every change redraws the charts and the table below them."""
    return _Controls(explored).box


class _Controls:
    def __init__(self, explored: Explorer) -> None:
        import ipywidgets as widgets

        self._explored, self._quiet = explored, False
        wide, style = widgets.Layout(width="420px"), {"description_width": "90px"}
        self.run = widgets.Dropdown(
            options=explored.others(), value=explored.run.id, description="run", layout=wide, style=style
        )
        self.scenario = widgets.Dropdown(description="scenario", layout=wide, style=style)
        self.operation = widgets.Dropdown(description="operation", layout=wide, style=style)
        self.window = widgets.FloatRangeSlider(
            description="time, s",
            continuous_update=False,
            layout=widgets.Layout(width="640px"),
            style=style,
            readout_format=".1f",
            max=1e9,
        )
        self.band = widgets.SelectionRangeSlider(
            options=[(f"{share:g} %", share) for share in SHARES], description="percentiles", continuous_update=False, layout=widgets.Layout(width="640px"), style=style,
        )  # fmt: skip
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", width="990px"))
        self.slow = widgets.HTML()
        self._offer()
        for control, heard in ((self.run, self._other_run), (self.scenario, self._other_scenario), (self.operation, self._changed), (self.window, self._changed), (self.band, self._changed)):  # fmt: skip
            control.observe(heard, "value")
        choices = widgets.HBox([self.run, self.scenario, self.operation], layout=widgets.Layout(flex_flow="row wrap"))
        self.box = widgets.VBox([choices, self.window, self.band, self.picture, self.slow])
        self._show()

    def _offer(self) -> None:
        """Offer what the run has, with what is chosen."""
        explored = self._explored
        self._quiet = True
        low, high = explored.window_s
        self.scenario.options = [entry["name"] for entry in explored.run.scenarios]
        self.scenario.value = explored.scenario
        self.operation.options = [("all", None), *((name, name) for name in explored.operations)]
        self.operation.value = explored.operation
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
        self._explored.choose(operation=self.operation.value, window_s=self.window.value, band=(low, high))
        self._show()

    def _show(self) -> None:
        self.picture.value = self._explored.png()
        self.slow.value = f'{_TABLE}<div class="perflib-slow">{self._explored.table()}</div>'
