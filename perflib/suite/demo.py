"""`perflib.demo`: something to load, for a first try."""

from __future__ import annotations

import importlib.util

from perflib.errors import SuiteError, install
from perflib.suite.file import load_suite
from perflib.suite.model import Suite


def demo(
    *, rate_per_s: float = 100.0, duration_s: float = 10.0, error_rate: float = 0.0, latency_s: float = 0.0
) -> Suite:
    """A suite to try perflib on: a small service, which a run starts on this machine and stops again at its end.

    >>> made = perflib.run(perflib.demo(duration_s=1))
    >>> made.status
    'complete'
    >>> failing = perflib.demo(error_rate=0.05)     # the service answers 5 % of the requests with an error
    >>> slow = perflib.demo(latency_s=0.05)         # every answer takes 50 ms longer

    Raises SuiteError where the service is not installed.
    """
    if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
        raise SuiteError("the reference service is not installed", mend=install("service"))
    faults = {"ERROR_RATE": error_rate, "LATENCY_S": latency_s}
    return load_suite(
        "demo",
        overrides=[
            f"scenarios.browse.load.rate_per_s={float(rate_per_s)}",
            f"scenarios.browse.load.duration_s={float(duration_s)}",
            *(f'targets.service.env.PERFLIB_SERVE_{key}="{value:g}"' for key, value in faults.items() if value),
        ],
    )
