"""The table of limits in docs/security.md is the code's."""

from __future__ import annotations

from tests.documentation.limits import BEGIN, PAGE, page


def test_the_pages_table_is_the_codes() -> None:
    """If not: `python -m tests.documentation.limits` writes it."""
    text = PAGE.read_text()
    assert text.count(BEGIN) == 1
    assert text == page()
