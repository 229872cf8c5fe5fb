"""What recovery says in a dead process's stream: which numbers will not arrive, and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logship._buffer.ranges import Gap
from logship._buffer.stream import NUMBER_MAX, Stream
from logship._protocol.entries import END_KEY, GAP_KEY, pack_control
from logship._spool.chunks import Payload

_CONTROLS_MAX = 1000


def declaration(
    stream: Stream, begin: int, gaps: Iterable[Gap], time_ns: Callable[[], int]
) -> tuple[bytes, Payload] | None:
    """Return the entries that declare a stream's gaps and end it, and what they are.

    Args:
        stream: For the stamps.
        begin: The first number that was not given out.
        gaps: Numbers that will not arrive; the first 999 gaps are declared.
        time_ns: Nanoseconds since the epoch.

    Returns:
        None where the stream has no records, or no numbers are left.
    """
    if begin == 1 or begin + _CONTROLS_MAX > NUMBER_MAX:
        return None
    text = "logship: records will not arrive"
    records: list[dict[str, object]] = [
        {"message": text, GAP_KEY: list(gap)} for gap in sorted(gaps)[: _CONTROLS_MAX - 1]
    ]
    records.append({"message": "logship: stream closed", END_KEY: "recovered"})
    numbers = list(range(begin, begin + len(records)))
    entries = [
        pack_control(record, time_ns()) + stream.stamp_of(number)
        for number, record in zip(numbers, records, strict=True)
    ]
    return b"".join(entries), Payload(numbers, 0, numbers[-1])
