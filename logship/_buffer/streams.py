"""The streams of a client: one for each tag, and what the default tag is.

Everything here is called inside the buffer's critical section; see `accumulator`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from logship._buffer.changes import Changes
from logship._buffer.chunk import Chunk
from logship._buffer.inbox import Tag
from logship._buffer.ranges import has_outgrown
from logship._buffer.stream import Stream

STREAMS_MAX = 1000
"""Open streams; above it the one that was opened first is ended, so that a tag made of user data
cannot grow the process without bound."""

ENDED_MAX = 1000
"""So many ended streams are kept for the report, and those that have something to tell."""


class Streams:
    """Open streams and ended ones.

    Args:
        stamp_key, awaited_tag, random_bytes: As of `Buffer`.
        changes: The commits.

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
            kept = {each: None for each in kept if each.has_untold} | dict.fromkeys(newest)

        def change() -> None:
            kept[stream] = None
            self.ended = kept
            self.open.pop(stream.key, None)

        self._changes.commit(change)

    # -- the tag that becomes known ---------------------------------------------------------------

    def is_held(self, chunk: Chunk) -> bool:
        """Tell whether a chunk waits until its tag is known."""
        return self.awaits_tag and chunk.stream.key is None

    def first_to_go(self, chunks: Iterable[Chunk]) -> Chunk | None:
        """Return the first that does not wait until its tag is known."""
        # No generator: what a signal handler raises while one is closed goes nowhere.
        for chunk in chunks:
            if not self.is_held(chunk):
                return chunk
        return None

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
