"""Fields that many records repeat: those of a client, and those of a context. PURE.

They are packed once, and stand before the fields of each record. Where a record has a field of the
same name, its own wins, so the fields of the context are merged into it and packed with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from logship._protocol.plain import NotPlain, plain_copy

ARRAY_AND_EVENT_TIME = b"\x92\xd7\x00"
HEAD_SMALL_MAP = struct.Struct(">3sIIB")
SMALL_MAP_FIELDS_MAX = 15
"""A map of up to this many fields has a header of one byte."""


class Beginning:
    """What the map of an entry begins with.

    Attributes:
        packed: Keys and values.
        count: How many fields the map has besides those of the record itself.
        names: Those of the fields that a context has added.
        small_head: Packs an entry's array and time, the header of its small map, and `packed`.
    """

    __slots__ = ("count", "names", "packed", "small_head")

    def __init__(self, packed: bytes, count: int, names: frozenset[str] = frozenset()) -> None:
        self.packed = packed
        self.count = count
        self.names = names
        self.small_head = struct.Struct(f"{HEAD_SMALL_MAP.format}{len(packed)}s").pack


class Repeated(dict[Any, Any]):
    """The fields of a context, which do not change.

    Attributes:
        beginnings: What entries with them begin with, by packer.
    """

    __slots__ = ("beginnings",)

    def __init__(self, fields: Mapping[Any, Any]) -> None:
        super().__init__(fields)
        self.beginnings: dict[object, Beginning] = {}


def beginning_with(
    base: Beginning, reserved: frozenset[str]
) -> Callable[[Repeated, dict[Any, Any]], Beginning]:
    """Return a function that tells what an entry begins with, given a context and a record.

    That is `base` where the context must be merged into the record: they have a name in common, or
    a value of the context must be made readable first, or is a list or mapping, which may change.

    Args:
        base: What an entry without a context begins with.
        reserved: Names that must be made readable first.
    """
    packer = object()

    def beginning_of(context: Repeated, record: dict[Any, Any]) -> Beginning:
        beginning = context.beginnings.get(packer) or pack(context)
        return beginning if beginning.names.isdisjoint(record) else base

    def pack(context: Repeated) -> Beginning:
        try:
            fields = plain_copy(context)
            is_fixed = not any(type(value) in (dict, list) for value in fields.values())
            if not is_fixed or not reserved.isdisjoint(fields):
                return base
            packed = base.packed + packed_fields(fields)
        except (NotPlain, ValueError, OverflowError):
            return base
        beginning = Beginning(packed, base.count + len(fields), frozenset(fields))
        context.beginnings[packer] = beginning
        return beginning

    return beginning_of


def packed_fields(fields: Mapping[str, Any]) -> bytes:
    """Return plain fields packed, without the header of their map."""
    packed: bytes = msgpack.packb(fields)
    return packed[map_header_bytes(len(fields)) :]


def map_header_bytes(count: int) -> int:
    """Return the length of the header of a map of this many fields."""
    if count <= SMALL_MAP_FIELDS_MAX:
        return 1
    return 3 if count <= 0xFFFF else 5
