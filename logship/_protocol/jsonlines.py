"""One JSON line a record: what the receiver writes and what a record spilled to stderr looks like.

Total: whatever msgpack can decode, from a foreign sender too, becomes valid JSON. What JSON
cannot say (bytes, extension types, NaN, lone surrogates) is written readably instead. A record with
such a value is cut where it is nested deeper than `DEPTH_MAX`, and has `logship_truncated`. A line
is one line for every reader, and a terminal that shows it obeys nothing in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from logship._protocol.entries import TRUNCATED_KEY
from logship._protocol.readable import plain_decoded, plain_value

_HIDDEN = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")

_TIME_KEY = '{"time_ns":'

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)


def json_line(tag: str, time_ns: int, record: Any, **extra: Any) -> bytes:
    """Return `{"tag": …, "time_ns": …, "record": …}` and a newline, in UTF-8.

    Args:
        tag: the record's route.
        time_ns: nanoseconds since 1970.
        record: what `unpack_entries` gave. Keys that are numbers become text, as JSON has it.
        extra: fields of the line that come before these.
    """
    return line_maker(tag, **extra)(time_ns, record)


def line_bytes(text: str) -> bytes:
    """Return lines of JSON in UTF-8, with escapes for what some readers take for an end of a line.

    JSON itself allows them as they are: DEL and the C1 controls, which terminals obey, among them
    U+0085, and U+2028 and U+2029. There may be millions of them, but they are of 35 kinds: each
    kind is escaped by one call, in C.

    Raises:
        UnicodeEncodeError: there are lone surrogates in it.
    """
    data, at = text.encode(), 0
    if not (b"\x7f" in data or (not text.isascii() and _may_hide(data))):
        return data
    while found := _HIDDEN.search(data, at):
        at = found.start()
        data = data.replace(found[0], b"\\u%04x" % ord(found[0].decode()))
    return data


def _may_hide(data: bytes) -> bool:
    """Tell sooner than the expression does that there is nothing to escape, as nearly always."""
    return b"\xc2" in data or b"\xe2\x80\xa8" in data or b"\xe2\x80\xa9" in data


def line_head(tag: str, **extra: Any) -> str:
    """Return what each line of a tag's records begins with, up to the time, with all its escapes.

    Args:
        tag: the records' route.
        extra: fields of each line that come before the others.
    """
    fields = {**extra, "tag": plain_value(tag)}
    return line_bytes(json_text(fields)[:-1] + ',"time_ns":').decode()


def line_maker(tag: str, **extra: Any) -> Callable[..., bytes]:
    """Return `json_line` for many records of one tag: what they share is encoded once.

    It takes time and record, and metadata, which become the member `metadata` unless they are
    empty.

    Args:
        tag: the records' route.
        extra: fields of each line that come before the others.
    """
    head = line_head(tag, **extra).encode()

    def line(time_ns: int, record: Any, metadata: Any = None) -> bytes:
        fields = {"time_ns": time_ns, "metadata": metadata, "record": record}
        if not metadata:
            del fields["metadata"]
        try:
            return head + _line_end(fields)
        except (TypeError, ValueError, RecursionError):
            plain, complete = plain_decoded(fields)
            if not complete:
                plain["record"][TRUNCATED_KEY] = True
            return head + _line_end(plain)

    return line


def _line_end(fields: Any) -> bytes:
    """Return what is behind the head of a line of these fields."""
    return line_bytes(f"{json_text(fields).removeprefix(_TIME_KEY)}\n")


def _text_maker() -> Callable[[Any], str]:
    """Return what `_ENCODER.encode` is, without the encoder in C that it makes at every call.

    That costs as much as a short record. The C encoder has no public name: where a Python has it
    not, or makes it in another way, the public one does.
    """
    try:
        encode = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            *(None, _ENCODER.default, json.encoder.encode_basestring, None),
            *(_ENCODER.key_separator, _ENCODER.item_separator),
            *(_ENCODER.sort_keys, _ENCODER.skipkeys, _ENCODER.allow_nan),
        )
        if "".join(encode(_SAMPLE, 0)) != _ENCODER.encode(_SAMPLE):
            return _ENCODER.encode
    except (AttributeError, TypeError):
        return _ENCODER.encode
    join = "".join

    def text(value: Any) -> str:
        return join(encode(value, 0))

    return text


_SAMPLE = {"é": [{"\n": 1.5, "a": None}, True, "\\"], "b": {}}

json_text = _text_maker()
"""Returns plain data as compact JSON.

Raises:
    TypeError, ValueError, RecursionError: it holds what JSON cannot say.
"""
