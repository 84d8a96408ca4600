"""run.json: an older run opens as it was, what is no run is one clear line, and one bad folder hides no other run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perflib
from perflib.cli import cli
from perflib.errors import RunError
from perflib.store.manifest import SCHEMA, read_manifest, write_manifest
from tests.support.written import latencies, written

FIXTURES = Path(__file__).parents[1] / "fixtures"


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if isinstance(result.exception, RunError):
        return 2, str(result.exception)
    assert result.exception is None, result.exception
    return int(result.return_value or 0), result.output


@pytest.fixture
def old(tmp_path: Path) -> perflib.Run:
    """A run that was written before the manifest was typed (schema 1)."""
    shutil.copytree(FIXTURES / "schema-1", tmp_path / "data" / "runs" / "20261130-060344-shop")
    return perflib.open_run("latest", tmp_path / "data")


def test_an_older_run_shows_what_it_showed(old: perflib.Run) -> None:
    """But for what was defined anew since: throughput, and percentiles that are judged by shares."""
    expected = json.loads((FIXTURES / "schema-1.json").read_text())
    for before, now in zip(expected["objectives"], (v.as_dict() for v in old.verdicts()), strict=True):
        assert {key: now[key] for key in before} == pytest.approx(before, nan_ok=True)
    for before, now in zip(expected["scenarios"], old.summary()["scenarios"], strict=True):
        assert {key: now[key] for key in ("name", "requests", "errors")} == {
            key: before[key] for key in ("name", "requests", "errors")
        }
        assert now["response_ms"] == pytest.approx(before["response_ms"])


def test_an_older_run_is_read_as_today_s_schema_and_keeps_what_it_holds(old: perflib.Run) -> None:
    before = json.loads((old.path / "run.json").read_text())
    assert before["schema"] == 1 and old.manifest.schema_version == SCHEMA
    write_manifest(old.path, old.manifest)
    after = json.loads((old.path / "run.json").read_text())
    assert after["schema"] == SCHEMA
    for key in before.keys() - {"schema", "scenarios", "targets"}:
        assert after[key] == before[key], key
    assert old.suite.scenarios[0].load.model == "closed"
    assert old.suite.targets["api"].headers["Authorization"] == "Bearer ${API_TOKEN}"


def test_an_older_run_is_compared_with_a_run_of_today(old: perflib.Run) -> None:
    write_manifest(old.path, old.manifest)
    compared = perflib.compare(old, perflib.Run(FIXTURES / "schema-1"))
    assert not [text for text in (*compared.doubts, *compared.notes) if text.startswith("different")]


BROKEN: dict[str, Any] = {
    "not JSON": "{",
    "no JSON object": "[]",
    "no schema version": "{}",
    "a newer schema": json.dumps({"schema": SCHEMA + 1}),
    "no suite": json.dumps({"schema": 1, "run": "x"}),
    "a status of its own": json.dumps({"schema": 1, "run": "x", "suite": {}, "status": "fine"}),
    "a path for its name": json.dumps({"schema": 1, "run": "../../etc/passwd", "suite": {}}),
    "files outside its folder": json.dumps(
        {"schema": 1, "run": "x", "suite": {}, "replacing": {"old": ["../../../x.parquet"], "new": []}}
    ),
    "a file that is no part": json.dumps(
        {"schema": 1, "run": "x", "suite": {}, "replacing": {"old": ["run.json"], "new": []}}
    ),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_run_is_one_line_and_hides_no_other_run(tmp_path: Path, content: str) -> None:
    good = written(tmp_path, latencies(50, 1))
    bad = tmp_path / "runs" / "20990101-000000-bad"
    bad.mkdir()
    (bad / "run.json").write_text(content)
    with pytest.raises(RunError) as error:
        perflib.open_run(bad)
    assert "\n" not in str(error.value) and "run.json" in str(error.value)
    code, text = said("runs", "--data", str(tmp_path))
    assert code == 0 and good.id in text
    code, text = said("history", "--data", str(tmp_path))
    assert code == 0


KEYS = ("schema", "run", "suite", "status", "scenarios", "targets", "events", "name", "t_ns", "replacing")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)
MANIFESTS = st.dictionaries(st.sampled_from(KEYS), JSON).map(
    lambda given: {"schema": 1, "run": "x", "suite": {}, **given}
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON | MANIFESTS)
def test_any_json_is_a_run_or_one_line(tmp_path: Path, content: Any) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    try:
        read_manifest(tmp_path)
    except RunError as error:
        assert "\n" not in str(error)
