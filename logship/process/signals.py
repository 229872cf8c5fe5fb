"""SIGTERM and SIGINT: our handler starts the clock, and does what the one before it would do.

The handler takes no lock, waits for nothing and drains nothing. What it may have to do besides is
to raise: `SystemExit` where the default disposition was found, `KeyboardInterrupt`, or whatever
the application's own handler raises. Where an event loop runs, that is asked to do it between two
of its callbacks. Elsewhere it depends on the place (see `places`): in a bad one the action is owed,
and the watchdog delivers the signal again a moment later, until it finds the main thread in a
better one. See `docs/decisions/020-an-event-loop-is-asked-first.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from types import FrameType
from typing import Any

from logship.process import exits, places
from logship.process.clock import Started, StopClock

REDELIVERY_SECONDS = 0.05
"""A signal that comes so soon after a redelivery is the redelivery, not another one."""

LOOP_PATIENCE_SECONDS = 0.2
"""So long an event loop may take until it comes to what it was asked for. Then a callback does not
give way, and the signal is felt in there."""

PLACE_PATIENCE_SECONDS = 0.5
"""So long a better place is waited for. A program may hang in this one."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Disposition = Callable[[int, FrameType | None], Any] | int | None


class _Action(Enum):
    """How far a signal's own effect has come."""

    NONE = auto()
    ASKED = auto()
    OWED = auto()
    DONE = auto()


