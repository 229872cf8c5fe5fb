"""The straight way of most records: from a mapping into the open chunk, in one function.

What is done here `record_packer` and `Buffer.offer` do, and they say why. It is written out once
more for the records that nearly all are: mappings of plain values under names that were seen
before, logged now, for a lane that is open. Without a call and two copies in between they cost a
seventh less; and of those that differ from the ones before in one text or two, only these are
packed (see `Repeats`), for another quarter or eighth. Whatever else comes is left untouched, for
those two.

See `docs/decisions/026-the-direct-way.md` and `027-what-repeats-is-packed-once.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgpack

from logship.buffer.buffer import ALLOCATIONS_COLLECT, NO_LANES, Buffer
from logship.buffer.chunk import ONE_ENTRY
from logship.protocol.entries import (
    FIRST_SECOND,
    SECOND_NS,
    SMALL_MAP_HEADER_MAX,
    pack_rest_of_small_head,
    second_of,
)
from logship.protocol.plain import FLAT_TYPES, NAMES, copy_nested
from logship.protocol.repeats import LEARN_FROM, TEXT_HEADERS, Repeats, text_header

_NONE: frozenset[str] = frozenset()


def direct_writer(  # noqa: PLR0915 - as below
    buffer: Buffer,
    tag: str,
    extra_fields: int = 1,
    also_reserved: frozenset[str] = _NONE,
    time_ns: Callable[[], int] = time.time_ns,
) -> Callable[[Any], bool]:
    """Return what puts a record of this moment into the buffer, if it can do so at once.

    Called with what the application logged, it returns whether that is accepted. If not, nothing
    has happened, and the record must go the other way. May be called from any thread, and from a
    signal handler or `__del__` in the middle of itself; never raises an `Exception` for what the
    record holds.

    Args:
        buffer: Where to.
        tag: The route, as `Buffer.offer` takes it.
        extra_fields: How many fields a map's header counts beyond the record's own.
        also_reserved: Names besides `logship_*` that the stamp takes.
        time_ns: Nanoseconds since 1970.
    """
    idle: Callable[[Any], bytes] | None = None
    second = FIRST_SECOND
    are_known, are_free = NAMES.issuperset, also_reserved.isdisjoint
    # By the header of the record's own map; others are not small.
    headers = bytes(range(extra_fields, SMALL_MAP_HEADER_MAX + 1))
    counters, join = buffer.counters, b"".join
    repeats, known_sizes = Repeats(extra_fields), len(TEXT_HEADERS)
    # So many records that fit no pattern, and one is looked at; less than none if those that come
    # do not go this way to its end. And whether any fitted since the last look.
    look_in, any_fitted = 1, False

    def write(record: Any) -> bool:  # noqa: PLR0912, PLR0915 - all of the way, on purpose
        nonlocal idle, second, look_in, any_fitted
        lanes = buffer._lanes
        around = pack = None
        try:
            chunk = lanes[tag]
            stream = chunk.stream
            number = stream.next_number
            digits = chunk.lane_digits[number - chunk.lane_number]
            now_ns = time_ns()
            if type(record) is not dict:
                return False
            pattern = repeats.pattern
            if pattern is not None:
                text_name, also_name, others, around, known = pattern
                fields = record.copy()
                text = fields.pop(text_name, None)
                if also_name is not None:
                    also = fields.pop(also_name, None)
                    if type(also) is not str:
                        text = None
                if type(text) is not str:
                    around = None
                elif fields != others:
                    around = None
                    try:
                        found = known.get(tuple(fields.items()))
                    except TypeError:
                        found = None  # there is a list or a mapping among them
                    if found is not None:
                        others, around = found
                        repeats.pattern = text_name, also_name, others, around, known
            began_ns, beginning = second
            nanoseconds = now_ns - began_ns
            if not 0 <= nanoseconds < SECOND_NS:
                second = began_ns, beginning = second_of(now_ns)
                nanoseconds = now_ns - began_ns
            suffix = chunk.lane_suffix
            if around is not None:
                any_fitted = True
                before, between, behind = around
                data = text.encode()
                size = len(data)
                header = TEXT_HEADERS[size] if size < known_sizes else text_header(size)
                head = nanoseconds.to_bytes(4, "big")
                if also_name is None:
                    entry = join((beginning, head, before, header, data, behind, suffix, digits))
                else:
                    more = also.encode()
                    size = len(more)
                    also_header = TEXT_HEADERS[size] if size < known_sizes else text_header(size)
                    entry = join(
                        (
                            beginning,
                            head,
                            before,
                            header,
                            data,
                            between,
                            also_header,
                            more,
                            behind,
                            suffix,
                            digits,
                        )
                    )
            else:
                look_in -= 1
                if look_in < -LEARN_FROM:
                    look_in = repeats.give_up()
                fields = record.copy()
                if not are_known(fields) or (also_reserved and not are_free(fields)):
                    return False
                for value in fields.values():
                    if type(value) is not str and type(value) not in FLAT_TYPES:
                        copy_nested(fields)
                        break
                pack, idle = idle, None
                if pack is None:
                    pack = msgpack.Packer().pack
                packed = pack(fields)
                head = pack_rest_of_small_head(beginning, nanoseconds, headers[packed[0]])
                entry = join((head, packed[1:], suffix, digits))
                if look_in <= 0:
                    look_in = repeats.look_at(fields, number, any_fitted)
                    any_fitted = False
        except Exception:  # noqa: BLE001 - no lane, no digits, or a record that is not as most are
            return False
        begin = chunk.size
        size = end = begin + len(entry)
        if size > chunk.lane_bytes_max:
            return False  # and a packer that it made grow is not kept
        if pack is not None:
            idle = pack
        words = chunk.words
        if words is not None:
            word = (chunk.entries + number - chunk.last) * ONE_ENTRY + size
            begin += chunk.payload_at
            end += chunk.payload_at
        place = slice(begin, end) if ALLOCATIONS_COLLECT else None
        try:
            # As in `Buffer.offer`: nobody comes in between from here to the return.
            if buffer._lanes is lanes and stream.next_number == number and not buffer._deferred:
                if place is None:
                    chunk.mapping[begin:end] = entry
                else:
                    chunk.mapping[place] = entry
                if words is not None:
                    words[chunk.commit_index] = word
                chunk.size = size
                stream.next_number = number + 1
                counters.accepted += 1
                return True
        except BaseException:  # no memory, or the mapping is closed
            buffer._torn = True
            buffer._left_lanes, buffer._lanes = lanes, NO_LANES
            buffer._wake_to_be_sure()
            raise
        return False

    return write
