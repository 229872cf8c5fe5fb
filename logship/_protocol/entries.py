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
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgpack

from logship._hooks.interruptions import is_interruption
from logship._protocol.plain import (
    RESERVED_PREFIX,
    NotPlain,
    keep_out,
    learn_names,
    plain_copy,
)
from logship._protocol.readable import cut_texts, plain_record
from logship._protocol.repeated import (
    ARRAY_AND_EVENT_TIME,
    HEAD_SMALL_MAP,
    SMALL_MAP_FIELDS_MAX,
    Beginning,
    Repeated,
    beginning_with,
    map_header_bytes,
    packed_fields,
)
from logship._protocol.unpacking import Allowance, BoundedUnpacker
from logship._quoting import quoted_value
from logship.errors import ProtocolError

TRUNCATED_KEY = "logship_truncated"
"""True in a record that is not whole: cut to fit a frame, nested too deep, or unreadable."""

TIME_KEY = "logship_time_ns"
"""Holds the true time of a record whose time does not fit an EventTime."""

GAP_KEY = "logship_gap"
END_KEY = "logship_end"
HIGH_WATER_KEY = "logship_high_water"
_CONTROL_KEYS = frozenset((GAP_KEY, END_KEY, HIGH_WATER_KEY))

ENTRY_BYTES_MIN = 256
"""The least that an entry can be cut to: room for a summary that says something."""

SECOND_NS = 1_000_000_000
_TIME_NS_MAX = 0xFFFF_FFFD * SECOND_NS + SECOND_NS - 1
"""In February 2106. Fluent Bit takes the last two seconds that an EventTime could hold for marks of
a group: it acks such a record, and drops it and all others behind it in the chunk."""
_TIME_TOLD_NS_MAX = 10**40
_HEAD_16_MAP = struct.Struct(">3sIIBH")
_HEAD_32_MAP = struct.Struct(">3sIIBI")
_SMALL_MAP_HEADER_MAX = 0x80 | SMALL_MAP_FIELDS_MAX

_NO_ROOM_FIELDS = {
    "message": "<record unreadable: no stack or memory left to read it>",
    TRUNCATED_KEY: True,
}
KEPT_BYTES_MAX = 1 << 20
"""A packer that a larger record made grow is not kept."""

_NONE: frozenset[str] = frozenset()
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


class CutEntry(bytes):
    """The beginning of an entry that was cut, because it was too long."""


def record_packer(
    extra_fields: int = 1,
    also_reserved: frozenset[str] = _NONE,
    bytes_max: int = sys.maxsize,
    when_cut: Callable[[], object] = lambda: None,
    now_ns: Callable[[], int] = lambda: 0,
    constants: Mapping[str, Any] = _NO_FIELDS,
    context_of: Callable[[], Repeated | None] = lambda: None,
) -> Callable[[Any, int | None], bytes]:
    """Return a function that packs the beginning of an entry from a record and a time.

    What is no mapping becomes the record's `message`. The time is in nanoseconds since 1970. A time
    before 1970, or later than February 2106, is clamped, and kept in the field `logship_time_ns`.

    The function never raises an `Exception`, whatever the record holds. `SystemExit`,
    `KeyboardInterrupt` and their like pass: a signal handler raised them, not the record. So does a
    `RecursionError` where the caller has fewer than ten stack frames left. It may be called from
    any thread, and from a signal handler or `__del__` in the middle of itself.

    It keeps a pool of packers. A packer is out of the pool while it is in use, so no other thread
    and no signal handler finds it half done. After a fault it is not put back.

    Args:
        extra_fields: How many fields the map's header counts beyond the record's own. The caller
            appends their keys and values.
        also_reserved: Names besides `logship_*` that the caller will append.
        bytes_max: A longer entry is cut, and returned as `CutEntry`; without what the caller
            appends, and at least `ENTRY_BYTES_MIN`.
        when_cut: Called for each entry that is cut.
        now_ns: Returns the time of a record that has none.
        constants: Fields of every record, which are packed once. Those of its context win over
            them, and its own over both.
        context_of: Returns the fields of what is being worked on, if there are any.
    """
    idle: list[Callable[[Any], bytes]] = []
    constants = readable_fields(constants, also_reserved)
    keep_out(constants)
    base = Beginning(packed_fields(constants), extra_fields + len(constants))
    beginning_of = beginning_with(base, also_reserved)

    def pack(record: Any, time_ns: int | None) -> bytes:
        if time_ns is None:
            time_ns = now_ns()
        try:
            if type(record) is not dict or time_ns > _TIME_NS_MAX:
                raise NotPlain
            fields, beginning, context = plain_copy(record), base, context_of()
            if context is not None:
                beginning = beginning_of(context, fields)
                if beginning is base:
                    fields = {**plain_copy(context), **fields}
            if also_reserved and not also_reserved.isdisjoint(fields):
                raise NotPlain
            pack_value = idle.pop() if idle else msgpack.Packer(strict_types=True).pack
            packed: bytes = pack_value(fields)
            if len(packed) < KEPT_BYTES_MAX:
                idle.append(pack_value)
            header = packed[0] + beginning.count
            if header <= _SMALL_MAP_HEADER_MAX:
                seconds, nanoseconds = divmod(time_ns, SECOND_NS)
                head = beginning.small_head(
                    ARRAY_AND_EVENT_TIME, seconds, nanoseconds, header, beginning.packed
                )
                body = head + packed[1:]
            else:
                head = entry_head(time_ns, len(fields) + beginning.count)
                body = head + beginning.packed + packed[map_header_bytes(len(fields)) :]
            if len(body) <= bytes_max:
                return body
        except NotPlain:
            pass
        except Exception as error:
            if is_interruption(error):  # `__hash__`: the longer way makes it readable
                raise
        return pack_readable(record, time_ns)

    def pack_readable(record: Any, time_ns: Any) -> bytes:
        if type(time_ns) is not int:
            time_ns = _whole_or_none(time_ns)
            time_ns = now_ns() if time_ns is None else time_ns
        more = {**constants, **(context_of() or {})}
        try:
            fields = readable_fields(record, also_reserved, more)
            learn_names(fields)
            body = pack_control(fields, time_ns, extra_fields)
        except (RecursionError, MemoryError):
            return pack_control(_NO_ROOM_FIELDS, time_ns, extra_fields)
        if len(body) > bytes_max:
            when_cut()
            return CutEntry(_pack_cut(fields, time_ns, bytes_max, extra_fields))
        return body

    return pack


