"""The numbers of all processes of a container, living and dead, in small files that they share.

Under prefork each scrape reaches one process, and a worker that was recycled takes its counters
with it. So each process keeps a page with its numbers in a directory, locked as long as it lives.
The process that is asked sums the living pages and the sum of the dead. A page whose lock is free
is added to that sum, once, and removed.

- A page is written by its owner alone, once a second and at its end, in two copies that alternate,
  each with a checksum: a death in the middle of a write leaves the other one.
- The sum of the dead is replaced by a rename, and names the pages that it took in last: whoever
  dies between that and the removal of the pages has neither lost nor doubled anything.
- A reader takes no lock. It reads the sum before and after the pages, and once more if that has
  changed meanwhile.

Files are read and written, never mapped: to shorten a mapped file ends the process that has
it, and a metric is not worth that. Everything read is untrusted, because a volume may be shared.
See `docs/decisions/008-metrics-pages.md`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import re
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logship.errors import LogshipError
from logship.metrics.sums import (
    LAYOUT,
    SLOTS,
    Numbers,
    Total,
    buried,
    ended,
    slot,
    summed,
    zeros,
)

VERSION = 1
PAGES_MAX = 1024
"""More are not read: dead ones are folded long before, and so many processes do not live."""

_PAGE_MAGIC, _SUM_MAGIC = b"logspage", b"logs-sum"
_HEADER = struct.Struct("<8sII16s")  # magic, version, layout, id
_COPY = struct.Struct(f"<QI{len(SLOTS)}d")  # generation, flags, numbers; a CRC-32 of it follows
_CHECKSUM = struct.Struct("<I")
_COPY_BYTES = _COPY.size + _CHECKSUM.size
_PAGE_BYTES = _HEADER.size + 2 * _COPY_BYTES
_DONE = 1
_ID_BYTES = 16
_SUM_BYTES_MAX = _HEADER.size + _COPY_BYTES + (PAGES_MAX + 1) * _ID_BYTES

_VALUE_MAX = 2.0**63
_READS_MAX = 10
_STALE_SECONDS = 24 * 3600
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NAME = re.compile(r"\.?(?:page|sum|fold|endpoint)-[0-9a-f]{16}(?:-[0-9a-f]+)?(?:\.lock|\.new)?")

_ENDED_DRAINED = slot("processes_ended_total", "drained")
_ENDED_KILLED = slot("processes_ended_total", "killed")


class PagesError(LogshipError):
    """The directory of the pages cannot be used; the text names it and says why."""


def container_key() -> str:
    """Return sixteen digits that all processes of a container share.

    Processes of one network namespace are reached by the same port, so they are summed; others
    may share the volume, and must not be.
    """
    words = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/net"):
        with contextlib.suppress(OSError):
            is_link = path.endswith("net")
            words.append(os.readlink(path) if is_link else Path(path).read_text())  # noqa: PTH115
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:16]


@dataclass(slots=True)
class _Sum:
    """The sum of the dead: which version of it, and the pages that it took in last."""

    generation: int = 0
    numbers: Numbers = field(default_factory=zeros)
    taken_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """A page that was read."""

    name: str
    id: str
    numbers: Numbers
    is_done: bool
    lives: bool


class Pages:
    """The pages of one container in one directory.

    Args:
        path: The directory; made where it is missing.
        key: As of `container_key`.

    Raises:
        PagesError: It cannot be made or used.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        self.path = path
        self._key = container_key() if key is None else key
        self._opened: set[int] = set()
        self._directory = -1
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            found = os.fstat(self._directory)
        except OSError as error:
            raise PagesError(f"{path}: {error.strerror}") from error
        self._owner = found.st_uid
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022 & ~_shared(found):
            self.close()
            raise PagesError(
                f"{path}: others may write in it; give a directory of user {os.geteuid()} alone"
            )

    def close(self) -> None:
        """Close everything, in a forked child also what the parent's threads had open."""
        opened, self._opened = self._opened, set()
        for descriptor in (*opened, self._directory):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._directory = -1

    @property
    def is_there(self) -> bool:
        """Whether the directory still has a name, or was removed."""
        return os.fstat(self._directory).st_nlink > 0

    # -- the own page ------------------------------------------------------------------------------

    def begin(self) -> Page:
        """Make the page of this process, locked, and fold what is dead.

        Raises:
            OSError: It cannot be made.
        """
        self.fold()
        self._sweep()
        page_id = os.urandom(_ID_BYTES)
        name = f"page-{self._key}-{page_id.hex()}"
        begun = f".{name}.new"
        descriptor = self._open(begun, _FILE | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(descriptor, 0, _PAGE_BYTES)
            page = Page(descriptor, page_id)
            page.write(zeros(), is_done=True)
            os.rename(begun, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except BaseException:
            self._close(descriptor)
            self._unlink(begun)
            raise
        return page

    # -- the sum -----------------------------------------------------------------------------------

    def total(self) -> Total:
        """Return the numbers of all processes, living and dead, each counted once."""
        self.fold()
        for _ in range(_READS_MAX):
            before = self._read_sum()
            pages, refused = self._read_pages()
            if self._read_sum().generation == before.generation:
                break
        return _total(before, pages, refused)

    def fold(self) -> None:
        """Add the pages of the dead to their sum, and remove them; not while another does it."""
        with contextlib.suppress(OSError):
            lock = self._open(f"fold-{self._key}.lock", _FILE | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._fold()
            finally:
                self._close(lock)

    def _fold(self) -> None:
        pages, _ = self._read_pages()
        dead = [page for page in pages if not page.lives]
        if not dead:
            return
        sum_ = self._read_sum()
        fresh = [page for page in dead if page.id not in sum_.taken_in]
        if fresh:
            numbers = sum_.numbers
            for page in fresh:
                numbers = buried(numbers, _last_numbers(page))
            self._write_sum(_Sum(sum_.generation + 1, numbers, tuple(page.id for page in dead)))
        for page in dead:
            self._unlink(page.name)

    def _read_pages(self) -> tuple[list[_Found], int]:
        """Return all pages that can be understood, and how many cannot."""
        pages, refused = [], 0
        prefix = f"page-{self._key}-"
        names = sorted(name for name in self._names() if name.startswith(prefix))
        for name in names[:PAGES_MAX]:
            with contextlib.suppress(FileNotFoundError):  # folded meanwhile
                page = self._read_page(name)
                refused += page is None
                pages += [] if page is None else [page]
        return pages, refused + max(0, len(names) - PAGES_MAX)

    def _read_page(self, name: str) -> _Found | None:
        try:
            descriptor = self._open(name, _FILE)
        except FileNotFoundError:
            raise
        except OSError:
            return None
        try:
            lives = not _is_free(descriptor)  # before it is read: then the dead wrote their last
            data = self._contents(descriptor, _PAGE_BYTES)
        finally:
            self._close(descriptor)
        return None if data is None else _parsed_page(name, data, lives)

    def _contents(self, descriptor: int, bytes_max: int) -> bytes | None:
        """Return all of a regular file of the right owner, unless it is too long."""
        found = os.fstat(descriptor)
        may_be_anybodys = os.geteuid() == 0  # workers of a server gave root up, and are counted
        is_owner_right = may_be_anybodys or found.st_uid in (os.geteuid(), self._owner)
        is_ours = stat.S_ISREG(found.st_mode) and is_owner_right
        if not is_ours or found.st_size > bytes_max:
            return None
        return os.pread(descriptor, bytes_max, 0)

    def _read_sum(self) -> _Sum:
        """Return the sum of the dead; an empty one where there is none that can be understood."""
        try:
            descriptor = self._open(f"sum-{self._key}", _FILE)
        except OSError:
            return _Sum()
        try:
            data = self._contents(descriptor, _SUM_BYTES_MAX)
        finally:
            self._close(descriptor)
        return _Sum() if data is None else _parsed_sum(data)

    def _write_sum(self, sum_: _Sum) -> None:
        """Replace the sum of the dead; whole or not at all.

        Raises:
            OSError: It cannot be written; the old one stands.
        """
        begun = f".sum-{self._key}.new"
        copy = _packed(sum_.generation, 0, sum_.numbers)
        ids = b"".join(map(bytes.fromhex, sum_.taken_in))
        data = _HEADER.pack(_SUM_MAGIC, VERSION, LAYOUT, bytes(_ID_BYTES)) + copy + ids
        self._unlink(begun)
        descriptor = self._open(begun, _FILE | os.O_CREAT | os.O_EXCL)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("the volume is full")
            os.rename(
                begun, f"sum-{self._key}", src_dir_fd=self._directory, dst_dir_fd=self._directory
            )
        finally:
            self._close(descriptor)

    # -- the endpoint's owner ----------------------------------------------------------------------

    def claim_endpoint(self, port: int) -> Claim | None:
        """Become the one process that serves on `port`, or return None while another does.

        Raises:
            OSError: The lock's file cannot be made.
        """
        descriptor = self._open(f"endpoint-{self._key}-{port}.lock", _FILE | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._close(descriptor)
            return None
        return Claim(descriptor)

    # -- inside ------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove what no process reads: of other containers, unfinished, unreadable, a day old."""
        too_old = time.time() - _STALE_SECONDS
        for name in filter(_NAME.fullmatch, self._names()):
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
                is_old = found.st_mtime < too_old and not self._is_wanted(name)
                if is_old and self._is_unlocked(name):
                    self._unlink(name)

    def _is_wanted(self, name: str) -> bool:
        """Tell whether a file belongs to this container and is of use."""
        if self._key not in name or name.startswith("."):
            return False
        return not name.startswith("page-") or self._read_page(name) is not None

    def _is_unlocked(self, name: str) -> bool:
        descriptor = self._open(name, _FILE)
        try:
            return _is_free(descriptor)
        finally:
            self._close(descriptor)

    def _names(self) -> list[str]:
        return os.listdir(self._directory)  # noqa: PTH208 - a descriptor

    def _open(self, name: str, flags: int) -> int:
        descriptor = os.open(name, flags, 0o600, dir_fd=self._directory)
        self._opened.add(descriptor)
        return descriptor

    def _close(self, descriptor: int) -> None:
        if descriptor in self._opened:
            self._opened.discard(descriptor)
            os.close(descriptor)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)


class Page:
    """The page of this process.

    Args:
        descriptor: Of its file, locked; closed with the `Pages` it is one of.
        page_id: Sixteen bytes.
    """

    def __init__(self, descriptor: int, page_id: bytes) -> None:
        self._descriptor = descriptor
        self._generation = 0
        os.pwrite(descriptor, _HEADER.pack(_PAGE_MAGIC, VERSION, LAYOUT, page_id), 0)

    def write(self, numbers: Numbers, *, is_done: bool) -> None:
        """Write the numbers over the older of the two copies.

        Args:
            numbers: Of this process.
            is_done: Whether nothing would be lost if it were killed now.

        Raises:
            OSError: It cannot be written.
        """
        self._generation += 1
        offset = _HEADER.size + (self._generation % 2) * _COPY_BYTES
        copy = _packed(self._generation, _DONE if is_done else 0, numbers)
        os.pwrite(self._descriptor, copy, offset)

    @property
    def is_there(self) -> bool:
        """Whether the file still has a name, or was removed."""
        return os.fstat(self._descriptor).st_nlink > 0


class Claim:
    """The right to serve on a port, and the number of the port that was served on last.

    Args:
        descriptor: Of the lock's file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @property
    def last_port(self) -> int:
        """The port that an owner before this one had, or 0."""
        text = os.pread(self.descriptor, 8, 0).strip()
        return int(text) if text.isdigit() and int(text) <= 65535 else 0

    def note_port(self, port: int) -> None:
        """Note the port for the process that comes next."""
        with contextlib.suppress(OSError):
            os.pwrite(self.descriptor, f"{port:<8}".encode(), 0)


def _shared(found: os.stat_result) -> int:
    """Return the permissions that do no harm: in a directory with the sticky bit, all."""
    return 0o022 if found.st_mode & stat.S_ISVTX else 0


def _is_free(descriptor: int) -> bool:
    """Tell whether no process holds an exclusive lock on the file.

    By a shared lock: two readers that ask at the same time must not take each other for the owner.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _packed(generation: int, flags: int, numbers: Numbers) -> bytes:
    data = _COPY.pack(generation, flags, *numbers)
    return data + _CHECKSUM.pack(zlib.crc32(data))


def _unpacked(data: bytes, offset: int) -> tuple[int, int, Numbers] | None:
    """Return generation, flags and numbers; None where they are torn or cannot be true."""
    copy = data[offset : offset + _COPY.size]
    checksum = data[offset + _COPY.size : offset + _COPY_BYTES]
    if len(checksum) < _CHECKSUM.size or _CHECKSUM.pack(zlib.crc32(copy)) != checksum:
        return None
    generation, flags, *numbers = _COPY.unpack(copy)
    if not all(math.isfinite(number) and 0 <= number < _VALUE_MAX for number in numbers):
        return None
    return generation, flags, numbers


def _is_ours(data: bytes, magic: bytes) -> bool:
    if len(data) < _HEADER.size:
        return False
    found, version, layout, _ = _HEADER.unpack_from(data)
    return bool((found, version, layout) == (magic, VERSION, LAYOUT))


def _parsed_page(name: str, data: bytes, lives: bool) -> _Found | None:
    if not _is_ours(data, _PAGE_MAGIC):
        return None
    offsets = (_HEADER.size, _HEADER.size + _COPY_BYTES)
    copies = [copy for copy in (_unpacked(data, offset) for offset in offsets) if copy]
    if not copies:
        return None
    _, flags, numbers = max(copies)
    page_id = _HEADER.unpack_from(data)[3].hex()
    return _Found(name, page_id, numbers, bool(flags & _DONE), lives)


def _parsed_sum(data: bytes) -> _Sum:
    copy = _unpacked(data, _HEADER.size) if _is_ours(data, _SUM_MAGIC) else None
    if copy is None:
        return _Sum()
    ids = data[_HEADER.size + _COPY_BYTES :]
    return _Sum(copy[0], copy[2], tuple(_split(ids)))


def _split(ids: bytes) -> Iterator[str]:
    for offset in range(0, len(ids) - _ID_BYTES + 1, _ID_BYTES):
        yield ids[offset : offset + _ID_BYTES].hex()


def _last_numbers(page: _Found) -> Numbers:
    """Return the numbers of a dead process, with how it ended."""
    numbers = page.numbers.copy() if page.is_done else ended(page.numbers)
    numbers[_ENDED_DRAINED if page.is_done else _ENDED_KILLED] += 1
    return numbers


def _total(sum_: _Sum, pages: list[_Found], refused: int) -> Total:
    fresh = [page for page in pages if page.id not in sum_.taken_in]
    dead = sum_.numbers
    for page in fresh:
        if not page.lives:
            dead = buried(dead, _last_numbers(page))
    return Total(summed([page.numbers for page in fresh if page.lives], dead), refused)
