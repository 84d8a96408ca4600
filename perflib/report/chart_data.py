"""What a chart draws, as the data from which a page's script (templates/perflib/charts.js) draws it again, to be read
and zoomed.

Charts over time, of percentiles and of both sides of a comparison have such data; all others are pictures. It is read
off the finished Figure, so that a chart's function draws once, and the picture and the page agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.text import Annotation
from matplotlib.transforms import Transform
from numpy.typing import NDArray

from perflib.charts.canvas import PERCENTILE, RESPONSE, SHIFTED, TIME

POINTS: Final = 240  # of a line; of a longer one the least and the greatest value of each stretch
SHADES: Final = 9  # of a density
_UNITS: Final = {"requests per second": "/s", "good answers per second": "/s", "errors per second": "/s"}


def chart_data(figure: Figure) -> str | None:
    """The chart as JSON; None for one that is a picture only.

    x, y: an axis with its `label`, the `unit` of its values, `from` and `to`, whether it is `log`arithmic, whether it
        is of `percentile`s, and those up to the median `even`ly
    xs: the places of points, which series refer to by number; series: lines and bars
    areas: outlines of what is filled; keys: what areas are
    cells: a density, by columns; spans, across, upright: marks right across the chart; texts: what marks are
    """
    if len(figure.axes) != 1:
        return None
    axes = figure.axes[0]
    if axes.get_xlabel() not in (TIME, PERCENTILE, SHIFTED, RESPONSE) or not axes.get_ylabel():
        return None
    xs: list[list[Any]] = []
    made = {
        "x": _axis(axes, "x"),
        "y": _axis(axes, "y"),
        "series": [_with_places(each, xs) for each in (*_lines(axes), *_steps(axes), *_bars(axes))],
        "xs": xs,
        "areas": [*_areas(axes)],
        "keys": [*_keys(axes)],
        "cells": next(_densities(axes), None),
        "spans": [*_spans(axes)],
        "across": [*_marks(axes, "y")],
        "upright": [*_marks(axes, "x")],
        "texts": [*_texts(axes)],
    }
    text = json.dumps({key: value for key, value in made.items() if value}, separators=(",", ":"), ensure_ascii=False)
    return text.replace("'", "\\u0027")  # in an attribute between single quotes, nothing of it need be escaped


def _axis(axes: Axes, which: str) -> dict[str, Any]:
    """An axis in words, with its range."""
    label = str(getattr(axes, f"get_{which}label")()).removesuffix(" (log)")
    what, _, unit = label.rpartition(", ")
    low, high = getattr(axes, f"get_{which}lim")()
    return {
        "label": label,
        "unit": unit if what else _UNITS.get(label, ""),
        "from": _plain([low])[0],
        "to": _plain([high])[0],
        **({"log": True} if getattr(axes, f"get_{which}scale")() == "log" else {}),
        **({"percentile": True} if label in (PERCENTILE, SHIFTED) else {}),
        **({"even": True} if label == SHIFTED else {}),
    }


def _runs(axes: Axes, artist: Any, along: str) -> bool:
    """Whether something is placed by this axis alone ("x", "y"), and runs right across the chart; or by both ("")."""
    return _placed(axes, artist.get_transform()) == along


def _placed(axes: Axes, transform: Transform) -> str | None:
    """Which axis places what has this transform: "x", "y", "" for both, None for neither."""
    by = {"": axes.transData, "x": axes.get_xaxis_transform(), "y": axes.get_yaxis_transform()}
    return next((which for which, each in by.items() if transform == each), None)


def _lines(axes: Axes) -> Iterator[dict[str, Any]]:
    for line in _artists(axes.lines):
        if _runs(axes, line, ""):
            x, y = _thinned(np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
            step, marks = line.get_drawstyle().startswith("steps"), line.get_marker() not in ("", "None", None)
            dashed, drawn = line.get_linestyle() in ("--", ":"), line.get_linestyle() != "None"
            yield _series(line, x, y, line=drawn, step=step, dashed=dashed, marks=marks)


def _marks(axes: Axes, along: str) -> Iterator[list[Any]]:
    """Lines right across the chart, as [where on this axis, colour]."""
    for line in _artists(axes.lines):
        if _runs(axes, line, along):
            yield [_plain(line.get_data()[along == "y"])[0], _colour(line)]


def _artists(drawn: Iterable[Any], kind: type = object) -> Iterator[Any]:
    """What is drawn of this class."""
    return (each for each in drawn if isinstance(each, kind))


def _steps(axes: Axes) -> Iterator[dict[str, Any]]:
    for patch in _artists(axes.patches, StepPatch):
        values, edges, _ = patch.get_data()
        if not patch.get_fill():
            points = _thinned((edges[:-1] + edges[1:]) / 2, np.asarray(values))
            yield _series(patch, *points, line=True, step=True, dashed=patch.get_linestyle() == "--")


def _bars(axes: Axes) -> Iterator[dict[str, Any]]:
    for bars in axes.containers:
        if isinstance(bars, BarContainer) and len(bars):
            x, base, height = np.array([(b.get_x() + b.get_width() / 2, b.get_y(), b.get_height()) for b in bars]).T
            width = _plain([bars[0].get_width()])[0]
            yield _series(bars[0], x, height, str(bars.get_label()), base=_plain(base), width=width)


def _series(artist: Any, x: NDArray[Any], y: NDArray[Any], label: str = "", **style: Any) -> dict[str, Any]:
    name = label or str(artist.get_label())
    shown = "" if name.startswith("_") else name.replace(r"\$", "$")
    about = {"name": shown, "colour": _colour(artist), "x": _plain(x), "y": _plain(y)}
    return about | {key: value for key, value in style.items() if value}


def _with_places(series: dict[str, Any], xs: list[list[Any]]) -> dict[str, Any]:
    """The series with the number of its places in `xs` instead of the places, which several have in common."""
    if series["x"] not in xs:
        xs.append(series["x"])
    return series | {"x": xs.index(series["x"])}


def _areas(axes: Axes) -> Iterator[dict[str, Any]]:
    for drawn in _artists(axes.collections, PolyCollection):
        shade = drawn.get_facecolor()[0]
        for path in drawn.get_paths():
            if len(path.vertices) > 3:
                x, y = (_plain(column) for column in np.asarray(path.vertices).T)
                yield {"colour": to_hex(shade), "alpha": round(float(shade[3]), 2), "x": x, "y": y}


def _keys(axes: Axes) -> Iterator[dict[str, str]]:
    for drawn in _artists(axes.collections, PolyCollection):
        if not str(drawn.get_label()).startswith("_"):
            yield {"name": str(drawn.get_label()), "colour": _colour(drawn)}


def _densities(axes: Axes) -> Iterator[dict[str, Any]]:
    """Columns as [number of the first row, a digit for each row: its shade, or 0 where it is empty]."""
    for mesh in _artists(axes.collections, QuadMesh):
        edges, counts = mesh.get_coordinates(), np.ma.filled(mesh.get_array().astype(float), 0.0)
        counts = np.nan_to_num(counts.reshape(edges.shape[0] - 1, edges.shape[1] - 1))
        shares = np.ma.filled(mesh.norm(np.maximum(counts, 1e-9)), 0.0).clip(0, 1)
        digits = np.where(counts > 0, 1 + (shares * (SHADES - 1)).round(), 0).astype(int)
        texts = ("".join(map(str, column)) for column in digits.T)
        columns = [[len(text) - len(text.lstrip("0")), text.strip("0")] for text in texts]
        shades = [to_hex(mesh.cmap(shade)) for shade in np.linspace(0, 1, SHADES)]
        yield {"x": _plain(edges[0, :, 0]), "y": _plain(edges[:, 0, 1]), "columns": columns, "shades": shades}


def _spans(axes: Axes) -> Iterator[list[Any]]:
    """Stretches of x as [from, to, colour, opacity]."""
    for patch in _artists(axes.patches, Rectangle):
        if _placed(axes, patch.get_data_transform()) == "x":
            low = patch.get_x()
            colour, alpha = _colour(patch), round(float(patch.get_facecolor()[3]), 2)
            yield [*_plain([low, low + patch.get_width()]), colour, alpha]


def _texts(axes: Axes) -> Iterator[dict[str, Any]]:
    """Texts beside marks: where on the axis that they mark, and how high where that is x, 0…1; or at a point."""
    for text in _artists(axes.texts):
        annotates = isinstance(text, Annotation)
        x, y = text.xy if annotates else text.get_position()
        where = text.xycoords if annotates else text.get_transform()
        along = "" if where == "data" else _placed(axes, where)
        said = {"text": text.get_text().replace(r"\$", "$").strip(), "colour": to_hex(text.get_color())}
        if along == "x":
            yield said | {"x": _plain([x])[0], "high": round(float(y), 3)}
        elif along == "y":
            yield said | {"y": _plain([y])[0]}
        elif along == "":
            yield said | {"x": _plain([x])[0], "y": _plain([y])[0]}


def _colour(artist: Any) -> str:
    if isinstance(artist, StepPatch):
        return str(to_hex(artist.get_edgecolor()))
    shade: Any = artist.get_color() if hasattr(artist, "get_color") else artist.get_facecolor()
    return str(to_hex(shade[0] if isinstance(artist, PolyCollection) else shade))


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most POINTS points: where there are more, the least and the greatest value of each stretch of them."""
    if len(x) <= POINTS:
        return x, y
    stretches = np.array_split(np.arange(len(x)), POINTS // 2)
    known = np.nan_to_num(y)
    kept = sorted({int(some[pick(known[some])]) for some in stretches for pick in (np.argmin, np.argmax)})
    return x[kept], y[kept]


def _plain(values: Iterable[float]) -> list[float | int | None]:
    """Numbers with six significant digits, as short as JSON has them; None where there is none."""
    rounded = (float(f"{float(value):.6g}") for value in values)
    return [None if not np.isfinite(value) else int(value) if value == int(value) else value for value in rounded]
