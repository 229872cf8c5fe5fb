"""Decodes msgpack by the implementation that the product does not use, and more strictly.

It judges what the product makes: no map may have a key twice, and nothing may be left over.
"""

from __future__ import annotations

from typing import Any

import msgpack
from msgpack.fallback import Unpacker


def decode_all(data: bytes) -> list[Any]:
    """Decode a run of values.

    Raises:
        ValueError: The bytes are not a run of whole, valid values.
    """
    unpacker = Unpacker(
        strict_map_key=False, object_pairs_hook=_map_of, ext_hook=msgpack.ExtType, max_buffer_size=0
    )
    unpacker.feed(data)
    values = list(unpacker)
    if unpacker.tell() != len(data):
        raise ValueError("the bytes end in the middle of a value")
    return values


def decode(data: bytes) -> Any:
    values = decode_all(data)
    if len(values) != 1:
        raise ValueError(f"{len(values)} values instead of one")
    return values[0]


def _map_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a key is there twice: {pairs}")
    return fields
