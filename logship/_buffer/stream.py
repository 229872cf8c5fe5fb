"""Streams: one process life and one tag, whose records are numbered from 1 without a hole.

The number makes loss provable: the sidecar's output shows which numbers are missing, and which of
those the stream itself declared as gaps. A stream ends with a record that says so, because only
then is its last number known.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from itertools import islice, product

from logship._buffer.changes import Changes
from logship._buffer.inbox import Tag
from logship._buffer.ranges import Gap, has_outgrown

NUMBER_MAX = 9_999_999_999
"""The largest number that ten digits hold."""

ROLLOVER_NUMBER = 9_000_000_000
"""A stream that has come so far ends, and another begins. The numbers above are left for the
records that declare its gaps and its end."""

STREAMS_MAX = 1000
"""Open streams; above it the one that was opened first is ended, so that a tag made of user data
cannot grow the process without bound."""

ENDED_MAX = 1000
"""So many ended streams are kept for the report, and those that have something to tell."""

_THOUSAND = 1000
_LAST_DIGITS = tuple(map(bytes, product(b"0123456789", repeat=3)))  # from 000 to 999


class Stream:
    """The numbering of one tag in one process life.

    Attributes:
        id: Twelve characters, random.
        key: What producers name it by: its tag, or None for the default tag that is awaited.
        tag: The route of its records.
        is_provisional: Whether another tag takes that one's place once it is known.
        next_number: The number that the next entry gets.
        controls: Numbers that control records have: gap, end and high-water records.
        refused: Records that were turned away without a number.
        undeclared: Gaps that no gap record has declared yet, ascending.
        declaring: Gaps that its unsettled chunks declare, by the chunk's id.
        sealed_bytes: Bytes of the chunk that was sealed last; 0 before there is one.
        withheld: Records that were kept back on purpose and have no number yet, by reason.
        withheld_due_seconds: From when on a new chunk may begin with those, on the monotonic clock.
        lost: Gaps, ascending, for the report: all, or the newest and those that the sidecar was not
            told of. What was kept back on purpose is not among them: that may be many gaps.
        stated: The highest number that a high-water record has stated.
        end: The number of the end record, once it is written, or left to a recoverer. Without
            stamps there is no end record, and this stays None.
        unsettled: Chunks that are neither acked nor dropped.
    """

    def __init__(
        self,
        tag: str,
        stamp_key: str | None,
        random_bytes: Callable[[int], bytes],
        *,
        is_awaited: bool = False,
        is_provisional: bool = False,
    ) -> None:
        self.id: str = new_stream_id(random_bytes)
        self.key: str | None = None if is_awaited else tag
        self.tag: str = tag
        self.is_provisional: bool = is_provisional
        self.next_number: int = 1
        self.controls: int = 0
        self.refused: int = 0
        self.sealed_bytes: int = 0
        self.withheld: dict[str, int] = {}
        self.withheld_due_seconds: float = 0.0
        self.undeclared: list[Gap] = []
        self.declaring: dict[str, list[Gap]] = {}
        self.lost: list[Gap] = []
        self.stated: int = 0
        self.end: int | None = None
        self.unsettled: int = 0
        self.have_stamps(stamp_key)

    def have_stamps(self, stamp_key: str | None) -> None:
        """Have its records stamped in this field, or not at all."""
        self._stamp_start = _stamp_start(stamp_key, self.id)

    def stamped(self, bodies: Sequence[bytes]) -> bytes:
        """Return entries one behind the other: each body with the stamp of its number."""
        if not self._stamp_start:
            return b"".join(bodies)
        first = self.next_number
        if len(bodies) == 1:
            return bodies[0] + self._stamp_start + b"%010d" % first
        data, end = b"", first + len(bodies)
        while first < end:
            thousands, at = divmod(first, _THOUSAND)
            digits = _LAST_DIGITS[at : at + end - first]
            parts = [self._stamp_start + b"%07d" % thousands] * (3 * len(digits))
            parts[::3] = bodies[: len(digits)]
            parts[2::3] = digits
            data += b"".join(parts)
            first, bodies = first + len(digits), bodies[len(digits) :]
        return data

    @property
    def accepted(self) -> int:
        """How many records of the application were numbered, or will be."""
        return self.next_number - 1 - self.controls + sum(self.withheld.values())

    @property
    def can_declare(self) -> bool:
        """Whether a gap can still be declared: its end record is not written."""
        return self.end is None

    @property
    def has_stamps(self) -> bool:
        """Whether its records have stamps."""
        return bool(self._stamp_start)

    def leave_end(self) -> None:
        """Leave the end record, which has the next number, to a recoverer."""
        if self.has_stamps and self.end is None:
            number, controls = self.next_number, self.controls
            self.end, self.next_number, self.controls = number, number + 1, controls + 1


class Streams:
    """Open streams and ended ones.

    Attributes:
        open: Open streams by key, the oldest first.
        ended: Ended streams of which there may be something left to report, the oldest first.
        awaits_tag: Whether chunks of the default tag wait until it is known.
    """

    def __init__(
        self,
        stamp_key: str | None,
        awaited_tag: str | None,
        changes: Changes,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.open: dict[Tag, Stream] = {}
        self.ended: dict[Stream, None] = {}
        self.awaits_tag: bool = awaited_tag is not None
        self._default_tag = awaited_tag or ""
        self._is_provisional = awaited_tag is not None
        self._stamp_key = stamp_key
        self._changes = changes
        self._random_bytes = random_bytes

    def has_place(self, tag: Tag) -> bool:
        """Tell whether a tag has a stream, or can have one without another stream's end."""
        return tag in self.open or not self.is_full

    @property
    def is_full(self) -> bool:
        """Whether one stream more is too many."""
        return len(self.open) >= STREAMS_MAX

    def begin(self, tag: Tag) -> Stream:
        """Open a stream for a tag that has none."""
        stream = self.open[tag] = Stream(
            self.tag_of(tag),
            self._stamp_key,
            self._random_bytes,
            is_awaited=tag is None,
            is_provisional=tag is None and self._is_provisional,
        )
        return stream

    def retire(self, stream: Stream) -> None:
        """Note that a stream has ended, and forget ended ones of which there is nothing to report.

        If there are many, older ones about which the sidecar knows everything are left out of the
        report.
        """
        kept = self.ended
        if has_outgrown(ENDED_MAX, len(kept), len(kept) + 1):
            newest = islice(kept, len(kept) - ENDED_MAX // 2, None)
            untold = [each for each in kept if each.unsettled or each.undeclared]
            kept = dict.fromkeys([*untold, *newest])

        def change() -> None:
            kept[stream] = None
            self.ended = kept
            self.open.pop(stream.key, None)

        self._changes.commit(change)

    # -- the tag that becomes known ---------------------------------------------------------------

    def tag_of(self, tag: Tag) -> str:
        """Return the route that a tag stands for, as far as it is known now."""
        return self._default_tag if tag is None else tag

    def resolve_tag(self, tag: str | None, tag_known: Callable[[Stream], None]) -> None:
        """Let the chunks go that wait for the default tag. May be called again.

        Args:
            tag: That; None where it will not be known, and the provisional one has to do.
            tag_known: A part of the change, for each stream that has the tag from now on.
        """
        streams = [each for each in [*self.ended, *self.open.values()] if each.key is None]

        def change() -> None:
            if tag is not None:
                for stream in streams:
                    stream.tag, stream.is_provisional = tag, False
                    tag_known(stream)
                self._default_tag, self._is_provisional = tag, False
            self.awaits_tag = False

        self._changes.commit(change)


def new_stream_id(random_bytes: Callable[[int], bytes]) -> str:
    """Return twelve random characters."""
    return urlsafe_b64encode(random_bytes(9)).decode()


def stamp_bytes(stamp_key: str | None) -> int:
    """Return how many bytes the stamp adds to an entry."""
    return len(_stamp_start(stamp_key, " " * 12)) + 10 if stamp_key is not None else 0


def _stamp_start(stamp_key: str | None, stream_id: str) -> bytes:
    """Return a stamp's key and value but for the ten digits; nothing without stamps.

    The value is 23 characters, so both are msgpack strings with a one-byte (fixstr) or two-byte
    (str 8) header, and every entry of the stream ends in the same bytes but for ten digits.
    """
    if stamp_key is None:
        return b""
    key = stamp_key.encode()
    header = bytes([0xA0 | len(key)]) if len(key) < 32 else bytes([0xD9, len(key)])
    return header + key + bytes([0xA0 | 23]) + stream_id.encode() + b":"