def pack_control(fields: Mapping[str, Any], time_ns: int, extra_fields: int = 1) -> bytes:
    """Pack the beginning of an entry of logship's own, whose reserved names are kept.

    Args:
        fields: plain values under text keys.
        time_ns: nanoseconds since 1970, clamped as that of a record.
        extra_fields: how many fields the map's header counts beyond these.
    """
    kept = dict(fields)
    if not 0 <= time_ns <= _TIME_NS_MAX:
        kept[TIME_KEY] = time_ns if -(1 << 63) <= time_ns < 1 << 64 else _time_text(time_ns)
        time_ns = min(max(time_ns, 0), _TIME_NS_MAX)
    packed: bytes = msgpack.packb(kept)
    # The map's header is written anew, so that it counts `extra_fields` too.
    head = entry_head(time_ns, len(kept) + extra_fields)
    return head + packed[map_header_bytes(len(kept)) :]


def _whole_or_none(time_ns: Any) -> int | None:
    """Return a time of another type, such as a float, as nanoseconds; None if it is not a time."""
    try:
        return int(time_ns)
    except Exception as error:
        if is_interruption(error):
            raise
        return None


def is_control(record: Mapping[Any, Any]) -> bool:
    """Tell whether a record is one of logship's own: a gap, an end or a high-water record."""
    return not _CONTROL_KEYS.isdisjoint(record)


def _time_text(time_ns: int) -> str:
    """Return a time of more than 64 bits in so few characters that it always has its place."""
    sign = "-" if time_ns < 0 else ""
    return str(time_ns) if abs(time_ns) < _TIME_TOLD_NS_MAX else f"{sign}2^{time_ns.bit_length()}"


def _pack_cut(fields: dict[str, Any], time_ns: int, bytes_max: int, extra_fields: int) -> bytes:
    """Pack the beginning of an entry that is too long in at most `bytes_max` bytes, and mark it.

    The longest texts are cut, all to one length, so that short fields stay whole. Where that is
    not enough, because there are too many fields, the record becomes one text that begins as the
    record does.
    """
    try:
        marked = {**fields, TRUNCATED_KEY: True}
        excess_bytes = len(pack_control(marked, time_ns, extra_fields)) - bytes_max
        kept = cut_texts(marked, excess_bytes) or _summary(fields, bytes_max)
    except (RecursionError, MemoryError):
        kept = _NO_ROOM_FIELDS
    return pack_control(kept, time_ns, extra_fields)


