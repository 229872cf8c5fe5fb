"""What goes wrong while one process directory is recovered: it is counted, named, and kept."""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum

from logship.spool import quarantine
from logship.spool.directories import ProcessDirectory
from logship.spool.files import FileBytes
from logship.spool.progress import RecoveryCounters
from logship.spool.quarantine import QuarantineFull

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Kept(Enum):
    """Where bytes are that should go to quarantine; the value says so of a record."""

    QUARANTINED = "is quarantined"
    ON_THE_SPOOL = "cannot be quarantined, and stays on the spool"
    NOWHERE = "is not kept"


class Trouble:
    """Counts, names and keeps what is bad in one process directory.

    Args:
        directory: The process directory.
        counters: Counters of the whole recovery.
        say: Called with the text of what a person must be told.

    Attributes:
        is_kept: Whether the directory must stay, for another recoverer or a person.
        is_unread: Whether something in it could not be read, so that its numbers are unknown.
        is_damaged: Whether something in it is damaged, so that numbers may be lost with it.
        wanted_bytes: Bytes that should have been copied to quarantine, where there was no room.
    """

    def __init__(
        self,
        directory: ProcessDirectory,
        counters: RecoveryCounters,
        say: Callable[[str], object],
    ) -> None:
        self.counters = counters
        self.is_kept = False
        self.is_unread = False
        self.is_damaged = False
        self.wanted_bytes = 0
        self._directory = directory
        self._say = say

    def say(self, text: str) -> None:
        """Tell a person of something about this directory."""
        self._say(f"{self._directory.name}: {text}")

    def blame(self, name: str, offset: int, reason: str) -> None:
        """Count and name damage in a file."""
        self.is_damaged = True
        self.counters.damaged += 1
        self._say(f"{self._directory.name}/{name} at {offset}: {reason}")

    def miss_segment(self, stream: str, numbers: str) -> None:
        """Count and name a segment that must have been there, by what is missing with it."""
        self.counters.damaged += 1
        self.say(f"a segment is missing: stream {stream}, {numbers} of which none was ever acked")

    def leave_unread(self, name: str, offset: int, error: OSError, what: str = "") -> None:
        """Name bytes that cannot be read; the directory stays, for a recoverer that can."""
        self.is_kept = self.is_unread = True
        self.blame(name, offset, f"cannot be read{what and f' ({what})'}: {error}; it is kept")

    def refuse(self, name: str, reason: str, *, is_unread: bool = False) -> None:
        """Leave a file alone, and so the directory.

        Args:
            name: Of the file.
            reason: Why.
            is_unread: Whether it cannot be read; else its format is not ours.
        """
        self.is_kept = True
        self.is_unread |= is_unread
        self.counters.refused += 1
        self.counters.unknown_version += not is_unread
        self._say(f"{self._directory.name}/{name} is left alone: {reason}")

    def fail(self, error: BaseException) -> None:
        """Name an error that no step expects; the directory stays, for another recoverer."""
        self.counters.refused += 1
        self.keep_all(f"{type(error).__name__}: {error}; it is kept")

    def keep_all(self, text: str) -> None:
        """Name what could not be done; the directory stays as it is."""
        self.is_kept = True
        self.say(text)

    def keep_part(self, name: str, data: FileBytes, first: int, last: int) -> Kept:
        """Copy a part of a file to quarantine, without the zeros at its end."""
        try:
            last = data.end_of_content(first, last)
            if last - first > quarantine.QUARANTINE_BYTES_MAX:
                return self._keep_nowhere(quarantine.full(name, last - first))
            kept = data[first:last]
            data.raise_if_unreadable()
        except OSError as error:
            return self._keep_on_the_spool(name, error)
        return self.keep(name, kept)

    def keep(self, name: str, data: bytes) -> Kept:
        """Copy bytes to quarantine, if there is room; where that fails, the directory stays."""
        if not data:
            return Kept.QUARANTINED
        try:
            self._directory.keep(name, data)
        except QuarantineFull as full:
            return self._keep_nowhere(full)
        except OSError as error:
            self.wanted_bytes += len(data) if error.errno in _NO_ROOM else 0
            return self._keep_on_the_spool(name, error)
        return Kept.QUARANTINED

    def _keep_on_the_spool(self, name: str, error: OSError) -> Kept:
        self.keep_all(f"{name} cannot be quarantined: {error}; it stays where it is")
        return Kept.ON_THE_SPOOL

    def _keep_nowhere(self, full: QuarantineFull) -> Kept:
        self.counters.unkept += 1
        self._say(str(full))
        return Kept.NOWHERE
