"""Mistakes put on purpose into how spools are recovered where reads, stores and servers fail.

As in `disk_mutations`; the docstrings are what a person sees. Those at the end were the product's.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from logship.buffer.buffer import ADOPTED_INFLIGHT_MAX, Buffer
from logship.buffer.chunk import Chunk, ChunkState
from logship.buffer.leftovers import AdoptedChunk, DeadLife, Leftovers, Waiting, _Kept
from logship.spool import files
from logship.spool.directories import ProcessDirectory
from logship.spool.format import ACKED, STATE_AT, state_word
from logship.spool.quarantine import QuarantineFull
from tests.simulation.mutations import Mutation

RECOVERY_MUTATIONS: list[Mutation] = []


def _mutation(change: Mutation) -> Mutation:
    RECOVERY_MUTATIONS.append(change)
    return change


@_mutation
def deleted_though_not_quarantined(patch: pytest.MonkeyPatch) -> None:
    """What could not be copied to quarantine counts as copied, and its segment goes."""

    def keep(self: DeadLife, name: str, data: bytes) -> _Kept:
        try:
            self.life.keep(name, data)
        except (QuarantineFull, OSError) as error:
            self._say(f"{self.life.name}: {name} cannot be quarantined: {error}")
        return _Kept.QUARANTINED

    patch.setattr(DeadLife, "_keep", keep)


@_mutation
def failed_read_taken_as_empty(patch: pytest.MonkeyPatch) -> None:
    """A segment that cannot be read is one without chunks."""

    def read(
        self: ProcessDirectory, name: str, descriptor: int
    ) -> tuple[bytes, list[tuple[int, OSError]]]:
        try:
            return self.read_file(name, descriptor), []
        except OSError:
            return b"", []

    patch.setattr(ProcessDirectory, "read_around", read)


@_mutation
def short_read_taken_as_whole(patch: pytest.MonkeyPatch) -> None:
    """One call reads a file, whatever it gives."""

    def read(descriptor: int, size: int, offset: int) -> bytes:
        return vars(files)["os"].pread(descriptor, size, offset)  # type: ignore[no-any-return]

    patch.setattr("logship.spool.directories.pread_all", read)
    patch.setattr("logship.buffer.leftovers.pread_all", read)


@_mutation
def ended_though_a_chunk_is_unread(patch: pytest.MonkeyPatch) -> None:
    """A chunk that cannot be read is neither named nor a reason to keep its life."""
    patch.setattr(DeadLife, "_leave_unread", lambda _self, *_: None)


@_mutation
def unread_chunk_kept_in_silence(patch: pytest.MonkeyPatch) -> None:
    """A life with a chunk that cannot be read stays, and nobody is told why."""

    def leave(self: DeadLife, *_: object) -> None:
        self._is_kept = self._is_unread = True

    patch.setattr(DeadLife, "_leave_unread", leave)


@_mutation
def poison_taken_as_acked(patch: pytest.MonkeyPatch) -> None:
    """A recovered record that no server takes counts as acked."""
    patch.setattr(DeadLife, "refuse", lambda _self, _whole, _chunk: "acked")


@_mutation
def poison_not_declared(patch: pytest.MonkeyPatch) -> None:
    """A recovered record that no server takes is quarantined, and its stream says nothing of it."""
    refuse = DeadLife.refuse

    def refused(self: DeadLife, whole: AdoptedChunk, chunk: Chunk) -> str:
        text = refuse(self, whole, chunk)
        self._streams[whole.stream.id].gaps.pop()
        return text

    patch.setattr(DeadLife, "refuse", refused)


@_mutation
def lock_given_back_early(patch: pytest.MonkeyPatch) -> None:
    """A recoverer gives the lock back when everything is sent, not when it is acked."""
    wait = DeadLife._wait_for_acks

    def waited(self: DeadLife) -> Iterator[Waiting]:
        if self._pending and self.life._lock >= 0:
            os.close(self.life._lock)
            self.life._lock = -1
        yield from wait(self)

    patch.setattr(DeadLife, "_wait_for_acks", waited)


@_mutation
def unlinked_though_it_is_kept(patch: pytest.MonkeyPatch) -> None:
    """A segment goes when its chunks are settled, though a record of it is nowhere else."""
    unlink = DeadLife._unlink_if_done

    def unlinked(self: DeadLife, file: Any) -> None:
        kept, self._is_kept, file.is_needed = self._is_kept, False, False
        unlink(self, file)
        self._is_kept = kept

    patch.setattr(DeadLife, "_unlink_if_done", unlinked)


@_mutation
def refused_marked_before_it_is_declared(patch: pytest.MonkeyPatch) -> None:
    """A chunk with a record that no server takes is marked acked before a gap says so."""
    settled = DeadLife.settled

    def marked(self: DeadLife, chunk: AdoptedChunk) -> None:
        settled(self, chunk)
        if chunk.refused and chunk.found is not None:
            word = struct.pack("=Q", state_word(ACKED, 0))
            self._store(chunk.found.file.descriptor, word, chunk.found.chunk.offset + STATE_AT)

    patch.setattr(DeadLife, "settled", marked)


# -- those that were found -------------------------------------------------------------------


@_mutation
def marked_though_not_quarantined(patch: pytest.MonkeyPatch) -> None:
    """A damaged chunk that could not be copied is marked as if it were: the next one deletes it."""
    keep = DeadLife._keep

    def kept(self: DeadLife, name: str, data: bytes) -> _Kept:
        found = keep(self, name, data)
        return _Kept.NOWHERE if found is _Kept.ON_THE_SPOOL else found

    patch.setattr(DeadLife, "_keep", kept)


@_mutation
def one_unread_chunk_stops_its_life(patch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be read ends the recovery of its life, and of all behind it in there."""

    def leave(_self: DeadLife, _name: str, _offset: int, error: OSError, _what: str = "") -> None:
        raise error

    patch.setattr(DeadLife, "_leave_unread", leave)


