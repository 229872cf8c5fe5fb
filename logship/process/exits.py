"""The end of the interpreter: the hook that drains, and the way a process dies.

`atexit` runs hooks last in, first out. Ours is registered when `logship` is imported, so that
hooks which the application registers later still log before it.

A process that was asked to stop by a signal must die *by* that signal, or its parent is told a
lie; but hooks registered before ours, and the flushing of stdout, come after our hook. So the
kill waits in an object that the interpreter destroys at its very end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
from collections.abc import Callable

from logship import living


def at_exit() -> None:
    """Drain every client that is left."""
    for client in living.clients():
        client.end_at_exit()


def register() -> None:
    """Register the hook; called once, when `logship` is imported."""
    atexit.register(at_exit)


class _LastAct:
    """Kills the process when the interpreter, at its very end, destroys this object."""

    def __init__(self, signum: int) -> None:
        # Kept on the object: at that time, modules' globals may be gone already.
        self._act: Callable[[], None] = lambda: None
        die, pid = die_by, os.getpid()
        kill, getpid, leave = os.kill, os.getpid, os._exit
        self._act = lambda: die(signum, kill, getpid, leave) if getpid() == pid else None

    def __del__(self) -> None:
        self._act()


_last_act: _LastAct | None = None


def die_by_signal_at_the_end(signum: int) -> None:
    """Have this process end by `signum` once all hooks have run; from the main thread."""
    global _last_act  # noqa: PLW0603 - a process dies once
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signum, signal.SIG_DFL)
        _last_act = _LastAct(signum)


def die_by_signal_now(signum: int) -> None:
    """End this process by `signum`; from any thread, whatever the main thread is doing.

    Python's `signal.signal` works in the main thread alone, which may hang; the C function behind
    it does not mind.
    """
    with contextlib.suppress(Exception):
        import ctypes  # noqa: PLC0415 - megabytes that only a hanging program pays for

        ctypes.pythonapi.PyOS_setsig(signum, None)
        die_by(signum, os.kill, os.getpid, os._exit)
    os._exit(128 + signum)


def die_by(
    signum: int,
    kill: Callable[[int, int], None],
    getpid: Callable[[], int],
    leave: Callable[[int], None],
) -> None:
    """Raise the signal, whose disposition is the default one; PID 1 is immune, so it leaves."""
    if getpid() != 1:
        kill(getpid(), signum)
    leave(128 + signum)
