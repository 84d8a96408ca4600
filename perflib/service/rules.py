"""The rules for documents: front matter, headings, links, code fences and terms."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

REQUIRED: Final = {"title": str, "description": str, "tags": list}
TERMS: Final = {
    "blacklist": "blocklist",
    "whitelist": "allowlist",
    "master node": "primary node",
    "slave": "replica",
    "sanity check": "quick check",
    "utilize": "use",
    "leverage": "use",
    "in order to": "to",
    "e-mail": "email",
    "login to": "log in to",
    "web site": "website",
    "file system": "filesystem",
    "data base": "database",
    "time-out": "timeout",
    "simply": "",
    "just": "",
}
_WEIGHT: Final = {"error": 10, "warning": 4, "info": 1}
_FRONT: Final = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Recommendation:
    """A recommended change. `find` and `replace` are set if it can be applied automatically."""

    rule: str
    severity: str
    line: int
    message: str
    find: str = ""
    replace: str = ""


@dataclass(frozen=True)
class Document:
    """A parsed document: its text, front matter, the Markdown tokens below, and the line where they begin."""

    text: str
    front: Any
    tokens: list[Token]
    offset: int


@dataclass(frozen=True)
class Findings:
    """The findings of all rules for a document; a score of 100 means no findings."""

    score: int
    recommendations: list[dict[str, Any]]


def check(text: str, pool: Executor | None = None) -> Findings:
    """Check a document with all rules, one after the other or in parallel in a pool."""
    document = parse(text)
    results = pool.map(lambda rule: list(rule(document)), RULES) if pool else (rule(document) for rule in RULES)
    recommendations = sorted(itertools.chain(*results), key=lambda r: (r.line, r.rule, r.message))
    score = max(0, 100 - sum(_WEIGHT[r.severity] for r in recommendations))
    return Findings(score, [asdict(r) for r in recommendations])


def parse(text: str) -> Document:
    """Parse the front matter with YAML, the rest with markdown-it."""
    match = _FRONT.match(text)
    front: Any = None
    if match:
        try:
            front = yaml.load(match[1], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, ValueError) as error:
            front = error
    body = text[match.end() :] if match else text
    offset = text[: match.end()].count("\n") if match else 0
    return Document(text, front, MarkdownIt("commonmark").enable("table").parse(body), offset)


def apply(text: str, recommendations: list[dict[str, Any]]) -> tuple[str, int]:
    """The text with all automatic recommendations applied, and their number."""
    lines, applied = text.split("\n"), 0
    for r in recommendations:
        at = r["line"] - 1
        if r["find"] and 0 <= at < len(lines) and r["find"] in lines[at]:
            lines[at] = lines[at].replace(r["find"], r["replace"], 1)
            applied += 1
    return "\n".join(lines), applied


def front_matter(document: Document) -> Iterator[Recommendation]:
    """The front matter must exist, be readable, and have the required keys of the right type."""
    front = document.front
    if front is None:
        yield Recommendation("front-matter", "error", 1, "the document has no front matter")
    elif not isinstance(front, dict):
        yield Recommendation("front-matter", "error", 1, "the front matter is not a mapping")
    else:
        for key, kind in REQUIRED.items():
            if key not in front:
                yield Recommendation("front-matter", "warning", 1, f"the front matter lacks {key!r}")
            elif not isinstance(front[key], kind):
                yield Recommendation("front-matter", "warning", 1, f"{key!r} should be a {kind.__name__}")


def headings(document: Document) -> Iterator[Recommendation]:
    """There must be one first-level heading, no skipped level, and no repeated text."""
    level, seen, tops = 0, set[str](), 0
    for token, inline in zip(document.tokens, document.tokens[1:], strict=False):
        if token.type != "heading_open":
            continue
        line, depth, text = _line(document, token), int(token.tag[1]), inline.content
        tops += depth == 1
        if depth > level + 1:
            yield Recommendation("headings", "warning", line, f"level {depth} follows level {level}")
        if text in seen:
            yield Recommendation("headings", "info", line, f"the heading {text[:60]!r} is there twice")
        seen.add(text)
        level = depth
    if tops != 1:
        yield Recommendation("headings", "warning", document.offset + 1, f"{tops} first-level headings, one is wanted")


def links(document: Document) -> Iterator[Recommendation]:
    """Each link must have a well-formed target and a text, and its anchor must exist in the document."""
    anchors = {
        _slug(b.content) for a, b in zip(document.tokens, document.tokens[1:], strict=False) if a.type == "heading_open"
    }
    for block in document.tokens:
        for index, token in enumerate(block.children or ()):
            if token.type == "link_open":
                target = str(token.attrGet("href") or "")
                problem = _bad_link(target, anchors)
                if problem:
                    yield Recommendation("links", "warning", _line(document, block), f"{problem}: {target[:80]!r}")
                if (block.children or [])[index + 1].type == "link_close":
                    yield Recommendation(
                        "links", "info", _line(document, block), f"a link without a text: {target[:80]!r}"
                    )


def code_fences(document: Document) -> Iterator[Recommendation]:
    """Each fence must name its language; Python and JSON must be valid."""
    for token in document.tokens:
        if token.type != "fence":
            continue
        line, language = _line(document, token), token.info.strip().split(" ")[0]
        if not language:
            yield Recommendation(
                "code-fences", "info", line, "a fence without a language", token.markup, token.markup + "text"
            )
        elif problem := _bad_code(language, token.content):
            yield Recommendation("code-fences", "warning", line, f"not valid {language}: {problem}")


def terms(document: Document) -> Iterator[Recommendation]:
    """Words from the list of terms to avoid must not occur."""
    for block in document.tokens:
        if block.type != "inline":
            continue
        for match in _TERMS.finditer(block.content):
            line = _line(document, block) + block.content.count("\n", 0, match.start())
            better = TERMS[match[0].lower()]
            advice = f"write {better!r} for {match[0]!r}" if better else f"do without {match[0]!r}"
            yield Recommendation("terms", "info", line, advice, match[0], better)


RULES: Final[tuple[Callable[[Document], Iterator[Recommendation]], ...]] = (
    front_matter,
    headings,
    links,
    code_fences,
    terms,
)
_TERMS: Final = re.compile(r"\b(?:" + "|".join(map(re.escape, TERMS)) + r")\b", re.IGNORECASE)


def _line(document: Document, token: Token) -> int:
    return document.offset + (token.map[0] if token.map else 0) + 1


def _slug(text: str) -> str:
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", text.lower()).strip())


def _bad_link(target: str, anchors: set[str]) -> str | None:
    if not target:
        return "an empty link"
    if target.startswith("#"):
        return None if target[1:] in anchors else "no such anchor"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "a malformed link"
    return "a link without a host" if parts.scheme in ("http", "https") and not parts.hostname else None


def _bad_code(language: str, code: str) -> str | None:
    try:
        if language in ("python", "py"):
            ast.parse(code)
        elif language == "json":
            json.loads(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error).splitlines()[0][:120]
    return None
