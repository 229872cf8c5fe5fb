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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from logship._audit.sources import CannotRead, Source
from logship.errors import LogshipError

KNOWN_BYTES: Final = 256
"""How many first bytes, and how many before an offset, tell a file from a later one with its inode.
The first ones alone may be the same, because a long field may stand before the stamp."""

_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG}
"""Errors of a name that no file has. Windows says EINVAL of a pattern."""

Position = dict[str, Any]
"""How far a part was read, as plain values."""


class Reading(Protocol):
    """Lines of a part that were not read before."""

    @property
    def is_fresh(self) -> bool:
        """Whether they are all lines of the part: nothing that was read before counts."""

    @property
    def position(self) -> Position:
        """How far the part is read, once all batches are."""

    def batches(self) -> Iterable[list[bytes]]:
        """Yield the lines.

        Raises:
            CannotRead: The part cannot be read.
            Moved: Another part has its name by now. The next look finds both.
        """


class Moved(LogshipError):  # noqa: N818 - it says what happened, as its siblings do
    """A part was renamed or removed since it was listed."""


class Part(Protocol):
    """Something that is there as a whole, or not: a file, an object, a log group."""

    @property
    def key(self) -> str:
        """What it is known by."""

    @property
    def name(self) -> str:
        """What a person knows it by."""

    @property
    def overlaps(self) -> bool:
        """Whether a reading repeats lines of the one before; they are not duplicates then."""

    def read(self, position: Position | None) -> Reading | None:
        """Return what is there beyond a position; None if that is nothing.

        Raises:
            CannotRead: The part cannot be read.
        """


class Output(Protocol):
    """What one argument of the command names.

    Attributes:
        name: As given.
    """

    name: str

    def parts(self) -> Iterable[Part]:
        """Return what is there now.

        Raises:
            CannotRead: It is not known what else is there.
        """


class Files:
    """The files that a path, a directory or a pattern names.

    Args:
        name: A directory stands for all files below it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def parts(self) -> Iterator[FilePart]:
        """Yield each file once, also where it has several names; then raise what hides others."""
        found: dict[str, FilePart] = {}
        hidden: CannotRead | None = None
        for path in sorted(self._paths()):
            try:
                status = _status(path)  # None if it has just been removed
            except CannotRead as error:
                hidden = hidden or error
                continue
            if status and stat.S_ISREG(status.st_mode):
                part = FilePart(str(path), status)
                found.setdefault(part.key, part)
        yield from found.values()
        if hidden is not None:
            raise hidden

    def _paths(self) -> Iterable[Path]:
        path = Path(self.name)
        if status := _status(path):
            return path.rglob("*") if stat.S_ISDIR(status.st_mode) else [path]
        names = glob.glob(self.name, recursive=True)  # noqa: PTH207 - Path.glob takes no root
        return map(Path, names)


def _status(path: Path) -> os.stat_result | None:
    """Return what the system says of a file; None if it says that there is no such file.

    Raises:
        CannotRead: It does not say so.
    """
    try:
        return path.stat()
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise CannotRead(f"cannot read {path}: {error.strerror}") from error


@dataclass(frozen=True)
class FilePart:
    """A file, by its inode: a rename does not make it another one."""

    name: str
    status: os.stat_result

    overlaps = False

    @property
    def key(self) -> str:
        """Device and inode."""
        return _identity(self.status)

    def read(self, position: Position | None) -> Reading | None:
        """Return the lines behind the position, or all lines of a file that was cut or replaced."""
        looks = [self.status.st_size, self.status.st_mtime_ns]
        if position is not None and position["looks"] == looks:
            return None
        if position is not None and self._has_grown(position):
            return FileReading(self, looks, position["head"], position["offset"])
        size = min(KNOWN_BYTES, self.status.st_size)
        return FileReading(self, looks, [size, self._digest_before(size)])

    def _has_grown(self, position: Position) -> bool:
        """Tell whether what was read is still there; of gzip that is never known."""
        size, head = position["head"]
        offset = position["offset"]
        if not 0 < offset <= self.status.st_size or self._digest_before(size) != head:
            return False
        tail = position.get("tail")  # an earlier version did not keep it
        return tail is None or self._digest_before(offset) == str(tail)

    def _digest_before(self, offset: int) -> str:
        try:
            with Path(self.name).open("rb") as file:
                return _digest_before(file, offset)
        except OSError:
            return ""  # the reading says why


class FileReading:
    """The lines of a file from an offset.

    Args:
        part: The file.
        looks: Its size and time, by which a change is known.
        head: How many of its first bytes are known, and their digest.
        start: The offset.
    """

    def __init__(
        self, part: FilePart, looks: list[int], head: list[Any], start: int | None = None
    ) -> None:
        self.is_fresh = start is None
        self._looks, self._head = looks, head
        self._source = _FileSource(part, start or 0)

    @property
    def position(self) -> Position:
        """An offset only of a plain file: gzip is read anew when it has changed."""
        offset = 0 if self._source.is_packed else self._source.position
        tail = self._source.tail
        return {"looks": self._looks, "head": self._head, "offset": offset, "tail": tail}

    def batches(self) -> Iterator[list[bytes]]:
        """Yield whole lines: the rest of the last one is still to be written."""
        return self._source.whole_lines()


class _FileSource(Source):
    """A file that a look has listed.

    Attributes:
        tail: After reading, a digest of the last bytes before the position.
    """

    tail = ""

    def __init__(self, part: FilePart, start: int) -> None:
        super().__init__(part.name, start)
        self._part = part

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with super()._opened() as file:
            if _identity(os.fstat(file.fileno())) != self._part.key:
                raise Moved(f"{self.name} is another file by now")
            yield file
            self.tail = _digest_before(file, self.position)


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _digest_before(file: BinaryIO, offset: int) -> str:
    first = max(0, offset - KNOWN_BYTES)
    file.seek(first)
    return hashlib.sha256(file.read(offset - first)).hexdigest()
