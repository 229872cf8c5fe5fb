"""What fails while a dead process's spool is recovered: each system call of the recoverer.

The system calls of `_WATCHED` pass through here while a client adopts, and while it notes what
became of a chunk. What happens is drawn from a stream of chance of its own, so
that a history without these faults is what it was before there were any.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from logship._spool import directories, files, orphan, orphans, quarantine, spool_directory
from logship._spool.directories import PROCESS_DIRECTORY_NAME, SEGMENT_NAME, STREAMS
from logship._spool.format import ACKED, QUARANTINED
from logship._spool.quarantine import QUARANTINE
from tests.simulation.options import Options, between
from tests.simulation.wire import decode
from tests.spool.spools import read_segment

if TYPE_CHECKING:
    from tests.simulation.disk import SimulatedDisk
    from tests.simulation.history import History

SHARE = 0.7
"""Of the seeds with a spool, those whose recoverers meet these faults, and poison."""

_ERRORS = {
    "read fails": (errno.EIO,),
    "bad sector": (errno.EIO,),
    "mark fails": (errno.EIO, errno.EROFS),
    "keep fails": (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS),
    "remove fails": (errno.EIO, errno.EROFS, errno.EBUSY),
    "lock busy": (errno.EWOULDBLOCK,),
    "list fails": (errno.EIO,),
}
_RATES_OF_A_CALL = (*_ERRORS, "read short", "segment vanishes")
_WATCHED = (directories, files, orphan, orphans, quarantine, spool_directory)
"""The modules whose system calls a recoverer makes."""

_RECOVERERS_MAX = 3
_KILLS_MAX = 4
_CALLS_MAX = 200
_POISON_RATE_MAX = 0.03


@dataclass(frozen=True, slots=True)
class RecoveryOptions:
    """What one history's recoverers meet.

    Attributes:
        rates: How likely each fault is at each call that it can strike.
        recoverers: How many meet them at the end, before the one that finds everything healed.
        kills: After how many calls a recoverer is killed, counted from the last time.
        stays_bad: How likely a bad sector stays bad for ever.
        poison_rates: How likely a record is one that no server takes, by its kind.
        frame_bytes_max: The servers' limit, 0 for none.
    """

    rates: dict[str, float]
    recoverers: int
    kills: tuple[int, ...]
    stays_bad: float
    poison_rates: dict[str, float]
    frame_bytes_max: int

    def poisoned(self, options: Options) -> Options:
        rates = {**options.rates, **self.poison_rates}
        return replace(options, rates=rates, frame_bytes_max=self.frame_bytes_max)


def draw_recovery(seed: int, options: Options) -> tuple[RecoveryOptions, Random] | None:
    """Return what recoverers of this seed meet, and its chance; None where nothing fails."""
    draw = Random(f"{seed}-disk-2")
    if draw.random() >= SHARE:
        return None
    share = draw.choice((0.2, 0.5))
    chances = {name: Random(f"{seed} recovery {name}") for name in _RATES_OF_A_CALL}
    rates = {
        name: between(chance, 0.01, 0.4)
        for name, chance in chances.items()
        if chance.random() < share
    }
    if "segment vanishes" in rates:
        rates["segment vanishes"] /= 3
    poison = {
        name: between(draw, 0.002, _POISON_RATE_MAX)
        for name in ("poison closes", "poison ignored", "too large")
        if draw.random() < 0.3
    }
    least = max(options.text_bytes_max + 200, 300)
    recovery = RecoveryOptions(
        rates=rates,
        recoverers=draw.randint(0, _RECOVERERS_MAX),
        kills=tuple(int(between(draw, 1, _CALLS_MAX)) for _ in range(draw.randint(0, _KILLS_MAX))),
        stays_bad=draw.choice((0.0, 0.5)),
        poison_rates=poison,
        frame_bytes_max=int(between(draw, least, least * 4)) if "too large" in poison else 0,
    )
    return recovery, draw


class RecoveryFaults:
    """One history's faults of recovery.

    Attributes:
        options: What they are.
        recoverers_left: How many are still to meet them at the end.
        is_dead: Whether the recoverer at work was killed.
    """

    def __init__(
        self,
        history: History,
        disk: SimulatedDisk,
        options: RecoveryOptions,
        draw: Random,
        killed: type[BaseException],
    ) -> None:
        self.options = options
        self.recoverers_left = options.recoverers
        self._history = history
        self._disk = disk
        self._draw = draw
        self._killed = killed
        self._kills = list(options.kills)
        self._calls_left = self._next_kill()
        self._is_on = True
        self.is_dead = False
        self._calls = _Calls(self)
        self._locks = _Locks(self)
        self._bad: dict[tuple[str, str], set[int]] = {}
        self._bad_for_good: dict[tuple[str, str], set[int]] = {}
        self._owed: list[str] = []

    def heal(self) -> None:
        """Let nothing more go wrong; a sector that is bad for good stays so."""
        self._is_on = False
        self._bad = {}

    def begin_again(self) -> None:
        """Let everything go wrong once more, for one recoverer."""
        self._is_on = True
        self.recoverers_left -= 1

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Have the recoverer's system calls pass through here."""
        self.is_dead = False
        for module in _WATCHED:
            vars(module)["os"] = self._calls
        vars(directories)["fcntl"] = self._locks
        try:
            yield
        finally:
            for module in _WATCHED:
                vars(module)["os"] = os
            vars(directories)["fcntl"] = fcntl

    # -- what must be reported ---------------------------------------------------------------------

    def told(self) -> None:
        """The recoverer has nothing to do: it has said what it had to say."""
        for text in self._owed:
            self._disk.estate.must_be_said(text)
        self._owed.clear()

    def told_nothing(self) -> None:
        """The recoverer died before it could."""
        self._owed.clear()

    # -- for the calls -----------------------------------------------------------------------------

    def strike(self, name: str, directory: str, *, is_owed: bool = True) -> None:
        """Perhaps let a call fail.

        Args:
            name: Of the fault.
            directory: The life, or what else a person must be told of.
            is_owed: Whether a person must be told.
        """
        if self.happens(name):
            self.fail(name, directory, is_owed=is_owed)

    def happens(self, name: str) -> bool:
        if not self._is_on or self._draw.random() >= self.options.rates.get(name, 0.0):
            return False
        self._history.fired[name] += 1
        self._history.note("fault: %s", name)
        return True

    def fail(self, name: str, directory: str, *, is_owed: bool = True) -> None:
        number = self._draw.choice(_ERRORS[name])
        self._disk.estate.troubled(directory)
        if name == "mark fails":
            self._disk.estate.unmarked(directory)
        if is_owed:
            self._owed.append(directory)
        raise OSError(number, os.strerror(number))

    def called(self) -> None:
        """A call is about to be made, or was made; it may be the recoverer's last."""
        if self.is_dead:
            raise self._killed
        if not self._is_on or self._calls_left is None:
            return
        self._calls_left -= 1
        if self._calls_left <= 0:
            self._calls_left = self._next_kill()
            self._history.fired["recoverer killed"] += 1
            self.is_dead = True
            raise self._killed

    def _next_kill(self) -> int | None:
        return self._kills.pop() if self._kills else None

    def check_volume(self, directory: str) -> None:
        """Refuse to write while the volume is in trouble, which it is for a while."""
        if self._is_on and self._disk.is_in_trouble:
            self._history.fired["keep full"] += 1
            self._disk.estate.troubled(directory)
            self._owed.append(directory)
            self._disk.check_allocation()

    def read(self, where: tuple[str, str], descriptor: int, size: int, offset: int) -> bytes:
        """Read from a file of a life, as far as its disk allows."""
        is_owed = where[1] == STREAMS  # a segment is read again, page by page
        self.strike("read fails", where[0], is_owed=is_owed)
        data = os.pread(descriptor, size, offset)
        if SEGMENT_NAME.fullmatch(where[1]) and self.happens("bad sector"):
            self._spoil(where, descriptor, offset + self._draw.randrange(max(1, len(data))))
        pages = range(
            offset // mmap.PAGESIZE, (offset + len(data) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        )
        if self._bad_pages(where).intersection(pages):
            self.fail("bad sector", where[0])
        if len(data) > 1 and self.happens("read short"):
            return data[: self._draw.randrange(1, len(data))]
        return data

    def _bad_pages(self, where: tuple[str, str]) -> set[int]:
        return self._bad.get(where, set()) | self._bad_for_good.get(where, set())

    def _spoil(self, where: tuple[str, str], descriptor: int, offset: int) -> None:
        """Make a page unreadable, for a while or for good, where nothing else is damaged."""
        if self._disk.estate.life_of(where[0]).damaged:
            return
        page = offset // mmap.PAGESIZE
        if self._draw.random() >= self.options.stays_bad:
            self._bad.setdefault(where, set()).add(page)
            return
        self._bad_for_good.setdefault(where, set()).add(page)
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        first, last = page * mmap.PAGESIZE, (page + 1) * mmap.PAGESIZE
        self._disk.estate.unreadable(where[0], self._stamps_in(where[0], data, first, last))

    def vanish(self, directory: str, name: str, descriptor: int) -> None:
        """Perhaps another program removes a segment just before it is opened."""
        estate = self._disk.estate
        if estate.life_of(directory).damaged or not self.happens("segment vanishes"):
            return
        data = (self._disk.path / directory / name).read_bytes()
        estate.vanished(directory, self._stamps_in(directory, data, 0, len(data)))
        self._owed.append(directory)
        os.unlink(name, dir_fd=descriptor)

    def _stamps_in(self, life: str, data: bytes, first: int, last: int) -> set[tuple[str, int]]:
        """Return the stamps of unacked chunks that have any byte there."""
        key = self._history.options.stamp_key
        return {
            (chunk.identity.stream, number)
            for chunk in read_segment(data, bytes.fromhex(life)).chunks
            if chunk.state not in (ACKED, QUARANTINED) and chunk.entries
            if chunk.offset < last and chunk.payload_end > first
            for number in decode("", "", data[chunk.payload_at : chunk.payload_end], key).numbers
        }


class _Calls:
    """Stands for the module `os`."""

    def __init__(self, faults: RecoveryFaults) -> None:
        self._faults = faults
        self._names: dict[int, tuple[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        faults, directory = (
            self._faults,
            self._names.get(-1 if dir_fd is None else dir_fd, ("", "")),
        )
        faults.called()
        name = str(path)
        if SEGMENT_NAME.fullmatch(name) and dir_fd is not None:
            faults.vanish(directory[0], name, dir_fd)
        if flags & os.O_CREAT and directory[0] == QUARANTINE:
            faults.check_volume(_life_in(name))
            faults.strike("keep fails", _life_in(name))
        descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
        is_directory = PROCESS_DIRECTORY_NAME.fullmatch(name) or name == QUARANTINE
        opened = (name, "") if is_directory else (directory[0], name)
        self._names[descriptor] = directory if name == "." else opened
        return descriptor

    def listdir(self, path: int) -> list[str]:
        faults, (directory, name) = self._faults, self._names.get(path, ("", ""))
        faults.called()
        if name.endswith(".new"):  # what is swept: the next recoverer tries it again
            faults.strike("list fails", name.strip(".").removesuffix(".new"), is_owed=False)
        elif directory != QUARANTINE:
            faults.strike("list fails", directory or "spool: cannot be read")
        return sorted(os.listdir(path))

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        faults, where = self._faults, self._names.get(descriptor, ("", ""))
        faults.called()
        if PROCESS_DIRECTORY_NAME.fullmatch(where[0]) and size > _A_GLANCE_BYTES:
            return faults.read(where, descriptor, size, offset)
        return os.pread(descriptor, size, offset)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        faults, (directory, _) = self._faults, self._names.get(descriptor, ("", ""))
        faults.called()
        faults.strike("mark fails", directory)
        written = os.pwrite(descriptor, data, offset)
        faults.called()
        return written

    def write(self, descriptor: int, data: Any) -> int:
        faults, (_, name) = self._faults, self._names.get(descriptor, ("", ""))
        faults.called()
        faults.strike("keep fails", _life_in(name))
        return os.write(descriptor, data[: max(1, len(data) // 2)])

    def rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._faults.called()
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._faults.called()

    def unlink(self, name: str, *, dir_fd: int) -> None:
        faults, (directory, _) = self._faults, self._names.get(dir_fd, ("", ""))
        faults.called()
        if directory != QUARANTINE:
            faults.strike("remove fails", directory, is_owed=False)
        os.unlink(name, dir_fd=dir_fd)
        faults.called()

    def rmdir(self, name: str, *, dir_fd: int) -> None:
        self._faults.called()
        directory = name.removeprefix(".").removesuffix(".new")
        self._faults.strike("remove fails", directory, is_owed=False)
        os.rmdir(name, dir_fd=dir_fd)
        self._faults.called()


class _Locks:
    """Stands for the module `fcntl`."""

    def __init__(self, faults: RecoveryFaults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(fcntl, name)

    def flock(self, descriptor: int, operation: int) -> None:
        self._faults.called()
        self._faults.strike("lock busy", "", is_owed=False)
        fcntl.flock(descriptor, operation)
        self._faults.called()


_A_GLANCE_BYTES = 8
"""What is read to learn how old a life is; where that fails, another one is recovered first."""


def _life_in(name: str) -> str:
    """Return what of a quarantined file's name a person must be told: its life, or its stamp."""
    return name.lstrip(".").removesuffix(".part").removesuffix(".entry")
