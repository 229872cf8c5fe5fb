"""PackedForward payloads as a server takes them: all entries of one at once, mostly in C.

Clients send hundreds of entries in a payload, and nearly all are alike: an EventTime, perhaps with
empty metadata, and a map of plain values. Those are decoded and checked a batch at a time, without
a line of Python for each. Whatever is not like that (metadata, extension types, what JSON cannot
say, a fault) goes through `unpack_with_metadata`, which is slower and says what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgpack

from logship._protocol.columns import lines_text
from logship._protocol.entries import SECOND_NS, unpack_with_metadata
from logship._protocol.jsonlines import line_bytes, line_head, line_maker
from logship._protocol.unpacking import Allowance, new_unpacker
from logship.errors import ProtocolError

BATCH_ENTRIES = 1024
"""Decoded at a time: enough to share out what is done once, few enough to stay in the cache. Fewer
where what each line begins with is long."""

LINES_BYTES_MAX = 64 * 1024 * 1024
"""The most that may become of one payload: four times the longest message."""

_PIECE_BYTES = 256 * 1024
"""Looked at a time; a longer entry goes the longer way, which counts what it decodes."""

_EXTENSIONS: dict[int, Any] = {code: ... for code in range(-128, 128) if code != 0}
"""What `get` makes of an extension's type and bytes: of an EventTime its bytes, of others nothing
that is known, all of it in C."""

_NIL = b"\xc0"
_ENTRY_HEADS = {b"\x92\xd7\x00"}
"""How an entry begins: an array of two, and an EventTime of eight bytes in its usual form."""

_MAP_AT = 11
_MAP_HEADS = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])


class _TooMuch(ProtocolError):  # noqa: N818 - the longer way would not make less of it
    """What a payload makes is too long."""


class _Unusual(ValueError):  # noqa: N818 - no fault: it says that the longer way must be taken
    """Something in a payload is not as nearly all clients send it."""


def payload_lines(tag: str, payload: bytes) -> tuple[bytes, int]:
    """Return the JSON lines of a payload's records, as `json_line` makes them, and their number.

    Raises:
        ProtocolError: the bytes are not a run of whole entries, or make more than
            `LINES_BYTES_MAX`, or have too many values where they are not as usual.
    """
    try:
        return _lines_in_batches(tag, payload)
    except _TooMuch:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the longer way writes it or says why not
        lines = _lines_one_by_one(tag, payload, Allowance())
        return b"".join(lines), len(lines)


def count_entries(payload: bytes) -> int:
    """Return how many entries a payload has, without decoding what they hold.

    Each is an array of an EventTime and a map of well-formed msgpack, and the last one is whole.
    Not looked at: whether text is UTF-8, whether a map has keys that can be keys, how many
    elements a map or an array has. A payload with entries of another form is decoded.

    Raises:
        ProtocolError: the bytes are not a run of whole entries.
    """
    try:
        return _count_usual(payload)
    except Exception:  # noqa: BLE001 - whatever it is, the longer way counts it or says why not
        return sum(1 for _ in unpack_with_metadata(payload, Allowance()))


def _lines_in_batches(tag: str, payload: bytes) -> tuple[bytes, int]:
    """Do what `payload_lines` does; a batch that is not as usual goes the longer way alone."""
    head, count, size, allowance = line_head(tag), 0, 0, Allowance()
    parts: list[bytes] = []
    for entries, place in _batches(payload, min(BATCH_ENTRIES, max(1, _PIECE_BYTES // len(head)))):
        try:
            lines = line_bytes(lines_text(head, *_times_and_records(entries)))
        except Exception:  # noqa: BLE001 - as above
            lines = b"".join(_lines_one_by_one(tag, payload[place], allowance))
        parts.append(lines)
        size += len(lines)
        _check_size(size)
        count += len(entries)
    return b"".join(parts), count


def _batches(payload: bytes, entries_max: int) -> Iterator[tuple[list[Any], slice]]:
    """Yield the payload's entries decoded, some at a time, and where in it these are.

    An EventTime becomes its eight bytes, and nothing else becomes bytes: what is sent as such ends
    the short way. One inside a record is nothing that JSON knows, and leads the longer way too.

    Arrays become lists, not tuples: an array may say that it is longer than it is. With the global
    lock, the room that Python makes for a list takes no memory until it is used.
    """
    unpacker = new_unpacker(len(payload), "backslashreplace", _EXTENSIONS.get, bin_bytes_max=0)
    entries: list[Any] = []
    start = 0
    for at in range(0, len(payload), _PIECE_BYTES):
        unpacker.feed(payload[at : at + _PIECE_BYTES])
        wanted = 1 if entries else entries_max
        while len(found := [*islice(unpacker, wanted)]) == wanted:
            end = unpacker.tell()
            yield entries + found, slice(start, end)
            entries, start, wanted = [], end, entries_max
        entries += found  # `tell` is in the middle of the next entry, of which a part is missing
        if at - start > _PIECE_BYTES:
            raise _Unusual
    unpacker.feed(_NIL)
    if next(unpacker, _Unusual) is not None:  # it became a part of an entry that is not whole
        raise _Unusual
    if entries:
        yield entries, slice(start, len(payload))


def _lines_one_by_one(tag: str, payload: bytes, allowance: Allowance) -> list[bytes]:
    line, lines, size = line_maker(tag), [], 0
    for entry in unpack_with_metadata(payload, allowance):
        lines.append(line(*entry))
        size += len(lines[-1])
        _check_size(size)
    return lines


def _check_size(size: int) -> None:
    if size > LINES_BYTES_MAX:
        raise _TooMuch(f"the records make more than {LINES_BYTES_MAX} bytes of lines")


def _times_and_records(entries: list[Any]) -> tuple[list[int], Sequence[dict[Any, Any]]]:
    if set(map(type, entries)) != {list}:
        raise _Unusual
    times, records = zip(*entries, strict=True)
    if set(map(type, records)) != {dict}:
        raise _Unusual
    if type(times[0]) is list:  # as Fluent Bit sends them
        times = _without_metadata(times)
    kinds = set(map(type, times))
    if kinds == {int}:
        return [seconds * SECOND_NS for seconds in times], records
    if kinds != {bytes}:
        raise _Unusual
    return _times_ns(times), records


def _without_metadata(times: Sequence[Any]) -> tuple[Any, ...]:
    """Return the times of entries that all have metadata, which are all empty."""
    bare, metadata = zip(*times, strict=True)
    if set(map(type, metadata)) != {dict} or any(metadata):
        raise _Unusual
    return bare


def _times_ns(times: Sequence[bytes]) -> list[int]:
    """Return nanoseconds since 1970 of EventTimes: seconds above, nanoseconds in the lower half."""
    if set(map(len, times)) != {8}:
        raise _Unusual
    numbers = struct.unpack(f">{len(times)}Q", b"".join(times))
    seconds = numbers[0] >> 32
    if min(numbers) >> 32 == seconds == max(numbers) >> 32:  # as nearly always
        begins_ns = seconds * SECOND_NS - (seconds << 32)
        return [each + begins_ns for each in numbers]
    return [(each >> 32) * SECOND_NS + (each & 0xFFFF_FFFF) for each in numbers]


def _count_usual(payload: bytes) -> int:
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(payload)
    skip, tell, end, count = unpacker.skip, unpacker.tell, len(payload), 0
    while (start := tell()) < end:
        starts = [start]
        while start < end and len(starts) <= BATCH_ENTRIES:
            skip()
            start = tell()
            starts.append(start)
        del starts[-1]
        if {payload[at : at + 3] for at in starts} != _ENTRY_HEADS:
            raise _Unusual
        if not {payload[at + _MAP_AT] for at in starts} <= _MAP_HEADS:
            raise _Unusual
        count += len(starts)
    return count
