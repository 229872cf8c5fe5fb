"""The name that was probably meant, and the plurals of logship's own lines."""

from __future__ import annotations

from collections.abc import Iterable

_CHARACTERS_MAX = 100


def many(count: int, what: str, plural: str = "s") -> str:
    """Return a number with what it counts: `1 record`, `2,000 records`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}{plural}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that is most like `name`, or None if none is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    return next(iter(get_close_matches(name[:_CHARACTERS_MAX], [*names], n=1)), None)
