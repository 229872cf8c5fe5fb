"""Where spools live: a directory for each process life, its lock, its files, its volume.

A lock is the only proof that a process is dead: pids and host names mean nothing across
containers. So a life's directory is made under another name, locked, and only then renamed to
where others look. Everything is opened relative to the directory that holds it, without following
links, because a spool's volume is shared and what lies on it was written by others.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from logship.errors import LogshipError

LOCK = "lock"
STREAMS = "streams"
QUARANTINE = "quarantine"

SUPERVISED = "supervised"
"""A file beside a spool that `logship run` made for its command."""

SEGMENT_NAME = re.compile(r"segment-[0-9]{8,}\.spool")
LIFE_NAME = re.compile(r"[0-9a-f]{32}")
_BEGUN_NAME = re.compile(r"\.[0-9a-f]{32}\.new")

FILE_BYTES_MAX = 1 << 30
"""No file of ours is as long; a longer one is not read."""

QUARANTINE_BYTES_MAX = 16 * 1024 * 1024
QUARANTINE_FILES_MAX = 1000
"""What may lie in one spool's quarantine: enough to find out what happened, and no way for a
broken disk or a record that nobody takes to fill the volume."""

MOUNTS = Path("/proc/self/mountinfo")

_MIB = 1024 * 1024
_FLOOR_SHARE = 0.05
_FLOOR_BYTES_MIN = 16 * _MIB
_FLOOR_BYTES_MAX = 1024 * _MIB

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_TROUBLES = frozenset({errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE})
"""Of a life that cannot be opened: no sign that somebody has it, or that it is gone."""

_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "virtiofs"}
)
_COPY_ON_WRITE = frozenset({"bcachefs", "btrfs", "nilfs2", "zfs"})


class SpoolError(LogshipError):
    """A spool's directory or volume cannot be used; the text says why."""


def open_spool_directory(path: Path, *, any_owner: bool = False) -> int:
    """Return a descriptor of the directory that holds the lives.

    Args:
        path: The directory; no symbolic link.
        any_owner: Whether another user may own it, where we are root: for recovery alone.

    Raises:
        SpoolError: It is not there, is no directory, or belongs to somebody else.
    """
    try:
        descriptor = os.open(path, _DIRECTORY)
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror}; it must be a directory, no link") from error
    owner = os.fstat(descriptor).st_uid
    if owner in (0, os.geteuid()) or (any_owner and os.geteuid() == 0):
        return descriptor
    os.close(descriptor)
    raise SpoolError(f"{path}: belongs to user {owner}, not to {os.geteuid()} or root")


class QuarantineFull(Exception):  # noqa: N818 - a state that was to be expected, no error
    """There is no room in the quarantine; what was to be kept is not. The text says so."""


