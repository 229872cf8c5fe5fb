"""Where the receiver's lines go: a file that only grows, or standard output.

`write` returns when the operating system has every byte, and raises otherwise: what follows it
is an acknowledgement.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from logship.errors import LogshipError


class OutputError(LogshipError):
    """The output took not all of the bytes; the text names it and says why."""


class OutputGone(OutputError):  # noqa: N818 - a state: the reader of the output is gone
    """The reader of the output has gone: nothing can be written ever again."""


class LineSink:
    """Appends lines to a file descriptor.

    Args:
        descriptor: open for writing.
        name: what to call it in errors.
        torn: whether the output ends in the middle of a line, as after a kill or a full disk.
            The next write then begins a new line, so that one torn line costs no other.
    """

    def __init__(self, descriptor: int, name: str, torn: bool = False) -> None:
        self._descriptor = descriptor
        self._name = name
        self._torn = torn

    @classmethod
    def open(cls, path: Path) -> LineSink:
        """Open a file for appending, made where it is missing; what it holds is kept.

        Raises:
            OutputError: it cannot be opened for writing.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return cls(os.open(path, flags, 0o644), str(path), torn=_is_torn(path))
        except OSError as error:
            raise OutputError(f"cannot open {path} for writing: {error.strerror}") from error

    @classmethod
    def stdout(cls) -> LineSink:
        """Write to standard output."""
        return cls(sys.stdout.fileno(), "standard output")

    def write(self, lines: bytes) -> None:
        """Write whole lines; return when the operating system has all of them.

        Raises:
            OutputGone: it is a pipe without a reader.
            OutputError: it took a part or nothing, for instance because the disk is full.
        """
        if not lines:
            return
        data = memoryview(b"\n" + lines if self._torn else lines)
        try:
            while data:
                written = os.write(self._descriptor, data)
                self._torn = data[written - 1] != ord("\n")
                data = data[written:]
        except BrokenPipeError as error:
            raise OutputGone(f"nobody reads {self._name} any more") from error
        except OSError as error:
            raise OutputError(f"cannot write to {self._name}: {error.strerror}") from error


def _is_torn(path: Path) -> bool:
    """Tell whether a file ends in the middle of a line; nothing else than a file does."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
