"""Mistakes put on purpose into how spools are recovered where reads, stores and servers fail.

As in `disk_mutations`; the docstrings are what a person sees. Those at the end were the product's.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from logship._buffer.chunk import Chunk, ChunkState
from logship._buffer.chunks import ADOPTED_TAKEN_MAX
from logship._buffer.departure import Departure
from logship._spool import files
from logship._spool.adoption import AdoptedChunk, Adoption
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


@_mutation
def short_read_taken_as_whole(patch: pytest.MonkeyPatch) -> None:
    """One call reads a file, whatever it gives."""

    def read(descriptor: int, size: int, offset: int) -> bytes:
        return vars(files)["os"].pread(descriptor, size, offset)  # type: ignore[no-any-return]

    patch.setattr("logship._spool.files.pread_all", read)
    patch.setattr("logship._spool.survey.pread_all", read)


@_mutation
def ended_though_a_chunk_is_unread(patch: pytest.MonkeyPatch) -> None:
    """A chunk that cannot be read is neither named nor a reason to keep its life."""
    patch.setattr(Orphan, "leave_unread", lambda _self, *_: None)


@_mutation
def unread_chunk_kept_in_silence(patch: pytest.MonkeyPatch) -> None:
    """A life with a chunk that cannot be read stays, and no message says why."""

    def leave(self: Orphan, *_: object) -> None:
        self.is_kept = self.is_damaged = True

    patch.setattr(Orphan, "leave_unread", leave)


@_around(Adoption, "refuse")
def poison_not_declared(refuse: Any, self: Adoption, whole: AdoptedChunk, chunk: Chunk) -> Any:
    """A recovered record that no server takes is quarantined, and its stream says nothing of it."""
    text = refuse(self, whole, chunk)
    self.orphan.streams[whole.stream.id].gaps.pop()
    return text


@_around(Adoption, "_wait_for_acks")
def lock_given_back_early(wait: Any, self: Adoption) -> Iterator[RecoveryState]:
    """A recoverer gives the lock back when everything is sent, not when it is acked."""
    directory = self.orphan.directory
    if self.on_their_way and directory._lock >= 0:
        os.close(directory._lock)
        directory._lock = -1
    yield from wait(self)


@_around(Adoption, "end")
def refused_marked_before_it_is_declared(end: Any, self: Adoption, chunk: AdoptedChunk) -> None:
    """A chunk with a record that no server takes is marked acked before a gap says so."""
    end(self, chunk)
    if chunk.is_refused and chunk.located is not None:
        self.orphan.mark_acked(chunk.located)


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
