"""The straight way of most records: into the open chunk, in one function.

What is done here `record_packer` and `Buffer.offer` do, and they say why. It is written out once
more for the records that nearly all are: mappings of plain values under names that were seen
before, logged now, and what `logging` makes of a text without extras; for a lane that is open. What
it saves are the calls in between, and the entry itself: its parts are put together where it belongs
(see `protocol.layouts`). Of records that differ from the ones before in one text or two, only these
are packed (see `Repeats`). Whatever else comes is left to the two others.

See `docs/decisions/026-the-direct-way.md`, `027-what-repeats-is-packed-once.md` and
`029-put-together-in-place.md`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import msgpack

from logship.buffer.buffer import Buffer
from logship.buffer.chunk import ONE_ENTRY
from logship.protocol.entries import (
    FIRST_SECOND,
    KEPT_BYTES_MAX,
    SECOND_NS,
    SMALL_MAP_HEADER_MAX,
    second_of,
)
from logship.protocol.layouts import PAIR_SHIFT, Around, Layouts, MakeLayout, layout_of
from logship.protocol.plain import FLAT_TYPES, NAMES, copy_nested
from logship.protocol.repeats import LEARN_FROM, Repeats

_NONE: frozenset[str] = frozenset()

DirectWriter = Callable[[Any], bytes | None]
"""What `direct_writer` returns."""

TextWriter = Callable[[str, tuple[str, str], int], bytes | None]
"""What `text_writer` returns."""

_HEADS_BYTES_MAX = 17
"""An entry's time, its map's header, and that of a text."""

_NAMES_MAX = 4096
_NAME_CHARACTERS_MAX = 1024


def direct_writer(  # noqa: PLR0915 - as below
    buffer: Buffer,
    tag: str,
    extra_fields: int = 1,
    also_reserved: frozenset[str] = _NONE,
    time_ns: Callable[[], int] = time.time_ns,
    layout_of: MakeLayout = layout_of,
) -> DirectWriter:
    """Return what puts a record of this moment into the buffer, if it can do so at once.

    It is called with what the application logged, and returns what is left to be offered: nothing
    where the record is accepted. Else nothing has happened to the buffer, and that is the beginning
    of the record's entry; or None, for a record that must be packed the other way. May be called
    from any thread, and from a signal handler or `__del__` in the middle of itself; never raises an
    `Exception` for what the record holds.

    Args:
        buffer: Where to.
        tag: The route, as `Buffer.offer` takes it.
        extra_fields: How many fields a map's header counts beyond the record's own.
        also_reserved: Names besides `logship_*` that the stamp takes.
        time_ns: Nanoseconds since 1970.
        layout_of: Makes what writes entries of some sizes.
    """
    idle: Callable[[Any], bytes] | None = None
    second = FIRST_SECOND
    are_known, are_free = NAMES.issuperset, also_reserved.isdisjoint
    # By the header of the record's own map; others are not small.
    headers = [
        bytes([header + extra_fields]) for header in range(SMALL_MAP_HEADER_MAX + 1 - extra_fields)
    ]
    counters, get_profile = buffer.counters, sys.getprofile
    layouts = Layouts(buffer.lane_suffix_sizes, layout_of)
    repeats, of_rest = Repeats(extra_fields, layouts), layouts.of_rest
    # So many records that fit no pattern, and one is looked at; less than none if those that come
    # do not go this way to its end. And whether any fitted since the last look.
    look_in, any_fitted = 1, False

    def write(record: Any) -> bytes | None:  # noqa: PLR0911, PLR0912, PLR0915 - all of the way
        nonlocal idle, second, look_in, any_fitted
        around = more = None
        middle = b""
        try:
            now_ns = time_ns()
            if type(record) is not dict:
                return None
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
            if around is None:
                look_in -= 1
                if look_in < -LEARN_FROM:
                    look_in = repeats.give_up()
                fields = record.copy()
                if not are_known(fields) or (also_reserved and not are_free(fields)):
                    return None
                for value in fields.values():
                    if type(value) is not str and type(value) not in FLAT_TYPES:
                        copy_nested(fields)
                        break
                pack, idle = idle, None
                if pack is None:
                    pack = msgpack.Packer().pack
                packed = pack(fields)
                size = len(packed)
                if size < KEPT_BYTES_MAX:
                    idle = pack  # one that a large record made grow is not kept
                lead, data, behind = headers[packed[0]], packed[1:], b""
                try:
                    put, entry_bytes = of_rest[size - 1]
                except KeyError:
                    put, entry_bytes = layouts.keep_of_rest(size - 1)
                if look_in <= 0 and tag in buffer._lanes:
                    next_number = buffer._lanes[tag].stream.next_number
                    look_in = repeats.look_at(fields, next_number, any_fitted)
                    any_fitted = False
            else:
                any_fitted = True
                _, _, _, behind, of_text, of_texts = around
                data = text.encode()
                if also_name is None:
                    try:
                        lead, put, entry_bytes = of_text[len(data)]
                    except KeyError:
                        lead, data, behind, put, entry_bytes = layouts.of_text(around, data)
                else:
                    more = also.encode()
                    try:
                        written = of_texts[len(data) << PAIR_SHIFT | len(more)]
                        lead, middle, put, entry_bytes = written
                    except KeyError:
                        (lead, data, middle, more, behind, put, entry_bytes) = layouts.of_texts(
                            around, data, more
                        )
        except Exception:  # noqa: BLE001 - a record that is not as most are
            return None
        if put is None or get_profile() is not None:  # a profiler could come in before `put`
            return _body(beginning, nanoseconds, lead, data, middle, more or b"", behind)
        turn: list[None] = []  # the cheapest object that is like no other
        try:
            # Nobody comes in between from here to the return of `put`, nor from the last look to
            # ours, as `Buffer.offer` says it; but between the two somebody may, and who puts an
            # entry over this one takes the turn.
            lanes = buffer._lanes
            chunk = lanes[tag]
            stream = chunk.stream
            number = stream.next_number
            digits = chunk.lane_digits[number - chunk.lane_number]
            chunk.turn = turn
        except LookupError:  # there is no lane, or it has no digits
            return _body(beginning, nanoseconds, lead, data, middle, more or b"", behind)
        begin = chunk.size
        size = begin + entry_bytes
        if size > chunk.lane_bytes_max:
            return _body(beginning, nanoseconds, lead, data, middle, more or b"", behind)
        begin += chunk.payload_at
        memory, suffix = chunk.mapping, chunk.lane_suffix
        if more is None:
            put(memory, begin, beginning, nanoseconds, lead, data, behind, suffix, digits)
        else:
            put(
                memory,
                begin,
                beginning,
                nanoseconds,
                lead,
                data,
                middle,
                more,
                behind,
                suffix,
                digits,
            )
        words = chunk.words
        if words is not None:
            word = (chunk.entries + number - chunk.last) * ONE_ENTRY + size
        if (
            buffer._lanes is lanes
            and chunk.turn is turn
            and stream.next_number == number
            and not buffer._deferred
        ):
            if words is not None:
                words[chunk.commit_index] = word
            chunk.size = size
            stream.next_number = number + 1
            counters.accepted += 1
            return b""
        return _body(beginning, nanoseconds, lead, data, middle, more or b"", behind)

    return write


def text_writer(  # noqa: PLR0915 - as above
    buffer: Buffer,
    tag: str,
    text_key: str,
    name_keys: tuple[str, str],
    *,
    extra_fields: int,
    bytes_max: int,
    layout_of: MakeLayout = layout_of,
) -> TextWriter:
    """Return what puts records of a text and two names, as `logging` makes most of them, there.

    It is called with the text, the names, and the time in nanoseconds since 1970, and does with the
    record `{text_key: text, **zip(name_keys, names)}` as `direct_writer` does with a mapping. None
    where the text is long, or one of the three is anything else than a plain string that UTF-8 can
    hold. The names are packed once: a program has few loggers and fewer levels.

    Args:
        buffer: Where to.
        tag: The route, as `Buffer.offer` takes it.
        text_key: The field of the text.
        name_keys: The fields of the names.
        extra_fields: How many fields a map's header counts beyond these three.
        bytes_max: Longer bodies must be cut, and are not for here.
        layout_of: Makes what writes entries of some sizes.
    """
    counters, get_profile = buffer.counters, sys.getprofile
    layouts = Layouts(buffer.lane_suffix_sizes, layout_of)
    map_header, before = bytes([0x80 | 3 + extra_fields]), msgpack.packb(text_key)
    known: dict[tuple[str, str], Around] = {}
    second = FIRST_SECOND

    def learn(names: tuple[str, str]) -> Around | None:
        if any(type(name) is not str or len(name) > _NAME_CHARACTERS_MAX for name in names):
            return None
        fields = zip(name_keys, names, strict=True)
        behind = b"".join(msgpack.packb(each) for field in fields for each in field)
        if len(known) >= _NAMES_MAX:
            known.clear()
            layouts.forget()
        around = known[names] = Around(map_header, before, b"", behind, {}, {})
        return around

    def write(  # noqa: PLR0911 - as above
        text: str, names: tuple[str, str], time_ns: int
    ) -> bytes | None:
        nonlocal second
        try:
            around = known.get(names) or learn(names)
            if type(text) is not str or around is None:
                return None
            began_ns, beginning = second
            nanoseconds = time_ns - began_ns
            if not 0 <= nanoseconds < SECOND_NS:
                second = began_ns, beginning = second_of(time_ns)
                nanoseconds = time_ns - began_ns
            _, _, _, behind, of_text, _ = around
            data = text.encode()
            try:
                lead, put, entry_bytes = of_text[len(data)]
            except KeyError:
                if len(data) > bytes_max - len(before) - len(behind) - _HEADS_BYTES_MAX:
                    return None
                lead, data, behind, put, entry_bytes = layouts.of_text(around, data)
        except Exception:  # noqa: BLE001 - a record that is not as most are
            return None
        if put is None or get_profile() is not None:  # as above
            return _body(beginning, nanoseconds, lead, data, behind)
        turn: list[None] = []
        try:
            # Nobody comes in between from here to the return of `put`, nor from the last look to
            # ours, as `Buffer.offer` says it; but between the two somebody may, and who puts an
            # entry over this one takes the turn.
            lanes = buffer._lanes
            chunk = lanes[tag]
            stream = chunk.stream
            number = stream.next_number
            digits = chunk.lane_digits[number - chunk.lane_number]
            chunk.turn = turn
        except LookupError:  # there is no lane, or it has no digits
            return _body(beginning, nanoseconds, lead, data, behind)
        begin = chunk.size
        size = begin + entry_bytes
        if size > chunk.lane_bytes_max:
            return _body(beginning, nanoseconds, lead, data, behind)
        begin += chunk.payload_at
        memory, suffix = chunk.mapping, chunk.lane_suffix
        put(memory, begin, beginning, nanoseconds, lead, data, behind, suffix, digits)
        words = chunk.words
        if words is not None:
            word = (chunk.entries + number - chunk.last) * ONE_ENTRY + size
        if (
            buffer._lanes is lanes
            and chunk.turn is turn
            and stream.next_number == number
            and not buffer._deferred
        ):
            if words is not None:
                words[chunk.commit_index] = word
            chunk.size = size
            stream.next_number = number + 1
            counters.accepted += 1
            return b""
        return _body(beginning, nanoseconds, lead, data, behind)

    return write


def _body(beginning: bytes, nanoseconds: int, *parts: bytes) -> bytes | None:
    """Return the beginning of an entry, or None where there is no memory for it."""
    try:
        return b"".join((beginning, nanoseconds.to_bytes(4, "big"), *parts))
    except MemoryError:
        return None
