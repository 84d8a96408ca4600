"""Where a target's own metrics are read while it is under load: `gauges` of a target.

gauges = "/metrics"                                   a path of the target's URL
gauges = ["/metrics", "http://127.0.0.1:9187/metrics"]
gauges = { url = "/metrics", every_s = 5, only = ["db_*"], headers = { Authorization = "Bearer ${TOKEN}" } }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from perflib.suite.fields import CONFIG, Seq
from perflib.suite.messages import in_one_line


@in_one_line("gauges")
@dataclass(frozen=True, config=CONFIG)
class GaugeSource:
    """A page of numbers that the target, or what it depends on, reports about itself."""

    url: Annotated[str, Field(pattern=r"^(/|https?://)[^\s]*$")]  # path of the target's URL, or a URL of its own
    every_s: Annotated[float, Field(ge=0.1)] = 1.0  # seconds from one reading to the next
    only: Seq[str] = ()  # names to keep, with `*` for any letters; default: all, at most 5,000 series
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers of the request; `${NAME}` for secrets


def _sources(value: Any) -> Any:
    """One source or several, each a table, or a text that is its `url`."""
    several = value if isinstance(value, list | tuple) else (value,)
    return tuple({"url": each} if isinstance(each, str) else each for each in several)


Gauges = Annotated[tuple[GaugeSource, ...], BeforeValidator(_sources)]
