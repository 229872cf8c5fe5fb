"""Every link of every page leads to something. `make docs` checks the links of the site too."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.documentation.pages import PAGES, README, SITE, anchors_of, name_of, targets_of
from tests.support.programs import REPOSITORY


def is_broken(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (page.parent / unquote(path)).resolve() if path else page
    if anchor and found.suffix == ".md":
        return not found.is_file() or anchor not in anchors_of(found)
    return not found.exists()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    local = [each for each in targets_of(page) if "://" not in each and "mailto:" not in each]
    assert [each for each in local if is_broken(page, each)] == []


def test_every_markdown_file_in_docs_is_a_page() -> None:
    assert set(REPOSITORY.glob("docs/**/*.md")) <= set(SITE)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= 700
