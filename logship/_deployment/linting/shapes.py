"""Reads mappings and lists from an untrusted document.

A file of the wrong shape must cause one clear error, not an `AttributeError` in a rule: each of
these functions raises `LintError` for a value of another kind. The error shows no value, because it
may be a password in the wrong place.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from logship._deployment.linting.marks import Marked, line_of
from logship._deployment.linting.model import LintError, ServerConfiguration
from logship._deployment.linting.quantities import count_or_none

COMMAND_CHARACTERS_MAX: Final = 16 * 1024
"""Of a command written as one text. To split a word costs its length squared."""

_KINDS = {str: "a text", list: "a list", dict: "a mapping", int: "a number", float: "a number"}


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a mapping, empty for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LintError(f"{what} is {_kind(value)}, not a mapping")
    return value


def under(parent: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return the mapping under keys of mappings, empty where there is none."""
    for key in keys:
        parent = mapping(parent.get(key), key)
    return parent


def listing(value: Any, what: str) -> list[Any]:
    """Return a list, empty for null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise LintError(f"{what} is {_kind(value)}, not a list")
    return value


def mappings(value: Any, what: str) -> list[dict[str, Any]]:
    """Return a list of mappings."""
    return [mapping(each, f"an item of {what}") for each in listing(value, what)]


def words(value: Any, what: str) -> tuple[str, ...]:
    """Return a command, a list of words or one text that is split as a shell would."""
    if isinstance(value, str):
        if len(value) > COMMAND_CHARACTERS_MAX:
            raise LintError(f"{what} is longer than {COMMAND_CHARACTERS_MAX // 1024} KiB")
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise LintError(f"{what}: {error}") from None
    return tuple(str(each) for each in listing(value, what))


def texts(value: Any, what: str) -> dict[str, str]:
    """Return a mapping of texts."""
    return {str(name): text_of(each) for name, each in mapping(value, what).items()}


def text_or_none(value: Any, what: str) -> str | None:
    """Return a text, None for null."""
    if value is None or isinstance(value, str):
        return value
    raise LintError(f"{what} is {_kind(value)}, not a text")


def _kind(value: Any) -> str:
    kinds = (name for kind, name in _KINDS.items() if isinstance(value, kind))
    return "bool" if isinstance(value, bool) else next(kinds, type(value).__name__)


def text_of(value: Any) -> str:
    """Return a value as the platform passes it on: YAML's `true` is `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def declared_ports(value: Any) -> tuple[int, ...]:
    """Return the `containerPort` of each item that has one."""
    ports = [str(each.get("containerPort")) for each in mappings(value, "the list of ports")]
    return tuple(port for each in ports if (port := count_or_none(each)) is not None)


def variables(value: Any, what: str) -> dict[str, str | None]:
    """Return the value of each item's variable; None if it comes from elsewhere."""
    found: dict[str, str | None] = {}
    for each in mappings(value, what):
        given = "" if each.get("value") is None else str(each["value"])
        found[str(each.get("name"))] = None if "valueFrom" in each else given
    return found


def variable_lines(value: Any) -> dict[str, int]:
    """Return the line of each item's variable, as `$NAME`."""
    found = {f"${each.get('name')}": line_of(each) for each in mappings(value, "variables")}
    return {name: line for name, line in found.items() if line}


def configuration(parent: dict[str, Any], key: str, text: str) -> ServerConfiguration:
    """Return the sidecar's configuration that a document has under a key."""
    is_block = isinstance(parent, Marked) and key in parent.blocks
    line = (line_of(parent, key) or 1) + is_block
    return ServerConfiguration(name=str(key), text=text, line=line, is_one_line=not is_block)
