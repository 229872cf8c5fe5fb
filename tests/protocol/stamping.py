"""Does with an entry's beginning what the buffer does: appends the stamp; then judges the whole."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack

from tests.support.packing import pack_record
from tests.support.strict_msgpack import decode

STAMP_VALUE = "abcdefghijkl:0000000001"
STAMP = b"\xaalogship_id\xb7" + STAMP_VALUE.encode()
TIME_NS = 1_700_000_000_123_456_789


def stamped(beginning: bytes) -> dict[str, Any]:
    """Append a stamp, and return the record as another decoder reads it, without the stamp.

    Asserts all that every entry must be: exactly one `[EventTime, map]`, text keys, no key
    twice, finite numbers, the stamp in its place.
    """
    return stamped_at_time(beginning)[1]


def stamped_at_time(beginning: bytes) -> tuple[int, dict[str, Any]]:
    """As `stamped`, with the EventTime in nanoseconds before it."""
    time, record = decode(beginning + STAMP)
    assert isinstance(time, msgpack.ExtType)
    assert time.code == 0
    seconds, nanoseconds = struct.unpack(">II", time.data)
    assert record.pop("logship_id") == STAMP_VALUE
    assert_plain(record)
    return seconds * 1_000_000_000 + nanoseconds, record


def readable(record: Any) -> dict[str, Any]:
    """Return what is left of a record when it has been packed, stamped and decoded."""
    return stamped(pack_record(record, TIME_NS))


def assert_plain(value: Any, depth: int = 0) -> None:
    """Assert that a decoded value is one that every JSON output can write."""
    assert depth <= 66
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for item in value.values():
            assert_plain(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item, depth + 1)
    else:
        assert value is None or type(value) in (str, int, float, bool)
        assert not isinstance(value, float) or math.isfinite(value)
