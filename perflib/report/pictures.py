"""Charts as pictures within a page: they need no other file, and their message is the alternative text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any, Final

from matplotlib.figure import Figure

from perflib.text.html import View

DPI: Final = 120


def picture(draw: Callable[[], Figure]) -> View:
    """A chart as an image, in CSS pixels as wide as it is printed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, small = draw(), io.BytesIO()
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert(
        "RGB"
    )
    # A chart has few colours: a palette makes it a third of the size.
    drawn.quantize(48, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, "png", compress_level=8)
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    data = base64.b64encode(small.getvalue()).decode()
    return View("picture", alt=str(figure.get_label()), width=width, height=height, data=data)
