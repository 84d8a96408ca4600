"""The example in the docstring of every public name does what it says: they share one tiny run."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
from perflib import stats

PUBLIC = [name for name in perflib.__all__ if name not in ("charts", "stats")]  # those are modules
SHOP = """
name = "shop"
[targets.api]
kind = "callable"
function = "time:sleep"
[[scenarios]]
name = "browse"
target = "api"
operations = [{ name = "list", args = [0.001] }, { name = "buy", args = [0.002] }]
load = { model = "poisson", rate_per_s = 200, duration_s = 1 }
quick = { duration_s = 0.2 }
warmup = { duration_s = 0 }
objectives = ["p95 response < 2 s", "error rate < 5 %"]
"""


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example(name: str) -> None:
    assert _examples(name), f"perflib.{name}? shows no example"


def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(SHOP)
    suite = perflib.load_suite("shop.toml")
    given = {"perflib": perflib, "suite": suite, "run": perflib.run(suite, progress=False)}
    failed = {name: said for name in PUBLIC if (said := _said(name, given))}
    assert not failed, "\n".join(failed.values())


def test_the_examples_of_the_statistics_do_what_they_say() -> None:
    given = {"np": np, "stats": stats, "times_ms": np.random.default_rng(0).gamma(4, 5, 2000)}
    with_examples = [name for name in stats.__all__ if _examples(name, stats)]
    failed = {name: said for name in with_examples if (said := _said(name, given, stats))}
    assert not failed, "\n".join(failed.values())
    assert len(with_examples) >= 12


def _examples(name: str, module: Any = perflib) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(getattr(module, name)) or "")


def _said(name: str, given: dict[str, Any], module: Any = perflib) -> str:
    """What differs from what the example says; "" if nothing."""
    names = {each: getattr(perflib, each) for each in PUBLIC}
    test = doctest.DocTest(_examples(name, module), {**names, **given}, name, None, None, None)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    return "".join(said)
