"""The receipt: a file that tells the caller of the command what became of its records.

Step Functions, cron and their like see an exit code and nothing else; a file can be asked for by a
script. It is the drain report with what `run` knows besides, so `logship audit --expect` reads it
like one. It is made by a rename: a reader sees all of it or none. Where it is to go to a pipe or to
`/dev/stdout`, which must not be renamed over, it is written there.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logship.buffer.counters import DrainReport
from logship.recover import RecoveryReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the command and its records.

    Attributes:
        command: Its words.
        exit_code: As a shell gives it.
        seconds: How long it ran.
        report: What became of its output.
        recovery: What became of what clients in it left; None where none was in it.
        is_cut_off: Whether a process still held its output when we stopped reading.
    """

    command: tuple[str, ...]
    exit_code: int
    seconds: float
    report: DrainReport
    recovery: RecoveryReport | None
    is_cut_off: bool

    @property
    def is_complete(self) -> bool:
        """Whether all that was read, and all that was found on spools, was acked."""
        recovered = self.recovery is None or self.recovery.complete
        return self.report.all_acked and recovered and not self.is_cut_off

    def to_json(self) -> str:
        """Return the receipt as one JSON line."""
        fields: dict[str, Any] = json.loads(self.report.to_json())
        fields |= {
            "complete": self.is_complete,
            "command": self.command,
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


def prepare(path: Path) -> None:
    """Check that a receipt can be written, and take away an old one that could be mistaken.

    Raises:
        OSError: It cannot.
    """
    if _is_stream(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(f"{path} cannot be written")
        return
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path.parent} is no directory that can be written")
    path.unlink(missing_ok=True)


def write(path: Path, outcome: Outcome) -> None:
    """Write the receipt: a file whole or not at all, a stream in its place.

    Raises:
        OSError: It cannot be written.
    """
    if _is_stream(path):
        _append(path, f"{outcome.to_json()}\n".encode())
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w") as file:
            file.write(outcome.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _is_stream(path: Path) -> bool:
    """Tell whether this is a pipe, a device, or `/dev/stdout`: nothing to remove or replace."""
    if path.is_dir():
        return False
    is_of_system = any(path.absolute().is_relative_to(each) for each in ("/dev", "/proc"))
    return (path.exists() and not path.is_file()) or (path.is_symlink() and is_of_system)


def _append(path: Path, text: bytes) -> None:
    """Write to a stream without waiting: it may have no reader, and we are about to end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if os.write(descriptor, text) < len(text):
            raise BlockingIOError(errno.EAGAIN, "its reader does not take all of it")
    finally:
        os.close(descriptor)