class Life:
    """The directory of one process life, and its lock.

    Args:
        name: 32 hexadecimal digits.
        parent: A descriptor of the spool's directory, owned by this object from now on.
        directory: A descriptor of the life's directory, owned too.
        lock: The descriptor whose open file holds the lock, owned too.
    """

    def __init__(self, name: str, parent: int, directory: int, lock: int) -> None:
        self.name = name
        self._parent = parent
        self._directory = directory
        self._lock = lock

    @property
    def id(self) -> bytes:
        """The life's sixteen bytes."""
        return bytes.fromhex(self.name)

    @classmethod
    def begin(cls, path: Path, random_bytes: Callable[[int], bytes]) -> Life:
        """Make the directory of a new life under `path`, locked.

        Raises:
            SpoolError: `path` cannot be used.
            OSError: Something cannot be made in it.
        """
        parent = open_spool_directory(path)
        name = random_bytes(16).hex()
        begun = f".{name}.new"
        directory = lock = -1
        try:
            os.mkdir(begun, 0o700, dir_fd=parent)
            directory = os.open(begun, _DIRECTORY, dir_fd=parent)
            lock = _create(LOCK, directory)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(begun, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(LOCK, dir_fd=directory)
            with contextlib.suppress(OSError):
                os.rmdir(begun, dir_fd=parent)
            _close(lock, directory, parent)
            raise
        return cls(name, parent, directory, lock)

    @classmethod
    def take_over(cls, parent: int, name: str) -> Life | None:
        """Lock the life `name`, whose process is dead if that succeeds.

        Args:
            parent: A descriptor of the spool's directory; it is duplicated.
            name: As it was listed.

        Returns:
            The life; None where its process lives, another recoverer has it, or it is gone.

        Raises:
            SpoolError: It belongs to somebody else, or the disk does not let us look.
        """
        directory = lock = -1
        try:
            directory = os.open(name, _DIRECTORY, dir_fd=parent)
            _check_owner(directory, name)
            lock = os.open(LOCK, _FILE, dir_fd=directory)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, LOCK, directory) and _is_at(directory, name, parent):
                return cls(name, os.dup(parent), directory, lock)
        except OSError as error:
            if error.errno in _TROUBLES:
                _close(lock, directory)
                raise SpoolError(f"{name}: {error}") from error
        except BaseException:
            _close(lock, directory)
            raise
        _close(lock, directory)
        return None

    def leave(self) -> None:
        """Give up the lock and everything open; the files stay. In a forked child, only there."""
        lock, directory, parent = self._lock, self._directory, self._parent
        self._lock = self._directory = self._parent = -1
        _close(lock, directory, parent)

    def remove(self) -> None:
        """Unlink everything of ours in the directory, and the directory; then leave.

        The lock goes last, so that a recoverer that waits for it finds nothing behind it.

        Raises:
            OSError: Something cannot be removed; it is left all the same.
        """
        try:
            for name in [*self.segments(), STREAMS, LOCK]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._directory)
            os.rmdir(self.name, dir_fd=self._parent)
        finally:
            self.leave()

    def is_there(self) -> bool:
        """Whether the directory is still where it was made."""
        return _is_at(self._directory, self.name, self._parent)

    def segments(self) -> list[str]:
        """Return the names of the segments, in order."""
        return sorted(filter(SEGMENT_NAME.fullmatch, os.listdir(self._directory)))  # noqa: PTH208 - a descriptor

    def allocate(self, name: str, size: int) -> int:
        """Make a file of zeros whose blocks are all there, and return its descriptor.

        Written and not only allocated, so that its pages are in memory already.

        Raises:
            OSError: The volume is full, or cannot be written.
        """
        descriptor = _create(name, self._directory)
        try:
            os.posix_fallocate(descriptor, 0, size)
            zeros = bytes(min(size, _MIB))
            for offset in range(0, size, len(zeros)):
                os.pwrite(descriptor, zeros[: size - offset], offset)
        except BaseException:
            os.close(descriptor)
            self.unlink(name)
            raise
        return descriptor

    def unlink(self, name: str) -> None:
        """Unlink a file, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def sync(self) -> None:
        """Have the names of new files, and what is in them, written to the disk.

        Raises:
            OSError: It cannot be done.
        """
        for name in [STREAMS, *self.segments()]:
            with contextlib.suppress(FileNotFoundError):  # it has been unlinked meanwhile
                descriptor = os.open(name, _FILE, dir_fd=self._directory)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
        os.fsync(self._directory)
        os.fsync(self._parent)

    def free_bytes(self) -> int:
        """Return how many bytes may be allocated without going below the volume's floor."""
        volume = os.fstatvfs(self._directory)
        floor = volume.f_blocks * volume.f_frsize * _FLOOR_SHARE
        floor = min(max(floor, _FLOOR_BYTES_MIN), _FLOOR_BYTES_MAX)
        return volume.f_bavail * volume.f_frsize - int(floor)

    def open_file(self, name: str) -> int:
        """Open a file of a dead life for reading and marking.

        Raises:
            OSError: It cannot be opened, is a link, or is no regular file of the right owner.
        """
        descriptor = os.open(name, _FILE, dir_fd=self._directory)
        found, directory = os.fstat(descriptor), os.fstat(self._directory)
        if stat.S_ISREG(found.st_mode) and found.st_uid == directory.st_uid:
            return descriptor
        os.close(descriptor)
        raise PermissionError(f"{name} is no regular file of user {directory.st_uid}")

    def read_file(self, name: str, descriptor: int) -> bytes:
        """Return all bytes of an open file.

        Raises:
            OSError: It cannot be read, or is longer than any of ours.
        """
        size = os.fstat(descriptor).st_size
        if size > FILE_BYTES_MAX:
            raise OSError(f"{name} has {size} bytes, which no file of a spool has")
        return pread_all(descriptor, size, 0)

    def read_around(self, name: str, descriptor: int) -> tuple[bytes, list[tuple[int, OSError]]]:
        """Return all bytes of an open file, and where a disk does not give them: zeros are there.

        Raises:
            OSError: Nothing of it can be read, or it is longer than any of ours.
        """
        try:
            return self.read_file(name, descriptor), []
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return _read_pages(descriptor, error)

    def keep(self, name: str, data: bytes) -> None:
        """Keep `data` under `name` in the quarantine, once.

        What is there already stays: the first that went wrong says more than the last. Recoverers
        that write at the same moment may exceed the bounds by what each of them writes.

        Raises:
            OSError: It cannot be written.
            QuarantineFull: It would exceed a bound.
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(QUARANTINE, 0o700, dir_fd=self._parent)
        quarantine = os.open(QUARANTINE, _DIRECTORY, dir_fd=self._parent)
        try:
            _check_room(name, len(data), quarantine)
            _write_once(name, data, quarantine)
        finally:
            os.close(quarantine)


def lives(parent: int) -> list[str]:
    """Return the names of all lives, in the order of their names."""
    return sorted(filter(LIFE_NAME.fullmatch, os.listdir(parent)))


def free_bytes(parent: int) -> int:
    """Return how many bytes there are on the volume for the quarantine."""
    volume = os.fstatvfs(parent)
    return volume.f_bavail * volume.f_frsize


def sweep(parent: int) -> None:
    """Remove directories of lives that died before they began."""
    for name in filter(_BEGUN_NAME.fullmatch, os.listdir(parent)):
        with contextlib.suppress(OSError, SpoolError):
            life = Life.take_over(parent, name)
            if life is not None:
                life.remove()
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=parent)  # without a lock: killed before, or about to make one


def is_supervised(path: Path) -> bool:
    """Tell whether `logship run` made this spool: then it ships what is left there, nobody else."""
    return (path.parent / SUPERVISED).exists()


def volume_warning(path: Path) -> str | None:
    """Return what a person should know of the filesystem under `path`, or None."""
    kind = filesystem_of(path)
    if kind in _NETWORK or kind.startswith("fuse"):
        return (
            f"the spool {path} is on a network filesystem ({kind}): locks and mapped files may not "
            "be what they seem there; give it a local volume"
        )
    if kind in _COPY_ON_WRITE:
        return (
            f"the spool {path} is on a copy-on-write filesystem ({kind}): if it becomes full, a "
            "write to a mapped file can end the program; keep it from becoming full"
        )
    if kind == "overlay" and not is_supervised(path):
        return (
            f"the spool {path} is in the container's own layer ({kind}), which ends with the "
            "container; mount a volume there"
        )
    return None


def filesystem_of(path: Path) -> str:
    """Return the type of the filesystem that `path` is on, or nothing where it is unknown."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        target = os.path.realpath(path)
        for mount_point, filesystem in _mounts():
            is_above = target == mount_point or target.startswith(mount_point.rstrip("/") + "/")
            if is_above and len(mount_point) >= len(best):
                best, kind = mount_point, filesystem
    return kind


