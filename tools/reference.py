"""`python -m tools.reference`: writes the tables of docs/suite.md from the classes of perflib/suite.

It replaces the text between `<!-- generated: NAME -->` and `<!-- end -->`. NAME is a class, whose keys become a table,
or `models`, `objectives` or `units`. The rest of the page is written by hand. A test fails if the tables are not up to
date.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from perflib.suite import answers, auth, compare, gauges, journey, model, objectives, operation, pause, target
from perflib.suite.family import keys_of
from perflib.suite.load import Load, closed
from perflib.suite.load import open as open_loads

PAGE: Final = Path(__file__).parents[1] / "docs" / "suite.md"
SOURCES: Final = [
    Path(module.__file__).read_text("utf-8")
    for module in (model, compare, target, gauges, closed, open_loads, pause, journey, operation, answers, auth)
]

WORDS: Final = {
    "Any": "any value",
    "Literal['body', 'header']": "`body` · `header`",
    "Auth": "[table](#auth)",
    "Burst": "text",
    "Compare": "[table](#compare)",
    "Count": "whole number ≥ 1",
    "Expect": "[table](#expect)",
    "Gauges": "text, [table](#gauges), or a list of them",
    "Load": "[table](#load)",
    "Mapping[Word, Code]": "table",
    "Mapping[str, Any]": "table",
    "Mapping[str, Margin]": "table of numbers, or false",
    "Mapping[str, Target]": "[tables](#target)",
    "Mapping[str, Part]": "table of texts and [files](#upload)",
    "Mapping[str, Source]": "table of [sources](#kept)",
    "Mapping[str, str]": "table of texts",
    "Name": "text",
    "NotNegative": "number ≥ 0",
    "Pick": "`in turn` · `random` · `one each` · `once`",
    "Positive": "number > 0",
    "Ready": "[table](#ready)",
    "Seq[Any]": "list",
    "Seq[Figure]": "list of texts",
    "Seq[Judged]": "list of [texts](#objectives)",
    "Seq[Load]": "list of [tables](#load)",
    "Seq[Operation]": "list of [tables](#operation)",
    "Seq[Scenario]": "[tables](#scenario)",
    "Seq[Journey]": "list of [tables](#journey)",
    "Seq[AnyStep]": "list of texts, or of [tables](#step)",
    "Mapping[str, Text]": "table of texts",
    "Text | Mapping[str, Any]": "text, or a table",
    "Seq[UserStage]": "list of [tables](#userstage)",
    "Seq[int]": "list of whole numbers",
    "Seq[str]": "list of texts",
    "Source": "[source](#kept)",
    "StrictBool": "true or false",
    "Text": "text",
    "Texts": "text, or a list of texts",
    "Think": "number ≥ 0, or a [table](#pause)",
    "Warmup": "[table](#warmup)",
    "float": "number",
    "int": "whole number",
    "int | Seq[int]": "whole number, or a list",
    "str": "text",
    "str | Callable[..., Any]": "text",
    "str | Seq[str]": "text, or a list of texts",
    "tuple[NotNegative, NotNegative]": "two numbers ≥ 0",
    "tuple[Positive, Positive]": "two numbers > 0",
    "str | Seq[float]": "text, or a list of numbers",
}


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")


def filled(page: str) -> str:
    """The page with its generated parts brought up to date."""
    return re.sub(
        r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)",
        lambda m: m[1] + "\n" + _made(m[2]) + "\n" + m[3],
        page,
        flags=re.S,
    )


def _made(name: str) -> str:
    others = {"models": _models, "objectives": _objectives, "units": _units}
    return others[name]() if name in others else _keys(name)


def _keys(name: str) -> str:
    """The table of a class: its keys as in TOML, their values, defaults and meaning."""
    for source in SOURCES:
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
                rows = [_row(field, source.splitlines()) for field in fields if not _is_tag_or_hidden(field)]
                return _table(("key", "value", "default", "meaning"), rows)
    raise KeyError(name)


def _is_tag_or_hidden(field: ast.AnnAssign) -> bool:
    """Whether the field is a tag, which the heading already names, or not a key of a suite file."""
    name = ast.unparse(field.target)
    annotation = ast.unparse(field.annotation)
    return (
        name in ("folder", "request")
        or "ClassVar" in annotation
        or (name in ("kind", "model") and (field.value is not None or annotation == "Text"))
    )


def _row(field: ast.AnnAssign, lines: list[str]) -> tuple[str, str, str, str]:
    name = ast.unparse(field.target)
    comment = lines[field.lineno - 1].partition("  # ")[2]
    assert comment, f"{name} has no description"
    annotation = ast.unparse(field.annotation)
    alias = re.search(r"alias='(\w+)'", annotation)
    default = "required" if field.value is None else _default(ast.unparse(field.value))
    return f"`{alias[1] if alias else name}`", _words(annotation), default, comment


def _words(annotation: str) -> str:
    literal = re.fullmatch(r"Literal\[(.+)\]", annotation)
    if literal:
        return " · ".join(f"`{value}`" for value in re.findall(r"'([^']+)'", literal[1]))
    limited = re.fullmatch(r"Annotated\[(.+?), Field\(.*\)\]", annotation)
    if limited:
        return _words(limited[1]) + (" ≥ 0" if "ge=0" in annotation else "")
    return WORDS[annotation.removesuffix(" | None")]


def _default(value: str) -> str:
    if value in ("None", "()", "''") or value.startswith(("Field(", "field(")):
        return ""
    return f"`{value.lower() if value in ('True', 'False') else value.strip(chr(39))}`"


def _models() -> str:
    """The load models, with their descriptions and keys."""
    rows = []
    for name, cls in Load.MEMBERS.items():
        keys = ", ".join(f"`{key}`" for key in keys_of(cls) if key != "model")
        meaning = (cls.__doc__ or "").strip().rstrip(".")
        rows.append((f"[`{name}`](#{name})", meaning[0].lower() + meaning[1:], keys))
    return _table(("model", "meaning", "keys"), rows)


def _objectives() -> str:
    listed = re.search(r"\n((?:    \".*\n)+)", objectives.__doc__ or "")
    assert listed
    lines = (re.split(r"\s{2,}(?=\S)", line.strip(), maxsplit=1) for line in listed[1].splitlines())
    rows = []
    for first, *rest in lines:
        said = rest[0] if rest else ""
        rows.append(
            (
                ", ".join(f"`{text}`" for text in re.findall(r'"([^"]+)"', f"{first} {said}")),
                re.sub(r'".*"', "", said).strip(),
            )
        )
    return _table(("objective", "what it covers"), rows)


def _units() -> str:
    names = {
        "time": "time",
        "ratio": "share",
        "rate": "rate",
        "bytes": "memory",
        "bytes/time": "slope of memory",
        "count": "count",
    }
    rows = []
    for dimension, name in names.items():
        units = [f"`{unit}`" for unit, (of, _) in objectives.UNITS.items() if of == dimension and unit]
        rows.append((name, ", ".join(units) + (", or no unit" if dimension == "count" else "")))
    return _table(("quantity", "units"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
