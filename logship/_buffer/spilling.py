"""Which chunks go to stderr, and which are there: what a spill asks of the buffer and tells it."""

from __future__ import annotations

from logship._buffer.chunk import Chunk, ChunkState
from logship._buffer.section import Section
from logship._reasons import OVERFLOW


class Spilling:
    """The part of the buffer that a spill works with."""

    def __init__(self, section: Section) -> None:
        self._section = section

    def to_spill(self) -> list[Chunk]:
        """Return the chunks that may be written to stderr and are not wholly there, oldest first.

        None that is settled or spooled, and none that is open, as long as intake is.
        """

        def to_spill() -> list[Chunk]:
            return [
                each
                for each in self._section.chunks.in_order()
                if each.spilled_entries < each.entries
                and not each.spooled
                and (self._section.closing or each.state is not ChunkState.OPEN)
            ]

        return self._section.exclusively(to_spill)

    @property
    def bytes_to_spill(self) -> int:
        """Bytes of entries that would die with the process: neither spooled nor on stderr."""
        unsettled = self._section.exclusively(self._section.chunks.in_order)
        waiting = (chunk for chunk in unsettled if not chunk.spooled and chunk.entries)
        return sum(each.size - each.size * each.spilled_entries // each.entries for each in waiting)

    def note_spilled(self, chunk: Chunk, entries: int, records: int) -> None:
        """Note that the chunk's first `entries`, `records` of them not control, are on stderr.

        The calls that wait for space may have the place of a chunk that is wholly there.
        """

        # No change of `changes`: after a bug, none can be made any more.
        def note() -> None:
            if entries == chunk.entries:  # first: where this is interrupted, it comes again
                chunks = self._section.chunks
                chunks.wholly_spilled[chunk.id] = chunk
                chunks.waiters.are_due = True
            chunk.spilled = entries, records

        self._section.exclusively(note)

    def drop_spilled(self) -> bool:
        """Drop the oldest chunk that is wholly on stderr and not on its way; it counts as spilled.

        Returns:
            Whether there was one.
        """
        return bool(self._section.chunks.wholly_spilled) and self._section.if_soon_free(
            self._drop_spilled, False
        )

    def _drop_spilled(self) -> bool:
        chunks = self._section.chunks
        while chunks.wholly_spilled:
            chunk = next(iter(chunks.wholly_spilled.values()))
            if chunk.may_be_dropped:
                self._section.accumulator.give_up(chunk, OVERFLOW)
                return True
            del chunks.wholly_spilled[chunk.id]
        return False
