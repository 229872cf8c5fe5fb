"""Lives that died, and a recoverer with the sidecar that takes what it ships."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._client.upkeep import SpoolUpkeep
from logship._protocol.entries import unpack_entries
from logship._reasons import QUARANTINED
from logship._spool.adoption import AdoptedChunk
from logship._spool.directories import ProcessDirectory
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship._stderr.last_resort import LastResort
from tests.spool.spools import KEY, a_buffer, buffer_on, offer, storage_in

STEPS_MAX = 100_000


def dead_life(path: Path, fill: Callable[[Buffer], None], **parts: Any) -> Path:
    """Leave on a spool what a process that is killed after `fill` leaves; return its directory."""
    before = set(path.iterdir())
    storage = storage_in(path, **parts)
    fill(buffer_on(storage, stamp_key=parts.get("stamp_key", KEY)))
    storage.abandon()  # gives up the lock, and nothing else, as death does
    (life,) = {each for each in path.iterdir() if each.name != "quarantine"} - before
    return life


def log_some(buffer: Buffer, count: int = 30, name: str = "m") -> None:
    for number in range(count):
        assert offer(buffer, f"{name}{number}", "abc"[number % 3], 100)


class Sidecar:
    """Takes chunks, acks them, and remembers their records.

    Attributes:
        records: Of the application, in the order of arrival.
        controls: Our own.
        ids: Of the chunks.
        told: What a person was told.
    """

    def __init__(self, orphans: Orphans) -> None:
        self.orphans = orphans
        self.records: list[dict[str, Any]] = []
        self.controls: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.told: list[str] = []
        orphans.warn = lambda _, text, **__: self.told.append(text)
        self._unacked: list[AdoptedChunk] = []

    def take_in(self, chunks: int = STEPS_MAX) -> None:
        """Receive and ack until nothing is left, or so many chunks have come."""
        for _ in range(STEPS_MAX):
            found = self.orphans.step()
            if isinstance(found, AdoptedChunk):
                self.receive(found)
                chunks -= 1
            elif found is RecoveryState.AWAITING_ACKS:
                self.ack(self._unacked.pop(0))
            elif found is RecoveryState.AWAITING_ORPHANS:
                return
            if chunks == 0:
                return
        raise AssertionError("recovery does not come to an end")

    def receive(self, chunk: AdoptedChunk) -> None:
        self.ids.append(chunk.id)
        self._unacked.append(chunk)
        for _, record in unpack_entries(chunk.data):
            is_control = "logship_end" in record or "logship_gap" in record
            (self.controls if is_control else self.records).append(record)

    def ack(self, chunk: AdoptedChunk) -> None:
        a_buffer().release(chunk)

    def ack_all(self) -> None:
        while self._unacked:
            self.ack(self._unacked.pop(0))

    @property
    def markers(self) -> list[str]:
        return [each["message"] for each in self.records]


def number_of(record: dict[str, Any]) -> int:
    return int(record[KEY][13:])


def cannot_be_removed(directory: ProcessDirectory) -> None:
    """Fail in the place of `ProcessDirectory.remove`."""
    directory.leave()
    raise OSError(errno.EROFS, "read-only file system")


def next_chunk(orphans: Orphans) -> AdoptedChunk:
    while not isinstance(found := orphans.step(), AdoptedChunk):
        pass
    return found


def recover(path: Path) -> Sidecar:
    sidecar = Sidecar(Orphans(path))
    sidecar.take_in()
    return sidecar


def ship(
    orphans: Orphans, *, takes: Callable[[dict[str, Any]], bool] = lambda _: True
) -> list[dict[str, Any]]:
    """Recover in turns as a client does; return what a sidecar takes that refuses some records."""
    taken: list[dict[str, Any]] = []
    own = a_buffer(monotonic=orphans.monotonic)
    upkeep = SpoolUpkeep(own, None, orphans, last_resort=LastResort(descriptor=-1))
    for _ in range(STEPS_MAX):
        upkeep.tend(may_adopt=True)
        while (chunk := own.departure.take()) is not None:
            for single in singles(own, chunk):
                ((_, record),) = unpack_entries(bytes(single.data))
                if takes(record):
                    taken.append(record)
                    own.release(single)
                else:
                    own.give_up(single, QUARANTINED)
        if orphans.has_scanned and orphans.is_idle:
            return taken
    raise AssertionError("recovery does not come to an end")


def singles(own: Buffer, chunk: Chunk) -> list[Chunk]:
    halves = own.departure.split(chunk)
    return [chunk] if halves is None else [each for half in halves for each in singles(own, half)]


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Have this process open no more than so many files."""
    gc.collect()  # closes what a dead life has mapped
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(count)]  # there may be others in use between them
    for each in free:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
