"""The numbers of all processes of a container, living and dead, in small files that they share.

Under prefork each scrape reaches one process, and a worker that was recycled takes its counters
with it. So each process keeps a page with its numbers in a directory, and locks it as long as it
lives. The process that is scraped adds the living pages and the sum of the dead. A page whose lock
is free is added to that sum once, and removed.

- Only its owner writes a page, once a second and at its end, in two copies that alternate, each
  with a checksum. A death in the middle of a write leaves the other copy.
- The sum of the dead is replaced by a rename, and names the pages that it took in last. So a death
  between the rename and the removal of the pages neither loses nor doubles a number.
- A reader takes no lock. It reads the sum before and after the pages, and reads both again if the
  sum has changed.

Files are read and written, never mapped: a program that shortens a mapped file ends the process
that has it, and a metric is not worth that. Everything read is untrusted, because a volume may be
shared. See `docs/decisions/008-metrics-pages.md`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from pathlib import Path

from logship import _system
from logship._metrics.page_format import (
    ID_BYTES,
    PAGE_BYTES,
    PAGES_MAX,
    SUM_BYTES_MAX,
    DeadSum,
    FoundPage,
    copy_of,
    copy_offset,
    page_header,
    parsed_page,
    parsed_sum,
    sum_file,
    total_of,
    with_dead,
)
from logship._metrics.sums import LAYOUT, Numbers, Total, zeros
from logship.errors import LogshipError

if _system.IS_POSIX:
    import fcntl

_OF_THE_MOMENT = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The errors that say nothing about a file. If it were taken for missing or unreadable, counters
would fall, and a fold would replace the sum of the dead by less."""

_READS_MAX = 10
_STALE_SECONDS = 24 * 3600
_READ = os.O_RDONLY | _system.O_NOFOLLOW | _system.O_CLOEXEC | _system.O_NONBLOCK
_FILE = _READ | os.O_RDWR
_NAME = re.compile(
    r"\.?(?:page|sum|fold|endpoint)-(?P<key>[0-9a-f]{16})(?:-[0-9a-f]+)?(?:\.lock|\.new)?"
)
_FOR_SEVERAL_USERS = "processes of several users need one that belongs to root and has mode 1777"


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


