"""SIGTERM and SIGINT: our handler starts the clock, and does what the one before it would do.

The handler takes no lock, waits for nothing and drains nothing. What it may have to do besides is
to raise (`SystemExit` where the default disposition was found, `KeyboardInterrupt`, or whatever
the application's own handler raises), and these places are wrong for that:

- inside the buffer's critical section, where it would tear an entry in two, or in the middle of a
  client's end, which it would cut short;
- inside a `__del__`, where Python swallows it: 19 of 20 times in a program full of them;
- inside asyncio itself, which may just have taken a callback from its list: the task behind it
  would never go on, and a program that waits for its tasks would hang until the deadline.

In these the action is owed: the watchdog delivers the signal again a moment later, until it finds
the main thread in a better place. Where an event loop runs, that is asked first to raise between
two of its callbacks. See `docs/decisions/020-an-event-loop-is-asked-first.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from types import FrameType
from typing import Any

from logship.process import exits
from logship.process.clock import Started, StopClock

REDELIVERY_SECONDS = 0.05
"""A signal that comes so soon after a redelivery is the redelivery, not another one."""

LOOP_PATIENCE_SECONDS = 0.2
"""So long an event loop may take until it comes to what it was asked for. Then a callback does not
give way, and the signal is felt in there."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CRITICAL_MODULES = frozenset(
    {"logship.buffer.buffer", "logship.buffer.chunk", "logship.buffer.stream", "logship.closing"}
)

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
            if _must_not_raise_here(frame):
                self._owe(signum)
                return
        self._wake(signum)
        self._act(signum, frame, previous)

    def _may_raise(self, signum: int, previous: Disposition) -> bool:
        """Tell whether the signal's effect may be an exception; a repetition's is none."""
        if previous is signal.SIG_DFL or previous is signal.default_int_handler:
            return self._actions[signum] is not _Action.DONE and not self._exiting
        return True

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
        self._actions[signum] = _Action.OWED
        self._wake(signum)

    def _is_unused_child(self) -> bool:
        return os.getpid() != self._parent_pid and not self._is_used()

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


def _must_not_raise_here(frame: FrameType | None) -> bool:
    """Tell whether an exception raised in this frame would do harm, or come to nothing."""
    if _is_between_run_and_end_of_child(frame) or _is_inside_asyncio(frame):
        return True
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_on_unraisable"):
            return True
        if _module_of(frame) in _CRITICAL_MODULES:
            return True
        if frame.f_code.co_name == "_exit_function" and _is_multiprocessing_child():
            return True  # it would skip the finalizers that are left, ours among them
        frame = frame.f_back
    return False


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _is_inside_asyncio(frame: FrameType | None) -> bool:
    """Tell whether asyncio is at work here, and not a callback of the application's.

    Not while it waits for something to happen. And not in `asyncio.runners`: no other frame is to
    be seen where the loop itself is not written in Python.
    """
    frame = _struck(frame)
    if frame is None:
        return False
    module = _module_of(frame)
    if module == "selectors":
        return frame.f_code.co_name != "select"
    return module.startswith("asyncio.") and module != "asyncio.runners"


def _struck(frame: FrameType | None) -> FrameType | None:
    """Return the frame that the signal struck: a redelivery may interrupt our own handler."""
    struck = frame
    while frame is not None:
        if frame.f_code is _HANDLER_CODE:
            struck = frame.f_back
        frame = frame.f_back
    return struck


def _is_between_run_and_end_of_child(frame: FrameType | None) -> bool:
    """Tell whether a multiprocessing child has left its function and not yet begun to end."""
    here = frame is not None and frame.f_code.co_name == "_bootstrap"
    return here and _is_multiprocessing_child()


def _is_multiprocessing_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def die_as_owed(signals: StopSignals) -> None:
    """Arrange for this process to die by the signal in whose place we raised, if there is one."""
    signum = signals.dies_by
    if signum is not None:
        exits.die_by_signal_at_the_end(signum)
