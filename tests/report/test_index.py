"""reports/index.html: every report with its verdict and a link that leads somewhere, whatever is in the folder."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.report.index import rebuild
from perflib.report.render import report

EVIL = '<script>alert(1)</script>"&'


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href" and value]


def put(folder: Path, name: str, page: str = "report.html", **content: Any) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / page).write_text("<p>here</p>")
    (folder / name / "summary.json").write_text(
        json.dumps({"run": name, "verdict": "pass", "objectives": [], **content})
    )


def scenario(p95: float | None) -> dict[str, Any]:
    return {"name": "browse", "response_ms": {"p95": p95}}


def test_reports_stand_by_suite_the_latest_first_with_their_course(tmp_path: Path) -> None:
    for day, (verdict, p95) in enumerate([("pass", 10.0), ("inconclusive", None), ("fail", 20.0)], 1):
        missed = [{"scenario": "browse", "objective": "p95 response < 15 ms", "verdict": verdict}]
        put(
            tmp_path,
            f"day {day}",
            verdict=verdict,
            suite="shop",
            started_at=f"2026-11-0{day}T10:00:00",
            scenarios=[scenario(p95)],
            objectives=missed,
            commit="abcdef0123456789",
        )
    put(tmp_path, "other", suite="cart", started_at="2026-10-01T10:00:00")
    put(
        tmp_path,
        "versus",
        page="compare.html",
        kind="comparison",
        verdict="fail",
        title="b against a",
        sentence="Worse.",
    )
    page = rebuild(tmp_path).read_text()
    found = _Links(page)
    assert all((tmp_path / link.replace("%20", " ")).is_file() for link in found.links) and len(found.links) == 8
    assert page.index("day 3") < page.index("day 2") and page.index("shop</h2>") < page.index("cart</h2>")
    assert 'class="sign fail"' in page[: page.index("shop</h2>")]
    assert "p95 response of browse in 2 reports: 10 to 20 ms, latest 20 ms" in page
    assert "1 of 1 met" in page and "0 of 1 met" in page and "none set" in page and "abcdef012345<" in page
    assert "b against a" in page and "Worse." in page


@pytest.mark.parametrize("content", ["", "{", "[]", '{"verdict": 3}', '{"kind": "sculpture"}'])
def test_what_is_no_report_is_left_out_or_shown_for_what_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "summary.json").write_text(content)
    put(tmp_path, "good", suite="shop", verdict="pass")
    links = _Links(rebuild(tmp_path).read_text()).links
    assert {link for link in links if "broken" in link} == set() and any("good" in link for link in links)


def test_an_empty_folder_says_so_and_text_is_not_markup(tmp_path: Path) -> None:
    assert "There are no reports yet." in rebuild(tmp_path).read_text()
    put(tmp_path, "x", suite=EVIL, reasons=[EVIL], scenarios=[{"name": EVIL}], commit=EVIL, started_at=EVIL)
    page = rebuild(tmp_path).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_report_puts_itself_on_the_page(small_run: perflib.Run) -> None:
    folder = report(small_run)
    page = (folder.parent / "index.html").read_text()
    assert f'href="{small_run.id}/report.html"' in page and "latest/" not in page
