"""Entries: packed `[EventTime, record]`, the unit that everything above counts, stamps and sends.

Packing happens in the thread that logs, once per record: it is the hottest code of the product.
A flat record of plain values therefore goes through msgpack in a single call, and only what that
cannot take pays for being made readable. What comes out is always well-formed, because Fluentd
and Fluent Bit acknowledge malformed entries and then drop them.

The layout is that of the forward protocol, version 1: an array of two, an EventTime (extension
type 0: seconds and nanoseconds, 32 bits each, big-endian), and a map.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack

from logship.errors import ProtocolError
from logship.protocol.plain import (
    FLAT_TYPES,
    NAMES,
    RESERVED_PREFIX,
    copy_nested,
    learn_names,
)
from logship.protocol.readable import cut_texts, plain_record
from logship.protocol.unpacking import BoundedUnpacker

TRUNCATED_KEY = "logship_truncated"
"""True in a record that is not whole: cut to fit a frame, nested too deep, or unreadable."""

TIME_KEY = "logship_time_ns"
"""Holds the true time of a record whose time does not fit an EventTime."""

ENTRY_BYTES_MIN = 256
"""The least that `pack_truncated` can be asked for: room for a summary that says something."""

_NANOSECONDS = 1_000_000_000
_TIME_NS_MAX = 0xFFFF_FFFF * _NANOSECONDS + _NANOSECONDS - 1
_HEAD_SMALL_MAP = struct.Struct(">3sIIB")
_pack_small_head = _HEAD_SMALL_MAP.pack
_HEAD_16_MAP = struct.Struct(">3sIIBH")
_HEAD_32_MAP = struct.Struct(">3sIIBI")
_ARRAY_AND_EVENT_TIME = b"\x92\xd7\x00"
_SMALL_MAP_FIELDS_MAX = 15

_NO_ROOM_FIELDS = {"message": "<record unreadable: no stack or memory left to read it>"}
_PACKERS: list[msgpack.Packer] = []
_POOLED_BYTES_MAX = 1 << 20
_NONE: frozenset[str] = frozenset()


def pack_record(
    record: Any, time_ns: int, extra_fields: int = 1, also_reserved: frozenset[str] = _NONE
) -> bytes:
    """Pack the beginning of an entry; the caller appends `extra_fields` keys with their values.

    Never raises an `Exception`, whatever the record holds. `SystemExit`, `KeyboardInterrupt` and
    their like pass: a signal handler raised them, not the record. So does a `RecursionError`
    where the caller has fewer than ten stack frames left. May be called from any thread, and from
    a signal handler or `__del__` in the middle of itself.

    Args:
        record: what the application logged; what is not a mapping becomes its `message`.
        time_ns: nanoseconds since 1970. Times that an EventTime cannot hold (before 1970, after
            2106) are clamped, and kept in the field `logship_time_ns`.
        extra_fields: how many fields the map's header counts beyond the record's own.
        also_reserved: names besides `logship_*` that the caller will append.
    """
    try:
        if type(record) is dict:
            fields = record.copy()
            if NAMES.issuperset(fields) and (not also_reserved or also_reserved.isdisjoint(fields)):
                for value in fields.values():
                    if type(value) is not str and type(value) not in FLAT_TYPES:
                        copy_nested(fields)
                        break
                count = len(fields) + extra_fields
                if count > _SMALL_MAP_FIELDS_MAX:
                    return _pack_fields(fields, time_ns, extra_fields)
                # As `_pack_fields` does; a call less, because nearly every record comes by here.
                try:
                    packer = _PACKERS.pop()
                except IndexError:
                    packer = msgpack.Packer()
                packed: bytes = packer.pack(fields)
                if len(packed) < _POOLED_BYTES_MAX:
                    _PACKERS.append(packer)
                seconds, nanoseconds = divmod(time_ns, _NANOSECONDS)
                head = _pack_small_head(_ARRAY_AND_EVENT_TIME, seconds, nanoseconds, 0x80 | count)
                return head + packed[1:]
    except Exception:  # noqa: BLE001 - not plain, 65 bits, a surrogate, a key's `__hash__` raises:
        pass  # whatever it is, the longer way makes it readable
    try:
        fields = _readable_fields(record, also_reserved)
        learn_names(fields)
        return pack_control(fields, time_ns, extra_fields)
    except (RecursionError, MemoryError):
        return pack_control(_NO_ROOM_FIELDS, time_ns, extra_fields)


def pack_control(fields: Mapping[str, Any], time_ns: int, extra_fields: int = 1) -> bytes:
    """Pack the beginning of an entry of logship's own, whose reserved names are kept.

    Args:
        fields: plain values under text keys.
        time_ns: nanoseconds since 1970, clamped as `pack_record` does.
        extra_fields: how many fields the map's header counts beyond these.
    """
    kept = dict(fields)
    if not 0 <= time_ns <= _TIME_NS_MAX:
        kept[TIME_KEY] = time_ns if -(1 << 63) <= time_ns < 1 << 64 else str(time_ns)
        time_ns = min(max(time_ns, 0), _TIME_NS_MAX)
    return _pack_fields(kept, time_ns, extra_fields)


def pack_truncated(
    record: Any,
    time_ns: int,
    bytes_max: int,
    extra_fields: int = 1,
    also_reserved: frozenset[str] = _NONE,
) -> bytes:
    """Pack the beginning of an entry in at most `bytes_max` bytes, marked `logship_truncated`.

    The longest texts are cut, all to one length, so that short fields stay whole. Where that is
    not enough, because there are too many fields, the record becomes one text that begins as the
    record does. Never raises an `Exception` for what the record holds.

    Args:
        record: what the application logged.
        time_ns: nanoseconds since 1970.
        bytes_max: the most that may be returned, without what the caller appends; at least
            `ENTRY_BYTES_MIN`.
        extra_fields: how many fields the map's header counts beyond the record's own.
        also_reserved: names besides `logship_*` that the caller will append.
    """
    try:
        fields = _readable_fields(record, also_reserved) | {TRUNCATED_KEY: True}
        packed = pack_control(fields, time_ns, extra_fields)
        if len(packed) <= bytes_max:
            return packed
        fields = cut_texts(fields, len(packed) - bytes_max) or _summary(fields, bytes_max)
    except (RecursionError, MemoryError):
        fields = {**_NO_ROOM_FIELDS, TRUNCATED_KEY: True}
    return pack_control(fields, time_ns, extra_fields)


def unpack_entries(data: bytes | bytearray | memoryview) -> Iterator[tuple[int, Any]]:
    """Yield time in nanoseconds and record of each entry of a PackedForward payload.

    Times may be EventTimes, or numbers of seconds as the protocol's first version had them.

    Raises:
        ProtocolError: the bytes are not a run of whole entries. Some may have been yielded.
    """
    unpacker = BoundedUnpacker(len(data), unicode_errors="backslashreplace")
    for entry in unpacker.feed(data):
        yield entry_of(entry)
    if unpacker.pending_bytes:
        raise ProtocolError(f"entries end {unpacker.pending_bytes} bytes into one")


def entry_of(entry: Any) -> tuple[int, dict[Any, Any]]:
    """Return time in nanoseconds and record of one decoded entry.

    Raises:
        ProtocolError: it is not an array of a time and a map.
    """
    if type(entry) is not list or len(entry) != 2:
        raise ProtocolError("an entry is not an array of a time and a record")
    time, record = entry
    if type(record) is not dict:
        raise ProtocolError(f"a record is a {type(record).__name__}, not a map")
    return time_ns_of(time), record


def time_ns_of(time: Any) -> int:
    """Return an entry's time in nanoseconds since 1970.

    Args:
        time: a decoded EventTime (see `BoundedUnpacker`), or seconds as integer or float.

    Raises:
        ProtocolError: it is none of these, or not finite.
    """
    kind = type(time)
    if kind is tuple:
        seconds, nanoseconds = time
        return int(seconds) * _NANOSECONDS + int(nanoseconds)
    if kind is int:
        return int(time) * _NANOSECONDS
    if kind is float and abs(time) < 1e18:
        return round(float(time) * _NANOSECONDS)
    raise ProtocolError(f"a time is {kind.__name__} {time!r:.40}, not an EventTime or a number")


def _readable_fields(record: Any, also_reserved: frozenset[str]) -> dict[str, Any]:
    def is_reserved(name: str) -> bool:
        return name.startswith(RESERVED_PREFIX) or name in also_reserved

    fields, complete = plain_record(record, is_reserved)
    if not complete:
        fields[TRUNCATED_KEY] = True
    return fields


def _pack_fields(fields: dict[str, Any], time_ns: int, extra_fields: int) -> bytes:
    """Pack plain values; the map's header is written anew so that it counts `extra_fields` too."""
    try:
        packer = _PACKERS.pop()  # one of its own for each pack, also for one inside another
    except IndexError:
        packer = msgpack.Packer()
    packed: bytes = packer.pack(fields)
    if len(packed) < _POOLED_BYTES_MAX:
        _PACKERS.append(packer)
    seconds, nanoseconds = divmod(time_ns, _NANOSECONDS)
    count = len(fields) + extra_fields
    if count <= _SMALL_MAP_FIELDS_MAX:
        head = _pack_small_head(_ARRAY_AND_EVENT_TIME, seconds, nanoseconds, 0x80 | count)
        return head + packed[1:]
    return _large_head(seconds, nanoseconds, count) + packed[_map_header_bytes(len(fields)) :]


def _large_head(seconds: int, nanoseconds: int, count: int) -> bytes:
    if count <= 0xFFFF:
        return _HEAD_16_MAP.pack(_ARRAY_AND_EVENT_TIME, seconds, nanoseconds, 0xDE, count)
    return _HEAD_32_MAP.pack(_ARRAY_AND_EVENT_TIME, seconds, nanoseconds, 0xDF, count)


def _map_header_bytes(count: int) -> int:
    if count <= _SMALL_MAP_FIELDS_MAX:
        return 1
    return 3 if count <= 0xFFFF else 5


def _summary(fields: dict[str, Any], bytes_max: int) -> dict[str, Any]:
    """Return a record that says how large the true one was, and how it began."""
    text = f"<record of {len(fields)} fields, too large to send; it began:> {json.dumps(fields)}"
    return {"message": text[: bytes_max - ENTRY_BYTES_MIN // 2], TRUNCATED_KEY: True}
