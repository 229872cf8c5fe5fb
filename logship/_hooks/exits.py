"""The ends of a process: the hook that drains when the interpreter exits, and death by a signal.

`atexit` runs the last registered hook first. This hook is registered when `logship` is imported, so
hooks that the application registers later run before it and may still log.

A process that a signal ended must die *by* that signal; otherwise its parent gets a wrong status.
The thread that has delivered the records makes it die, before the interpreter destroys any object.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import threading
import time
from typing import Any

from logship import _system
from logship._hooks import registry
from logship._hooks.dispositions import set_handler
from logship._hooks.interruptions import is_from_outside
from logship._hooks.late_imports import late


def at_exit(*, is_child: bool = False) -> None:
    """Drain every client that is left, also if the end of another one raises.

    They end at the same time, because each may need all the time that is left. Python 3.12 starts
    no thread here. So those that have a thread begin their end there, and those that need an event
    loop share one in this thread.

    After Ctrl-C, or an exception of a signal handler, none of them waits any more. There may be no
    other call, and the process may be about to be killed. So each is ended twice: the second call
    does what is left of an interrupted one, and normally finds nothing to do.
    """
    registry.exit_began_seconds = time.monotonic()
    clients = registry.clients()
    with contextlib.ExitStack() as ends:
        for client in clients:
            end = functools.partial(_end, client, is_child)
            ends.push(end)
            ends.push(end)
        for client in clients:
            client.exit_begins(is_child=is_child)
    registry.exit_is_over = True


def _end(client: registry.Registered, is_child: bool, *raised: Any) -> None:
    """End a client; `raised` is what has interrupted the hook, as `__exit__` gets it."""
    error = raised[1]
    if error is not None and is_from_outside(error):
        client.exit_is_interrupted()
    client.end_at_exit(is_child=is_child)


def register() -> None:
    """Register the hook: when `logship` is imported, and again when a Celery worker shuts down.

    The hook is registered twice, because a signal handler of the application may raise as the hook
    begins. Python then skips that call and makes the other one. Normally the second call finds
    nothing to do.
    """
    atexit.register(at_exit)
    atexit.register(at_exit)


def die_by(signum: int) -> None:
    """End this process by the default disposition of `signum`; from any thread.

    The kernel ignores the default disposition for PID 1, so PID 1 exits with the status that a
    shell would show. So does a process for which the default action is to go on, as at SIGWINCH,
    and each process on Windows.

    The signal goes to this thread. If it went to the process, a signal that writes a core file
    would be the main thread's, and this thread could exit before that.
    """
    if _system.IS_POSIX and os.getpid() != 1:
        with contextlib.suppress(Exception):
            _restore_default(signum)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
            signal.pthread_kill(threading.get_ident(), signum)
    os._exit(128 + signum)


def _restore_default(signum: int) -> None:
    """Restore the default disposition, even if the main thread is in a long call."""
    try:
        set_handler(signum, signal.SIG_DFL)
    except ValueError:  # not the main thread; the C function works in any thread
        late("ctypes").pythonapi.PyOS_setsig(signum, None)
