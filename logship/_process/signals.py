"""Stop signals: logship's handler starts the clock, and calls the handler that it replaced.

It takes no lock, does not drain and does not raise. If it replaced the default disposition, the
program would have died at once without logship. Now its main thread waits in the handler until
the watchdog has delivered the records, and the process then dies by the signal. See
`docs/decisions/030-sigterm.md`, and `034-stop-signals.md` for the signals beside SIGTERM.

A handler of the program may not return. So it is not called in the middle of the buffer, where it
would keep everything from being delivered or written: the signal comes again a moment later. It is
called there only if the interrupted call does not go on, because of yet another handler.

Python's own handler for SIGINT stays in its place, because asyncio and trio look for it. The
handler in C tells the watchdog of that signal.

A program may set its handlers later, as uvicorn does for the time that it serves. So while logship
is installed, `signal.signal` and `signal.getsignal` speak of the program's handler, and logship's
stays in front of it. `docs/decisions/046-handlers-set-later.md` has the reasons.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from logship import _system
from logship._hooks import exits, fork, registry, runtimes
from logship._hooks.dispositions import (
    Disposition,
    SignalHandler,
    disposition_of,
    get_handler,
    set_handler,
)
from logship._hooks.threads import call_later
from logship._process.clock import Started, StopClock
from logship._process.self_pipe import SelfPipe
from logship._settings import Settings
from logship._signal_names import signal_name, signals_named

_UNSURE = signals_named("SIGHUP", "SIGQUIT")
"""By default a handler for one of these is left alone: it may read a configuration again, or print
stacks."""

_STOPPED_SECONDS = 1.0
"""How long the main thread is stopped before it goes on for a moment; each time twice as long."""

_MAIN_THREAD_SECONDS = 0.05
"""How long the main thread has to die by the signal. After that it counts as hanging in a C
call."""

_AGAIN_SECONDS = 0.001
_AGAIN_TIMES_MAX = 400
"""How often a signal comes again: for about half a second. A call in the buffer takes less, unless
another handler of the program has interrupted it."""


class StopSignals:
    """Our handlers for the stop signals of one process.

    Args:
        settings: These say which signals they are.
        clock: Started by the first of them.
        self_pipe: Wakes the watchdog.
        is_watched: Whether a watchdog will end this process; otherwise its exit hook must.

    Attributes:
        is_installed: Whether `install` was called, and `restore` was not.
        dies_by: The signal that this process must die by once its records are delivered, or None.
        is_interrupted: Whether SIGINT came during the exit hook, so the watchdog must report, spill
            and exit.
    """

    def __init__(
        self,
        settings: Settings,
        clock: StopClock,
        self_pipe: SelfPipe,
        is_watched: Callable[[], bool],
    ) -> None:
        self.is_installed = False
        self.dies_by: int | None = None
        self.is_interrupted = False
        self._signals = frozenset(settings.stop_signals_or_default)
        named = settings.stop_signals is not None
        self._sure = self._signals if named else self._signals - _UNSURE
        self._clock = clock
        self._self_pipe = self_pipe
        self._is_watched = is_watched
        self._has_terminal = os.isatty(0)
        self._found: dict[int, Disposition] = {}
        self._changed: set[int] = set()
        self._times_again: dict[int, int] = {}
        self._exiting = False
        self._is_over = False
        self._is_stopped = False
        self._stopped_seconds = _STOPPED_SECONDS

    def install(self) -> None:
        """Take over the stop signals that have a Python disposition.

        `SIG_IGN`, and a handler that is not Python's, are left alone; at SIGINT Python's own too.
        Only the main thread can set a handler. In another thread each signal is left alone until
        the program sets a handler for it, as uvicorn does before it raises the signal again.
        """
        self.is_installed = True
        self._found.clear()
        self._changed.clear()
        if threading.current_thread() is threading.main_thread():
            for signum in self._signals:
                self._take(signum, disposition_of(signum))
        signal.signal, signal.getsignal = self._set, self._get
        signal.set_wakeup_fd = self._self_pipe.set_wakeup_fd
        fork.hold_back(self._found)

    @property
    def must_end(self) -> bool:
        """Whether the watchdog must end this process."""
        return self.dies_by is not None or self.is_interrupted

    @property
    def has_another_owner(self) -> bool:
        """Whether another handler has replaced logship's for a signal that is sure to be a stop."""
        return any(map(self.was_replaced, self._sure))

    def was_replaced(self, signum: int) -> bool:
        """Return whether a handler replaced logship's in another way than by `signal.signal`."""
        return signum in self._found and get_handler(signum) != self._on_signal

    def heard(self, signum: int) -> None:
        """Note a signal that the handler in C has reported; from the watchdog.

        The signal may be older than the program's last change of its handler. In that case only
        logship's handler knows whether the process must die by it.
        """
        if signum in self._found:
            if not self.was_replaced(signum):
                is_default = self._found[signum] is signal.SIG_DFL
                is_deadly = is_default and signum not in self._changed
                if is_deadly and not self._is_used():
                    self.die(signum)
                self._came(signum, is_deadly=is_deadly)
        elif signum in self._sure and get_handler(signum) is signal.default_int_handler:
            self._came(signum, is_deadly=False)

    def die(self, signum: int) -> None:
        """End this process, from the watchdog's thread: there is nothing left to do.

        Only the main thread can restore the default disposition without an import. It may hang.
        """
        main = threading.main_thread().ident
        if _system.IS_POSIX and main is not None and not self.was_replaced(signum):
            self._is_over = True
            signal.pthread_kill(main, signum)
        time.sleep(_MAIN_THREAD_SECONDS)
        exits.die_by(signum)

    def forget(self) -> None:
        """In a forked child: forget the signals of the parent."""
        self._clock.started = None
        self.dies_by = None
        self.is_interrupted = self._is_over = self._is_stopped = False
        self._changed.clear()  # no signal is older than the child

    def restore(self) -> None:
        """Give the signals back to the handlers that were found; in the main thread.

        From then on `_set` does no more than `signal.signal`: `monkeypatch` may put it back.
        """
        self.is_installed = False
        for signum, found in self._found.items():
            set_handler(signum, found)

    def exit_begins(self) -> None:
        """Keep signals from ending the exit hook; in the main thread, which runs it.

        No handler may raise there. Those of uWSGI, which Python does not know, would end a worker
        that ends already, as one that has served its `--max-requests`.
        """
        self._exiting = True
        with contextlib.suppress(ValueError):
            if self.is_installed and get_handler(signal.SIGINT) is signal.default_int_handler:
                set_handler(signal.SIGINT, self._on_interrupt)
            if runtimes.is_uwsgi():
                for signum in self._signals:
                    if not callable(get_handler(signum)):
                        set_handler(signum, signal.SIG_IGN)

    def exit_ends(self) -> None:
        """Restore the replaced handlers: from now on a deadly signal ends this process at once."""
        self._is_over = True
        with contextlib.suppress(ValueError):
            if get_handler(signal.SIGINT) == self._on_interrupt:
                set_handler(signal.SIGINT, signal.default_int_handler)
            for signum, found in self._found.items():
                # Not as PID 1, for which the kernel ignores it; there logship's handler ends the
                # process.
                if found is signal.SIG_DFL and not self.was_replaced(signum) and os.getpid() != 1:
                    set_handler(signum, signal.SIG_DFL)
        self._exiting = False

    # -- in the place of Python's functions --------------------------------------------------------

    def _set(self, signalnum: int, handler: Disposition) -> Disposition:
        """Do what `signal.signal` does, and stay in front of a handler for a stop signal."""
        is_main = threading.current_thread() is threading.main_thread()  # no other may set one
        if not self.is_installed or signalnum not in self._signals or not is_main:
            return set_handler(signalnum, handler)
        self._changed.add(signalnum)
        before = self._get(signalnum)
        if not self._take(signalnum, handler):
            set_handler(signalnum, handler)
            self._found.pop(signalnum, None)
        return before

    def _get(self, signalnum: int) -> Disposition:
        """Do what `signal.getsignal` does; logship's handler is not shown."""
        current = get_handler(signalnum)
        return self._found[signalnum] if current == self._on_signal else current

    def _take(self, signum: int, disposition: Disposition) -> bool:
        """Set logship's handler in front of a disposition; return whether that was right."""
        if signum == signal.SIGINT and disposition is signal.default_int_handler:
            return False  # event loops recognise it
        is_default = disposition == signal.SIG_DFL
        if not is_default and not (callable(disposition) and signum in self._sure):
            return False
        self._found[signum] = signal.SIG_DFL if is_default else disposition
        set_handler(signum, self._on_signal)
        return True

    # -- the handlers ------------------------------------------------------------------------------

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        found = self._found[signum]
        is_deadly = found is signal.SIG_DFL and not self._is_harmless(signum)
        if is_deadly and (self._is_over or not self._is_used()):
            exits.die_by(signum)
        self._came(signum, is_deadly=is_deadly)
        self._self_pipe.wake(signum)
        if callable(found):
            self._call(found, signum, frame)
        elif is_deadly and not self._exiting:
            self._stop_main_thread(signum)

    def _is_used(self) -> bool:
        """Return whether anything must be done before the process dies.

        If it has logged nothing, and there are no children that must not be left, it dies as it
        would without logship.
        """
        is_used = any(client.used for client in registry.clients())
        return is_used or fork.is_starting_child() or bool(fork.dependent_children())

    def _is_harmless(self, signum: int) -> bool:
        """Return whether a program with the default disposition goes on after this signal.

        The kernel ignores that disposition for PID 1. Where the program has taken back a handler of
        its own, as uvicorn does before it raises the signal again, it ends by itself.
        """
        return os.getpid() == 1 and signum in self._changed

    def _call(self, handler: SignalHandler, signum: int, frame: FrameType | None) -> None:
        if self._self_pipe.is_told_alone() and self._is_too_early(signum):
            return
        try:
            handler(signum, frame)
        except BaseException:
            if not self._exiting:  # there Python would ignore it, and it would end the drain
                raise

    def _stop_main_thread(self, signum: int) -> None:
        """Keep the main thread from going on: without logship it would be dead already.

        It may hold a lock that the watchdog waits for. So it goes on for a moment each time, ever
        more rarely.
        """
        if not self._is_watched():
            raise SystemExit(128 + signum)
        if self._is_stopped or self._is_too_early(signum):
            return
        self._is_stopped = True
        try:
            time.sleep(self._stopped_seconds)
            self._stopped_seconds *= 2
        finally:
            self._is_stopped = False
            _send_again(signum)

    def _is_too_early(self, signum: int) -> bool:
        """Return whether the interrupted call must go on first; the signal then comes again."""
        times = self._times_again.get(signum, 0)
        is_busy = any(client.is_busy_here for client in registry.clients())
        is_busy = is_busy or fork.is_starting_child_here()
        is_too_early = is_busy and times < _AGAIN_TIMES_MAX and _send_again(signum)
        self._times_again[signum] = times + 1 if is_too_early else 0
        return is_too_early

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.is_interrupted = True
        self._self_pipe.wake(signum)

    def _came(self, signum: int, *, is_deadly: bool) -> None:
        # At a terminal, and in a notebook, it interrupts what runs now; the program may go on.
        is_interactive = self._has_terminal or hasattr(sys, "ps1")
        if is_deadly or signum != signal.SIGINT or not is_interactive:
            self._clock.start(Started(time.monotonic(), signal_name(signum)))
        if is_deadly and self.dies_by is None:
            self.dies_by = signum


def _send_again(signum: int) -> bool:
    """Have the main thread get a signal again in a moment; return whether that is arranged."""
    main = threading.main_thread().ident
    if not _system.IS_POSIX or main is None:
        return False
    return call_later(_AGAIN_SECONDS, functools.partial(signal.pthread_kill, main, signum))
