"""The site: built strictly, so that no link and no anchor is broken; it needs no network; where links lead."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason='no MkDocs here: pip install "perflib-workbench[docs]"')

import perflib
from tools import site

ROOT = Path(__file__).parents[2]
OURS = r"https?://(?!127\.0\.0\.1|localhost)[\w.-]+"


@pytest.mark.slow  # in `make wheel`
def test_the_site_is_built_strictly_and_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", "mkdocs.yml", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert {"index.html", "tutorial/1-first-run.html", "reference/python.html", "project/security.html"} <= set(pages)
    for name, text in pages.items():
        fetched = re.findall(rf'<(?:script|img|iframe|source)[^>]*\bsrc="({OURS}[^"]*)"', text)
        fetched += re.findall(rf'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="({OURS}[^"]*)"', text)
        assert not fetched, f"{name}: {fetched}"
        assert 'data-md-component="source"' not in text, "the theme's scripts would ask the repository's host"
    assert "perflib example" in pages["reference/command-line.html"]
    assert (tmp_path / "search" / "search_index.js").stat().st_size > 100_000, "search works without a server"


def test_the_page_of_python_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    names = {*re.findall(r"^::: perflib\.(?:\w+\.)*(\w+)$", page, re.M), *re.findall(r"`(\w+)`", page)}
    assert set(perflib.__all__) <= names | {name for name in perflib.__all__ if hasattr(perflib.errors, name)}


@pytest.mark.parametrize(
    ("link", "page", "leads"),
    [
        ("suite.md", "http.md", "suite.md"),
        ("../SECURITY.md", "faq.md", "project/security.md"),
        ("../../SECURITY.md", "how-to/log-in.md", "../project/security.md"),
        ("../README.md", "http.md", "index.md"),
        ("docs/suite.md", "project/changelog.md", "../suite.md"),
        ("../action.yml", "ci.md", "R/blob/main/action.yml"),
        ("https://example.com/a", "ci.md", "https://example.com/a"),
    ],
)
def test_where_a_link_leads(link: str, page: str, leads: str) -> None:
    assert site.led(link, page, "R") == leads
