"""The overhead ladder and the churn of sessions on the reference service: real servers over every transport, both
clients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import perflib
from perflib.metrics import overhead
from perflib.report.render import page
from tests.support.suites import suite


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    overrides = ["scenarios.mcp_overhead.load.requests=360"]
    return perflib.run("overhead", data=tmp_path_factory.mktemp("ladder"), overrides=overrides, progress=False)


def test_every_way_gives_the_same_answer_in_every_round(climbed: perflib.Run) -> None:
    rows = climbed.rows(phase=None)
    assert climbed.status == "complete", climbed.manifest.reasons
    assert rows["ok"].all()
    assert rows.groupby("operation", observed=True).size().to_dict() == dict.fromkeys(rows["operation"].unique(), 30)
    assert len(overhead.rungs(climbed.scenario("mcp_overhead"))) == 12


def test_the_server_says_what_it_took_and_that_is_less_than_the_client_saw(climbed: perflib.Run) -> None:
    rows = climbed.rows(phase=None)
    for traced in ("stdio", "HTTP", "SSE"):
        mine = rows[rows["operation"] == traced]
        assert mine["server_ns"].notna().all()
        assert (mine["server_ns"] > 0).all()
        assert (mine["server_ns"] < mine["response_ns"]).all()
    assert rows[rows["operation"] == "HTTP, SDK"]["server_ns"].isna().all()


def test_a_session_per_call_costs_more_than_a_call_and_shows_its_steps(climbed: perflib.Run) -> None:
    rungs = {rung.operation: rung for rung in overhead.rungs(climbed.scenario("mcp_overhead"))}
    more = rungs["session per call"].more
    assert more is not None
    assert more.estimate > 0, "three exchanges take longer than one"
    spans = climbed.sql("select span, count(*) as n from spans where span like 'session:%' group by span").set_index(
        "span"
    )["n"]
    assert spans.to_dict() == {"session:open": 60, "session:work": 60, "session:end": 60}


def test_the_parts_add_up_to_a_call(climbed: perflib.Run) -> None:
    whole = float(np.median(overhead.rounds(climbed.scenario("mcp_overhead"))["HTTP, SDK"]["response"]))
    assert sum(part.takes.estimate for part in overhead.parts(climbed.scenario("mcp_overhead"))) == pytest.approx(
        whole, rel=0.35
    )
    assert "over REST" in overhead.sentence(climbed.scenario("mcp_overhead"))


def test_the_ladder_is_a_page_that_opens_offline(climbed: perflib.Run, tmp_path: Path) -> None:
    text = page("overhead", climbed, out=tmp_path).read_text()
    assert text.count('src="data:image/png') == 2
    assert "http://" not in text.replace("http://127.0.0.1", "").replace("http://www.w3.org", "")
    assert "From " in text.partition('alt="')[2][:40], "a chart's message is its alternative text"


def test_what_a_target_says_of_itself_is_sampled(make_service, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    server = make_service()
    target = {"kind": "mcp", "url": server.url + "/mcp", "protocol": "2025-11-25", "gauges": "/gauges"}
    operations = [{"name": "session", "method": "session", "tool": "ping"}]
    load = {"model": "constant", "rate_per_s": 20, "duration_s": 3}
    run = perflib.run(suite(target, operations=operations, load=load), data=tmp_path / "data", progress=False)
    gauges = run.gauges()
    assert set(gauges["gauge"]) == {"sessions", "tasks"}
    assert gauges["t_ns"].is_monotonic_increasing
    assert gauges[gauges["gauge"] == "sessions"]["value"].iloc[-1] <= 2, "each session was ended"
    assert json.loads((run.path / "run.json").read_text())["targets"]["api"]["era"] == "handshake"
    assert "grown" in str(perflib.charts.gauges(run, run.scenarios[0].name).get_label())
