"""Compares the spool with plain lists, with a crash at every store of random operations.

After each store into a mapped file, and in the middle of each copy, the files' bytes are read as a
recoverer would read them if the process had been killed there. Every record whose `offer` had
returned and that was not released must be in them, in order; nothing that was released may be;
and nothing may look damaged.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from logship._buffer.chunk import Chunk
from logship._protocol.entries import unpack_entries
from tests.spool.spools import (
    CHUNK_BYTES,
    WatchedFiles,
    buffer_on,
    offer,
    read_files,
    storage_in,
)

SEEDS_OF_THE_NORMAL_SUITE = 30
OPERATIONS = 60


class Model:
    """What must be on the spool, as plain collections.

    Attributes:
        accepted: Markers whose offer returned.
        released: Those whose release returned.
        in_doubt: Those whose offer or release has not returned, and may be there or not; the
            records of a half stay until the other half is settled too.
        checks: Crash points that were looked at.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.files = WatchedFiles()
        self.storage = storage_in(path, mapper=self.files.map)
        self.buffer = buffer_on(self.storage)
        self.taken: list[Chunk] = []
        self.accepted: list[str] = []
        self.released: set[str] = set()
        self.in_doubt: set[str] = set()
        self.offered = 0
        self.checks = 0
        assert self.storage._own is not None
        self.life = self.storage._own.directory.id

    def crash(self) -> None:
        """Check what a recoverer would find now."""
        self.checks += 1
        left = read_files(self.files.segments(), self.life)
        assert left.faults == []
        must = [each for each in self.accepted if each not in self.released | self.in_doubt]
        found = set(left.markers)
        assert len(found) == len(left.markers), "a record is there twice"
        assert [each for each in must if each not in found] == []
        assert found & self.released == set()
        assert found <= {*self.accepted, *self.in_doubt}
        for tag in "abc":
            mine = [int(each.split("-")[0]) for each in left.markers if each.endswith(tag)]
            assert mine == sorted(mine)

    def run(self) -> None:
        """Do random operations."""
        operations = [self.offer] * 12 + [self.take] * 4 + [self.release] * 4
        operations += [self.split, self.drop, self.number_and_drop, self.seal, self.maintain]
        self.files.after_store = self.crash
        for _ in range(OPERATIONS):
            self.dice.choice(operations)()

    def offer(self) -> None:
        tag = self.dice.choice("abc")
        marker = f"{self.offered}-{tag}"
        self.offered += 1
        size = self.dice.choice((0, 10, 300, 1500, 3 * CHUNK_BYTES))
        if self.dice.random() < 0.02:
            size = 20 * 1024  # larger than a segment
        self.in_doubt.add(marker)
        assert offer(self.buffer, marker, tag, size)
        self.in_doubt.discard(marker)
        self.accepted.append(marker)

    def take(self) -> None:
        chunk = self.buffer.take()
        if chunk is not None:
            chunk.before_sending()
            self.taken.append(chunk)

    def release(self) -> None:
        if self.taken:
            chunk = self.taken.pop(self.dice.randrange(len(self.taken)))
            self._settling(chunk, lambda: self.buffer.release(chunk))

    def drop(self) -> None:
        oldest = self.buffer._section.accumulator.chunks.first_droppable()
        if oldest is not None:
            self._settling(oldest, self.buffer.drop_oldest)

    def _settling(self, chunk: Chunk, settle: Callable[[], object]) -> None:
        markers = set(markers_in(chunk))
        self.in_doubt |= markers
        settle()
        if chunk.outermost is chunk:
            self.in_doubt -= markers
            self.released |= markers

    def split(self) -> None:
        if self.taken:
            chunk = self.taken.pop(self.dice.randrange(len(self.taken)))
            halves = self.buffer.split(chunk)
            self.taken += [chunk] if halves is None else halves

    def number_and_drop(self) -> None:
        self.buffer.number_and_drop(self.dice.choice("abc"), b"", "overflow")

    def seal(self) -> None:
        self.buffer.seal_all()

    def maintain(self) -> None:
        self.storage.maintain(self.buffer.exclusively)


def markers_in(chunk: Chunk) -> list[str]:
    """Return the markers of a chunk's records."""
    return [each["message"] for _, each in unpack_entries(bytes(chunk.data)) if "pad" in each]


@pytest.mark.parametrize(
    "batch", [0, *(pytest.param(number, marks=pytest.mark.proof) for number in range(1, 100))]
)
def test_a_crash_at_any_store_leaves_every_accepted_record(tmp_path: Path, batch: int) -> None:
    checks = 0
    for seed in range(batch * SEEDS_OF_THE_NORMAL_SUITE, (batch + 1) * SEEDS_OF_THE_NORMAL_SUITE):
        path = tmp_path / str(seed)
        path.mkdir()
        model = Model(path, seed)
        model.run()
        model.storage.close()
        checks += model.checks
    assert checks > 40 * SEEDS_OF_THE_NORMAL_SUITE
