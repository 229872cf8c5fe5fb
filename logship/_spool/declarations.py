"""What recovery says in a dead process's stream: which numbers will not arrive, and its end."""

from __future__ import annotations

from collections.abc import Callable

from logship._buffer.ranges import Gap, merge_gaps
from logship._buffer.stream import NUMBER_MAX, Stream
from logship._protocol.entries import END_KEY, GAP_KEY, pack_control
from logship._spool.chunks import Payload

_CONTROLS_MAX = 1000
"""How many gap and end records a chunk has at most."""


def declarations(
    stream: Stream, begin: int, gaps: list[Gap], time_ns: Callable[[], int]
) -> list[tuple[bytes, Payload]]:
    """Return chunks of entries that declare a stream's gaps; the last entry ends the stream.

    Args:
        stream: For the stamps.
        begin: The first number that was not given out.
        gaps: Numbers that will not arrive, in any order.
        time_ns: Nanoseconds since the epoch.

    Returns:
        The entries of each chunk, and what they are; none where the stream has no records, or has
        too few numbers left.
    """
    text = "logship: records will not arrive"
    records: list[dict[str, object]] = [
        {"message": text, GAP_KEY: list(gap)} for gap in merge_gaps([], gaps)
    ]
    records.append({"message": "logship: stream closed", END_KEY: "recovered"})
    end = begin + len(records) - 1
    if begin == 1 or end > NUMBER_MAX:
        return []
    chunks = []
    for first in range(begin, end + 1, _CONTROLS_MAX):
        numbers = list(range(first, min(first + _CONTROLS_MAX, end + 1)))
        entries = [
            pack_control(records[number - begin], time_ns()) + stream.stamp_of(number)
            for number in numbers
        ]
        payload = Payload(numbers, 0, end if numbers[-1] == end else None)
        chunks.append((b"".join(entries), payload))
    return chunks
