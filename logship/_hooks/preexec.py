"""Recognises a child of `subprocess` with a `preexec_fn`, which never returns to Python.

Such a child runs the hooks of a fork, then the `preexec_fn`, and then becomes another program or
calls `_exit`. So nothing delivers what its buffer holds.
"""

from __future__ import annotations

import functools
import sys
from types import FrameType

from logship import _system

if _system.IS_POSIX:
    import fcntl


def is_about_to_exec() -> bool:
    """Return whether this process is such a child, or was forked by the `preexec_fn` of one."""
    return frame_of("Popen._execute_child") is not None


def frame_of(function: str, frame: FrameType | None = None) -> FrameType | None:
    """Return the innermost frame of a function, by qualified name, that a frame comes from.

    Without a frame, that is this call.
    """
    frame = sys._getframe() if frame is None else frame
    while frame is not None and frame.f_code.co_qualname != function:
        frame = frame.f_back
    return frame


@functools.cache
def parents_stderr() -> int:
    """Return a descriptor of the parent's standard error, or -1 if that is closed.

    The first call in a child duplicates it. When the `preexec_fn` runs, 2 is the new program's own.
    """
    if sys.__stderr__ is None:
        return -1  # closed when the program began: 2 is now any file opened since
    try:
        return fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)  # 0 and 1 will be replaced as well
    except OSError:
        return -1
