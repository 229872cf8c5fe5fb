"""The receipt: a file that tells the caller of `run` what happened to the command's records.

Step Functions, cron and their like see an exit code and nothing else; a file can be asked for by a
script. It is the drain report with what `run` knows besides, so `logship audit --expect` reads it
like one. It is made by a rename: a reader sees all of it or none. Where it is to go to a pipe or to
`/dev/stdout`, which must not be renamed over, it is written there. Only this user can read it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logship._buffer.counters import DrainReport
from logship._recover import RecoveryReport
from logship._spool.files import closing


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of the command and its records.

    Attributes:
        command: Its words. The receipt has stars for all but the first: others may be secrets.
        report: The drain report of its output.
        recovery: The recovery report of clients in it; None if there were none.
        is_cut_off: Whether output may be missing: a process still held it when `run` stopped
            reading, or `run` met an error of its own.
    """

    command: tuple[str, ...]
    exit_code: int
    seconds: float
    report: DrainReport
    recovery: RecoveryReport | None
    is_cut_off: bool

    @property
    def is_complete(self) -> bool:
        """Whether all lines that were read, and all records found on spools, were acked."""
        recovered = self.recovery is None or self.recovery.complete
        acked = self.report.all_acked and not self.report.refused
        return acked and recovered and not self.is_cut_off

    def to_json(self) -> str:
        """Return the receipt as one JSON line."""
        fields: dict[str, Any] = json.loads(self.report.to_json())
        fields |= {
            "complete": self.is_complete,
            "command": [*self.command[:1], *("***" for _ in self.command[1:])],
            "exit_code": self.exit_code,
            "command_seconds": round(self.seconds, 3),
            "cut_off": self.is_cut_off,
            "recovery": None if self.recovery is None else self.recovery.fields,
        }
        return json.dumps(fields)


class Receipt:
    """Where a receipt goes. An older one is taken away, because it could be mistaken for it.

    The command may write where the receipt goes, and we may be root. So what it goes to is opened
    before the command starts: the stream, or the directory, where a new file takes the place of the
    name. A link is followed only where no other user can write, as in `/dev` or `/proc/self/fd`.

    Raises:
        OSError: No receipt can be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._name = path.name
        self._directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stream = self._opened_stream()
        is_file = self._stream is None
        flags = os.W_OK | os.X_OK if is_file else os.W_OK
        if not os.access(path.parent if is_file else path, flags):
            raise PermissionError(errno.EACCES, "it cannot be written")
        if is_file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._directory)

    def write(self, outcome: Outcome) -> None:
        """Write the receipt: a file whole or not at all, a stream in its place.

        Raises:
            OSError: It cannot be written.
        """
        text = f"{outcome.to_json()}\n".encode()
        if self._stream is not None:
            self._append(text, self._stream)
        else:
            self._replace(text)

    def _opened_stream(self) -> int | None:
        """Open a pipe, a device, or `/dev/stdout`: nothing to remove or replace."""
        found = os.fstat(self._directory)
        others_may_write = found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022
        flags = os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if others_may_write else 0)
        try:
            opened = os.open(self._name, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        mode = os.fstat(opened).st_mode
        is_of_system = any(self.path.is_relative_to(each) for each in ("/dev", "/proc"))
        is_file = stat.S_ISREG(mode) and not (is_of_system and self.path.is_symlink())
        if not (is_file or stat.S_ISLNK(mode)):
            return opened
        os.close(opened)
        return None

    def _append(self, text: bytes, stream: int) -> None:
        """Write to a stream without waiting: it may have no reader, and we are about to end."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with closing(os.open(f"/proc/self/fd/{stream}", flags)) as descriptor:
            if os.write(descriptor, text) < len(text):
                raise BlockingIOError(errno.EAGAIN, "its reader does not take all of it")

    def _replace(self, text: bytes) -> None:
        """Put a new file, of this user alone, in the place of the name."""
        part = f".{os.urandom(8).hex()}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(part, flags, 0o600, dir_fd=self._directory)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.rename(part, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            os.unlink(part, dir_fd=self._directory)
            raise
