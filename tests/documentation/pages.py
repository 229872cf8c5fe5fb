"""The pages of the documentation, and what Markdown has in them."""

from __future__ import annotations

import itertools
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.programs import REPOSITORY

CONFIGURATION: dict[str, Any] = runpy.run_path(str(REPOSITORY / "docs" / "conf.py"))

README = REPOSITORY / "README.md"


def _found() -> list[Path]:
    found = (page for each in CONFIGURATION["include_patterns"] for page in REPOSITORY.glob(each))
    return sorted({page for page in found if page.suffix == ".md"})


SITE = _found()
"""The pages that `make docs` builds."""

PAGES = [README, *SITE]


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return str(page.relative_to(REPOSITORY))


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: Where it is.
        line: Its first line there.
        language: The first word behind the fence.
        mark: The second word: a file's name, a kind of block that is not run, or nothing.
        text: What is in it.
    """

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return f"{name_of(self.page)}:{self.line}"


@cache
def tokens_of(page: Path) -> list[Token]:
    """Return what Markdown has in a page."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


@cache
def blocks_of(page: Path) -> list[Block]:
    """Return a page's blocks of code in their order.

    Each worker needs those of all pages before its first test, so nothing else is parsed.
    """
    blocks = []
    parser = MarkdownIt("commonmark").disable("inline")
    for token in parser.parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            language, _, mark = token.info.strip().partition(" ")
            line = token.map[0] + 1 if token.map else 0
            blocks.append(Block(page, line, language, mark, token.content))
    return blocks


def targets_of(page: Path) -> Iterator[str]:
    """Yield what a page's links and pictures lead to."""
    for token in tokens_of(page):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                yield str(target)


def code_of_first_cells(page: Path) -> Iterator[str]:
    """Yield what is marked as code in the first cell of each row of a page's tables."""
    for row, cell, content in zip(*(tokens_of(page)[first:] for first in range(3)), strict=False):
        if row.type == "tr_open" and cell.type == "td_open":
            yield from (
                each.content for each in content.children or () if each.type == "code_inline"
            )


@cache
def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the forge makes them."""
    tokens = tokens_of(page)
    headings = [
        following.content
        for token, following in itertools.pairwise(tokens)
        if token.type == "heading_open"
    ]
    return {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
