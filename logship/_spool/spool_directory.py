"""The directory of a spool, which holds the process directories: `spool_dir`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from logship._spool.files import OPEN_DIRECTORY
from logship.errors import LogshipError


class SpoolError(LogshipError):
    """A spool's directory or volume cannot be used; the text says why."""


def make_spool_directory(path: Path) -> bool:
    """Make the directory that holds the process directories, if nothing has its name.

    Its parent is not made: where that is missing, a volume may not be mounted. Only the owner may
    enter a directory that is made here.

    Returns:
        Whether it was made.

    Raises:
        SpoolError: It cannot be made.
    """
    if os.path.lexists(path):
        return False
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:  # another process was faster
        return False
    except OSError as error:
        raise SpoolError(
            f"{path}: it is missing and cannot be made: {error.strerror}; make {path.parent} a "
            f"directory that user {os.geteuid()} can write, or make {path} for that user"
        ) from error
    return True


def open_spool_directory(path: Path, *, any_owner: bool = False) -> int:
    """Return a descriptor of the directory that holds the process directories.

    Args:
        path: The directory; no symbolic link.
        any_owner: Whether another user may own it, where we are root: for recovery alone.

    Raises:
        SpoolError: It is not there, is not a directory, or belongs to another user.
    """
    try:
        descriptor = os.open(path, OPEN_DIRECTORY)
    except OSError as error:
        is_other = error.errno in (errno.ENOTDIR, errno.ELOOP)
        hint = "; it must be a directory, not a link" if is_other else ""
        raise SpoolError(f"{path}: {error.strerror}{hint}") from error
    try:
        owner = os.fstat(descriptor).st_uid
    except OSError as error:
        os.close(descriptor)
        raise SpoolError(f"{path}: {error.strerror}") from error
    user = os.geteuid()
    if owner in (0, user) or (any_owner and user == 0):
        return descriptor
    os.close(descriptor)
    wanted = f"user {user} or root" if user else "root"
    raise SpoolError(f"{path}: belongs to user {owner}, and must belong to {wanted}")
