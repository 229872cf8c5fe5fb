"""The ends of a process: the hook that drains when the interpreter exits, and death by a signal.

`atexit` runs hooks last in, first out. Ours is registered when `logship` is imported, so that
hooks which the application registers later still log before it.

A process that a signal ended must die *by* that signal, or its parent is told a lie. It dies in
whatever thread has seen to its records, long before the interpreter would destroy its last objects.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal

from logship.hooks import registry
from logship.hooks.late_imports import late


def at_exit() -> None:
    """Drain every client that is left."""
    for client in registry.clients():
        client.end_at_exit()


def register() -> None:
    """Register the hook; called once, when `logship` is imported.

    Twice, because a signal handler of the application may raise as the hook begins: Python then
    skips this one and calls the other, which otherwise finds nothing to do.
    """
    atexit.register(at_exit)
    atexit.register(at_exit)


def die_by(signum: int) -> None:
    """End this process by the default disposition of `signum`; from any thread.

    The kernel shields PID 1 from it, so PID 1 leaves with the status that a shell would show.
    """
    if os.getpid() != 1:
        with contextlib.suppress(Exception):
            _restore_default(signum)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
            os.kill(os.getpid(), signum)
    os._exit(128 + signum)


def _restore_default(signum: int) -> None:
    """Restore the default disposition, whatever the main thread is doing."""
    try:
        signal.signal(signum, signal.SIG_DFL)
    except ValueError:  # not the main thread; the C function behind it does not mind
        late("ctypes").pythonapi.PyOS_setsig(signum, None)