@_mutation
def one_poison_stops_all_lives(patch: pytest.MonkeyPatch) -> None:
    """A life whose last record no server takes is waited for, and no other one is begun."""
    patch.setattr("logship.buffer.leftovers._LIVES_MAX", 1)


@_mutation
def poison_fills_the_window(patch: pytest.MonkeyPatch) -> None:
    """Two records that no server takes are all that may be on the way: nothing passes them."""

    def next_adopted(self: Buffer) -> Chunk | None:
        chunks = self.adopted
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if self.intake_closed or taken >= ADOPTED_INFLIGHT_MAX:
            return None
        return next((each for each in chunks if each.state is ChunkState.SEALED), None)

    patch.setattr(Buffer, "_next_adopted", next_adopted)


@_mutation
def unread_directory_taken_as_empty(patch: pytest.MonkeyPatch) -> None:
    """A spool that cannot be listed has nothing in it, and nobody is told otherwise."""
    oldest = Leftovers._oldest_in

    def found(self: Leftovers, parent: int) -> ProcessDirectory | None:
        try:
            return oldest(self, parent)
        except OSError:
            return None

    patch.setattr(Leftovers, "_oldest_in", found)


@_mutation
def named_after_it_is_marked(patch: pytest.MonkeyPatch) -> None:
    """What is damaged is named when nothing is left to do for now: it may be marked, or gone."""
    step = Leftovers.step
    held: dict[Leftovers, list[str]] = defaultdict(list)

    def stepped(self: Leftovers) -> AdoptedChunk | Waiting:
        found = step(self)
        held[self] += self.news
        self.news.clear()
        if found in (Waiting.FOR_ACKS, Waiting.FOR_DEATHS):
            self.news.extend(held.pop(self))
        return found

    patch.setattr(Leftovers, "step", stepped)
