"""Charts within a page: pictures that need no other file, whose message is the alternative text; some with data."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

from matplotlib.figure import Figure

from perflib.report.chart_data import chart_data
from perflib.text.html import View

DPI, PRINTED_DPI = 120, 96  # of pictures on the screen, and of those that are seen in print alone
MANY: Final = 24  # pictures: for fewer it is not worth the second that it takes to start another process


def pictures(draws: Sequence[Callable[[], Figure]]) -> list[View]:
    """Charts as images; of many, another process makes those in front while this one makes those at the end."""
    if len(draws) < MANY or not _has_room_for_another():
        return [picture(draw()) for draw in draws]
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        figures, asked = [], []
        for draw in draws:
            figures.append(draw())
            asked.append(other.submit(picture, figures[-1]))
        made = [
            # What it has not begun, or could not do, such as a figure of the user's that cannot be sent to it.
            picture(figure) if one.cancel() or one.exception() else one.result()
            for figure, one in zip(reversed(figures), reversed(asked), strict=True)
        ]
    return made[::-1]


def _has_room_for_another() -> bool:
    """Whether another process can run beside this one; where this one runs a script, it would execute it again."""
    return (os.cpu_count() or 1) > 1 and getattr(sys.modules["__main__"], "__file__", None) is None


def picture(figure: Figure) -> View:
    """A chart as an image, in CSS pixels as wide as it is printed, with its data where a page can draw it again."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    small = io.BytesIO()
    points = chart_data(figure)
    figure.set_dpi(PRINTED_DPI if points else DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert(
        "RGB"
    )
    # A chart has few colours: a palette makes it a third of the size.
    drawn.quantize(48, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, "png", compress_level=8)
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    data = base64.b64encode(small.getvalue()).decode()
    return View("picture", alt=str(figure.get_label()), width=width, height=height, data=data, points=points)
