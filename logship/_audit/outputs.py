"""What a watch follows: outputs, each of which has parts that come, grow, change and go.

A file is a part of the path, directory or pattern that names it. A part is known by a key that a
rename does not change. Its evidence counts as long as the part is there.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final, Protocol

from logship._audit.sources import CannotRead, Source
from logship.errors import LogshipError

KNOWN_BYTES: Final = 256
"""How many bytes before an offset tell a file from a later one with its inode."""

_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG}
"""Errors of a name that no file has. Windows says EINVAL of a pattern."""

Position = dict[str, Any]
"""How far a part was read, as plain values."""


@dataclass
class Reading:
    """Lines of a part that were not read before.

    Attributes:
        batches: The lines. To read them raises `CannotRead` if the part cannot be read, and `Moved`
            if another part has its name by now: the next look finds both.
        position: How far the part is read, once all batches are.
        is_fresh: Whether they are all lines of the part: nothing that was read before counts.
    """

    batches: Iterator[list[bytes]]
    position: Position
    is_fresh: bool = False


class Moved(LogshipError):  # noqa: N818 - it says what happened, as its siblings do
    """A part was renamed or removed since it was listed."""


@dataclass(frozen=True)
class Part(ABC):
    """Something that is there as a whole, or not: a file, an object, a log group.

    Attributes:
        key: What it is known by.
        name: What a person knows it by.
        overlaps: Whether a reading repeats lines of the one before; they are not duplicates then.
    """

    key: str
    name: str

    overlaps: ClassVar[bool] = False

    @abstractmethod
    def read(self, position: Position | None) -> Reading | None:
        """Return what is there beyond a position; None if that is nothing.

        Raises:
            CannotRead: The part cannot be read.
        """


class Output(Protocol):
    """What one argument of the command names."""

    name: str

    def parts(self) -> Iterable[Part]:
        """Return what is there now.

        Raises:
            CannotRead: It is not known what else is there.
        """


class Files:
    """The files that a path or a pattern names; a directory stands for all files below it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def parts(self) -> Iterator[FilePart]:
        """Yield each file once, also where it has several names; then raise what hides others."""
        found: dict[str, FilePart] = {}
        hidden: list[OSError] = []
        for path in sorted(self._paths(hidden)):
            status = _status(path, hidden)
            if status and stat.S_ISREG(status.st_mode):
                part = FilePart(_identity(status), str(path), status)
                found.setdefault(part.key, part)
        yield from found.values()
        for error in hidden:
            if error.errno not in _ABSENT:  # else it has just been removed
                raise CannotRead(f"cannot read {error.filename}: {error.strerror}") from error

    def _paths(self, hidden: list[OSError]) -> Iterable[Path]:
        path = Path(self.name)
        status = _status(path, hidden)
        if status is None:
            # What it cannot list, glob passes over; os.walk says so of the directory to begin with.
            root = next(each for each in (path, *path.parents) if not glob.has_magic(str(each)))
            next(os.walk(root, onerror=hidden.append), None)
            names = glob.glob(self.name, recursive=True)  # noqa: PTH207 - Path.glob takes no root
            return map(Path, names)
        if not stat.S_ISDIR(status.st_mode):
            return [path]
        walk = os.walk(path, onerror=hidden.append)  # Path.rglob passes over what it cannot read
        return (Path(directory, name) for directory, _, names in walk for name in names)


def _status(path: Path, hidden: list[OSError]) -> os.stat_result | None:
    """Return what the system says of a file; None if that is an error, which is noted."""
    try:
        return path.stat()
    except OSError as error:
        hidden.append(error)
        return None


@dataclass(frozen=True)
class FilePart(Part):
    """A file, by its device and inode: a rename does not make it another one."""

    status: os.stat_result

    def read(self, position: Position | None) -> Reading | None:
        """Return the lines behind the position, or all lines of a file that was cut or replaced."""
        looks = [self.status.st_size, self.status.st_mtime_ns]
        if position is not None and position["looks"] == looks:
            return None
        has_grown = position is not None and self._has_grown(position)
        offset = position["offset"] if position is not None and has_grown else 0
        position = {"offset": offset, "looks": looks}
        return Reading(self._batches(position), position, is_fresh=not has_grown)

    def _batches(self, position: Position) -> Iterator[list[bytes]]:
        """Yield whole lines: the rest of the last one is still to be written.

        The position gets an offset only of a plain file: gzip is read anew when it has changed.
        """
        source = Source(self.name, position["offset"], self._opened)
        yield from source.whole_lines()
        position["offset"] = offset = 0 if source.is_packed else source.position
        position["tail"] = self._digest_before(offset)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with Path(self.name).open("rb") as file:
                if _identity(os.fstat(file.fileno())) != self.key:
                    raise Moved(f"{self.name} is another file by now")
                yield file
        except FileNotFoundError as error:
            raise Moved(f"{self.name} is gone by now") from error

    def _has_grown(self, position: Position) -> bool:
        """Tell whether what was read is still there; of gzip that is never known."""
        offset = position["offset"]
        is_there = 0 < offset <= self.status.st_size
        return is_there and self._digest_before(offset) == str(position["tail"])

    def _digest_before(self, offset: int) -> str:
        first = max(0, offset - KNOWN_BYTES)
        try:
            with Path(self.name).open("rb") as file:
                file.seek(first)
                return hashlib.sha256(file.read(offset - first)).hexdigest()
        except OSError:
            return ""  # the reading says why


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


LATE_MILLISECONDS: Final = 300_000
"""So much later than a newer record a record may come."""

BATCH_LINES: Final = 1000

Fetch = Callable[[int], Iterator[tuple[int, bytes]]]
"""Yields times in milliseconds since 1970, and lines, of all records from a time on."""


@dataclass(frozen=True)
class TimedPart(Part):
    """All of an output that keeps records by their time, or of one of its indices.

    Such an output has no order of arrival. A record may come after records that are newer, because
    a sidecar repeats what failed. So each reading begins some time before the newest record that is
    known, and what it has of the time before is read again. A record from the future is not taken
    for the newest one: it would hide all that come before its time.
    """

    fetch: Fetch

    overlaps = True

    def read(self, position: Position | None) -> Reading:
        """Return the lines that may be new; what is new is known only afterwards."""
        now = time.time_ns() // 1_000_000
        position = {"newest": min(position["newest"] if position else 0, now)}
        return Reading(self._batches(position, now), position)

    def _batches(self, position: Position, now: int) -> Iterator[list[bytes]]:
        """Yield the lines. The position is the time of the newest one that is not behind `now`."""
        found = self.fetch(max(0, position["newest"] - LATE_MILLISECONDS))
        while batch := list(islice(found, BATCH_LINES)):
            past = (milliseconds for milliseconds, _ in batch if milliseconds <= now)
            position["newest"] = max(position["newest"], max(past, default=0))
            yield [line for _, line in batch]
