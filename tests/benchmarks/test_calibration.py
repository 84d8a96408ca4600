"""The calibration runs, and refuses what it does not know."""

from __future__ import annotations

import pytest

from tests.benchmarks import calibration


def test_the_calibration_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    calibration.main(["usl", "leak", "changes", "--simulations", "8"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 5 for line in lines)
    assert any("0.0277285, 0.0001044" in line for line in lines)


def test_histories_and_means_are_judged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERFLIB_PUBLIC_DATA", raising=False)
    calibration.main(["history", "means", "public", "--simulations", "4"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 5 for line in lines)
    assert sum("a drift is named" in line for line in lines) == 2
    assert sum("Pareto" in line for line in lines) == 3


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit):
        calibration.main(["nothing"])
