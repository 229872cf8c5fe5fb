"""The disk under a spool: real files in memory, and whatever can go wrong with them.

One seed in eight has a spool. What its disk does is drawn from a stream of chance of its own, so
that a seed without one is what it was before there were disks. The product's storage maps real
files; each store into them passes through here, so that a process can be killed between any two,
or in the middle of one. The files of a process may be damaged before recovery.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from logship._spool.chunks import FoundChunk, Payload, read_payload
from logship._spool.directories import LOCK, PROCESS_DIRECTORY_NAME, STREAMS
from logship._spool.format import (
    ACKED,
    EXTENT_AT,
    QUARANTINED,
    STATE_AT,
    STREAMS_BYTES,
    UNSENT,
    slot_at,
)
from logship._spool.mapped import Segment
from logship._spool.orphans import Orphans
from logship._spool.quarantine import QUARANTINE
from logship._spool.slots import read_streams
from logship._spool.storage import SpoolStorage
from tests.simulation.estate import (
    DAMAGED_REASON,
    STREAMS_DAMAGED,
    TORN,
    Estate,
    Stamp,
)
from tests.simulation.options import Options, between
from tests.simulation.recovery_faults import RecoveryFaults, RecoveryOptions
from tests.simulation.wire import Violation, decode
from tests.spool.spools import WatchedFiles, read_segment

if TYPE_CHECKING:
    from tests.simulation.history import History

SHARE = 0.125
"""Of the seeds, those with a spool."""

_ERRORS = {
    "disk full": errno.ENOSPC,
    "disk quota": errno.EDQUOT,
    "disk error": errno.EIO,
    "disk read-only": errno.EROFS,
}
_TROUBLES_MAX = 3
_KILLS_MAX = 4
_CRASHES_MAX = 4
_STORES_MAX = 300
_NEVER_IN_MSGPACK = 0xC1
_HEADER_BYTES = 104
_STREAMS_HEADER = (*range(8), *range(16, 46))
"""Of the file with the slots: not its version, which is refused, and nothing is touched."""

_SLOT_IDENTITY = range(24, 42)
"""Of a slot, what its checksum is of, and that: the words before may be any."""

_SEGMENT_HEADER_BYTES = 64


class Killed(BaseException):
    """The process is killed in the middle of a store."""


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """One disk's options; sizes are bytes, times are virtual seconds.

    Attributes:
        bytes_max: Of all files of a spool.
        memory_bytes_max: What is held in memory while the spool cannot be written.
        troubles: When nothing can be allocated, for how long, and why.
        kills: After how many stores a process is killed, counted from the last time.
        crashes: When processes are killed between two events.
        late_rate: How likely the upkeep of files is left out, at each turn.
        damage_rate: How likely what a process left is damaged.
        streams_rate: How likely the file with its streams' slots is, where nothing else is.
    """

    bytes_max: int
    memory_bytes_max: int
    troubles: tuple[tuple[float, float, str], ...]
    kills: tuple[int, ...]
    crashes: tuple[float, ...]
    late_rate: float
    damage_rate: float
    streams_rate: float


def has_disk(seed: int) -> bool:
    """Tell whether the clients of this seed have a spool."""
    return _chance_of(seed).random() < SHARE


def _chance_of(seed: int) -> Random:
    return Random(f"storage {seed}")


def draw_disk(seed: int, options: Options) -> tuple[DiskOptions, Random] | None:
    """Return what this seed's disk does and its chance, or None where there is no spool."""
    draw = _chance_of(seed)
    if draw.random() >= SHARE:
        return None
    heals = options.heals_seconds
    segment_bytes = options.chunk_bytes_max + 2 * mmap.PAGESIZE
    chances = {name: Random(f"{seed} disk {name}") for name in _ERRORS}
    troubles = [
        (max(0.0, chance.uniform(-0.3, 0.9) * heals), chance.uniform(0.0, 0.7) * heals, name)
        for name, chance in chances.items()
        if chance.random() < 0.4
        for _ in range(chance.randint(1, _TROUBLES_MAX))
    ]
    disk = DiskOptions(
        bytes_max=STREAMS_BYTES + segment_bytes * draw.choice((3, 5, 10, 40)),
        memory_bytes_max=max(int(between(draw, 1000, 30_000)), 2 * (options.text_bytes_max + 200)),
        troubles=tuple(sorted(troubles)),
        kills=tuple(int(between(draw, 1, _STORES_MAX)) for _ in range(draw.randint(0, _KILLS_MAX))),
        crashes=tuple(
            sorted(draw.uniform(0.0, heals) for _ in range(draw.randint(0, _CRASHES_MAX)))
        ),
        late_rate=draw.choice((0.0, 0.5, 1.0)),
        damage_rate=draw.choice((0.0, 0.9)),
        streams_rate=Random(f"{seed}-disk-3").choice((0.0, 0.0, 0.5)),
    )
    return disk, draw


