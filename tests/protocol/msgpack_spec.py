"""A msgpack decoder written from the specification alone, to judge what the product's codec makes.

Strict where the specification leaves room: text must be valid UTF-8, a map must not have a key
twice, and nothing may be left over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Extension:
    """An extension value: type code and bytes."""

    code: int
    data: bytes


def decode_all(data: bytes) -> list[Any]:
    """Decode a run of values.

    Raises:
        ValueError: the bytes are not a run of whole, valid values.
    """
    values = []
    position = 0
    while position < len(data):
        value, position = _value(data, position)
        values.append(value)
    return values


def decode(data: bytes) -> Any:
    """Decode exactly one value."""
    values = decode_all(data)
    if len(values) != 1:
        raise ValueError(f"{len(values)} values instead of one")
    return values[0]


_NUMBERS = {
    0xCA: ">f", 0xCB: ">d",
    0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_LENGTHS = {1: ">B", 2: ">H", 4: ">I"}


def _value(data: bytes, at: int) -> tuple[Any, int]:  # noqa: PLR0911 - one line a format
    first, at = _number(data, at, ">B")
    if first <= 0x7F:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if first <= 0x8F:
        return _map(data, at, first & 0x0F)
    if first <= 0x9F:
        return _array(data, at, first & 0x0F)
    if first <= 0xBF:
        return _text(data, at, first & 0x1F)
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in _NUMBERS:
        return _number(data, at, _NUMBERS[first])
    return _sized(data, at, first)


def _sized(data: bytes, at: int, first: int) -> tuple[Any, int]:
    if 0xD4 <= first <= 0xD8:
        return _extension(data, at, 1 << (first - 0xD4))
    families = {
        0xC4: (_bytes, 1), 0xC5: (_bytes, 2), 0xC6: (_bytes, 4),
        0xC7: (_extension, 1), 0xC8: (_extension, 2), 0xC9: (_extension, 4),
        0xD9: (_text, 1), 0xDA: (_text, 2), 0xDB: (_text, 4),
        0xDC: (_array, 2), 0xDD: (_array, 4),
        0xDE: (_map, 2), 0xDF: (_map, 4),
    }  # fmt: skip
    if first not in families:
        raise ValueError(f"{first:#x} begins no value")
    read, length_bytes = families[first]
    length, at = _number(data, at, _LENGTHS[length_bytes])
    return read(data, at, length)


def _number(data: bytes, at: int, form: str) -> tuple[Any, int]:
    taken, end = _bytes(data, at, struct.calcsize(form))
    return struct.unpack(form, taken)[0], end


def _bytes(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(data):
        raise ValueError("the bytes end in the middle of a value")
    return data[at : at + length], at + length


def _text(data: bytes, at: int, length: int) -> tuple[str, int]:
    taken, end = _bytes(data, at, length)
    return taken.decode("utf-8"), end


def _extension(data: bytes, at: int, length: int) -> tuple[Extension, int]:
    code, at = _number(data, at, ">b")
    taken, end = _bytes(data, at, length)
    return Extension(code, taken), end


def _array(data: bytes, at: int, length: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(length):
        item, at = _value(data, at)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, length: int) -> tuple[dict[Any, Any], int]:
    fields = {}
    for _ in range(length):
        key, at = _value(data, at)
        if key in fields:
            raise ValueError(f"the key {key!r} is there twice")
        fields[key], at = _value(data, at)
    return fields, at
