"""What pages say of the code is what the code says."""

from __future__ import annotations

import pytest

from tests.documentation.generated import PARTS, Part


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_of_a_page_is_what_the_code_says(part: Part) -> None:
    """If not: `python -m tests.documentation.generated` writes it."""
    text = part.path.read_text(encoding="utf-8")
    assert text.count(part.begin) == 1
    assert text == part.page_of_today()
