"""SIGTERM and SIGINT: our handler starts the clock, and calls the handler that it found.

It takes no lock, waits for nothing, drains nothing and raises nothing. Where it found the default
disposition, the program would have died at once: now it goes on until the watchdog has delivered
its records, and then dies by the signal, without an exception in its main thread. See
`docs/decisions/030-sigterm.md`.

Python's own handler for SIGINT stays where it is, because asyncio and trio look for it. The
watchdog hears of that signal from the handler in C.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from logship.hooks import exits
from logship.process.clock import Started, StopClock

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Disposition = Callable[[int, FrameType | None], Any] | int | None


class StopSignals:
    """Our handlers for the stop signals of one process.

    Args:
        clock: Started by the first of them.
        wake: Wakes the watchdog; called from the handler, so it takes no lock.
        is_watched: Whether a watchdog will end this process; else its exit hook must.
        interrupt_drain: Called from the handler where SIGINT comes during the exit hook.
        is_used: Whether this process has logged anything. One that has not dies as it would
            without us.
        interactive: Whether a person sits before it: Ctrl-C then starts no clock.

    Attributes:
        dies_by: The signal that this process must die by once its records are safe, or None.
    """

    def __init__(
        self,
        clock: StopClock,
        *,
        wake: Callable[[int], None],
        is_watched: Callable[[], bool],
        interrupt_drain: Callable[[], None],
        is_used: Callable[[], bool],
        interactive: bool,
    ) -> None:
        self.dies_by: int | None = None
        self._clock = clock
        self._wake = wake
        self._is_watched = is_watched
        self._interrupt_drain = interrupt_drain
        self._is_used = is_used
        self._interactive = interactive
        self._found: dict[int, Disposition] = {}
        self._exiting = False
        self._is_over = False
        self._handler = self._on_signal  # one bound method, so that identity can be asked

    def install(self) -> None:
        """Take over the stop signals that have a Python disposition; in the main thread.

        `SIG_IGN`, and a handler that is not Python's, are left alone; `default_int_handler` too.
        """
        for signum in STOP_SIGNALS:
            found = signal.getsignal(signum)
            if found is signal.default_int_handler:
                continue
            if found is signal.SIG_DFL or callable(found):
                self._found[signum] = found
                signal.signal(signum, self._handler)
        if callable(self._found.get(signal.SIGTERM)):
            self._watch_signals_raised_again()

    def was_replaced(self, signum: int) -> bool:
        """Tell whether another handler is in the place of ours."""
        return signum in self._found and signal.getsignal(signum) != self._handler

    def heard(self, signum: int) -> None:
        """Note a signal of which the handler in C has told; from the watchdog."""
        if signum in self._found:
            if not self.was_replaced(signum):
                self._came(signum)
        elif signum == signal.SIGINT and _is_pythons_own(signal.getsignal(signum)):
            self._came(signum)

    def let_main_thread_die(self, signum: int) -> None:
        """Have the main thread end this process, wherever it is; nothing is left to be done.

        Only that thread restores the default disposition without an import, and it may hang.
        """
        main = threading.main_thread().ident
        if main is not None and not self.was_replaced(signum):
            self._is_over = True
            signal.pthread_kill(main, signum)

    def forget(self) -> None:
        """In a forked child: what happened to the parent did not happen here."""
        self._clock.started = None
        self.dies_by = None
        self._is_over = False

    def exit_begins(self) -> None:
        """Let nothing be raised in the exit hook; in the main thread, which runs it."""
        self._exiting = True
        with contextlib.suppress(ValueError):
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._on_interrupt)

    def exit_ends(self) -> None:
        """Give back what was taken: from now on a deadly signal ends this process at once."""
        self._is_over = True
        with contextlib.suppress(ValueError):
            if signal.getsignal(signal.SIGINT) == self._on_interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            for signum, found in self._found.items():
                # Not as PID 1, which the kernel shields from it; our handler ends that one.
                if found is signal.SIG_DFL and not self.was_replaced(signum) and os.getpid() != 1:
                    signal.signal(signum, signal.SIG_DFL)
        self._exiting = False

    # -- the handlers ------------------------------------------------------------------------------

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        found = self._found[signum]
        if found is signal.SIG_DFL and (self._is_over or not self._is_used()):
            exits.die_by(signum)
        self._came(signum)
        self._wake(signum)
        if callable(found):
            try:
                found(signum, frame)
            except BaseException:
                if not self._exiting:  # there Python would ignore it, and it would end the drain
                    raise
        elif not self._is_watched() and not self._exiting:
            raise SystemExit(128 + signum)

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self._interrupt_drain()

    def _came(self, signum: int) -> None:
        is_deadly = self._found.get(signum) is signal.SIG_DFL
        if is_deadly or signum != signal.SIGINT or not self._interactive:
            self._clock.start(Started(time.monotonic(), signal.Signals(signum).name))
        if is_deadly and self.dies_by is None:
            self.dies_by = signum

    def _watch_signals_raised_again(self) -> None:
        """Notice when the owner of SIGTERM before us means to die by it.

        A uvicorn worker imports the application, and so installs us, when it has its handlers
        already. After its shutdown it restores what it had found, the default, and raises the
        signal once more: the kernel would end the process on the spot, with what is in the buffer.
        """
        raise_signal = signal.raise_signal

        @functools.wraps(raise_signal)
        def raise_again(signum: int, /) -> None:
            here = threading.current_thread() is threading.main_thread()  # only it sets handlers
            if here and self.was_replaced(signum) and signal.getsignal(signum) is signal.SIG_DFL:
                self._found[signum] = signal.SIG_DFL
                signal.signal(signum, self._handler)
            raise_signal(signum)

        signal.raise_signal = raise_again


def _is_pythons_own(handler: Disposition) -> bool:
    """Tell whether this SIGINT handler is the one of Python or of `asyncio.run`."""
    function = getattr(handler, "func", handler)
    is_asyncios = getattr(function, "__module__", None) == "asyncio.runners"
    return handler is signal.default_int_handler or is_asyncios
