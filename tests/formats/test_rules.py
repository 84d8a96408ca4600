"""Rules for Prometheus and a dashboard from a suite's objectives, tried with Prometheus' own promtool."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perflib.errors import SuiteError
from perflib.formats.grafana import dashboard
from perflib.formats.production import Names, Selector, names_of
from perflib.formats.rules import rule_tests, rules
from perflib.suite.file import from_table
from perflib.suite.model import Suite
from tests.support.command_line import invoke
from tests.support.suites import table

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
OBJECTIVES = [
    "p99 response < 250 ms", "ping: p95 response < 300 ms", "p50 response < 100 ms", "error rate < 1 %",
    "success >= 99.9 %", "mean response < 80 ms", "throughput >= 10 /s", "memory growth < 50 MB",
    "max db_pool_in_use < 90", 'rate errors_total{kind="db"} < 1 /s', "p99 query_seconds < 50 ms",
]  # fmt: skip
THEIRS = names_of(
    "http_requests_total", 'http_requests_total{status=~"5.."}', "http_request_duration_seconds",
    ["suite=", "scenario=service", "operation=route"], ['env="prod"'], "0.1,0.25,1",
)  # fmt: skip


@pytest.fixture
def suite() -> Suite:
    made = table(objectives=OBJECTIVES, description='"quoted" {{ .Template }}')
    made["name"] = 'shop "x" {{ $value }}'
    made["targets"]["api"]["gauges"] = "/metrics"
    return from_table(made)


def _promtool(*arguments: str, folder: Path) -> str:
    """What it has to complain about; "" if nothing."""
    done = subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_budgets_burn_over_two_windows(suite: Suite) -> None:
    text = rules(suite, Names())
    content = yaml.safe_load(text)
    found = {r["alert"]: r for g in content["groups"] for r in g["rules"] if "alert" in r}
    fast = found["OneP99ResponseBurnsFast"]
    assert fast["expr"].count("> 0.144") == 2 and "rate1h" in fast["expr"] and "rate5m" in fast["expr"]
    assert fast["labels"]["severity"] == "page" and found["OneP99ResponseBurnsSlowly"]["labels"]["severity"] == "ticket"
    assert "OneP50ResponseBurnsFast" not in found, "half of the requests cannot be missed 14.4 times"
    assert 'le=~"0[.]25"' in text and 'operation="ping"' in text
    assert found["OneMaxDbPoolInUseMissed"]["expr"] == "max(max_over_time(db_pool_in_use[5m])) >= 90"
    assert found["OneP99QuerySecondsMissed"]["expr"].endswith(">= 0.05")
    assert "# Not translated: one: throughput" in text and "# Not translated: one: memory growth" in text
    texts = [text for rule in found.values() for text in (*rule["labels"].values(), *rule["annotations"].values())]
    assert "{{" not in "".join(texts), "nothing in a suite is a template of Prometheus"


@promtool
@pytest.mark.parametrize("names", [Names(), THEIRS], ids=["ours", "theirs"])
def test_promtool_takes_the_rules_and_each_alert_fires_when_it_must(suite: Suite, names: Names, tmp_path: Path) -> None:
    (tmp_path / "s.rules.yml").write_text(rules(suite, names))
    (tmp_path / "s.tests.yml").write_text(rule_tests(suite, names, "s.rules.yml"))
    for command in (("check", "rules", "s.rules.yml"), ("test", "rules", "s.tests.yml")):
        assert _promtool(*command, folder=tmp_path) == ""
    assert "BurnsFast" in (tmp_path / "s.tests.yml").read_text()
    turned = (tmp_path / "s.rules.yml").read_text().replace("> 0.144", "> 2")
    (tmp_path / "s.rules.yml").write_text(turned)
    assert _promtool("test", "rules", "s.tests.yml", folder=tmp_path), "the tests notice a rule that does not fire"


@promtool
@pytest.mark.parametrize("names", [Names(), THEIRS], ids=["ours", "theirs"])
def test_each_query_of_the_dashboard_is_one(suite: Suite, names: Names, tmp_path: Path) -> None:
    content = json.loads(dashboard(suite, names))
    queries = [target["expr"] for panel in content["panels"] for target in panel["targets"]]
    queries += [each["expr"] for each in content["annotations"]["list"]]
    listed = [
        {"record": f"q{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(queries)
    ]
    (tmp_path / "q.yml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": listed}]}))
    assert _promtool("check", "rules", "q.yml", folder=tmp_path) == ""


def test_the_dashboard_is_what_grafana_imports(suite: Suite) -> None:
    content = json.loads(dashboard(suite, Names()))
    assert content["title"] == suite.name and content["schemaVersion"] >= 36 and "uid" not in content
    titles = [panel["title"] for panel in content["panels"]]
    assert {"Requests per second", "p99 response", "Offered and achieved per second", "max db_pool_in_use"} <= set(
        titles
    )
    assert len({panel["id"] for panel in content["panels"]}) == len(titles)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in content["panels"]}
    assert len(places) == len(titles), "no panel lies on another"
    (p99,) = (panel for panel in content["panels"] if panel["title"] == "p99 response")
    assert p99["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == 0.25
    assert all(each["datasource"]["uid"] == "${datasource}" for panel in content["panels"] for each in panel["targets"])
    assert "Requests in flight" not in [p["title"] for p in json.loads(dashboard(suite, THEIRS))["panels"]]


@pytest.mark.parametrize("names", [Names(), THEIRS], ids=["ours", "theirs"])
def test_grafanas_own_classes_know_all_of_the_dashboard(suite: Suite, names: Names) -> None:
    """They are generated from its schema, and drop what is not in it."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    content = json.loads(dashboard(suite, names))
    known = json.loads(JSONEncoder().encode(models.Dashboard.from_json(content)))
    of_the_source = {"/annotations/list/0/step", "/annotations/list/0/titleFormat"}
    assert set(_changed(content, known)) == of_the_source
    assert [each["options"] for each in known["panels"]] == [each["options"] for each in content["panels"]]


