"""Text that must not be shown."""

from __future__ import annotations


class Secret:
    """A text that no `repr`, error or log shows; only `reveal` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        """Return stars."""
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        """Return whether both hold the same text."""
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((Secret, self._text))

    def reveal(self) -> str:
        """Return the text."""
        return self._text
