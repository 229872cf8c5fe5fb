"""Finds which process below `run` owns which spool, and how it died.

Only a parent learns how its child ended, and a server's workers are not children of `run`. But the
owner of a process directory holds its lock open, so /proc names the owner. A descriptor of the
process (pidfd_open(2)) tells when it ends. The kernel tells how it ended to any process that asks
before the parent does, and since Linux 6.15 also afterwards. If all of this fails, no owner is
known, and recovery, which trusts locks alone, works as before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from logship._run.processes import exit_code_of_zombie, holders_of, name_of, open_files
from logship._run.statuses import Death
from logship._spool.directories import LOCK, STREAMS, process_directories
from logship._spool.files import READ_FILE, closing, pread_all
from logship._spool.format import STREAMS_BYTES
from logship._spool.orphans import remember, unknown_owner
from logship._spool.slots import read_streams

_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3
_INFO = struct.Struct("=QQ11Ii")
"""The first version of `struct pidfd_info` (linux/pidfd.h): what is asked for, …, exit code."""

_ATTEMPTS_MAX = 3
_PID_BYTES_MAX = 16


@dataclass(slots=True)
class _Owner:
    """A process that has a spool.

    Attributes:
        pid: Its number.
        name: Of its program.
        directory: Name of its process directory.
    """

    pid: int
    name: str
    directory: str


class DeathWatcher:
    """Watches the owners of the spools under one directory.

    Args:
        path: The directory.
        has_shipped_from: Returns whether the recoverer of `run` has found records on the spool of
            this name. The recoverer may be faster than the watcher and remove the directory.
    """

    def __init__(self, path: Path, has_shipped_from: Callable[[str], bool]) -> None:
        self._path = path
        self._has_shipped_from = has_shipped_from
        self._owners: dict[int, _Owner] = {}
        self._attempts: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._ownerless: dict[str, int] = {}
        self._unseen: list[int] = []
        # The others are for the output, and to ship what owners have left.
        self._descriptors_max = os.sysconf("SC_OPEN_MAX") // 4

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that become readable when an owner ends; empty if no owner is left."""
        return list(self._owners)

    def look(self) -> bool:
        """Find the owners of new spools; return whether there are any spools."""
        try:
            listed = process_directories(self._path)
        except OSError:  # nothing is known to be gone
            listed = list(self._attempts)
        # In this order: the recoverer ships records before it removes their directory.
        for directory in list(filter(self._has_shipped_from, self._ownerless)):
            self._unseen.append(self._ownerless[directory])
            self._found(directory)
        self._forget_all_but({*listed, *(each.directory for each in self._owners.values())})
        new = [each for each in listed if self._attempts.get(each, 0) < _ATTEMPTS_MAX]
        holders = holders_of({str(self._path / each / LOCK) for each in new})
        for directory in new:
            self._attempts[directory] = self._attempts.get(directory, 0) + 1
            self._note_owner(directory, holders.get(str(self._path / directory / LOCK)))
        return bool(listed)

    def deaths(self, ready: set[int], known: dict[int, Death]) -> list[tuple[Death, bool]]:
        """Return how owners have ended.

        Args:
            ready: Readable descriptors.
            known: The statuses that the reaper got, by process.

        Returns:
            Each death, and whether the process left records on its spool, shipped by now or not.
        """
        ended = [
            each for each, owner in self._owners.items() if each in ready or owner.pid in known
        ]
        return [self._death(each, known) for each in ended]

    def owner_of(self, directory: str) -> str:
        """Return the owner of a process directory, for a person; from any thread."""
        return self._names.get(directory) or unknown_owner(directory)

    def take_unseen(self) -> list[int]:
        """Return the dead owners that were never seen alive, and forget them; 0 if not known."""
        unseen, self._unseen = self._unseen, []
        return unseen

    def _forget_all_but(self, directories: set[str]) -> None:
        """Forget the process directories that are gone: there may be one for each process."""
        for directory in self._attempts.keys() - directories:
            del self._attempts[directory]
            self._ownerless.pop(directory, None)

    def _note_owner(self, directory: str, pid: int | None) -> None:
        """Watch the owner of a spool; where none is found, note what that means."""
        lock = self._path / directory / LOCK
        if pid is not None:
            name = name_of(pid)
            remember(self._names, directory, f"{name} (process {pid})")
        if pid is not None and len(self._owners) < self._descriptors_max:
            with contextlib.suppress(OSError, AttributeError):  # old kernels; old headers
                self._owners[os.pidfd_open(pid)] = _Owner(pid, name, directory)
                self._found(directory)
        elif is_free(lock) or str(lock) in open_files(os.getpid()):  # our recoverer has it
            self._unseen += [_owner_in(lock)] if self._has_left(directory) else []
            self._found(directory)
        else:  # too many live; or it is just ending: the kernel closes its files one by one
            self._ownerless[directory] = _owner_in(lock)

    def _found(self, directory: str) -> None:
        self._attempts[directory] = _ATTEMPTS_MAX
        self._ownerless.pop(directory, None)

    def _death(self, descriptor: int, known: dict[int, Death]) -> tuple[Death, bool]:
        owner = self._owners.pop(descriptor)
        if owner.pid in known:
            code = known[owner.pid].code
        else:
            code = exit_code_of_zombie(owner.pid)
            code = _exit_code_of(descriptor) if code is None else code
        os.close(descriptor)
        return Death(owner.pid, owner.name, code), self._has_left(owner.directory)

    def _has_left(self, directory: str) -> bool:
        # In this order: the recoverer ships records before it removes their directory.
        return _has_left(self._path / directory) or self._has_shipped_from(directory)


def is_free(lock: Path) -> bool:
    """Return whether a lock exists and is free: its owner is dead, and not recovered."""
    with contextlib.suppress(OSError), closing(os.open(lock, READ_FILE)) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _owner_in(lock: Path) -> int:
    """Return the process that made a lock; 0 if the lock does not say."""
    with contextlib.suppress(OSError, ValueError), closing(os.open(lock, READ_FILE)) as descriptor:
        return int(pread_all(descriptor, _PID_BYTES_MAX, 0))
    return 0


def _has_left(directory: Path) -> bool:
    """Return whether a dead process has left records on its spool; True in doubt.

    A process that logged nothing leaves a spool without a stream.
    """
    try:
        with closing(os.open(directory / STREAMS, READ_FILE)) as descriptor:
            data = pread_all(descriptor, STREAMS_BYTES, 0)
    except FileNotFoundError:
        return directory.exists()
    except OSError:
        return True
    found = read_streams(data, bytes.fromhex(directory.name))
    return bool(found.streams or found.damages or found.refused)


def _exit_code_of(descriptor: int) -> int | None:
    """Ask the kernel how a reaped process ended."""
    asked = _INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13))
    with contextlib.suppress(OSError):
        answer = _INFO.unpack(fcntl.ioctl(descriptor, _PIDFD_GET_INFO, asked))
        if answer[0] & _PIDFD_INFO_EXIT:
            return os.waitstatus_to_exitcode(answer[-1])
    return None
