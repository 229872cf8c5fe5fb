"""Streams: one process life and one tag, whose records are numbered from 1 without a hole.

The number is what makes loss provable: whoever holds the sidecar's output can see which numbers
are missing, and which of those the stream itself declared as gaps. A stream ends with a record
that says so, because only then is its last number known.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from logship.buffer.chunk import Chunk

NUMBER_MAX = 9_999_999_999
"""The largest number that ten digits hold."""

ROLLOVER_NUMBER = 9_000_000_000
"""A stream that has come so far ends, and another begins; what is left above is for declaring
its gaps and its end."""

_THREE_DIGITS = tuple(b"%03d" % number for number in range(1000))
_NO_DIGITS = (b"",) * 1000


class Gap(NamedTuple):
    """Numbers that will never arrive, and why.

    Attributes:
        first, last: The range, both ends included.
        reason: `overflow`, `spilled` or another word of the counters.
    """

    first: int
    last: int
    reason: str


class Stream:
    """The numbering of one tag in one process life.

    Attributes:
        id: Twelve characters, random.
        key: What producers name it by: its tag, but where that is not known at first.
        tag: The route of its records.
        is_provisional: Whether another tag takes that one's place once it is known.
        next_number: The number that the next entry gets.
        accepted: Records of the application that were numbered.
        refused: Records that were turned away without a number.
        chunk: The open chunk, if there is one.
        undeclared: Gaps that no gap record has declared yet, ascending.
        lost: All gaps so far, ascending, for the report.
        end: The number of the end record, once it is written.
        unsettled: Chunks that are neither acked nor dropped.
        fills_chunks: Whether its last chunk was sealed because it was full.
        last_chunk_bytes: How large that was.
    """

    __slots__ = (
        "accepted",
        "chunk",
        "end",
        "fills_chunks",
        "id",
        "is_provisional",
        "key",
        "last_chunk_bytes",
        "lost",
        "next_number",
        "refused",
        "suffix",
        "tag",
        "undeclared",
        "unsettled",
    )

    def __init__(
        self,
        tag: str,
        stamp_key: str | None,
        random_bytes: Callable[[int], bytes],
        *,
        key: str | None = None,
        is_provisional: bool = False,
    ) -> None:
        self.id = urlsafe_b64encode(random_bytes(9)).decode("ascii")
        self.key = tag if key is None else key
        self.tag = tag
        self.is_provisional = is_provisional
        self.suffix = _suffix_template(stamp_key, self.id)
        self.next_number = 1
        self.accepted = 0
        self.refused = 0
        self.chunk: Chunk | None = None
        self.undeclared: list[Gap] = []
        self.lost: list[Gap] = []
        self.end: int | None = None
        self.unsettled = 0
        self.fills_chunks = False
        self.last_chunk_bytes = 0

    def suffix_of(self, number: int) -> bytes:
        """Return the end of an entry with this number: its stamp, or nothing without stamps."""
        return self.suffix % number if self.suffix else b""

    def thousand(self) -> tuple[int, bytes, tuple[bytes, ...]]:
        """Return how the entries end whose numbers share all but three digits with the next one's.

        Looking the last digits up costs a third of formatting all ten.

        Returns:
            The first of these numbers; the end of an entry without the last three digits; and
            those, for each of the thousand numbers.
        """
        first = self.next_number - self.next_number % 1000
        ending = self.suffix_of(first)[:-3]
        return first, ending, _THREE_DIGITS if ending else _NO_DIGITS

    def lost_ranges(self, reason: str) -> list[tuple[int, int]]:
        """Return the gaps that have this reason."""
        return [(gap.first, gap.last) for gap in self.lost if gap.reason == reason]


def suffix_bytes(stamp_key: str | None) -> int:
    """Return how many bytes the stamp adds to an entry."""
    return len(_suffix_template(stamp_key, "") % 1) + 12 if stamp_key is not None else 0


def lane_suffix_sizes(stamp_key: str | None) -> tuple[int, int]:
    """Return how many bytes the two parts of an entry's end have that `Stream.thousand` returns."""
    whole = suffix_bytes(stamp_key)
    return (whole - 3, 3) if whole else (0, 0)


def _suffix_template(stamp_key: str | None, stream_id: str) -> bytes:
    """Return the end of an entry, the stamp's key and value, to be formatted with its number.

    The value is 23 characters, so both are msgpack strings with a one-byte (fixstr) or two-byte
    (str 8) header, and every entry of the stream ends in the same bytes but for ten digits.
    """
    if stamp_key is None:
        return b""
    key = stamp_key.encode("utf-8")
    header = bytes([0xA0 | len(key)]) if len(key) < 32 else bytes([0xD9, len(key)])
    constant = header + key + bytes([0xA0 | 23]) + stream_id.encode("ascii") + b":"
    return constant.replace(b"%", b"%%") + b"%010d"


def merge_gaps(gaps: list[Gap], more: list[Gap]) -> list[Gap]:
    """Return both lists as one, ascending, with neighbours of one reason made one."""
    if len(more) == 1 and (not gaps or gaps[-1].last < more[0].first):
        merged = gaps.copy()  # the common case by far: what is lost next has a higher number
        _extend(merged, more[0])
        return merged
    merged = []
    for gap in sorted([*gaps, *more]):
        _extend(merged, gap)
    return merged


def _extend(gaps: list[Gap], gap: Gap) -> None:
    """Append `gap`, or make the last one longer where it continues it."""
    if gaps and gaps[-1].last + 1 == gap.first and gaps[-1].reason == gap.reason:
        gaps[-1] = Gap(gaps[-1].first, gap.last, gap.reason)
    else:
        gaps.append(gap)


def renamed_gaps(gaps: list[Gap], number: int, reason: str) -> list[Gap]:
    """Return the gaps with another reason for `number`: it was spilled after all."""
    index = bisect_left(gaps, number, key=lambda gap: gap.last)
    if index == len(gaps) or gaps[index].first > number:
        return gaps
    renamed = gaps[:index]
    whole = gaps[index]
    pieces = (
        Gap(whole.first, number - 1, whole.reason),
        Gap(number, number, reason),
        Gap(number + 1, whole.last, whole.reason),
    )
    for piece in pieces:
        if piece.first <= piece.last:
            _extend(renamed, piece)
    for gap in gaps[index + 1 : index + 2]:
        _extend(renamed, gap)
    return renamed + gaps[index + 2 :]
