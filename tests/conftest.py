"""Fixtures: a reference service in a process of its own, suites as tables, a small finished run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.load import validity
from perflib.suite import redaction
from perflib.suite.file import from_table
from tests.support.service import Server, start_service
from tests.support.suites import table

# What a shell starts in the background ignores interrupts, and so would every process that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


LIMITS = {limit: getattr(validity, limit) for limit in ("LATE_MS", "PAUSE_MS", "BUSY_SHARE")}


@pytest.fixture(scope="session", autouse=True)
def _any_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test is of the code, not of how busy this machine is, nor of the runs of other tests on it; who tests the
    limits asks for `real_limits`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        for limit in LIMITS:
            patch.setattr(validity, limit, 1e9)
        yield


@pytest.fixture
def real_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in LIMITS.items():
        monkeypatch.setattr(validity, limit, value)


@pytest.fixture
def make_service() -> Iterator[Any]:
    """make_service("--error-rate", "0.1"): a service that is stopped at the end of the test."""
    made: list[Server] = []

    def make(*options: str) -> Server:
        made.append(start_service(*options))
        return made[-1]

    yield make
    for server in made:
        server.process.terminate()
        server.process.wait(10)


@pytest.fixture(scope="session")
def service() -> Iterator[Server]:
    """One service for the tests that do not count its requests."""
    server = start_service()
    yield server
    server.process.terminate()
    server.process.wait(10)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, service: Server) -> perflib.Run:
    """A finished run with two scenarios, errors, prepared data and samples of its target."""
    made = table(
        name="queries",
        warmup={"duration_s": 0.5},
        load={"model": "poisson", "rate_per_s": 100, "duration_s": 2},
        operations=[
            {"name": "stats", "path": "/stats", "weight": 2},
            {"name": "missing", "path": "/validations/999999"},
        ],
        objectives=["p95 response < 500 ms", "missing: error rate < 1 %", "memory growth < 50 MB"],
    )
    made["targets"]["api"] = {"kind": "http", "url": service.url, "pids": [service.process.pid]}
    made["scenarios"].append(
        {
            "name": "validations",
            "target": "api",
            "load": {"model": "closed", "concurrency": 4, "requests": 80},
            "figures": ["throughput"],
            "operations": [{"name": "validate", "method": "POST", "path": "/validate", "json": {"text": "# Hello"}}],
            "objectives": ["inflight >= 4"],
        }
    )
    return perflib.run(from_table(made), data=tmp_path_factory.mktemp("small"), progress=False)


@pytest.fixture(autouse=True)
def _own_secrets() -> None:
    """What one test takes for a secret may be an ordinary word of the next."""
    redaction.forget()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own, so that nothing is left in the checkout."""
    monkeypatch.chdir(tmp_path)
