"""Recognises records that msgpack may pack as they are, which most are, and cheaply.

Making a record readable takes long. A record of plain values under ordinary names needs none of
that. The check works on a private copy, so that what was checked is what is packed, whatever other
threads do to the original meanwhile. msgpack is told to take exact types alone, so a subclass of
`str` never passes for the text that it claims to equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

RESERVED_PREFIX = "logship_"
"""Fields that begin so are logship's own: an application's are renamed, so that none is forged."""

FLAT_TYPES = frozenset({str, int, bool, type(None)})
"""Types that need no look at the value; what is wrong with one (size, surrogates) msgpack finds."""

_CONTAINER_TYPES = frozenset({dict, list, tuple})

NAMES: dict[str, None] = {}
"""Names of fields seen before that are plain text and not reserved; bounded by forgetting all.

No set: to look into a dictionary takes no lock, without the interpreter's lock either.
"""

_KEPT_OUT: set[str] = set()
"""Names that take the longer way always, because every record has a field of that name."""

_NAMES_MAX = 4096
_NAME_CHARACTERS_MAX = 128
_NODES_MAX = 1000
_DEPTH_MAX = 16


class NotPlain(ValueError):  # noqa: N818 - no fault: it says that the longer way must be taken
    """The record holds something that must be made readable first."""


def plain_copy(
    record: dict[Any, Any], depth_left: int = _DEPTH_MAX, nodes_left: list[int] | None = None
) -> dict[str, Any]:
    """Return a private copy of a mapping that msgpack may pack as it is.

    Args:
        record: The mapping.
        depth_left: How many levels of containers may be in it.
        nodes_left: In a list of one: how many values the containers of the whole record may still
            hold. None for the record itself.

    Raises:
        NotPlain: A value somewhere is not plain, a name is not known, or there are many of them.
    """
    fields = record.copy()
    for name, value in fields.items():
        if name not in NAMES:
            raise NotPlain
        kind = type(value)
        if kind is str or kind is int:
            continue
        if kind is float:
            if value - value != 0.0:  # it is not finite
                raise NotPlain
        elif kind not in FLAT_TYPES:
            nodes_left = nodes_left or [_NODES_MAX]
            fields[name] = _plain_container(value, depth_left, nodes_left)
    return fields


def learn_names(fields: dict[str, Any]) -> None:
    """Remember the names in a record that was made readable, for the next like it."""
    known = NAMES  # before a name is judged: see `keep_out`
    if len(known) > _NAMES_MAX:
        known.clear()
    mappings = [fields]
    while mappings:
        mapping = mappings.pop()
        for name in filter(_is_ordinary, mapping):
            known[name] = None
        mappings += [value for value in mapping.values() if type(value) is dict]


def keep_out(names: Iterable[str]) -> None:
    """Have records with such names take the longer way from now on.

    The known names move to another dictionary: another thread may be about to put one of these into
    the old one.
    """
    global NAMES  # noqa: PLW0603 - one for all packers, because to look into it must be cheap
    _KEPT_OUT.update(names)
    NAMES = dict.fromkeys(filter(_is_ordinary, [*NAMES]))


def _is_ordinary(name: str) -> bool:
    is_short = len(name) <= _NAME_CHARACTERS_MAX
    return is_short and not name.startswith(RESERVED_PREFIX) and name not in _KEPT_OUT


def _plain_container(value: Any, depth_left: int, nodes_left: list[int]) -> Any:
    """Return a private copy of a mapping, a list or a tuple that is plain; of a tuple as a list."""
    kind = type(value)
    if kind not in _CONTAINER_TYPES or not depth_left:
        raise NotPlain
    nodes_left[0] -= len(value) + 1
    if nodes_left[0] < 0:
        raise NotPlain
    if kind is dict:
        return plain_copy(value, depth_left - 1, nodes_left)
    return [_plain(each, depth_left - 1, nodes_left) for each in list(value)]


def _plain(value: Any, depth_left: int, nodes_left: list[int]) -> Any:
    """Return a value that is plain: itself, or a private copy of a container."""
    kind = type(value)
    if kind in FLAT_TYPES or (kind is float and math.isfinite(value)):
        return value
    return _plain_container(value, depth_left, nodes_left)
