"""The operations as plain functions, called on one service in this process: for callable targets.

Its options come from the environment variable PERFLIB_SERVICE_OPTIONS, as JSON.
"""

from __future__ import annotations

import atexit
import functools
from typing import Any

from perflib.service.core import Service
from perflib.service.options import Options


@functools.cache
def service() -> Service:
    """The service of this process, created on first use and closed at exit."""
    created = Service(Options.from_environment())
    atexit.register(created.close)
    return created


def ping() -> dict[str, Any]:
    return call("ping")


def validate_file(path: str) -> dict[str, Any]:
    return call("validate_file", path=path)


def validate_content(text: str) -> dict[str, Any]:
    return call("validate_content", text=text)


def call(operation: str, **arguments: Any) -> dict[str, Any]:
    """Any operation by name. Raises ServiceError."""
    return service().call("direct", operation, arguments)  # type: ignore[no-any-return]
