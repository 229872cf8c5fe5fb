"""Text of others in lines of our own: visible, on one line, and cut.

A sidecar, a resolver, a spool or a deployment file may say anything. A newline in it would begin a
line that looks like one of ours, an escape sequence would be obeyed by the terminal, and 64 KiB
would bury what stands behind them.
"""

from __future__ import annotations

from typing import Any

QUOTED_CHARACTERS_MAX = 200
LINE_CHARACTERS_MAX = 8192


def visible(text: str, characters_max: int = LINE_CHARACTERS_MAX) -> str:
    """Return a text as one line: cut, and with escapes for what cannot be printed."""
    kept = text[:characters_max]
    if not kept.isprintable():
        kept = "".join(each if each.isprintable() else _escape(each) for each in kept)
    return kept if len(text) <= characters_max else f"{kept}… ({len(text)} characters)"


def quoted(text: str | bytes, characters_max: int = QUOTED_CHARACTERS_MAX) -> str:
    r"""Return foreign text between quotes, with escapes for quotes in it.

    So no reader takes it for our own words, and no program for JSON in them.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    kept = visible(text[:characters_max].replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{kept}"' if len(text) <= characters_max else f'"{kept}…" ({len(text)} characters)'


def quoted_value(value: Any) -> str:
    """Return what Python shows of a value that was decoded from foreign bytes, as `quoted` does."""
    try:
        shown = repr(value)
    except RecursionError:  # Python 3.11 cannot show all that can be decoded
        return f"a {type(value).__name__} nested too deep to be shown"
    return quoted(shown)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
