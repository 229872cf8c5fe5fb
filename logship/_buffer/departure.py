"""The way out of the buffer: when open chunks are sealed, and which chunk goes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logship._buffer.chunk import Chunk, ChunkState
from logship._buffer.section import Section
from logship._buffer.wakeups import ShipperState

_HELD_SECONDS_MIN = 0.005
"""With no linger at all, the shipper looks so rarely at what waits for its tag or is stuck."""


class Departure:
    """Seals chunks when they are due, and hands them to delivery.

    Args:
        section: The buffer's.
        linger_seconds: See `Buffer`.
        monotonic: Seconds, for linger.

    Attributes:
        linger_seconds: As given; a shipper that stops makes it less.
    """

    def __init__(
        self, section: Section, linger_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self.linger_seconds = linger_seconds
        self._section = section
        self._monotonic = monotonic

    def next_deadline_seconds(self) -> float | None:
        """Return when the oldest open chunk is due (monotonic), or None if none is.

        Entries that could not be numbered are tried again after a linger. The caller must arrange
        to come back then, and look at `has_sealed` once more: from now on producers wake it only as
        the table in `wakeups` says.
        """

        def rest() -> float | None:
            section, open_chunks = self._section, self._section.chunks.open
            section.wakeups.shipper = ShipperState.TIMED if open_chunks else ShipperState.ASLEEP
            oldest, sealed = self._first_open(), self._next_sealed()
            if oldest is not None and _is_older(oldest, sealed):
                return oldest.opened_seconds + self.linger_seconds
            if sealed is not None or not (open_chunks or len(section.inbox)):
                return None
            section.wakeups.shipper = ShipperState.TIMED  # for what waits for its tag, or is stuck
            return self._monotonic() + max(self.linger_seconds, _HELD_SECONDS_MIN)

        return self._section.exclusively(rest)

    def seal_due(self, now_seconds: float) -> None:
        """Seal every open chunk that has waited for long enough.

        While sealed chunks wait, one that was opened after the first of them has time: it would
        leave no sooner, and can grow instead. Otherwise a stopping client, which hardly lingers,
        would fill its buffer with chunks of a few records while the sidecar is slow or away.
        """

        def seal() -> None:
            self._section.wakeups.shipper = ShipperState.AWAKE
            chunks, sealed = self._section.chunks, self._next_sealed()
            for chunk in list(chunks.open.values()):
                if self._is_held(chunk):
                    continue
                is_due = chunk.opened_seconds + self.linger_seconds <= now_seconds
                if not is_due or not _is_older(chunk, sealed):
                    break
                chunks.seal(chunk)

        self._section.exclusively(seal)

    def take(self) -> Chunk | None:
        """Hand the oldest sealed chunk to delivery, an adopted one only if no own one is sealed.

        Returns:
            The chunk; None if there is none.
        """

        def take() -> Chunk | None:
            chunk = self._next()
            if chunk is not None:
                self._section.chunks.take(chunk)
            return chunk

        return self._section.exclusively(take)

    def has_sealed(self) -> bool:
        """Tell whether `take` would return a chunk."""
        return self._section.exclusively(self._next) is not None

    def split(self, chunk: Chunk) -> tuple[Chunk, Chunk] | None:
        """See `Chunks.split`."""
        return self._section.exclusively(lambda: self._section.chunks.split(chunk))

    def _next(self) -> Chunk | None:
        """Return the chunk that goes next, if one may go."""
        return self._next_sealed() or self._next_adopted()

    def _first_open(self) -> Chunk | None:
        """Return the oldest open chunk that may be sealed."""
        return self._first_to_go(self._section.chunks.open.values(), ChunkState.OPEN)

    def _next_sealed(self) -> Chunk | None:
        """Return the sealed chunk that was opened first, of those that may go."""
        return self._first_to_go(self._section.chunks.unsettled.values(), ChunkState.SEALED)

    def _next_adopted(self) -> Chunk | None:
        """Return the adopted chunk to take next; none while we are closing."""
        return None if self._section.closing else self._section.chunks.next_adopted()

    def _is_held(self, chunk: Chunk) -> bool:
        """Tell whether a chunk waits until its tag is known."""
        return self._section.accumulator.streams.awaits_tag and chunk.stream.key is None

    def _first_to_go(self, chunks: Iterable[Chunk], state: ChunkState) -> Chunk | None:
        """Return the first in that state that does not wait until its tag is known."""
        # No generator: what a signal handler raises while one is closed goes nowhere.
        for chunk in chunks:
            if chunk.state is state and not self._is_held(chunk):
                return chunk
        return None


def _is_older(chunk: Chunk, sealed: Chunk | None) -> bool:
    """Tell whether an open chunk was opened before the first sealed one, if there is any.

    If such a chunk stayed open, those of a busy stream could go before it for ever.
    """
    return sealed is None or chunk.serial < sealed.serial
