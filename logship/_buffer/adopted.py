"""Chunks of dead processes that this one ships too: none of its own account."""

from __future__ import annotations

from logship._buffer.changes import Changes
from logship._buffer.chunk import Chunk, ChunkState

INFLIGHT_MAX = 2
"""How many are in flight at a time: the window must have room for the process's own chunks."""


class Adopted:
    """Adopted chunks that are not settled. Everything is called in the critical section.

    Args:
        changes: The accumulator's.
    """

    def __init__(self, changes: Changes) -> None:
        self._chunks: dict[str, Chunk] = {}
        self._changes = changes

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._chunks)

    def all(self) -> list[Chunk]:
        """Return all of them."""
        return list(self._chunks.values())

    def add(self, chunk: Chunk) -> None:
        """Ship a chunk of a dead process too."""
        self._chunks[chunk.id] = chunk

    def next(self, *, has_own: bool) -> Chunk | None:
        """Return the chunk to take next.

        Args:
            has_own: Whether chunks of this process wait, which must find room. Where there are
                none, there may be as many as the window takes: what no server takes is taken and
                not on its way, and the next one is its only neighbour.
        """
        chunks = self.all()
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if has_own and taken >= INFLIGHT_MAX:
            return None
        return next((each for each in chunks if each.state is ChunkState.SEALED), None)

    def settle(self, chunk: Chunk, halves: tuple[Chunk, ...]) -> None:
        """Forget a chunk that is settled; its halves take its place, if it was taken apart."""
        for half in halves:
            half.controls = half.entries  # none of our account

        def change() -> None:
            chunk.halves = halves
            chunk.state = ChunkState.SETTLED
            self._chunks.pop(chunk.id, None)
            self._chunks.update({half.id: half for half in halves})

        self._changes.commit(change)
