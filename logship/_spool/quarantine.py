"""The quarantine of a spool: bytes that could not be read or shipped, kept for a person.

It is bounded, so that a broken disk, or a program whose records no server takes, does not fill the
volume. Nothing but a person deletes what is in it.
"""

from __future__ import annotations

import contextlib
import os

from logship._spool.files import OPEN_DIRECTORY, closing, create

QUARANTINE = "quarantine"

QUARANTINE_BYTES_MAX = 16 * 1024 * 1024
QUARANTINE_FILES_MAX = 1000
"""Bounds of one spool's quarantine: enough to find out what happened."""


class QuarantineFull(Exception):  # noqa: N818 - a state that was to be expected, no error
    """There is no room for `size` bytes under this name, so they are not kept. The text says so."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(
            f"{name} ({size} bytes) is not kept: the quarantine would exceed "
            f"{QUARANTINE_FILES_MAX} files or {QUARANTINE_BYTES_MAX} bytes; "
            "look into it, then empty it"
        )


def keep(parent: int, name: str, data: bytes) -> None:
    """Keep `data` under `name` in the quarantine; a file of this name is replaced.

    Recoverers that write at the same moment may exceed the bounds by what each of them writes.

    Args:
        parent: A descriptor of the spool's directory.
        name: Name of the file.
        data: What it is to hold.

    Raises:
        OSError: It cannot be written.
        QuarantineFull: It would exceed a bound.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(QUARANTINE, 0o700, dir_fd=parent)
    with closing(os.open(QUARANTINE, OPEN_DIRECTORY, dir_fd=parent)) as quarantine:
        _check_room(name, len(data), quarantine)
        _write_whole(name, data, quarantine)


def _check_room(name: str, size: int, directory: int) -> None:
    """Raise `QuarantineFull` if a file of `size` bytes would exceed a bound of the quarantine.

    Every file in there counts, also what others put there; a file of the same name is replaced.
    """
    files, held = 1, size
    for other in os.listdir(directory):
        if other == name:
            continue
        files += 1
        with contextlib.suppress(FileNotFoundError):
            held += os.stat(other, dir_fd=directory, follow_symlinks=False).st_size
    if files > QUARANTINE_FILES_MAX or held > QUARANTINE_BYTES_MAX:
        raise QuarantineFull(name, size)


def _write_whole(name: str, data: bytes, directory: int) -> None:
    """Write a file that is whole or not there under its name."""
    part = f".{name}.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=directory)
    with closing(create(part, directory)) as descriptor:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=directory)
            raise