class StopSignals:
    """Our handlers for the stop signals of one process.

    Args:
        clock: Started by the first of them.
        wake: Wakes the watchdog; called from the handler, so it takes no lock.
        second_interrupt: Called from the handler at the second SIGINT.
        is_used: Whether this process has logged anything; a forked child that has not dies as
            it would without us.
        interactive: Whether a person sits before it: Ctrl-C then starts no clock.
    """

    def __init__(
        self,
        clock: StopClock,
        *,
        wake: Callable[[int], None],
        second_interrupt: Callable[[], None],
        is_used: Callable[[], bool],
        interactive: bool,
    ) -> None:
        self.clock = clock
        self._wake = wake
        self._second_interrupt = second_interrupt
        self._is_used = is_used
        self._interactive = interactive
        self._previous: dict[int, Disposition] = {}
        self._actions: dict[int, _Action] = {}
        self._raised: BaseException | None = None
        self._redelivered_at_seconds = float("-inf")
        self._asked_at_seconds = float("-inf")
        self._patient_until_seconds = float("-inf")
        self._exiting = False
        self._parent_pid = os.getpid()
        self._handler = self._on_signal  # one bound method, so that identity can be asked

    def install(self) -> None:
        """Take over the stop signals that have a Python disposition; in the main thread.

        `SIG_IGN`, and a handler that is not Python's, are left alone.
        """
        for signum in STOP_SIGNALS:
            previous = signal.getsignal(signum)
            if previous is signal.SIG_DFL or callable(previous):
                self._previous[signum] = previous
                self._actions[signum] = _Action.NONE
                signal.signal(signum, self._handler)
        self._watch_swallowed_exits()
        if callable(self._previous.get(signal.SIGTERM)):
            self._watch_signals_raised_again()

    def owns(self, signum: int) -> bool:
        """Tell whether our handler is the one that would run."""
        return signum in self._previous and signal.getsignal(signum) == self._handler

    def was_replaced(self, signum: int) -> bool:
        """Tell whether somebody put another handler in the place of ours."""
        return signum in self._previous and signal.getsignal(signum) != self._handler

    @property
    def owed(self) -> int | None:
        """The signal whose effect the main thread has yet to feel, wherever it is."""
        is_late = time.monotonic() >= self._asked_at_seconds + LOOP_PATIENCE_SECONDS
        due = {_Action.OWED, _Action.ASKED} if is_late else {_Action.OWED}
        return next((s for s, action in self._actions.items() if action in due), None)

    @property
    def asks_a_loop(self) -> bool:
        """Whether an event loop was asked to raise, and has not come to it."""
        return _Action.ASKED in self._actions.values()

    @property
    def dies_by(self) -> int | None:
        """The signal that this process must die by, because our handler took its place."""
        took = self._actions.get(signal.SIGTERM, _Action.NONE) is not _Action.NONE
        if took and self._previous[signal.SIGTERM] is signal.SIG_DFL:
            return signal.SIGTERM
        return None

    def forget(self) -> None:
        """In a forked child: what happened to the parent did not happen here."""
        self.clock.started = None
        self._raised = None
        self._actions = dict.fromkeys(self._actions, _Action.NONE)

    def exit_begins(self) -> None:
        """From now on the exit hook runs: nothing may be raised in it any more."""
        self._exiting = True

    def redeliver(self, signum: int) -> None:
        """Send the main thread the signal once more; from the watchdog."""
        main = threading.main_thread().ident
        self._redelivered_at_seconds = time.monotonic()
        if main is not None:
            with contextlib.suppress(OSError):
                signal.pthread_kill(main, signum)

    def started_by(self, signum: int) -> Started:
        """Return the clock that this signal starts."""
        forces = self._previous.get(signum) in (signal.SIG_DFL, signal.default_int_handler)
        return Started(time.monotonic(), signal.Signals(signum).name, signum, forces)

    def starts_clock(self, signum: int) -> bool:
        """Tell whether the signal starts the clock."""
        return signum != signal.SIGINT or not self._interactive

    # -- the handler -------------------------------------------------------------------------------

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        previous = self._previous[signum]
        if self._is_unused_child() and previous is signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        if self.starts_clock(signum):
            self.clock.start(self.started_by(signum))
        if self._may_raise(signum, previous):
            if self._is_left_to_loop(signum, previous):
                self._wake(signum)
                return
            if self._is_bad_place(signum, frame):
                self._owe(signum)
                return
        self._wake(signum)
        self._act(signum, frame, previous)

    def _may_raise(self, signum: int, previous: Disposition) -> bool:
        """Tell whether the signal's effect may be an exception; a repetition's is none."""
        if previous is signal.SIG_DFL or previous is signal.default_int_handler:
            return self._actions[signum] is not _Action.DONE and not self._exiting
        return True

    def _is_bad_place(self, signum: int, frame: FrameType | None) -> bool:
        if places.forbids(frame):
            return True
        has_waited = self._actions[signum] is _Action.OWED
        if has_waited and time.monotonic() >= self._patient_until_seconds:
            return False
        return places.is_delicate(places.struck(frame, _HANDLER_CODE))

    def _is_left_to_loop(self, signum: int, previous: Disposition) -> bool:
        """Ask the loop that runs in this thread, if there is one; once, and not for others."""
        action = self._actions[signum]
        if action is _Action.ASKED:
            return not self._is_redelivery()
        if action is not _Action.NONE:
            return False
        if previous is not signal.SIG_DFL and previous is not signal.default_int_handler:
            return False
        try:
            asyncio.get_running_loop().call_soon_threadsafe(self._act_on_loop, signum)
        except RuntimeError:  # none runs, or it is closed
            return False
        self._actions[signum] = _Action.ASKED
        self._asked_at_seconds = time.monotonic()
        return True

    def _act_on_loop(self, signum: int) -> None:
        """Do what the loop was asked for, unless it took too long or this is a forked child."""
        if self._actions[signum] is _Action.ASKED:
            self._act(signum, None, self._previous[signum])

    def _act(self, signum: int, frame: FrameType | None, previous: Disposition) -> None:
        repeated = self._actions[signum] is _Action.DONE
        self._actions[signum] = _Action.DONE
        if previous is signal.SIG_DFL:
            if not repeated:
                self._raise(SystemExit(128 + signum))
        elif previous is signal.default_int_handler:
            self._interrupt(repeated)
        elif callable(previous) and not (repeated and self._is_redelivery()):
            previous(signum, frame)

    def _interrupt(self, repeated: bool) -> None:
        """Do what Ctrl-C does: the first one interrupts, the next one does not wait for more."""
        if repeated and self._is_redelivery():
            return
        if repeated or self._exiting:
            self._second_interrupt()
        else:
            self._raise(KeyboardInterrupt())

    def _raise(self, error: BaseException) -> None:
        self._raised = error
        if not self._exiting:
            raise error

    def _is_redelivery(self) -> bool:
        return time.monotonic() < self._redelivered_at_seconds + REDELIVERY_SECONDS

    def _owe(self, signum: int) -> None:
        if self._actions[signum] is not _Action.OWED:
            self._patient_until_seconds = time.monotonic() + PLACE_PATIENCE_SECONDS
        self._actions[signum] = _Action.OWED
        self._wake(signum)

    def _is_unused_child(self) -> bool:
        return os.getpid() != self._parent_pid and not self._is_used()

    def _watch_signals_raised_again(self) -> None:
        """Notice when the one who had SIGTERM before us means to die by it.

        A uvicorn worker imports the application, and so installs us, when it has its handlers
        already. After its shutdown it restores what it had found, the default, and raises the
        signal once more: the kernel would end the process on the spot, with what is in the buffer.
        """
        raise_signal = signal.raise_signal

        @functools.wraps(raise_signal)
        def raise_again(signum: int, /) -> None:
            here = threading.current_thread() is threading.main_thread()  # who alone sets handlers
            if here and self.was_replaced(signum) and signal.getsignal(signum) is signal.SIG_DFL:
                self._previous[signum] = signal.SIG_DFL
                self._actions[signum] = _Action.NONE
                signal.signal(signum, self._handler)
            raise_signal(signum)

        signal.raise_signal = raise_again

    def _watch_swallowed_exits(self) -> None:
        """Notice when what we raised was swallowed by a destructor or callback."""
        previous_hook = sys.unraisablehook

        def _on_unraisable(unraisable: Any) -> None:
            if unraisable.exc_value is not None and unraisable.exc_value is self._raised:
                kind = unraisable.exc_type
                self._owe(signal.SIGINT if kind is KeyboardInterrupt else signal.SIGTERM)
                return
            previous_hook(unraisable)

        sys.unraisablehook = _on_unraisable


_HANDLER_CODE = StopSignals._on_signal.__code__


def die_as_owed(signals: StopSignals) -> None:
    """Arrange for this process to die by the signal in whose place we raised, if there is one."""
    signum = signals.dies_by
    if signum is not None:
        exits.die_by_signal_at_the_end(signum)
