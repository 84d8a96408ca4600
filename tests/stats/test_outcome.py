"""An outcome is a word with an order, a sign and an exit code."""

from __future__ import annotations

import json
import pickle

import pytest

from perflib import errors
from perflib.stats import Outcome


def test_an_outcome_is_its_word() -> None:
    assert Outcome.PASS == "pass"
    assert f"{Outcome.FAIL}" == "fail" == str(Outcome.FAIL)
    assert json.dumps({Outcome.PASS: Outcome.SHOWN}) == '{"pass": "shown"}'
    assert {"pass": 1}[Outcome.PASS] == 1
    assert pickle.loads(pickle.dumps(Outcome.INVALID)) is Outcome.INVALID
    with pytest.raises(ValueError, match="maybe"):
        Outcome("maybe")


def test_each_outcome_has_a_sign_and_an_exit_code() -> None:
    assert {str(o): (o.sign, o.exit_code) for o in Outcome} == {
        "pass": ("✓", errors.EXIT_PASS),
        "fail": ("✗", errors.EXIT_FAIL),
        "inconclusive": ("?", errors.EXIT_INCONCLUSIVE),
        "worse": ("▲", errors.EXIT_INCONCLUSIVE),
        "invalid": ("!", errors.EXIT_INVALID),
        "shown": ("·", errors.EXIT_PASS),
    }


def test_the_worst_of_several_outcomes_decides() -> None:
    by_rank = sorted(Outcome, key=lambda outcome: outcome.rank)
    assert by_rank == ["shown", "pass", "inconclusive", "worse", "fail", "invalid"]
    assert Outcome.worst(["pass", Outcome.FAIL, "inconclusive"]) is Outcome.FAIL
    assert Outcome.worst(["shown", "pass"]) is Outcome.PASS
    assert Outcome.worst([]) is Outcome.SHOWN
    with pytest.raises(ValueError, match="maybe"):
        Outcome.worst(["maybe"])
