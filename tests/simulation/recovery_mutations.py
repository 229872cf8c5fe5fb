"""Mistakes put on purpose into how spools are recovered where reads, stores and servers fail.

As in `disk_mutations`; the docstrings are what a person sees. Those at the end were the product's.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from logship._buffer.chunk import Chunk, ChunkState
from logship._buffer.chunks import ADOPTED_TAKEN_MAX
from logship._buffer.departure import Departure
from logship._spool import files
from logship._spool.adoption import AdoptedChunk
from logship._spool.files import FileBytes
from logship._spool.orphan import Kept, Orphan
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from tests.simulation.mutations import Mutations

RECOVERY_MUTATIONS = Mutations()
_mutation, _around = RECOVERY_MUTATIONS.add, RECOVERY_MUTATIONS.around


@_mutation
def failed_read_taken_as_empty(patch: pytest.MonkeyPatch) -> None:
    """A segment that cannot be read is one without chunks."""

    def read(self: FileBytes, start: int, stop: int) -> bytes:
        try:
            return files.pread_all(self._descriptor, stop - start, start).ljust(stop - start, b"\0")
        except OSError:
            return bytes(stop - start)

    patch.setattr(FileBytes, "_read", read)


# -- those that were found -------------------------------------------------------------------


@_around(Orphan, "keep")
def marked_though_not_quarantined(keep: Any, self: Orphan, name: str, data: bytes) -> Kept:
    """A damaged chunk that could not be copied is marked as if it were: the next one deletes it."""
    found = keep(self, name, data)
    return Kept.NOWHERE if found is Kept.ON_THE_SPOOL else found


@_mutation
def one_unread_chunk_stops_its_life(patch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be read ends the recovery of its life, and of all behind it in there."""

    def leave(_self: Orphan, _name: str, _offset: int, error: OSError, _what: str = "") -> None:
        raise error

    patch.setattr(Orphan, "leave_unread", leave)


@_mutation
def one_poison_stops_all_lives(patch: pytest.MonkeyPatch) -> None:
    """A life whose last record no server takes is waited for, and no other one is begun."""
    patch.setattr("logship._spool.orphans._ADOPTIONS_MAX", 1)


@_mutation
def poison_fills_the_window(patch: pytest.MonkeyPatch) -> None:
    """Two records that no server takes are all that may be on the way: nothing passes them."""

    def next_adopted(self: Departure) -> Chunk | None:
        chunks = self._chunks.adopted.values()
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if self._section.closing or taken >= ADOPTED_TAKEN_MAX:
            return None
        return next((each for each in chunks if each.state is ChunkState.SEALED), None)

    patch.setattr(Departure, "_next_adopted", next_adopted)


@_around(Orphans, "_oldest_in")
def unread_directory_taken_as_empty(oldest: Any, self: Orphans, parent: int) -> Any:
    """A spool that cannot be listed counts as empty, without a message."""
    try:
        return oldest(self, parent)
    except OSError:
        return None


@_mutation
def named_after_it_is_marked(patch: pytest.MonkeyPatch) -> None:
    """What is damaged is named when nothing is left to do for now: it may be marked, or gone."""
    step = Orphans.step
    held: dict[Orphans, list[str]] = defaultdict(list)

    def stepped(self: Orphans) -> AdoptedChunk | RecoveryState:
        found = step(self)
        held[self] += self.news
        self.news.clear()
        if found in (RecoveryState.AWAITING_ACKS, RecoveryState.AWAITING_ORPHANS):
            self.news.extend(held.pop(self))
        return found

    patch.setattr(Orphans, "step", stepped)
