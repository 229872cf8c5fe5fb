"""Recognises records that msgpack may pack as they are, which most are, and cheaply.

Making a record readable takes long. A record of plain values under ordinary names needs none of
that. The check works on a private copy, so that what was checked is what is packed, whatever other
threads do to the original meanwhile. msgpack is told to take exact types alone, so a subclass of
`str` never passes for the text that it claims to equal.
"""

from __future__ import annotations

import math
from typing import Any

RESERVED_PREFIX = "logship_"
"""Fields that begin so are logship's own: an application's are renamed, so that none is forged."""

FLAT_TYPES = frozenset({str, int, bool, type(None)})
"""Types that need no look at the value; what is wrong with one (size, surrogates) msgpack finds."""

NAMES: set[str] = set()
"""Names of fields seen before that are plain text and not reserved; bounded by forgetting all."""

_NAMES_MAX = 4096
_NAME_CHARACTERS_MAX = 128
_NODES_MAX = 1000
_DEPTH_MAX = 16


class NotPlain(ValueError):  # noqa: N818 - no fault: it says that the longer way must be taken
    """The record holds something that must be made readable first."""


def plain_copy(record: dict[Any, Any]) -> dict[str, Any]:
    """Return a private copy of a record that msgpack may pack as it is.

    Raises:
        NotPlain: A value somewhere is not plain, a name is not known, or there are many of them.
    """
    fields = record.copy()
    nodes_left = [_NODES_MAX]
    for name, value in fields.items():
        if name not in NAMES:
            raise NotPlain
        kind = type(value)
        if kind is str or kind in FLAT_TYPES:
            continue
        if kind is not float:
            fields[name] = _checked_container(value, _DEPTH_MAX, nodes_left)
        elif value - value != 0.0:
            raise NotPlain
    return fields


def learn_names(fields: dict[str, Any]) -> None:
    """Remember the names in a record that was made readable, for the next like it."""
    if len(NAMES) > _NAMES_MAX:
        NAMES.clear()
    mappings = [fields]
    while mappings:
        mapping = mappings.pop()
        NAMES.update(filter(_is_ordinary, mapping))
        mappings += [value for value in mapping.values() if type(value) is dict]


def _is_ordinary(name: str) -> bool:
    return len(name) <= _NAME_CHARACTERS_MAX and not name.startswith(RESERVED_PREFIX)


def _checked(value: Any, depth_left: int, nodes_left: list[int]) -> Any:
    """Return a value that is plain: itself, or a checked copy of a container."""
    kind = type(value)
    if kind is str or kind in FLAT_TYPES or (kind is float and math.isfinite(value)):
        return value
    return _checked_container(value, depth_left, nodes_left)


def _checked_container(value: Any, depth_left: int, nodes_left: list[int]) -> Any:
    """Return a checked copy of a list or mapping."""
    kind = type(value)
    if (kind is not dict and kind is not list) or not depth_left:
        raise NotPlain
    nodes_left[0] -= len(value) + 1
    if nodes_left[0] < 0:
        raise NotPlain
    if kind is list:
        return [_checked(each, depth_left - 1, nodes_left) for each in value.copy()]
    copy = value.copy()
    if not NAMES.issuperset(copy):
        raise NotPlain
    for name, each in copy.items():
        copy[name] = _checked(each, depth_left - 1, nodes_left)
    return copy
