"""The threads of logship itself. A logging call must not wait in them.

The garbage collector runs an application's `__del__` in any thread, also in those of logship, and
it may log into a full buffer. If that call waited for space, the thread that frees space, or the
thread of the stop clock, would wait for itself.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import contextvars
import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable

from logship import _system
from logship.errors import UnsupportedRuntime

_FIRST_MAIN_THREAD = threading.main_thread()

_FAULTS = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
_BLOCKED = signal.valid_signals() - {getattr(signal, each, None) for each in _FAULTS}
"""All signals, except those that the kernel sends to the thread that made the fault: `faulthandler`
wants to see them."""


class OwnThread(threading.Thread):
    """A daemon thread of logship; a thread dump calls it `logship-` and its name."""

    def __init__(self, run: Callable[[], object], name: str) -> None:
        super().__init__(target=run, name=f"logship-{name}", daemon=True)

    def start(self) -> None:
        """Start it in an empty context.

        Since 3.14 a thread may inherit the context of its starter, and would keep a request's
        objects alive.
        """
        contextvars.Context().run(super().start)

    def run(self) -> None:
        """Run it with all signals blocked, except those of a fault in the thread itself.

        The kernel would give it a signal that the program blocks in its own threads. SIGPIPE would
        end the application when the sidecar or the reader of stderr is gone.
        """
        if _system.IS_POSIX:
            signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        super().run()

    def _delete(self) -> None:
        """Leave the list of threads, which gevent may have replaced since the start."""
        with contextlib.suppress(KeyError):
            super()._delete()  # type: ignore[misc]


def call_later(seconds: float, call: Callable[[], object]) -> bool:
    """Make a call from another thread after a while; return whether there is a thread for that.

    It is not an `OwnThread`, whose start takes a lock, which an interrupted thread may hold.
    """

    def wait_and_call() -> None:
        time.sleep(seconds)
        call()

    with contextlib.suppress(RuntimeError):  # out of threads, or at interpreter exit
        _thread.start_new_thread(wait_and_call, ())
        return True
    return False


def call_beside(call: Callable[[], None]) -> Callable[[], None]:
    """Make a call in a thread of its own; return what waits until it has returned.

    Without a thread for it, that makes the call.
    """
    thread = OwnThread(call, "end")
    try:
        thread.start()
    except RuntimeError:  # out of threads
        return call
    return thread.join


def is_own() -> bool:
    """Return whether this thread belongs to logship."""
    return isinstance(threading.current_thread(), OwnThread)


def is_alone() -> bool:
    """Return whether logship's threads are all that is left of this process.

    That is so where a thread has forked the process and has ended: no exit hook runs there.
    `threading.enumerate` would wait for a lock, and does not know all threads.
    """
    if threading.main_thread() is _FIRST_MAIN_THREAD:
        return False
    threads = [*threading._active.values()]  # type: ignore[attr-defined]
    own = {thread.ident for thread in threads if isinstance(thread, OwnThread)}
    return sys._current_frames().keys() <= own


def is_starting_one_here() -> bool:
    """Return whether this call has interrupted `threading` in its own lock, as in a thread's start.

    No other thread can start or end until the interrupted call goes on.
    """
    return bool(threading._active_limbo_lock._is_owned())  # type: ignore[attr-defined]


def may_wait_here() -> bool:
    """Return whether this thread may wait: it is neither an event loop's nor one of logship."""
    if is_own():
        return False
    in_trio_run = getattr(sys.modules.get("trio.lowlevel"), "in_trio_run", None)
    if in_trio_run is not None and in_trio_run():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def refuse_subinterpreter() -> None:
    """Refuse subinterpreters, where daemon threads abort the process at the interpreter's end.

    Raises:
        UnsupportedRuntime: This is not the process's main interpreter.
    """
    if not _is_main_interpreter():
        raise UnsupportedRuntime(
            "logship runs only in the main interpreter: a subinterpreter cannot handle signals "
            "or end while logship's threads run; log there through a queue to the main "
            "interpreter, or start the program under `logship run -- CMD …`"
        )


def _is_main_interpreter() -> bool:
    if hasattr(_thread, "_is_main_interpreter"):  # since 3.13
        return bool(_thread._is_main_interpreter())
    try:
        interpreters = importlib.import_module("_xxsubinterpreters")
    except ImportError:  # then there are no others
        return True
    return bool(interpreters.get_current() == interpreters.get_main())
