"""Why requests failed: by operation, when, and what they have in common, as far as it is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import perflib
from perflib.report.markdown import of_run
from perflib.suite.file import from_table
from tests.support.servers import raw_server, says
from tests.support.suites import table
from tests.support.written import latencies, written

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY = b'{"error": "KeyError: <b>41</b>"}'
LOST = b"HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    """A shop whose item 41 fails, and no other."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "ids.csv").write_text("id\n40\n41\n42\n43\n")
    answers = {path: says(OK) for path in ("/items", "/items/40", "/items/42", "/items/43")}
    with raw_server({**answers, "/items/41": says(LOST)}) as url:
        made = table(
            operations=[
                {"name": "list", "path": "/items"},
                {"name": "get item", "path": "/items/{id}", "data": str(folder / "ids.csv")},
            ],
            load={"model": "constant", "rate_per_s": 80, "duration_s": 1},
            workers=1,
        )
        made["targets"]["api"]["url"] = url
        return perflib.run(from_table(made), data=folder / "data", progress=False)


def test_errors_are_of_an_operation_and_say_what_they_have_in_common(run: perflib.Run) -> None:
    (scenario,) = run.scenarios
    (row,) = scenario.errors().frame.to_dict("records")
    rows = scenario.rows()
    failed = rows[~rows["ok"]]
    assert (row["error"], row["operation"], row["requests"]) == ("http_5xx", "get item", len(failed))
    assert row["of_requests"] == (rows["operation"] == "get item").sum() > row["requests"] > 5
    start_ns = scenario.record.start_ns
    assert row["first_s"] == pytest.approx((failed["end_ns"].min() - start_ns) / 1e9)
    assert row["last_s"] == pytest.approx((failed["end_ns"].max() - start_ns) / 1e9)
    assert row["in_common"] == (
        f"All {len(failed)} have status 500. "
        "All stored samples asked for GET /items/41 and were answered with the same message."
    )
    page = str(scenario.errors())
    assert 'class="moments"' in page and "asked for GET /items/41" in page
    assert "&lt;b&gt;41" in page and "<b>41" not in page
    assert "in get item: 'KeyError" in of_run(run) and "<b>41" not in of_run(run)


def test_a_burst_says_when_it_was(tmp_path: Path) -> None:
    at = np.arange(2000)
    brief = written(tmp_path / "brief", latencies(2000, 1), failed=(at > 1000) & (at < 1200) & (at % 3 == 0))
    (row,) = brief.scenario("one").errors().records
    assert row["in_common"].startswith("All 66 ended between 2.0") and row["in_common"].endswith(" s.")
    always = written(tmp_path / "always", latencies(2000, 1), failed=at % 30 == 0)
    assert [row["in_common"] for row in always.scenario("one").errors().records] == [""]
    one = written(tmp_path / "one", latencies(2000, 1), failed=at == 7)
    assert [row["in_common"] for row in one.scenario("one").errors().records] == [""], "one has nothing in common"
