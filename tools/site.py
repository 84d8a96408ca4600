"""What MkDocs does to the pages of docs/ on their way into the site (`hooks` in mkdocs.yml).

Pages are written for readers of the repository as well, so their links may lead out of docs/. A few files of the
project become pages of the site; links to all others lead to the repository. The page of the command line gets the
help of every command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import click
from mkdocs.structure.files import File

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = {
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "tests/benchmarks/calibration.md": "project/calibration.md",
}
COMMAND_LINE: Final = "reference/command-line.md"
HELP_COLUMNS: Final = 100
LINK: Final = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    for source, page in PROJECT.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    where = page.file.src_uri
    if where == COMMAND_LINE:
        markdown += "".join(commands())
    return LINK.sub(lambda m: f"]({led(m[1], where, config.extra['repository'])}{m[2] or ''})", markdown)


def led(link: str, page: str, repository: str) -> str:
    """Where a link of a page leads within the site, or to the repository.

    led("../SECURITY.md", "faq.md", …) == "project/security.md"
    """
    if re.match(r"\w+:", link):
        return link
    sources = {page: source for source, page in PROJECT.items()}
    source = PurePosixPath(sources.get(page, f"docs/{page}"))
    target = os.path.normpath(source.parent / link)
    if target == "README.md":
        target = "docs/index.md"
    if target.startswith("docs/") or target in PROJECT:
        inside = PROJECT.get(target, target.removeprefix("docs/"))
        return os.path.relpath(inside, PurePosixPath(page).parent)
    return f"{repository}/blob/main/{target}"


def commands() -> Iterator[str]:
    """A section for each command, with what `--help` prints."""
    from perflib.cli import cli

    for name, command in _leaves("perflib", cli):
        context = click.Context(command, info_name=name, terminal_width=HELP_COLUMNS)
        yield f"\n## {name}\n\n```text\n{command.get_help(context)}\n```\n"


def _leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for each in sorted(command.commands):
            yield from _leaves(f"{name} {each}", command.commands[each])
    else:
        yield name, command