class Pages:
    """The pages of one container in one directory.

    Args:
        path: The directory; made where it is missing.
        key: As of `container_key`.

    Raises:
        PagesError: It cannot be made or used, or this system has no locks for it.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        if not _system.IS_POSIX:
            raise PagesError(f"{path}: shared numbers need Linux or macOS, not {_system.NAME}")
        self.path = path
        self._key = container_key() if key is None else key
        self._sum = f"sum-{self._key}-{LAYOUT:x}"  # another version would not understand it
        self._opened: dict[int, _system.FileIdentity] = {}
        self._directory = self._own = self._claim = -1
        self._generation = 0
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            self._directory = os.open(
                path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            )
            found = os.fstat(self._directory)
            self._opened[self._directory] = found.st_dev, found.st_ino
        except OSError as error:
            advice = ""
            if isinstance(error, PermissionError):
                advice = f"; {_FOR_SEVERAL_USERS}"
            elif isinstance(error, FileNotFoundError):
                advice = "; the directory above it must exist"
            raise PagesError(f"{path}: {error.strerror}{advice}") from error
        self._owner = found.st_uid
        is_sticky = found.st_mode & stat.S_ISVTX  # then the permissions of others do no harm
        others_may_write = found.st_mode & 0o022 and not is_sticky
        if found.st_uid not in (0, os.geteuid()) or others_may_write:
            self.close()
            raise PagesError(
                f"{path}: other users may write to it; give a directory that only user "
                f"{os.geteuid()} can write to; {_FOR_SEVERAL_USERS}"
            )

    def close(self) -> None:
        """Close everything, in a forked child also what the parent's threads had open."""
        opened, self._opened = self._opened, {}
        for descriptor, identity in opened.items():
            _system.close_own(descriptor, identity)
        self._directory = self._own = self._claim = -1

    @property
    def is_there(self) -> bool:
        """Whether the directory still has a name; another program may have removed it.

        Nothing is known of it where this program has closed the descriptor.
        """
        try:
            return not self._is_open(self._directory) or os.fstat(self._directory).st_nlink > 0
        except OSError:
            return True

    # -- the own page ------------------------------------------------------------------------------

    @property
    def is_begun(self) -> bool:
        """Whether this process has a page."""
        return self._own != -1

    def write(self, numbers: Numbers, *, is_done: bool) -> None:
        """Write the numbers of this process over the older of the two copies in its page.

        The page is made where there is none, or where another program has removed its file.

        Args:
            numbers: Of this process.
            is_done: Whether nothing would be lost if it were killed now.

        Raises:
            OSError: It cannot be written, or the program has closed the descriptor.
        """
        if self.is_begun and not self._is_open(self._own):
            raise OSError(errno.EBADF, "the program has closed its descriptor")
        if not self.is_begun or not os.fstat(self._own).st_nlink:
            self._begin()
        self._generation += 1
        copy = copy_of(self._generation, numbers, is_done=is_done)
        os.pwrite(self._own, copy, copy_offset(self._generation))

    def _begin(self) -> None:
        """Make the page of this process, locked, and fold what is dead."""
        self.fold()
        self._sweep()
        page_id = os.urandom(ID_BYTES)
        name = f"page-{self._key}-{page_id.hex()}"
        begun = f".{name}.new"
        descriptor = self._open(begun, _FILE | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _system.allocate(descriptor, PAGE_BYTES)
            os.pwrite(descriptor, page_header(page_id), 0)
            os.pwrite(descriptor, copy_of(0, zeros(), is_done=True), copy_offset(0))
            os.rename(begun, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except BaseException:
            self._close(descriptor)
            self._unlink(begun)
            raise
        self._close(self._own)
        self._own, self._generation = descriptor, 0

    # -- the sum -----------------------------------------------------------------------------------

    def total(self) -> Total:
        """Return the numbers of all processes, living and dead, each counted once.

        Raises:
            OSError: They cannot be read now.
        """
        self.fold()
        return self.read()[0]

    def read(self) -> tuple[Total, list[FoundPage]]:
        """Return what `total` returns, and the pages of the living. Nothing is changed.

        Raises:
            OSError: They cannot be read now.
        """
        for _ in range(_READS_MAX):
            before = self._read_sum()
            pages, refused = self._read_pages()
            if self._read_sum().generation == before.generation:
                return total_of(before, pages, refused)
        raise OSError(errno.EAGAIN, "processes end faster than their numbers can be read")

    def fold(self) -> None:
        """Add the pages of the dead to their sum, and remove them; not while another does it."""
        with contextlib.suppress(OSError):
            lock = self._open(f"fold-{self._key}.lock", _FILE | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._fold()
                # A child that was forked meanwhile may have the descriptor, and not know of it.
                fcntl.flock(lock, fcntl.LOCK_UN)
            finally:
                self._close(lock)

    def _fold(self) -> None:
        pages, _ = self._read_pages()
        dead = [page for page in pages if not page.lives]
        if not dead:
            return
        dead_sum = self._read_sum()
        ids = tuple(page.id for page in dead)
        if not {*dead_sum.taken_in}.issuperset(ids):
            numbers = with_dead(dead_sum, dead)
            self._write_sum(DeadSum(dead_sum.generation + 1, numbers, ids))
        for page in dead:
            self._unlink(page.name)

    def _read_pages(self) -> tuple[list[FoundPage], int]:
        """Return all pages that can be understood, and how many cannot."""
        pages, refused = [], 0
        prefix = f"page-{self._key}-"
        names = sorted(name for name in self._names() if name.startswith(prefix))
        for name in names[:PAGES_MAX]:
            with contextlib.suppress(FileNotFoundError):  # folded meanwhile, or removed
                page = self._read_page(name)
                refused += page is None
                pages += [] if page is None else [page]
        return pages, refused + max(0, len(names) - PAGES_MAX)

    def _read_page(self, name: str) -> FoundPage | None:
        # Asked before it is read: if its owner is dead, that has written its last. An owner that
        # lives lets its page go only when the name is gone, and then there is nothing to read.
        lives = self._is_locked(name)
        return parsed_page(name, self._read_file(name, PAGE_BYTES), lives)

    def _read_sum(self) -> DeadSum:
        """Return the sum of the dead; an empty one where there is none that can be understood."""
        with contextlib.suppress(FileNotFoundError):
            return parsed_sum(self._read_file(self._sum, SUM_BYTES_MAX))
        return DeadSum()

    def _read_file(self, name: str, bytes_max: int) -> bytes:
        """Return all of a file.

        Nothing is returned of a file of the wrong owner, of one that is too long, or of one that is
        not regular.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read now.
        """
        try:
            descriptor = self._open(name, _READ)
        except OSError as error:
            if error.errno in (errno.ENOENT, *_OF_THE_MOMENT):
                raise
            return b""
        try:
            found = os.fstat(descriptor)
            may_be_anybodys = os.geteuid() == 0  # workers of a server gave root up, and are counted
            is_owner_right = may_be_anybodys or found.st_uid in (os.geteuid(), self._owner)
            is_readable = stat.S_ISREG(found.st_mode) and found.st_size <= bytes_max
            return os.pread(descriptor, bytes_max, 0) if is_readable and is_owner_right else b""
        finally:
            self._close(descriptor)

    def _write_sum(self, dead_sum: DeadSum) -> None:
        """Replace the sum of the dead; whole or not at all.

        Raises:
            OSError: It cannot be written; the old one stands.
        """
        begun = f".{self._sum}.new"
        data = sum_file(dead_sum)
        self._unlink(begun)
        descriptor = self._open(begun, _FILE | os.O_CREAT | os.O_EXCL)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("the volume is full")
            os.rename(begun, self._sum, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        finally:
            self._close(descriptor)

    # -- the endpoint's owner ----------------------------------------------------------------------

    @property
    def is_claimed(self) -> bool:
        """Whether this process is the one that serves."""
        return self._claim != -1

    def claim_endpoint(self, port: int) -> bool:
        """Become the one process that serves on `port`; return False while another one is.

        Raises:
            OSError: The lock's file cannot be made, or not be read.
        """
        name = f"endpoint-{self._key}-{port}.lock"
        try:
            descriptor = self._open(name, _FILE | os.O_CREAT, mode=0o644)
        except PermissionError:  # another user has made it; to lock it, reading is enough
            descriptor = self._open(name, _READ)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._close(descriptor)
            return False
        self._claim = descriptor
        with contextlib.suppress(OSError):  # another user has made it
            os.fchmod(descriptor, 0o644)  # whatever the umask is
        return True

    # -- inside ------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove files that no reader needs, a day old.

        They are unfinished, unreadable, or of a container without a living process. Files of
        another container with a living process stay: they hold its sum of the dead.
        """
        too_old = time.time() - _STALE_SECONDS
        keys = {found[0]: found["key"] for found in map(_NAME.fullmatch, self._names()) if found}
        others = {
            key for name, key in keys.items() if name.startswith("page-") and self._is_locked(name)
        } - {self._key}
        for name, key in keys.items():
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
                if found.st_mtime >= too_old or key in others or self._is_wanted(name):
                    continue
                if not self._is_locked(name):
                    self._unlink(name)

    def _is_wanted(self, name: str) -> bool:
        """Tell whether a file belongs to this container and is of use."""
        if self._key not in name or name.startswith("."):
            return False
        return not name.startswith("page-") or self._read_page(name) is not None

    def _is_locked(self, name: str) -> bool:
        """Return whether a process holds a file's lock; a doubt is a yes.

        It tries a shared lock, so that two readers at once do not take each other for the owner.

        Raises:
            OSError: The file cannot be opened now.
        """
        descriptor = -1
        try:
            descriptor = self._open(name, _READ)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno in _OF_THE_MOMENT:
                raise
            return True
        finally:
            self._close(descriptor)
        return False

    def _names(self) -> list[str]:
        # Threads that list one descriptor at once share a position, and each gets a part.
        descriptor = self._open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.listdir(descriptor)  # noqa: PTH208 - a descriptor
        finally:
            self._close(descriptor)

    def _open(self, name: str, flags: int, mode: int = 0o600) -> int:
        descriptor = os.open(name, flags, mode, dir_fd=self._directory)
        self._opened[descriptor] = _system.identity_of(descriptor)
        return descriptor

    def _is_open(self, descriptor: int) -> bool:
        """Tell whether a descriptor is still ours: the program may have closed it."""
        return self._opened.get(descriptor) == _system.identity_of(descriptor)

    def _close(self, descriptor: int) -> None:
        identity = self._opened.pop(descriptor, None)
        if identity is not None:
            _system.close_own(descriptor, identity)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)
