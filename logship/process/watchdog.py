"""The thread that owns the stop deadline: whatever the main thread does, the rest gets out.

After a stop signal the application may hang in a `finally`, in a join, in a C call, or swallow
the exit. This thread is woken by the signal itself, lets the application log for as long as there
is time, and when the deadline's reserve begins it closes intake, delivers, reports and spills.
At the deadline it ends the process, where the default disposition was found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from logship.background import BackgroundClient
from logship.drain import DrainPlan
from logship.process import exits
from logship.process.clock import Started, StopClock
from logship.process.signals import LOOP_PATIENCE_SECONDS, StopSignals
from logship.threads import OwnThread

_CHECK_SECONDS = 1.0
_REDELIVER_SECONDS = 0.002
_INTERRUPTED_SECONDS = 2.0


class Watchdog:
    """The deadline's owner.

    Args:
        client: Whose records must get out.
        clock: The stop clock.
        check: Called about once a second, from the watchdog's thread.
    """

    def __init__(
        self, client: BackgroundClient, clock: StopClock, check: Callable[[], None]
    ) -> None:
        self.signals: StopSignals | None = None
        self._client = client
        self._clock = clock
        self._check = check
        self._interrupted_again = False
        self._read_descriptor = self._write_descriptor = -1
        self._open_pipe()

    def start(self) -> None:
        """Start the thread; in a forked child, start it anew."""
        self._interrupted_again = False
        if self._write_descriptor < 0:
            self._open_pipe()
        thread = OwnThread(self._run, "watchdog")
        with contextlib.suppress(
            RuntimeError
        ):  # at interpreter exit: the exit hook is all there is
            thread.start()
        if self.signals is not None and threading.current_thread() is threading.main_thread():
            self._listen_for_signals()

    def after_fork_in_child(self) -> None:
        """Let go of the parent's pipe: what a child gets must not wake its parent."""
        if threading.current_thread() is threading.main_thread():
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._write_descriptor):
                signal.set_wakeup_fd(current)
        if self._write_descriptor >= 0:  # else this child's parent was one that had logged nothing
            os.close(self._read_descriptor)
            os.close(self._write_descriptor)
        self._read_descriptor = self._write_descriptor = -1

    def _listen_for_signals(self) -> None:
        """Be woken by the C-level handler too, where nobody else is; in the main thread.

        Python's handlers run between bytecodes, so not while the main thread is in a C call.
        """
        current = signal.set_wakeup_fd(-1)
        if current == -1:
            signal.set_wakeup_fd(self._write_descriptor, warn_on_full_buffer=False)
        else:
            signal.set_wakeup_fd(current)

    def wake(self, signum: int) -> None:
        """Wake the thread; from a signal handler."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: a child that has none
            os.write(self._write_descriptor, bytes([signum]))

    def second_interrupt(self) -> None:
        """Somebody pressed Ctrl-C twice: report, spill and leave."""
        self._interrupted_again = True
        self.wake(signal.SIGINT)

    def _open_pipe(self) -> None:
        self._read_descriptor, self._write_descriptor = os.pipe()
        os.set_blocking(self._read_descriptor, False)
        os.set_blocking(self._write_descriptor, False)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._clock.started is None and not self._interrupted_again:
            self._wait(_CHECK_SECONDS)
            self._check()
        self._client.stop_lingering()
        self._let_it_log()
        self._drain()
        self._wait_for_deadline()
        self._end()

    def _wait(self, seconds: float) -> None:
        """Wait to be woken; start the clock where only the C-level handler could say so."""
        signals = self.signals
        if signals is not None and (owed := signals.owed) is not None:
            signals.redeliver(owed)
            seconds = min(seconds, _REDELIVER_SECONDS)
        elif signals is not None and signals.asks_a_loop:
            seconds = min(seconds, LOOP_PATIENCE_SECONDS)
        select.select([self._read_descriptor], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            for signum in os.read(self._read_descriptor, 4096):
                self._note(signum)

    def _note(self, signum: int) -> None:
        signals = self.signals
        if signals is not None and signals.owns(signum) and signals.starts_clock(signum):
            self._clock.start(signals.started_by(signum))

    def _let_it_log(self) -> None:
        """Let the application log for as long as what it logs can still be written to stderr."""
        started, client = self._clock.started, self._client.client
        ahead = client.spill_ahead(started.reason if started is not None else "")
        while not self._interrupted_again and not self._client.intake_closed:
            started, deadline = self._clock.started, self._clock.deadline_seconds
            if started is None or deadline is None:
                return
            wait_seconds = ahead.step(DrainPlan.until(started.at_seconds, deadline))
            if wait_seconds is None:
                return
            self._wait(wait_seconds)

    def _drain(self) -> None:
        now = time.monotonic()
        if self._interrupted_again:
            self._client.drain(DrainPlan.until(now, now + _INTERRUPTED_SECONDS), "SIGINT twice")
            return
        started, deadline = self._clock.started, self._clock.deadline_seconds
        assert started is not None
        assert deadline is not None
        self._client.drain(DrainPlan.until(now, deadline, ends_process=True), started.reason)

    def _wait_for_deadline(self) -> None:
        """Let the application end by itself, if it can."""
        deadline = self._clock.deadline_seconds
        while deadline is not None and not self._interrupted_again:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._wait(min(left, _CHECK_SECONDS))

    def _end(self) -> None:
        """End the process, where that is ours to do."""
        if self._interrupted_again:
            os._exit(128 + signal.SIGINT)
        started: Started | None = self._clock.started
        if started is not None and started.forces:
            exits.die_by_signal_now(started.signum)
