"""The receipt: a file that tells the caller of `run` what happened to the command's records.

Step Functions, cron and their like see an exit code and nothing else; a file can be asked for by a
script. It is the drain report with what `run` knows besides, so `logship audit --expect` reads it
like one. It is made by a rename: a reader sees all of it or none. Where it is to go to a pipe or to
`/dev/stdout`, which must not be renamed over, it is written there. Only this user can read it.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
        exit_code: As a shell gives it.
        seconds: How long it ran.
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
            "recovery": None
            if self.recovery is None
            else {
                "complete": self.recovery.complete,
                "seconds": round(self.recovery.seconds, 3),
                **dataclasses.asdict(self.recovery.counters),
            },
        }
        return json.dumps(fields)


class Receipt:
    """Where a receipt goes. An older one is taken away, because it could be mistaken for it.

    The command may write where the receipt goes, and we may be root. So the directory is opened
    before the command starts, and nothing that the command leaves there is followed or written to:
    a new file takes the place of the name. Only where no other user can write, as in `/dev` or
    `/proc/self/fd`, does a link lead to a stream.

    Args:
        path: Of the file, or of a pipe or device.

    Raises:
        OSError: No receipt can be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._name = path.name
        self._directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._no_follow = 0 if self._is_ours_alone() else os.O_NOFOLLOW
        self._is_stream = self._leads_to_stream()
        flags = os.W_OK if self._is_stream else os.W_OK | os.X_OK
        if not os.access(path if self._is_stream else path.parent, flags):
            raise PermissionError(errno.EACCES, "it cannot be written")
        if not self._is_stream:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._directory)

    def write(self, outcome: Outcome) -> None:
        """Write the receipt: a file whole or not at all, a stream in its place.

        Raises:
            OSError: It cannot be written.
        """
        text = f"{outcome.to_json()}\n".encode()
        if self._is_stream:
            self._append(text)
        else:
            self._replace(text)

    def _is_ours_alone(self) -> bool:
        """Tell whether no other user, except root, can put anything into the directory."""
        found = os.fstat(self._directory)
        return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022

    def _leads_to_stream(self) -> bool:
        """Tell whether this is a pipe, a device, or `/dev/stdout`: nothing to remove or replace."""
        try:
            itself = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            target = itself if self._no_follow else os.stat(self._name, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        is_of_system = any(self.path.is_relative_to(each) for each in ("/dev", "/proc"))
        is_link = stat.S_ISLNK(itself.st_mode)
        if is_link and self._no_follow:
            return False
        return not stat.S_ISREG(target.st_mode) or (is_link and is_of_system)

    def _append(self, text: bytes) -> None:
        """Write to a stream without waiting: it may have no reader, and we are about to end."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        opened = os.open(self._name, flags | self._no_follow, dir_fd=self._directory)
        with closing(opened) as descriptor:
            if self._no_follow and stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileExistsError(errno.EEXIST, "a file has taken the place of the pipe")
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
