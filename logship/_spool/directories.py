"""Process directories: one for each process that writes to a spool, with its lock and its files.

The lock is the only proof that a process is dead: pids and host names mean nothing across
containers. So a process makes its directory under another name, locks it, and only then renames it
to where others look.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import Path

from logship import _system
from logship._spool import quarantine
from logship._spool.files import (
    OPEN_DIRECTORY,
    OPEN_FILE,
    READ_FILE,
    close,
    closing,
    create,
)
from logship._spool.format import BORN_AT
from logship._spool.spool_directory import (
    SpoolError,
    make_spool_directory,
    open_spool_directory,
)

if _system.IS_POSIX:
    import fcntl

LOCK = "lock"
STREAMS = "streams"

SEGMENT_NAME = re.compile(r"segment-[0-9]{8,}\.spool")
PROCESS_DIRECTORY_NAME = re.compile(r"[0-9a-f]{32}")
_UNFINISHED_NAME = re.compile(r"\.[0-9a-f]{32}\.new")

FAILED_VOLUME = frozenset({errno.EROFS, errno.EIO})
"""The errors of a write to a volume whose disk fails, or that has become read-only."""

_MIB = 1024 * 1024
_FLOOR_SHARE = 0.05
_FLOOR_SHARE_MAX = 0.25
_FLOOR_BYTES_MIN = 16 * _MIB
_FLOOR_BYTES_MAX = 1024 * _MIB


class NotTaken(Enum):
    """Why a process directory was not taken over, where nothing is wrong with it."""

    LOCKED = auto()  # its process is alive, or another recoverer has it
    GONE = auto()  # it has been removed meanwhile


class ProcessDirectory:
    """The directory of one process on a spool, and its lock.

    Args:
        name: 32 hexadecimal digits.
        parent: A descriptor of the spool's directory, owned by this object from now on.
        directory: A descriptor of the process directory, owned too.
        lock: The descriptor whose open file holds the lock, owned too.
    """

    def __init__(self, name: str, parent: int, directory: int, lock: int) -> None:
        self.name = name
        self._parent = parent
        self._directory = directory
        self._lock = lock
        opened = (lock, directory, parent)
        self._opened = [(each, _system.identity_of(each)) for each in opened]
        self._root = _root()
        self._making: dict[int, str] = {}  # the file that each thread makes

    @property
    def is_left(self) -> bool:
        """Whether everything was closed."""
        return not self._opened

    @property
    def id(self) -> bytes:
        """The sixteen bytes of the name."""
        return bytes.fromhex(self.name)

    @classmethod
    def begin(cls, path: Path, random_bytes: Callable[[int], bytes]) -> ProcessDirectory:
        """Make a new process directory under `path`, locked. `path` itself may be missing.

        Raises:
            SpoolError: `path` cannot be used.
            OSError: Something cannot be made in it.
        """
        make_spool_directory(path)
        parent = open_spool_directory(path)
        name = random_bytes(16).hex()
        unfinished = f".{name}.new"
        directory = lock = -1
        try:
            os.mkdir(unfinished, 0o700, dir_fd=parent)
            directory = os.open(unfinished, OPEN_DIRECTORY, dir_fd=parent)
            lock = create(LOCK, directory)
            os.write(lock, b"%d\n" % os.getpid())
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(unfinished, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(LOCK, dir_fd=directory)
            with contextlib.suppress(OSError):
                os.rmdir(unfinished, dir_fd=parent)
            close(lock, directory, parent)
            raise
        return cls(name, parent, directory, lock)

    @classmethod
    def take_over(
        cls, parent: int, name: str, *, only_looks: bool = False
    ) -> ProcessDirectory | NotTaken:
        """Lock the process directory `name`. If that succeeds, its process is dead.

        Args:
            parent: A descriptor of the spool's directory; it is duplicated.
            name: The name as it was listed.
            only_looks: Whether it is opened without the lock: its process may be alive, and nothing
                may be changed.

        Raises:
            SpoolError: It cannot be locked, and that says nothing about its process: the volume
                is read-only, the lock is missing or no regular file, the directory is a link or
                belongs to another user, the disk fails.
        """
        try:
            with contextlib.ExitStack() as opened:
                directory = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
                opened.callback(close, directory)
                _check_owner(directory, name)
                lock = os.open(LOCK, OPEN_FILE, dir_fd=directory)
                opened.callback(close, lock)
                if not stat.S_ISREG(os.fstat(lock).st_mode):
                    raise SpoolError(f"{name}: its lock is not a regular file")
                if not only_looks:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_at(lock, LOCK, directory) or not _is_at(directory, name, parent):
                    raise FileNotFoundError("it was replaced while it was being locked")
                taken = cls(name, os.dup(parent), directory, lock)
                opened.pop_all()
                return taken
        except BlockingIOError:
            return NotTaken.LOCKED
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not _exists(name, parent):
                return NotTaken.GONE
            raise SpoolError(f"{name}: its lock cannot be taken: {error}") from error

    def leave(self) -> None:
        """Give up the lock and close everything; the files stay. A forked child leaves alone.

        There a call may go on that makes a file of the parent's.
        """
        if (name := self._making.get(threading.get_ident())) is not None:
            self._end_writes(name)
        opened, self._opened = self._opened, []
        self._lock = self._directory = self._parent = -1
        for descriptor, identity in opened:
            _system.close_own(descriptor, identity)

    def _end_writes(self, name: str) -> None:
        """Have each open descriptor of a file stand for the directory, which cannot be written."""
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=self._directory)
            for each in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers
                _system.replace_own(int(each), (found.st_dev, found.st_ino), by=self._directory)

    def remove(self) -> None:
        """Unlink all files of a spool in the directory, and the directory; then leave.

        Half of the files would tell less than all of them did, and a recoverer would believe them.
        So the directory first gets the name of an unfinished one: `sweep` removes what is left of
        it. The lock goes last, so that a recoverer that waits for it finds nothing behind it.

        Raises:
            OSError: Something cannot be removed; the directory is left all the same.
        """
        try:
            name_now = self.name
            if not _UNFINISHED_NAME.fullmatch(name_now):
                name_now = f".{self.name}.new"
                # Another program may have removed it, and may have made another one in its place.
                with contextlib.suppress(FileNotFoundError):
                    if self.is_there():
                        os.rename(
                            self.name, name_now, src_dir_fd=self._parent, dst_dir_fd=self._parent
                        )
            for name in [*self.segments(), STREAMS, LOCK]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._directory)
            try:
                os.rmdir(name_now, dir_fd=self._parent)
            except FileNotFoundError:
                pass  # another recoverer found it empty
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                # NFS and FUSE give an unlinked file another name while it is open.
        finally:
            self.leave()

    def is_there(self) -> bool:
        """Whether the directory is where it was made; an error is no proof that it is not."""
        try:
            return _is_at(self._directory, self.name, self._parent)
        except OSError:
            return True

    def is_under(self, path: Path) -> bool:
        """Whether this path leads to its spool: a mount may hide that; an error is no proof.

        For a process that has another root by now (chroot), the path says nothing.
        """
        try:
            return _root() != self._root or _is_at(self._parent, path)
        except OSError:
            return True

    def is_locked(self) -> bool:
        """Whether its lock keeps others out; an error is no proof that it does not."""
        try:
            return _is_at(self._lock, LOCK, self._directory)
        except OSError:
            return True

    def write_error(self) -> OSError | None:
        """Return why the volume takes no more writes, if it takes none; other errors say nothing.

        The kernel makes a volume read-only when its file system fails. Stores into mapped files go
        on then, but never reach the disk.
        """
        try:
            close(os.open(LOCK, OPEN_FILE, dir_fd=self._directory))
        except OSError as error:
            return error if error.errno in FAILED_VOLUME else None
        return None

    def is_removed(self) -> bool:
        """Whether no recoverer can find it: an error, and another name, leave that possible."""
        try:
            is_unlinked = self.is_held() and os.fstat(self._lock).st_nlink == 0
        except OSError:
            return False
        return is_unlinked and not _exists(self.name, self._parent)

    def is_held(self) -> bool:
        """Whether the lock is still ours: a program may close what it has not opened."""
        try:
            opened = self._opened
            return bool(opened) and all(_system.identity_of(each) == it for each, it in opened)
        except OSError as error:
            return error.errno != errno.EBADF

    def raise_unless_held(self) -> None:
        """Raise an error if the descriptors may be the program's own by now.

        Raises:
            OSError: They may.
        """
        if not self.is_held():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def segments(self) -> list[str]:
        """Return the names of the segments, in order; from any thread."""
        # Its own descriptor: two threads that list by one see each other's place in the list.
        with closing(os.open(".", OPEN_DIRECTORY, dir_fd=self._directory)) as listed:
            return sorted(filter(SEGMENT_NAME.fullmatch, os.listdir(listed)))  # noqa: PTH208

    def allocate(self, name: str, size: int) -> int:
        """Make a file of zeros whose blocks are all there, and return its descriptor.

        The zeros are written, not only allocated, so that the pages are in memory already.

        Raises:
            OSError: The volume is full, or cannot be written.
        """
        descriptor = create(name, self._directory)
        try:
            _system.allocate(descriptor, size)
            zeros = bytes(min(size, _MIB))
            for offset in range(0, size, len(zeros)):
                os.pwrite(descriptor, zeros[: size - offset], offset)
        except BaseException:
            os.close(descriptor)
            self.unlink(name)
            raise
        return descriptor

    @contextlib.contextmanager
    def makes(self, name: str) -> Iterator[None]:
        """Note that this thread makes a file, until it is mapped: a fork may come in between."""
        self._making[threading.get_ident()] = name
        try:
            yield
        finally:
            self._making.pop(threading.get_ident(), None)

    def unlink(self, name: str) -> None:
        """Unlink a file, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def sync(self) -> None:
        """Write the names of new files, and what is in all files, to the disk.

        Raises:
            OSError: It cannot be done.
        """
        for name in [STREAMS, *self.segments()]:
            with (
                contextlib.suppress(FileNotFoundError),  # it has been unlinked meanwhile
                closing(os.open(name, OPEN_FILE, dir_fd=self._directory)) as descriptor,
            ):
                _system.sync_data(descriptor)
        os.fsync(self._directory)
        os.fsync(self._parent)

    def free_bytes(self) -> int:
        """Return how many bytes may be allocated without going below the volume's floor."""
        volume = os.fstatvfs(self._directory)
        size = volume.f_blocks * volume.f_frsize
        floor = max(size * _FLOOR_SHARE, _FLOOR_BYTES_MIN)
        floor = min(floor, _FLOOR_BYTES_MAX, size * _FLOOR_SHARE_MAX)
        return volume.f_bavail * volume.f_frsize - int(floor)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """Open a file of a dead process for reading and marking, and close it behind the block.

        Raises:
            OSError: It cannot be opened, is a link, or is not a regular file of the right owner.
        """
        with closing(os.open(name, OPEN_FILE, dir_fd=self._directory)) as descriptor:
            found, owner = os.fstat(descriptor), os.fstat(self._directory).st_uid
            if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
                raise PermissionError(f"{name} is not a regular file of user {owner}")
            yield descriptor

    def keep(self, name: str, data: bytes) -> None:
        """Keep `data` under `name` in the spool's quarantine; see `quarantine.keep`."""
        quarantine.keep(self._parent, name, data)