def _mounts() -> Iterator[tuple[str, str]]:
    """Yield mount point and type of every mount (proc(5), /proc/self/mountinfo)."""
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        before, _, behind = line.partition(" - ")
        mount_point = before.split(" ")[4]
        for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
            mount_point = mount_point.replace(code, character)
        yield mount_point, behind.split(" ")[0]


def pread_all(descriptor: int, size: int, offset: int) -> bytes:
    """Return `size` bytes from `offset`, or fewer where the file ends before."""
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


def _read_pages(descriptor: int, error: OSError) -> tuple[bytes, list[tuple[int, OSError]]]:
    """Return what can be read of a file, page by page, and the offsets of the other pages."""
    pages: list[bytes] = []
    unreadable: list[tuple[int, OSError]] = []
    size = os.fstat(descriptor).st_size
    for offset in range(0, size, mmap.PAGESIZE):
        length = min(mmap.PAGESIZE, size - offset)
        try:
            pages.append(pread_all(descriptor, length, offset).ljust(length, b"\0"))
        except OSError as why:
            unreadable.append((offset, why))
            pages.append(bytes(length))
    if len(unreadable) == len(pages):
        raise error
    return b"".join(pages), unreadable


def _check_room(name: str, size: int, directory: int) -> None:
    """Raise `QuarantineFull` if a file of `size` bytes would exceed a bound of the quarantine.

    Whatever is in there counts, also what others put there; a file of the same name is replaced.
    """
    files, held = 1, size
    for other in os.listdir(directory):
        if other == name:
            continue
        files += 1
        with contextlib.suppress(FileNotFoundError):
            held += os.stat(other, dir_fd=directory, follow_symlinks=False).st_size
    if files > QUARANTINE_FILES_MAX or held > QUARANTINE_BYTES_MAX:
        raise QuarantineFull(
            f"{name} ({size} bytes) is not kept: the quarantine would exceed "
            f"{QUARANTINE_FILES_MAX} files or {QUARANTINE_BYTES_MAX} bytes; "
            "look into it, then empty it"
        )


def _write_once(name: str, data: bytes, directory: int) -> None:
    """Write a file that is whole or not there under its name."""
    part = f".{name}.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=directory)
    descriptor = _create(part, directory)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)


def _create(name: str, directory: int) -> int:
    return os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)


def _check_owner(directory: int, name: str) -> None:
    owner = os.fstat(directory).st_uid
    if os.geteuid() not in (0, owner):
        raise SpoolError(f"{name}: belongs to user {owner}, not to {os.geteuid()}")


def _is_at(descriptor: int, name: str, parent: int) -> bool:
    """Tell whether what is open is still what its name leads to."""
    try:
        ours = os.fstat(descriptor)
        theirs = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
