"""Mistakes that show in one history of many thousands: each is shown by the seed noted for it.

A campaign of the usual length does not find them, so the tests of `mutations` and `disk_mutations`
cannot ask for them.
"""

from __future__ import annotations

from typing import Any

import pytest

from logship._buffer.chunk import MemoryChunk
from logship._spool.adoption import AdoptedChunk, Adoption
from logship._spool.mapped import UnspooledChunk
from logship._spool.orphan import OrphanStream
from tests.simulation.mutations import Mutations

RARE_MUTATIONS = Mutations()
_mutation, _around = RARE_MUTATIONS.add, RARE_MUTATIONS.around


@_around(Adoption, "end")
def shipped_end_not_noted(end: Any, self: Adoption, chunk: AdoptedChunk) -> None:
    """A recoverer ships a stream's own end record, and leaves no word of it to the next one."""
    if chunk.located is not None:
        chunk.payload = chunk.payload._replace(end=None)
    end(self, chunk)


@_mutation
def number_in_memory_not_noted(patch: pytest.MonkeyPatch) -> None:
    """Records are taken in memory, and their numbers are not noted on the spool."""
    patch.setattr(UnspooledChunk, "advance", MemoryChunk.advance)


@_around(OrphanStream, "__post_init__")
def acked_chunks_show_nothing(init: Any, self: OrphanStream) -> None:
    """A stream without a slot is forgotten with the segments of its acked chunks."""
    init(self)
    self.shown_by_chunks = False