def process_directories(parent: int | Path) -> list[str]:
    """Return the names of all process directories, in the order of their names."""
    names = os.listdir(parent)  # noqa: PTH208 - names, and perhaps of a descriptor
    return sorted(filter(PROCESS_DIRECTORY_NAME.fullmatch, names))


def born_ns(parent: int, name: str) -> int:
    """Return when a process began its spool; 0, and so the oldest, where that cannot be read."""
    with (
        contextlib.suppress(OSError),
        closing(os.open(name, OPEN_DIRECTORY, dir_fd=parent)) as directory,
        closing(os.open(STREAMS, READ_FILE, dir_fd=directory)) as streams,
    ):
        return int.from_bytes(os.pread(streams, 8, BORN_AT), sys.byteorder)
    return 0


def free_bytes(parent: int) -> int:
    """Return how many bytes there are on the volume for the quarantine."""
    volume = os.fstatvfs(parent)
    return volume.f_bavail * volume.f_frsize


def sweep(parent: int) -> None:
    """Remove the directories of processes that died before they had renamed them."""
    for name in filter(_UNFINISHED_NAME.fullmatch, os.listdir(parent)):
        with contextlib.suppress(OSError, SpoolError):
            directory = ProcessDirectory.take_over(parent, name)
            if isinstance(directory, ProcessDirectory):
                directory.remove()
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=parent)  # without a lock: killed before, or about to make one


def _check_owner(directory: int, name: str) -> None:
    owner = os.fstat(directory).st_uid
    if os.geteuid() not in (0, owner):
        raise SpoolError(f"{name}: belongs to user {owner}, not to {os.geteuid()}")


def _root() -> _system.FileIdentity | None:
    """Return what tells the directory that absolute paths begin at; None if that is unknown."""
    with contextlib.suppress(OSError):
        found = Path("/").stat()
        return found.st_dev, found.st_ino
    return None


def _is_at(descriptor: int, name: str | Path, parent: int | None = None) -> bool:
    """Tell whether the open file is still the one that its name leads to."""
    try:
        theirs = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _exists(name: str, parent: int) -> bool:
    """Tell whether anything has this name; an error does not prove that nothing has."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
