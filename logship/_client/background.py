"""The client on a thread of its own, for programs without an event loop, and for all others too.

The thread that logs puts records into the shipper's buffer. The shipper runs on a thread of its
own: a sealed chunk wakes it, and an entry if it sleeps. After a fork the child begins with a new
shipper, because threads do not survive a fork and the parent ships the parent's records.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from itertools import repeat

from logship._buffer.counters import DrainReport, FlushReport
from logship._buffer.entrance import Outcome
from logship._buffer.inbox import Tag
from logship._buffer.overflow import offer_or_wait
from logship._client.closing import Closing, drive
from logship._client.emitter import Emitter
from logship._client.flush import Flush
from logship._client.intake import Record
from logship._client.thread import ShipperThread
from logship._delivery.drain import DrainPlan
from logship._hooks import registry
from logship._hooks.interruptions import is_from_outside
from logship._hooks.locking import Bell
from logship._hooks.threads import may_wait_here
from logship.errors import BufferFull, ClientClosed

_THREAD_SECONDS_MAX = 1.0
_THREAD_SECONDS_MIN = 0.1
"""How long the end waits for the shipper's thread: as long as its plan allows, and a moment past
the deadline."""

_SHIPPERS_TURN_SECONDS = 1e-6
"""The shortest sleep there is, some 50 µs: long enough for a thread that waits for the interpreter
to be woken and take it."""

_ACCEPTED = Outcome.ACCEPTED

_parents: list[ShipperThread] = []
"""Threads of parent processes, which stay as they are: their loops share a selector with those."""


class BackgroundClient(Emitter):
    """Ships records from a daemon thread; every method may be called from any thread.

    Args:
        settings: The settings; made from `options` and the environment if none are given.
        transport: How to connect; real sockets by default. See `logship.testing`.
        parts: Other parts of the shipper, for logship's own tests.
        options: Fields of `Settings`; the rest comes from the environment.

    Raises:
        SettingsError: A setting is wrong, or both `settings` and `options` are given.
        UnsupportedRuntime: The call is in a subinterpreter.
    """

    has_own_thread = True
    _chunks_seen = 1
    _thread: ShipperThread | None = None

    def __enter__(self) -> BackgroundClient:
        """Return this client; it ships already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close, draining for as long as acks make progress."""
        self.close()

    @property
    def report(self) -> DrainReport | None:
        """What happened to every record, once the client of this process is closed."""
        return self._shipper.closing.report if self._here[0] else None

    def send(
        self,
        record: Record,
        tag: str | None = None,
        *,
        time_ns: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Put a record into the buffer, waiting for space. It is then accepted, not yet delivered.

        Args:
            record: The record; any mapping.
            tag: Its tag; by default the setting `tag`.
            time_ns: Its time in nanoseconds since the epoch; now by default.
            timeout: Seconds to wait for space at most; None for no limit.

        Raises:
            ClientClosed: The client takes no more records.
            BufferFull: No space came free in time, or this is an event loop's thread, which must
                not wait.
        """
        if not self._here[0]:
            self._begin_anew()
        intake = self.intake
        route = intake.tag if tag is None else intake.route(tag)
        body = intake.pack(record, time_ns)
        outcome = intake.put(route, body)
        if outcome is _ACCEPTED:
            if self._shipper.buffer.chunks_opened != self._chunks_seen:
                self._let_it_ship()
        elif not intake.is_accepted(outcome):
            self._send_waiting(route, body, timeout, _end_of(timeout))

    def send_many(
        self,
        records: Iterable[Record],
        tag: str | None = None,
        *,
        time_ns: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Put records into the buffer, in their order, waiting for space if there is none.

        The arguments are those of `Client.send_many`, and `timeout`: seconds to wait at most in the
        whole call; None for no limit.

        Raises:
            ClientClosed: The client takes no more records. `records_accepted` is the number of
                records, counted from the first, that were accepted.
            BufferFull: No space came free in time, or this is an event loop's thread, which must
                not wait. It has `records_accepted` too.
        """
        if not self._here[0]:
            self._begin_anew()
        if self.settings.disabled:
            return
        ends_seconds = _end_of(timeout)
        for accepted, body in self.intake.put_many(zip(repeat(time_ns), records), tag):
            if self._shipper.buffer.chunks_opened != self._chunks_seen:
                self._let_it_ship()
            if body is not None:
                try:
                    self._send_waiting(self.intake.route(tag), body, timeout, ends_seconds)
                except (BufferFull, ClientClosed) as error:
                    error.records_accepted = accepted
                    raise

    def flush(self, timeout: float | None = None) -> FlushReport:
        """Wait until everything accepted so far is acked; see `Client.flush`."""
        shipper = self.shipper
        flush = Flush(shipper.buffer, timeout, self._may_wait_for_acks)
        shipper.wake()
        self._drive(flush.step)
        shipper.publish_numbers()
        return flush.report()

    def close(self, timeout: float | None = None, *, reason: str = "close") -> DrainReport:
        """Take no more records, deliver the rest, and report what happened to every record.

        Args and result are those of `Client.close`. Each thread that calls it gets the same report.
        """
        return self.drain(self.shipper.plan(timeout), reason)

    def drain(self, plan: DrainPlan, reason: str) -> DrainReport:
        """Close by this plan; the exit hook and the watchdog have plans of their own.

        If another thread is closing already, both do the rest, by the plan that ends first. If an
        exception of a signal handler ends this call, the next call does the rest, or the exit hook.
        Where the shipper cannot go on before this call returns, only intake ends here, and the exit
        hook does the rest.
        """
        if not self.is_of_this_process:  # it has logged nothing, and must not begin to now
            self._shipper.after_fork_in_child()  # where no hook of fork did, as under uWSGI
            self._is_over = True
        closing = self._shipper.closing
        if self.settings.disabled:
            return closing.skip(reason)
        if self._is_over:
            return self._shipper.buffer.report(reason, 0.0)
        if closing.report is not None:
            return self._end(closing, 0.0)
        if self._shipper_waits_for_this_thread():
            self._shipper.buffer.close_intake()
            return self._shipper.buffer.report(reason, 0.0)
        try:
            closing.join(plan, reason)
            if closing.is_stepping_here:  # a signal handler that interrupted it
                return self._shipper.buffer.report(reason, 0.0)
            if not self._is_running() and not self._shipper.broken and closing.report is None:
                self._shipper.break_down("the shipper's thread has ended")
            self._drive(closing.step)
        except BaseException as error:
            if not is_from_outside(error):
                self._end(closing, _THREAD_SECONDS_MIN)  # a bug, which would come again
            closing.leave(plan)
            raise
        seconds_left = max(closing.seconds_left(), _THREAD_SECONDS_MIN)
        return self._end(closing, min(seconds_left, _THREAD_SECONDS_MAX))

    def exit_begins(self, *, is_child: bool = False) -> None:
        """Begin to end in the shipper's thread; `end_at_exit` does the rest.

        It may come late, because the exit hook waits for the ends of other clients.
        """
        if self.is_open_here and self._is_running():
            self._shipper.end_beside(*self.plan_at_exit(is_child=is_child))

    def end_at_exit(self, *, is_child: bool = False) -> None:
        """At the end of the process: drain what there is, and take no more records.

        What is logged later, by a hook that was registered earlier or by a destructor, is then
        refused and so written to stderr, also where it is the first record.
        """
        self.drain(*self.plan_at_exit(is_child=is_child))
        self.correct_report()

    def end_at_signal(self, deadline_seconds: float, reason: str) -> None:
        """Before a signal ends the process: drain what there is, and let no call return."""
        self.last_resort.stop_others()
        plan = DrainPlan.until(time.monotonic(), deadline_seconds, ends_process=True)
        self.drain(plan, reason)

    def plan_at_exit(self, *, is_child: bool) -> tuple[DrainPlan, str]:
        """Return the exit hook's plan, and a word for its report; `install` puts its own here.

        The plan lasts while acks come, but in a child for `child_drain_seconds` at most.
        """
        timeout_seconds = self.settings.child_drain_seconds if is_child else None
        return self._shipper.plan(timeout_seconds), "exit"

    # -- inside ------------------------------------------------------------------------------------

    def _begin_here(self) -> None:
        if self._thread is not None:
            _parents.append(self._thread)
        self._thread = ShipperThread(self._shipper)
        self._thread.start()

    def _shipper_waits_for_this_thread(self) -> bool:
        """Tell whether this is a signal handler inside the buffer, or the shipper's own thread."""
        return self._shipper.buffer.is_held_here or threading.current_thread() is self._thread

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _let_it_ship(self) -> None:
        """Give the shipper's thread the interpreter for a moment, because a chunk was filled.

        A thread that does nothing but send would keep it for five milliseconds at a time, and the
        shipper needs it after every system call: the buffer would fill while the sidecar idles.
        """
        self._chunks_seen = self._shipper.buffer.chunks_opened
        if may_wait_here():
            time.sleep(_SHIPPERS_TURN_SECONDS)

    def _send_waiting(
        self, tag: Tag, body: bytes, timeout: float | None, ends_seconds: float
    ) -> None:
        """Wait until the entry is in the buffer, at most until `ends_seconds`.

        `timeout` is only named in the error.
        """
        if not may_wait_here():
            raise BufferFull("the buffer is full, and an event loop's thread must not wait for it")
        shipper, intake = self._shipper, self.intake

        def offer() -> Outcome:
            outcome = intake.put(tag, body)
            if outcome is Outcome.FULL and (shipper.broken or not self._is_running()):
                raise BufferFull("the buffer is full, and no thread ships it any more: see stderr")
            return outcome

        while True:
            left = min(max(0.0, ends_seconds - time.monotonic()), threading.TIMEOUT_MAX)
            if intake.is_accepted(offer_or_wait(shipper.buffer, offer, left)):
                return
            if left == 0.0:
                raise BufferFull(f"no space came free in the buffer within {timeout:g} s")

    def _may_wait_for_acks(self) -> bool:
        """Return whether acks may come while this thread waits."""
        if self._shipper.broken or self._shipper_waits_for_this_thread():
            return False
        return self._thread is not None and self._thread.is_shipping

    def _drive(self, step: Callable[[], float | None]) -> None:
        """Do the steps of a flush or of the end in this thread, and wait for acks in between."""
        shipper, bell = self._shipper, Bell()
        shipper.on_progress(bell.ring)
        try:
            drive(step, bell.wait)
        finally:
            shipper.forget_progress(bell.ring)

    def _end(self, closing: Closing, thread_seconds: float) -> DrainReport:
        """Take the report, stop the shipper's thread, and let calls go on that wait for the end."""
        report = closing.report or closing.cut_short()
        self._shipper.note_progress()
        if self._thread is not None:
            self._thread.stop(thread_seconds)
        registry.note_closed(self)
        return report


def _end_of(timeout: float | None) -> float:
    """Return when a wait that begins now is over (monotonic)."""
    return math.inf if timeout is None else time.monotonic() + timeout
