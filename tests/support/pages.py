"""The fenced blocks of the pages of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Block:
    """A fenced block: its language, text, and the file that the line before it names."""

    page: Path
    line: int
    language: str
    text: str
    file: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text("utf-8").splitlines()
    named, at = "", 0
    while at < len(lines):
        fence = re.fullmatch(r"```(\w*)", lines[at])
        if fence is None:
            found = re.search(r"`([\w.-]+\.\w+)`(?:, run with .*)?:$", lines[at]) if lines[at] else None
            named = found[1] if found else named if not lines[at] else ""
            at += 1
            continue
        end = lines.index("```", at + 1)
        yield Block(page, at + 1, fence[1], "\n".join(lines[at + 1 : end]) + "\n", named)
        named, at = "", end + 1


def typed(line: str) -> tuple[str, int | None]:
    """The command in a line of a `sh` block, and the exit code that its comment promises.

    typed("perflib check   # exit code 1") == ("perflib check", 1)
    """
    promised = re.search(r"# exit code (\d)", line)
    return re.sub(r"\s+#.*", "", line).strip(), int(promised[1]) if promised else None
