"""Tries a suite: each operation of its scenarios is sent once, in order, and what was sent and answered is shown.

for sent in try_suite(suite): sent.operation, sent.error, sent.sample.request, sent.sample.body
"""

from __future__ import annotations

import tempfile
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator.once import Sent
from perflib.load.preflight import check
from perflib.load.progress import Quiet
from perflib.load.session import Session
from perflib.load.set_up import try_out
from perflib.suite.model import Scenario, Suite


def try_suite(suite: Suite) -> list[Sent]:
    """Start the targets and send each operation once: those of a scenario by one user, in the order of a run.

    Nothing of it is stored. Raises SuiteError; and TargetError where a target does not start or answer.
    """
    check(suite)
    with tempfile.TemporaryDirectory(prefix="perflib-try-") as folder:
        session = _Trying(suite, folder)
        try:
            session.go()
        finally:
            session.end()
        if session.manifest.status == "invalid" and not any(sent.error for sent in session.sent):
            raise TargetError("; ".join(session.manifest.reasons))
        return session.sent


class _Trying(Session):
    """A session that sends each operation once instead of a load."""

    def __init__(self, suite: Suite, folder: str) -> None:
        super().__init__(suite, folder, "perflib try", False, lambda _: Quiet(), lambda _scenario, _folder: [])
        self.sent: list[Sent] = []

    def _note_sent(self, sent: list[Sent]) -> None:
        self.sent += sent

    def _load(self, scenarios: list[Scenario], values: list[dict[str, Any]]) -> None:
        for scenario, own in zip(scenarios, values, strict=True):
            try_out(self._jobs(scenario, own)[0], self._note_sent)
