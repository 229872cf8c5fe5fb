"""Where the receiver's lines go: a file that only grows, or standard output.

`write` returns when the operating system has every byte, and raises otherwise: what follows it
is an acknowledgement.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from logship import _system
from logship.errors import LogshipError

FILE_MODE = 0o640
"""Of a new file, but for the bits of the process's umask."""


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
        path: of the file, where it is one that may be moved away.
    """

    def __init__(
        self, descriptor: int, name: str, torn: bool = False, path: Path | None = None
    ) -> None:
        self._descriptor = descriptor
        self._name = name
        self._torn = torn
        self._path = path

    @classmethod
    def open(cls, path: Path) -> LineSink:
        """Open a file for appending, made where it is missing; what it holds is kept.

        Raises:
            OutputError: it cannot be opened for writing.
        """
        return cls(*_opened(path), path)

    @classmethod
    def stdout(cls) -> LineSink:
        """Write to standard output."""
        return cls(sys.stdout.fileno(), "standard output")

    def write(self, lines: bytes) -> None:
        """Write whole lines; return when the operating system has all of them.

        Where the file was removed, another one is made: what is written to a file without a name
        is lost.

        Raises:
            OutputGone: it is a pipe without a reader.
            OutputError: it took a part or nothing, for instance because the disk is full.
        """
        if not lines:
            return
        if self._path is not None and not os.fstat(self._descriptor).st_nlink:
            self.reopen()
        data = memoryview(b"\n" + lines if self._torn else lines)
        try:
            while data:
                written = os.write(self._descriptor, data)
                self._torn = data[written - 1] != ord("\n")
                data = data[written:]
        except BrokenPipeError as error:
            raise OutputGone(f"the reader of {self._name} is gone") from error
        except OSError as error:
            raise OutputError(f"cannot write to {self._name}: {error.strerror}") from error

    def reopen(self) -> None:
        """Open the file anew under its name, because the one that had it was moved away.

        Raises:
            OutputError: that is not possible; the old one is kept.
        """
        if self._path is None:
            return
        old = self._descriptor
        self._descriptor, self._name, self._torn = _opened(self._path)
        os.close(old)


def _opened(path: Path) -> tuple[int, str, bool]:
    """Open a file for appending; return its descriptor, its name, and whether it is torn."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _system.O_BINARY
    try:
        return os.open(path, flags, FILE_MODE), str(path), _is_torn(path)
    except OSError as error:
        raise OutputError(f"cannot open {path} for writing: {error.strerror}") from error


def _is_torn(path: Path) -> bool:
    """Tell whether a file ends in the middle of a line; nothing else than a file does."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
