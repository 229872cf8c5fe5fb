"""The thread that owns the stop deadline, and delivers records even if the main thread hangs.

After a stop signal the application may hang in a `finally`, in a join, in a C call. The signal
wakes this thread. If the application handles the signal, it may log while there is time. When the
deadline's reserve begins, this thread closes intake, delivers, reports and spills. If logship found
the default disposition, this thread does so at once, and then ends the process by the signal.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from logship._client.background import BackgroundClient
from logship._delivery.drain import DrainPlan
from logship._hooks import exits, fork, registry
from logship._hooks.preexec import is_about_to_exec
from logship._hooks.threads import OwnThread, call_beside, call_later, is_alone
from logship._process.clock import StopClock
from logship._process.self_pipe import SelfPipe
from logship._process.signals import StopSignals

_CHECK_SECONDS = 1.0
_CHECK_SECONDS_ASLEEP = 0.2
"""How long the thread sleeps while nothing can wake it, for want of descriptors."""

_SPILLING_SECONDS = 0.05
"""How long a spill that ran out of time leaves stderr to the application, again and again."""

_INTERRUPTED_SECONDS = 2.0
_SWITCH_SECONDS = 0.0005
"""How long a busy thread keeps the interpreter once the process is to die, instead of 5 ms. The
shipper and this thread need the interpreter several times."""

_HANGS_SECONDS = 2.0
"""How long past the deadline the client's end may take until it counts as hanging. A metrics volume
and a stderr that stall cost it less."""
_HANGS_NAPS = 20

_THREAD_SECONDS_MAX = 0.3
"""How long the exit waits for the thread: longer than it sleeps while nothing can wake it."""

_LAST_LINES_SECONDS = 0.1
"""How long lines that were refused at the very end are offered to a stalled stderr."""


class Watchdog:
    """The deadline's owner; calls `check` about once a second, from its thread."""

    def __init__(
        self, client: BackgroundClient, clock: StopClock, check: Callable[[], None]
    ) -> None:
        self._self_pipe = SelfPipe()
        self.signals = StopSignals(
            client.settings, clock, self._self_pipe, is_watched=lambda: self.is_watching
        )
        self._client = client
        self._clock = clock
        self._check = check
        self._thread: OwnThread | None = None
        self._process = 0  # which has started it
        self._is_stopped = False
        self._ends_all = False

    @property
    def is_watching(self) -> bool:
        """Whether its thread runs, and so will end the process if logship must end it."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_of_this_process(self) -> bool:
        """Whether its thread was started in this process, and in none that forked it."""
        return self._process == os.getpid()

    def start(self) -> None:
        """Start the thread, unless it runs; in a forked child, start it again."""
        if not self.is_of_this_process or not self.is_watching:
            self._process = os.getpid()
            self._is_stopped = False
            self._open_self_pipe()
            self._thread = OwnThread(self._run, "watchdog")
            with contextlib.suppress(RuntimeError):  # out of threads, or at interpreter exit
                self._thread.start()
        is_main = threading.current_thread() is threading.main_thread()
        if self.signals.is_installed and is_main:
            self._self_pipe.listen_for_signals()

    def stop(self, seconds_max: float | None = None) -> None:
        """End the thread, and wait for it. If the stop clock runs, close the client before."""
        self._is_stopped = True
        self.wake()
        self._join(seconds_max)
        self._self_pipe.close()

    def after_fork_in_child(self) -> None:
        """In a forked child: have nothing wake the parent's thread; drop its clock and signals."""
        self._self_pipe.close()
        self.signals.forget()

    def begin_child(self) -> None:
        """In a forked child: start the thread, also if the child will log nothing.

        Without it Python's handler would come late in a C call, never if the signal comes right
        before a wait, and since 3.12 also never where a thread beside the main one has forked.

        Where a fork hook of the application has logged, the thread runs already, but asyncio's hook
        has ended the wake-ups.
        """
        if self.signals.is_installed and not is_about_to_exec():
            self.start()

    def exit_begins(self) -> None:
        """Before the drain of the exit hook: let the thread end the process, if it is to."""
        self.signals.exit_begins()
        if self.signals.must_end:
            self._join()

    def exit_ends(self) -> None:
        """Behind the drain of the exit hook: end the process by a signal, if it must die by one.

        The thread ends too, unless a file system that hangs keeps it. If it woke while the
        interpreter ends, glibc would end it and open a library for that. Without a descriptor for
        the library glibc aborts the process.
        """
        self.signals.exit_ends()
        if self.signals.must_end:
            self._join()
        self._die_if_due()
        self.stop(_THREAD_SECONDS_MAX)

    def wake(self) -> None:
        """Wake the thread; from a signal handler too."""
        self._self_pipe.wake()

    def _join(self, seconds_max: float | None = None) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and self.is_watching:
            thread.join(seconds_max)

    def _open_self_pipe(self) -> None:
        """Make what wakes the thread, unless there are no descriptors for it."""
        try:
            self._self_pipe.open()
        except OSError as error:
            text = f"a stop is noticed {_CHECK_SECONDS_ASLEEP:g} s late for now: {error}"
            self._client.last_resort.warn("watchdog", text)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_due:
                self._wait(_CHECK_SECONDS)
                if self._is_stopped:
                    return
                if is_alone():
                    exits.at_exit(is_child=True)
                    os._exit(0)
                if self._client.is_of_this_process:
                    self._check()
            self._stop()
        except Exception as error:  # noqa: BLE001 - a bug in here must not keep a process alive
            self._client.last_resort.warn_of_bug("the watchdog", error)
            if self.signals.dies_by is None:
                return  # the exit hook works without it
            with contextlib.suppress(Exception):
                self._drain(self._plan())
        self._end()

    @property
    def _is_due(self) -> bool:
        """Whether the stop begins. A child that has logged nothing has only to die by a signal."""
        is_told = self._clock.started is not None or self.signals.is_interrupted
        return self.signals.dies_by is not None or (is_told and self._client.is_of_this_process)

    def _stop(self) -> None:
        self._client.shipper.stop_lingering()
        self._let_it_log()
        self._end_clients()

    def _end_clients(self) -> None:
        plan, signum = self._plan(), self.signals.dies_by
        if signum is not None:
            self._die_if_it_hangs(plan, signum)
            self._stop_others()
        self._drain(plan)

    def _wait(self, seconds: float) -> None:
        """Wait for a wake-up; note signals that only the handler in C has reported."""
        if not self._self_pipe.is_open:
            time.sleep(min(seconds, _CHECK_SECONDS_ASLEEP))
            self._open_self_pipe()
            return
        for signum in self._self_pipe.wait(seconds):
            if signum:
                self.signals.heard(signum)

    def _let_it_log(self) -> None:
        """Let the application log while its records can be written to stderr in time."""
        client, signals = self._client, self.signals
        closing = client.shipper.closing
        while not (signals.must_end or client.intake_closed):
            started, deadline = self._clock.started, self._clock.deadline_seconds
            if started is None or deadline is None:
                return
            plan = DrainPlan.until(started.at_seconds, deadline)
            wait_seconds = closing.spill_ahead(plan, started.reason)
            if wait_seconds is None:
                return
            self._wait(wait_seconds)

    def _die_if_it_hangs(self, plan: DrainPlan, signum: int) -> None:
        """Have another thread end the process if the client's end hangs.

        A signal handler or a destructor of the application may have interrupted the buffer, and not
        return.
        """

        def wait_on_and_die() -> None:
            for _ in range(_HANGS_NAPS):  # one that was frozen meanwhile has the others left
                time.sleep(_HANGS_SECONDS / _HANGS_NAPS)
            exits.die_by(signum)

        call_later(max(0.0, plan.deadline_seconds - time.monotonic()), wait_on_and_die)

    def _stop_others(self) -> None:
        """Stop each thread at its next logging call: without logship it would be dead already."""
        fork.terminate_dependent_children()
        sys.setswitchinterval(_SWITCH_SECONDS)
        if not self._client.intake_closed:  # otherwise the main thread ends the client
            # No destructor may run in our threads, and wait for a lock of a thread that is stopped.
            gc.disable()
            self._client.last_resort.stop_others()

    def _plan(self) -> DrainPlan:
        now, deadline = time.monotonic(), self._clock.deadline_seconds
        soon = now + _INTERRUPTED_SECONDS
        if deadline is None or deadline <= now:  # no clock, or the program has outlived it
            deadline = soon
        elif self.signals.is_interrupted:
            deadline = min(soon, deadline)
        return DrainPlan.until(now, deadline, ends_process=True)

    def _drain(self, plan: DrainPlan) -> None:
        started = self._clock.started
        reason = "SIGINT" if self.signals.is_interrupted or started is None else started.reason
        ends: list[Callable[[], None]] = []
        self._ends_all = self.signals.must_end
        if self._ends_all:  # else the application or the exit hook closes the others
            clients = [client for client in registry.clients() if not client.ends_last]
            end = functools.partial(self._end_other, plan.deadline_seconds, reason)
            others = (client for client in clients if client is not self._client)
            ends = [call_beside(functools.partial(end, client)) for client in others]
        self._client.drain(plan, reason)
        for wait_for_end in ends:
            wait_for_end()

    def _end_other(self, deadline_seconds: float, reason: str, client: registry.Registered) -> None:
        """End a client beside the others: each of them may need all the time that is left."""
        try:
            client.end_at_signal(deadline_seconds, reason)
        except Exception as error:  # noqa: BLE001 - as in `_run`
            self._client.last_resort.warn_of_bug("a client's end", error)

    def _end(self) -> None:
        """End the process if logship must end it."""
        signals = self.signals
        while signals.is_installed and not signals.is_interrupted and not self._is_stopped:
            self._end_the_rest()
            self._die_if_due()
            is_spilling = self._correct_report(goes_on=True)  # the application may be killed
            self._wait(_SPILLING_SECONDS if is_spilling else _CHECK_SECONDS)
        if signals.is_interrupted:
            self._end_the_rest()
            self._correct_report()
            os._exit(128 + signal.SIGINT)

    def _end_the_rest(self) -> None:
        """End the other clients if a signal ends the process behind the end of its own client."""
        if self.signals.must_end and not self._ends_all:
            try:
                self._end_clients()
            except Exception as error:  # noqa: BLE001 - as in `_run`
                self._client.last_resort.warn_of_bug("the watchdog", error)

    def _correct_report(self, *, goes_on: bool = False) -> bool:
        """Return whether records are left to write to stderr."""
        try:
            return self._client.correct_report(goes_on=goes_on)
        except Exception as error:  # noqa: BLE001 - as in `_run`
            self._client.last_resort.warn_of_bug("the last report", error)
            return False

    def _die_if_due(self) -> None:
        """End the process by a signal, if it must die by one."""
        signum = self.signals.dies_by
        if signum is None:
            return
        deadline = self._clock.deadline_seconds
        fork.join_dependent_children(time.monotonic() if deadline is None else deadline)
        gc.disable()
        self._client.last_resort.stop_others()
        self._correct_report()
        self._client.last_resort.write_rest(_LAST_LINES_SECONDS)
        self.signals.die(signum)
