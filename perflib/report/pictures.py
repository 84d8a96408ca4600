"""Charts within a page: pictures that need no other file, whose message is the alternative text; some with data."""

from __future__ import annotations

import base64
import io
from typing import Any

from matplotlib.figure import Figure

from perflib.report.chart_data import chart_data
from perflib.text.html import View

DPI, PRINTED_DPI = 120, 96  # of pictures on the screen, and of those that are seen in print alone


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
