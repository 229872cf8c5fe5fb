"""What pages say of the code is what the code says."""

from __future__ import annotations

import dataclasses
import re

import pytest

from logship._settings import Settings
from tests.documentation.generated import PARTS, Part
from tests.support.programs import REPOSITORY


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_of_a_page_is_what_the_code_says(part: Part) -> None:
    """If not: `python -m tests.documentation.generated` writes it."""
    text = part.path.read_text(encoding="utf-8")
    assert text.count(part.begin) == 1
    assert text == part.page_of_today()


def test_each_setting_is_in_the_table_of_topics_once() -> None:
    page = (REPOSITORY / "docs/settings.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\(#(\w+)\)", page.partition("<!-- settings")[0])
    assert sorted(named) == sorted(each.name for each in dataclasses.fields(Settings))
