"""How `logship run` tells the clients inside its command when the container will be killed.

A client does not know when SIGKILL comes, and without a signal (a gunicorn worker, whose master
gets it) not even that the clock runs. So `run` writes the deadline into a file, whose path is in
the environment of all clients. The clock is the machine's monotonic one, which all processes share.
The file does not exist before a stop. It is made by a rename, so no reader sees a part of it. What
is renamed has its bytes from the start, because the disk may be full when the stop comes.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from logship._settings import STOP_FILE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

_BYTES_MAX = 64


def prepare(path: Path) -> None:
    """Take the room on the disk that `announce` needs.

    Raises:
        OSError: There is none.
    """
    part = _part_of(path)
    part.write_text(" " * _BYTES_MAX)
    part.chmod(0o644)


def announce(path: Path, deadline_seconds: float) -> None:
    """Write the deadline of the clients, monotonic seconds.

    Raises:
        OSError: The file cannot be written.
    """
    part = _part_of(path)
    with part.open("r+") as file:
        file.write(f"{deadline_seconds:.6f}\n")
    part.rename(path)


def reader(environ: Mapping[str, str]) -> Callable[[], float | None]:
    """Return a function that returns the deadline (monotonic seconds), or None without one."""
    path = environ.get(STOP_FILE_VARIABLE, "")
    return (lambda: _read(path)) if path else (lambda: None)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _read(path: str) -> float | None:
    """Return the deadline in the file, or None if the file is not valid."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            seconds = float(os.read(descriptor, _BYTES_MAX))
        finally:
            os.close(descriptor)
        return seconds if math.isfinite(seconds) else None
    return None
