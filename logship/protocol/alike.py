"""JSON lines of a payload whose records differ in one text and in the number of their stamps.

That is what a program sends that logs much: by few statements, all with the same fields. Then all
bytes but those are the same in every entry, and a payload is not decoded but taken apart at them,
by a regular expression and a few more calls that run in C: the counterpart of what `repeats` does.
That they are the same, and that each text is as long as its header says, is asked of every entry;
a payload that is not so is not taken apart here.

What comes out is what `json_line` makes of each record, byte for byte, or an exception.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import chain, repeat
from typing import NamedTuple

import msgpack

from logship.protocol.columns import NEED_ESCAPES, line_head
from logship.protocol.entries import times_ns
from logship.protocol.jsonlines import json_text
from logship.protocol.layouts import text_header

ENTRIES_MIN = 32
"""Fewer are not worth what it costs to look at the first two."""

PAYLOAD_BYTES_MAX = 2 << 20
"""Twice the longest chunk. Of more, with short texts, too much memory would be needed at once."""

_LOOK_BYTES = 1 << 14
"""So much is looked at before all is: if that is not alike, it costs little to find out."""

_COMMON_BYTES_MAX = 1024
_BEGIN = b"\x92\xd7\x00"
_MAP_AT = 11
_TIME_BYTES = 8
_NUMBER_DIGITS = 10
_NUMBER = f"([0-9]{{{_NUMBER_DIGITS}}})"
_TIME = f"(.{{{_TIME_BYTES}}})"
_TEXT_HEADER = "([\xa0-\xbf]|\xd9.|\xda..|\xdb....)"
_HEADERS_KEPT = 4096

_Field = tuple[slice, slice]
"""Where the name and the value of a field are in a payload."""


class NotAlike(ValueError):  # noqa: N818 - no fault: it says that another way must be taken
    """The entries of a payload differ in more than a text and a number."""


class _Common(NamedTuple):
    """What all entries have in common.

    Attributes:
        before: The bytes between time and text.
        behind: The bytes between text and number.
        stamp: The last of them: those of the field that ends with the number.
        entry_bytes: How long the first entry is.
        line_before, line_behind: What a line has between time and text, and text and number.
    """

    before: bytes
    behind: bytes
    stamp: bytes
    entry_bytes: int
    line_before: str
    line_behind: str


def alike_lines(tag: str, payload: bytes) -> tuple[bytes, int]:
    """Return the JSON lines of a payload's records, and their number.

    Raises:
        NotAlike: The records differ in more than a text and the number of their stamps.
        Exception: Whatever else shows that they are not as this expects.
    """
    common = _common_of(payload)
    if not common.entry_bytes * ENTRIES_MIN <= len(payload) <= PAYLOAD_BYTES_MAX:
        raise NotAlike
    if payload.count(common.behind, 0, _LOOK_BYTES) != payload.count(common.stamp, 0, _LOOK_BYTES):
        raise NotAlike
    times, texts, numbers = _taken_apart(payload, common)
    _check_texts(texts)
    head = _as_latin(line_head(tag))
    parts = (
        map(str, times_ns(times)),
        repeat(common.line_before),
        texts,
        repeat(common.line_behind),
        numbers,
        repeat('"}}\n' + head),
    )
    lines = head + "".join(chain.from_iterable(zip(*parts, strict=False)))
    return lines[: -len(head)].encode("latin-1"), len(texts)


def _taken_apart(payload: bytes, common: _Common) -> tuple[Sequence[int], list[str], list[str]]:
    """Return the EventTime, the text and the number of each entry.

    Raises:
        NotAlike: One has anything else than what is common, or another size than it says.
    """
    # So that the first entry has before it what all others have, and the last one behind it.
    first, last = b"0" * _NUMBER_DIGITS, bytes(_TIME_BYTES)
    whole = (common.behind, first, payload, _BEGIN, last, common.before, text_header(0))
    behind, begin, before = (
        re.escape(_latin(each)) for each in (common.behind, _BEGIN, common.before)
    )
    between = behind + _NUMBER + begin + _TIME + before + _TEXT_HEADER
    parts = re.split(between, _latin(b"".join(whole)), flags=re.DOTALL)
    texts = parts[4::4]
    if parts[0] or texts[-1] or parts[3::4] != [*map(_TEXT_HEADERS.__getitem__, map(len, texts))]:
        raise NotAlike
    times = struct.unpack(f">{len(texts)}Q", "".join(parts[2::4]).encode("latin-1"))
    return times[:-1], texts[:-1], parts[5::4]


def _check_texts(texts: list[str]) -> None:
    """See that JSON has them as they are.

    Raises:
        NotAlike: One has a character that must be escaped.
        UnicodeDecodeError: One is not UTF-8.
    """
    joined = "\x7f".join(texts)  # what begins in one and ends in the next is no character
    if any(map(joined.__contains__, NEED_ESCAPES)):
        raise NotAlike
    if not joined.isascii():
        joined.encode("latin-1").decode()


def _common_of(payload: bytes) -> _Common:
    """Return what the entries have in common, if all are as the first two.

    Raises:
        NotAlike: Those two are not as this expects.
        Exception: Whatever msgpack and JSON raise for what they cannot take.
    """
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=0)
    unpacker.feed(payload[:_LOOK_BYTES])
    fields, others = _fields(unpacker), _fields(unpacker)
    text = _text_index(payload, fields, others)
    (_, text_at), (stamp_name_at, stamp_at) = fields[text], fields[-1]
    number_at = stamp_at.stop - _NUMBER_DIGITS
    names = [msgpack.unpackb(payload[name]) for name, _ in fields]
    values = [msgpack.unpackb(payload[value], strict_map_key=False) for _, value in fields]
    if len({*names}) != len(names) or type(values[-1]) is not str:
        raise NotAlike
    values[text], values[-1] = "", values[-1][:-_NUMBER_DIGITS]
    told = [json_text({name: value})[1:-1] for name, value in zip(names, values, strict=True)]
    before, behind = ",".join(told[: text + 1]), ",".join(told[text + 1 :])
    return _Common(
        before=payload[_MAP_AT : text_at.start],
        behind=payload[text_at.stop : number_at],
        stamp=payload[stamp_name_at.start : number_at],
        entry_bytes=stamp_at.stop,
        line_before=_as_latin(f',"record":{{{before[:-1]}'),
        line_behind=_as_latin(f'",{behind[:-1]}'),
    )


def _fields(unpacker: msgpack.Unpacker) -> list[_Field]:
    """Return where the fields of the next entry are."""
    unpacker.read_array_header()
    unpacker.skip()
    return [(_place(unpacker), _place(unpacker)) for _ in range(unpacker.read_map_header())]


def _place(unpacker: msgpack.Unpacker) -> slice:
    begin = unpacker.tell()
    unpacker.skip()
    return slice(begin, unpacker.tell())


def _text_index(payload: bytes, fields: list[_Field], others: list[_Field]) -> int:
    """Return which field two entries differ in, or may differ in, apart from the last.

    Raises:
        NotAlike: They differ in more, or what they share is long: it becomes an expression, which
            takes its time.
    """
    indexes = range(len(fields) - 1)
    differ = [at for at in indexes if payload[fields[at][1]] != payload[others[at][1]]]
    if len(differ) > 1:
        raise NotAlike
    index = max(differ or indexes, key=lambda at: fields[at][1].stop - fields[at][1].start)
    text_at, end = fields[index][1], fields[-1][1].stop
    if end - (text_at.stop - text_at.start) > _COMMON_BYTES_MAX:
        raise NotAlike
    return index


def _latin(data: bytes) -> str:
    """Return the text whose characters are the bytes: texts are joined in half the time."""
    return data.decode("latin-1")


def _as_latin(text: str) -> str:
    """Return the text whose characters are the bytes of a text's UTF-8."""
    return _latin(text.encode())


class _TextHeaders(dict[int, str]):
    """What a text of so many bytes begins with."""

    def __missing__(self, size: int) -> str:
        header = _latin(text_header(size))
        if size < _HEADERS_KEPT:
            self[size] = header
        return header


_TEXT_HEADERS = _TextHeaders()
