"""Reads mappings and lists from an untrusted document.

A file of the wrong shape must cause one clear error, not an `AttributeError` in a rule. The error
shows no value, because it may be a password in the wrong place.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from logship.deployment.linting.model import LintError

COMMAND_CHARACTERS_MAX: Final = 16 * 1024
"""Of a command written as one text. To split a word costs its length squared."""

_KINDS = {str: "a text", list: "a list", dict: "a mapping", int: "a number", float: "a number"}


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a mapping, empty for null.

    Raises:
        LintError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LintError(f"{what} is {_kind(value)}, not a mapping")
    return value


def listing(value: Any, what: str) -> list[Any]:
    """Return a list, empty for null.

    Raises:
        LintError: it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise LintError(f"{what} is {_kind(value)}, not a list")
    return value


def mappings(value: Any, what: str) -> list[dict[str, Any]]:
    """Return a list of mappings.

    Raises:
        LintError: it is something else.
    """
    return [mapping(each, f"an item of {what}") for each in listing(value, what)]


def words(value: Any, what: str) -> tuple[str, ...]:
    """Return a command, a list of words or one text that is split as a shell would.

    Raises:
        LintError: it is something else.
    """
    if isinstance(value, str):
        if len(value) > COMMAND_CHARACTERS_MAX:
            raise LintError(f"{what} is longer than {COMMAND_CHARACTERS_MAX // 1024} KiB")
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise LintError(f"{what}: {error}") from None
    return tuple(str(each) for each in listing(value, what))


def texts(value: Any, what: str) -> dict[str, str]:
    """Return a mapping of texts.

    Raises:
        LintError: it is something else.
    """
    return {str(name): text_of(each) for name, each in mapping(value, what).items()}


def text_or_none(value: Any, what: str) -> str | None:
    """Return a text, None for null.

    Raises:
        LintError: it is something else.
    """
    if value is None or isinstance(value, str):
        return value
    raise LintError(f"{what} is {_kind(value)}, not a text")


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def text_of(value: Any) -> str:
    """Return a value as the platform passes it on: YAML's `true` is `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
