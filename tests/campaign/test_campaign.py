"""The campaign's short form: nothing is lost, left or leaked by a few kills, pairs and limits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.campaign import parts
from tests.campaign.__main__ import campaign
from tests.campaign.parts import Line


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it needs /proc and signals")
def test_the_short_campaign_does_no_harm(tmp_path: Path) -> None:
    lines = campaign(tmp_path, short=True, minutes=1, seed=7)
    print(parts.table(lines))
    assert sum(line.trials for line in lines) >= 5
    assert parts.is_harmless(lines), [(line.what, line.harm) for line in lines]


def test_harm_is_seen() -> None:
    for harmed in (Line("a", 1, runs=1), Line("a", 1, orphans=1), Line("a", 1, harm=["x"]), Line("a", 1, rows_lost=1)):
        assert not parts.is_harmless([harmed])
    assert parts.is_harmless([Line("a", 1, runs=1, opened=1, lost_s=0.4)])
    assert parts.table([Line("a", 2, 3, 3, lost_s=0.41)]).splitlines()[-1] == "| a | 2 | 0.41 s | 3 of 3 | 0 | 0 |"