def without_poison(options: Options) -> Options:
    """Return the options without records that no server takes.

    Where a spool has some, how many is drawn apart (`recovery_faults`).
    """
    rates = {
        name: 0.0 if name.startswith("poison") or name == "too large" else rate
        for name, rate in options.rates.items()
    }
    return replace(options, rates=rates, frame_bytes_max=0)


class SimulatedDisk:
    """One history's disk, and the directory of its spools.

    Attributes:
        options: What it does.
        path: The directory.
        estate: What the judge knows of it.
        faults: What fails while it is recovered, if anything does.
    """

    def __init__(
        self,
        history: History,
        options: DiskOptions,
        draw: Random,
        recovery: tuple[RecoveryOptions, Random] | None = None,
    ) -> None:
        base = "/dev/shm"
        is_there = os.access(base, os.W_OK)
        self.path = Path(tempfile.mkdtemp(prefix="logship-disk-", dir=base if is_there else None))
        self.options = options
        self.estate = Estate()
        self.draw = draw
        self._draw_streams = Random(f"{history.options.seed}-disk-3-bytes")
        self._history = history
        self._kills = list(options.kills)
        self._stores_left = self._next_kill()
        self._troubles: list[str] = []
        self._healed = False
        self.faults = None if recovery is None else RecoveryFaults(history, self, *recovery, Killed)

    def begin(self) -> None:
        """Arrange for what happens at its moment."""
        clock = self._history.clock
        for seconds, lasts_seconds, name in self.options.troubles:
            clock.at(seconds, self._trouble, name)
            clock.at(seconds + lasts_seconds, self._relieve, name)
        for seconds in self.options.crashes:
            clock.at(seconds, self._history.crash)

    def heal(self) -> None:
        self._healed = True
        self._troubles.clear()
        if self.faults is not None:
            self.faults.heal()

    def recovering(self) -> contextlib.AbstractContextManager[None]:
        """Return what a client's work on the spools of the dead is done in."""
        return contextlib.nullcontext() if self.faults is None else self.faults.watching()

    def quarantined(self) -> bytes:
        files = sorted((self.path / QUARANTINE).glob("*"))
        return b"".join(each.read_bytes() for each in files if not each.name.startswith("."))

    def noted(self, name: str) -> dict[Stamp, str]:
        """Return which numbers the next recoverer of a life finds out that it must declare.

        That is what a chunk's mark says is lost, and what a recoverer has given up and is still on
        the spool: the next one gives it up too.
        """
        found: dict[Stamp, str] = {}
        key = self._history.options.stamp_key
        for segment in (self.path / name).glob("segment-*"):
            data = segment.read_bytes()
            for chunk in read_segment(data, bytes.fromhex(name)).chunks:
                stream, first = chunk.identity.stream, chunk.identity.first
                if chunk.state == QUARANTINED:
                    numbers = range(first, first + chunk.checksum + 1)
                    found |= {(stream, number): DAMAGED_REASON for number in numbers}
                elif chunk.state != ACKED and chunk.entries:
                    frame = decode("", "", data[chunk.payload_at : chunk.payload_end], key)
                    found |= self.estate.given_up_of(frame)
        return found

    def check_locked(self, name: str) -> None:
        """Check whether a process holds the lock of a life, as another recoverer would."""
        with contextlib.suppress(FileNotFoundError), (self.path / name / LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            raise Violation(f"{name} is being recovered, and its lock can be had")

    @property
    def is_in_trouble(self) -> bool:
        """Whether nothing can be allocated at the moment."""
        return bool(self._troubles)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def orphans(self) -> Orphans:
        """Return a new process's look at what others left."""
        clock = self._history.clock
        return Orphans(
            self.path,
            random_bytes=self.draw.randbytes,
            monotonic=clock.monotonic,
            time_ns=clock.time_ns,
        )

    def left(self) -> list[str]:
        """Return what lies in the directory, but for the quarantine."""
        return sorted(set(os.listdir(self.path)) - {QUARANTINE})  # noqa: PTH208 - names are enough

    def said(self, text: str) -> str:
        """Return a text without the directory's name, whose length must not matter."""
        return text.replace(str(self.path), "spool")

    # -- what goes wrong -------------------------------------------------------------------------

    def check_allocation(self) -> None:
        if self._troubles:
            name = self._troubles[-1]
            self._history.fired[name] += 1
            raise OSError(_ERRORS[name], os.strerror(_ERRORS[name]))

    def is_late(self) -> bool:
        """Tell whether the upkeep is left out this time."""
        return not self._healed and self.draw.random() < self.options.late_rate

    def stored(self) -> None:
        """A process has stored something; it may be its last."""
        if self._healed or self._stores_left is None:
            return
        self._stores_left -= 1
        if self._stores_left <= 0:
            self._stores_left = self._next_kill()
            self._history.fired["disk kill"] += 1
            raise Killed

    def _next_kill(self) -> int | None:
        return self._kills.pop() if self._kills else None

    def _trouble(self, name: str) -> None:
        if not self._healed:
            self._history.note("fault: %s", name)
            self._troubles.append(name)

    def _relieve(self, name: str) -> None:
        if name in self._troubles:
            self._troubles.remove(name)

    # -- what is damaged -------------------------------------------------------------------------

    def damage(self, name: str) -> None:
        """Perhaps damage what a process left in the directory `name`, before it is recovered."""
        if not self._healed and not self._damage_segment(name):
            self._damage_streams(name)

    def _damage_segment(self, name: str) -> bool:
        if self.draw.random() >= self.options.damage_rate:
            return False
        segments = sorted((self.path / name).glob("segment-*"))
        self.draw.shuffle(segments)
        for segment in segments:
            data = bytearray(segment.read_bytes())
            chunks = [
                each
                for each in read_segment(bytes(data), bytes.fromhex(name)).chunks
                if each.state not in (ACKED, QUARANTINED) and each.entries
            ]
            if chunks:
                kind = self.draw.choice((self._flip_payload, self._flip_header, self._tear))
                chunk = self.draw.choice(chunks)
                payload = read_payload(chunk, bytes(data[chunk.payload_at : chunk.payload_end]))
                assert isinstance(payload, Payload), payload  # it was whole until now
                fault = kind(data, chunk)
                segment.write_bytes(data)
                self._history.note("fault: %s", fault)
                self._history.fired[fault] += 1
                self.estate.damaged(name, fault, chunk.identity.stream, payload.numbers)
                return True
        return False

    def _damage_streams(self, name: str) -> None:
        """Damage the slots, which cost no record: chunks show their streams themselves."""
        draw, path = self._draw_streams, self.path / name / STREAMS
        if draw.random() >= self.options.streams_rate or not path.exists():
            return
        data = bytearray(path.read_bytes())
        used = [each.slot for each in read_streams(bytes(data), bytes.fromhex(name)).streams]
        places = (*_STREAMS_HEADER, *(slot_at(each) + at for each in used for at in _SLOT_IDENTITY))
        match draw.choice(("flip", "cut", "remove")):
            case "flip":
                data[draw.choice(places)] ^= 1 << draw.randrange(8)
                path.write_bytes(data)
            case "cut":
                path.write_bytes(data[: draw.randrange(len(data))])
            case "remove":
                path.unlink()
        self._history.note("fault: %s", STREAMS_DAMAGED)
        self._history.fired[STREAMS_DAMAGED] += 1
        self.estate.damaged(name, STREAMS_DAMAGED, "", [])

    def _flip_payload(self, data: bytearray, chunk: FoundChunk) -> str:
        """Damage entries. Without a checksum only what cannot be decoded can be seen."""
        if chunk.state == UNSENT:
            data[chunk.payload_at] = _NEVER_IN_MSGPACK
        else:
            data[chunk.payload_at + self.draw.randrange(chunk.size)] ^= 1 << self.draw.randrange(8)
        return "disk flip"

    def _flip_header(self, data: bytearray, chunk: FoundChunk) -> str:
        places = self.draw.choice((range(_HEADER_BYTES), range(EXTENT_AT, STATE_AT + 8)))
        data[chunk.offset + self.draw.choice(places)] ^= 1 << self.draw.randrange(8)
        return "disk header"

    def _tear(self, data: bytearray, chunk: FoundChunk) -> str:
        """Lose the file from somewhere on: cut off, or zeros as after a power cut."""
        offset = self.draw.randrange(_SEGMENT_HEADER_BYTES, chunk.payload_end)
        rest = len(data) - offset
        del data[offset:]
        if self.draw.random() < 0.5:
            data += bytes(rest)
        return TORN


class SimulatedStorage(SpoolStorage):
    """The product's storage on a simulated disk; its files are real, their bytes are few."""

    def __init__(self, history: History, disk: SimulatedDisk) -> None:
        options, clock = history.options, history.clock
        self._disk = disk
        self._fired = history.fired
        self._memory_mapped = WatchedFiles(disk.stored, disk.check_allocation)
        super().__init__(
            disk.path,
            bytes_max=disk.options.bytes_max,
            memory_bytes_max=disk.options.memory_bytes_max,
            chunk_bytes_max=options.chunk_bytes_max,
            stamp_key=options.stamp_key,
            segment_bytes=mmap.PAGESIZE,
            random_bytes=disk.draw.randbytes,
            monotonic=clock.monotonic,
            time_ns=clock.time_ns,
            mapper=self._memory_mapped.map,
        )

    def maintain(self, locked: Callable[[Callable[[], list[Segment]]], list[Segment]]) -> None:
        """Do the upkeep; what is not due at a certain time may be late."""
        is_due = self._trouble or self._monotonic() >= self._due_seconds
        if is_due or not self._disk.is_late():
            super().maintain(locked)
        else:
            self._fired["disk late"] += self._own is not None and self._own.wants_spare()

    def bytes_on_volume(self) -> int:
        """Return the bytes of this process's files, as others see them."""
        name = self.life_name
        if name is None:
            return 0
        return sum(each.stat().st_size for each in (self.path / name).iterdir())

    @property
    def life_name(self) -> str | None:
        return None if self._own is None else self._own.directory.name

    def end(self, *, dies: bool) -> str | None:
        """End as the process does; return the directory that it leaves, if it does."""
        name = self.life_name
        if dies:
            self.abandon()
        else:
            self.close()
        self._memory_mapped.close()
        is_left = (
            name is not None
            and PROCESS_DIRECTORY_NAME.fullmatch(name)
            and (self.path / name).exists()
        )
        return name if is_left else None
