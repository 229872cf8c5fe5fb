"""Entries of records, packed as a client packs them, and bytes in the pieces in which they come."""

from __future__ import annotations

import functools
import itertools
from typing import Any

from logship._protocol.entries import record_packer

_packer = functools.lru_cache(record_packer)


def pack_record(
    record: Any, time_ns: int, extra_fields: int = 1, also_reserved: frozenset[str] = frozenset()
) -> bytes:
    """Return the beginning of a record's entry; see `record_packer`."""
    return _packer(extra_fields, also_reserved)(record, time_ns)


def pieces(sent: bytes, cuts: list[int]) -> list[bytes]:
    """Return bytes cut at these places; some of the pieces may be empty."""
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    return [sent[begin:end] for begin, end in itertools.pairwise(edges)]
