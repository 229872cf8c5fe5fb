"""One JSON line a record: what the receiver writes and what a record spilled to stderr looks like.

Total: whatever msgpack can decode, from a foreign sender too, becomes valid JSON. What JSON
cannot say (bytes, extension types, NaN, lone surrogates) is written readably instead.
"""

from __future__ import annotations

import json
from typing import Any

from logship.protocol.readable import plain_value

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
    line = {**extra, "tag": tag, "time_ns": time_ns, "record": record}
    try:
        return (_ENCODER.encode(line) + "\n").encode()
    except (TypeError, ValueError, RecursionError):
        return (_ENCODER.encode(plain_value(line, bounded=False)) + "\n").encode()
