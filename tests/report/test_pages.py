"""The pages in a real browser, by rule: accessible in light and dark, valid HTML, no dead link, nothing asked from
elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import html5lib
import pytest

import perflib
from perflib.report import comparison
from perflib.report.index import rebuild
from perflib.report.render import report
from tests.support.browsing import browser, picture
from tests.support.command_line import invoke
from tests.support.written import latencies, written

__all__ = ["browser"]
PAGES = ("report/report.html", "compare/compare.html", "history/history.html", "index.html")


@pytest.fixture(scope="module")
def folder(small_run: perflib.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report, a comparison, a history in which figures moved, and the list of the first two."""
    made = tmp_path_factory.mktemp("reports")
    report(small_run, out=made / "report")
    comparison.report(perflib.compare(small_run, small_run, force=True), out=made / "compare")
    data = tmp_path_factory.mktemp("data")
    for i in range(8):
        written(data, latencies(400, i) * (1.5 if i > 4 else 1), name="moved")
    history = invoke("history", "--data", str(data), "--out", str(made / "history"))
    assert history.return_value == 0, history.output
    rebuild(made)
    return made


@pytest.mark.browser
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_breaks_no_rule_of_accessibility(browser: Any, folder: Path, name: str, colours: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=colours)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((folder / name).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page).response
    assert [(broken["id"], [node["html"][:200] for node in broken["nodes"]]) for broken in found["violations"]] == []
    assert len(found["passes"]) > 10
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(folder / name).as_uri()]
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        picture(page, f"{Path(name).stem}-{colours}-{width}")
    page.close()


@pytest.mark.browser
def test_a_link_opens_the_section_that_it_leads_to(browser: Any, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / "report" / "report.html").as_uri())
    section = page.locator("details:has(> #machine)")
    assert section.get_attribute("open") is None
    page.locator("nav a[href='#machine']").click()
    page.wait_for_function("document.querySelector('details:has(> #machine)').open")
    assert page.locator("#machine").is_visible()
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_valid_and_its_links_lead_somewhere(folder: Path, name: str) -> None:
    text = (folder / name).read_text()
    html5lib.HTMLParser(strict=True).parse(text)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="([^"]+)"', text)
    assert links
    for link in links:
        there = unquote(link)
        assert there[1:] in ids if there.startswith("#") else ((folder / name).parent / there).is_file(), link