def _changed(written: Any, known: Any, path: str = "") -> Iterator[str]:
    """Where something was written that is not known."""
    if isinstance(written, dict) and isinstance(known, dict):
        for key, value in written.items():
            if key in known:
                yield from _changed(value, known[key], f"{path}/{key}")
            elif value is not None:
                yield f"{path}/{key}"
    elif isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        for number, (one, other) in enumerate(zip(written, known, strict=True)):
            yield from _changed(one, other, f"{path}/{number}")
    elif written != known:
        yield path


def test_the_command_writes_all_three(tmp_path: Path) -> None:
    done = invoke("rules", "acceptance", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["acceptance.dashboard.json", "acceptance.rules.yml", "acceptance.tests.yml"]
    assert json.loads(invoke("rules", "acceptance", "--grafana").output)["title"] == "acceptance"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--requests", "a b"), "is no metric"),
        (("--where", "env=prod"), "is no metric"),
        (("--label", "host=node"), "cannot read 'host=node'"),
        (("--buckets", "a,b"), "cannot read 'a,b'"),
    ],
)
def test_a_mapping_that_cannot_be_is_one_line(options: tuple[str, str], why: str) -> None:
    said = invoke("rules", "acceptance", *options).exception
    assert isinstance(said, SuiteError) and why in str(said)


def test_objectives_that_are_no_alert_are_said() -> None:
    with pytest.raises(SuiteError, match="no objective can be an alert"):
        rules(from_table(table(objectives=["throughput >= 1 /s"])), Names())
    fine = from_table(table(objectives=["p99 response < 0.5 ms", "error rate < 1 %"]))
    assert "# Not translated: one: p99 response < 0.5 ms: no bucket ends at or below" in rules(fine, Names())
    assert str(Selector.parse('a{b="c",d!~"e.*"}', "x")) == 'a{b="c",d!~"e.*"}'