def unpack_entries(data: bytes | bytearray | memoryview) -> Iterator[tuple[int, Any]]:
    """Yield time in nanoseconds and record of each entry of a PackedForward payload.

    Times may be EventTimes, or numbers of seconds as the protocol's first version had them.

    Args:
        data: the payload.

    Raises:
        ProtocolError: the bytes are not a run of whole entries. Some may have been yielded.
    """
    return map(entry_of, _unpack(data, None))


def unpack_with_metadata(
    data: bytes, allowance: Allowance
) -> Iterator[tuple[int, dict[Any, Any], dict[Any, Any]]]:
    """Yield time in nanoseconds, record and metadata of each entry of a client's payload.

    In version 1.5 of the protocol a time may be `[time, metadata]`, as Fluent Bit sends it.

    Args:
        data: As of `unpack_entries`.
        allowance: As of `BoundedUnpacker`.

    Raises:
        ProtocolError: The bytes are not a run of whole entries. Some may have been yielded.
    """
    for entry in _unpack(data, allowance):
        metadata: dict[Any, Any] = {}
        if type(entry) is list and entry and type(entry[0]) is list:
            entry[0], metadata = _time_and_metadata(entry[0])
        yield *entry_of(entry), metadata


def _unpack(data: bytes | bytearray | memoryview, allowance: Allowance | None) -> Iterator[Any]:
    unpacker = BoundedUnpacker(len(data), "backslashreplace", allowance)
    yield from unpacker.feed(data)
    if unpacker.pending_bytes:
        raise ProtocolError(f"entries end {unpacker.pending_bytes} bytes into one")


def _time_and_metadata(both: list[Any]) -> tuple[Any, dict[Any, Any]]:
    if len(both) != 2 or type(both[1]) is not dict:
        raise ProtocolError("an entry begins with an array that is not a time and metadata")
    return both[0], both[1]


def unpack_unstamped(body: bytes, stamp_key: str | None) -> tuple[int, dict[Any, Any]]:
    """Return time in nanoseconds and record of an entry without the stamp that it counts.

    Args:
        body: the entry.
        stamp_key: the field of the stamp, or None if none is counted.

    Raises:
        ProtocolError: the bytes are not such an entry.
    """
    stamp = b"" if stamp_key is None else msgpack.packb(stamp_key) + msgpack.packb(None)
    ((time_ns, record),) = unpack_entries(body + stamp)
    record.pop(stamp_key, None)
    return time_ns, record


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
        return int(seconds) * SECOND_NS + int(nanoseconds)
    if kind is int:
        return int(time) * SECOND_NS
    if kind is float and abs(time) < 1e18:
        return round(float(time) * SECOND_NS)
    raise ProtocolError(
        f"a time is {kind.__name__} {quoted_value(time)}, not an EventTime or a number"
    )


def readable_fields(
    record: Any, also_reserved: frozenset[str], more: Mapping[Any, Any] = _NO_FIELDS
) -> dict[str, Any]:
    """Return a record as plain fields, with those of `more` that it does not have itself.

    Args:
        record: What is no mapping becomes its `message`.
        also_reserved: As of `record_packer`.
        more: Any fields.
    """

    def is_reserved(name: str) -> bool:
        return name.startswith(RESERVED_PREFIX) or name in also_reserved

    fields, complete = plain_record(record, is_reserved)
    if more:
        others, others_complete = plain_record(more, is_reserved)
        fields, complete = {**others, **fields}, complete and others_complete
    if not complete:
        fields[TRUNCATED_KEY] = True
    return fields


def entry_head(time_ns: int, count: int) -> bytes:
    """Return an entry's array and time, and the header of a map of `count` fields.

    Raises:
        struct.error: An EventTime cannot hold the time.
    """
    beginning = ARRAY_AND_EVENT_TIME, *divmod(time_ns, SECOND_NS)
    if count <= SMALL_MAP_FIELDS_MAX:
        return HEAD_SMALL_MAP.pack(*beginning, 0x80 | count)
    if count <= 0xFFFF:
        return _HEAD_16_MAP.pack(*beginning, 0xDE, count)
    return _HEAD_32_MAP.pack(*beginning, 0xDF, count)


def _summary(fields: dict[str, Any], bytes_max: int) -> dict[str, Any]:
    """Return a record that says how large the true one was, and how it began."""
    text = f"<record of {len(fields)} fields, too large to send; it began:> {json.dumps(fields)}"
    return {"message": text[: bytes_max - ENTRY_BYTES_MIN // 2], TRUNCATED_KEY: True}
