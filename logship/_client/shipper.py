"""Ships what is in a client's buffer: the work on the event loop, from its start to its end.

Everything that touches the network happens in callbacks on one event loop: the buffer's wake-up,
a timer, the connection's bytes and its end. `SocketPort` is the side to the sockets. `Pump` tells
`Delivery` what happened and has the actions done that come back. The shipper makes these parts,
keeps them going after an error of its own, and says how far they have come. It decides nothing.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._buffer.counters import DrainReport
from logship._client.closing import Closing, drive
from logship._client.intake import Intake
from logship._client.parts import (
    constant_fields,
    new_orphans,
    new_spool,
    refuse_impossible,
    retry_wait,
    return_wait,
)
from logship._client.port import SocketPort
from logship._client.pump import Pump
from logship._client.schedule import LoopSchedule
from logship._client.upkeep import HighWater, SpoolUpkeep
from logship._delivery.attempts import Attempts
from logship._delivery.credentials import tls_source
from logship._delivery.delivery import Delivery
from logship._delivery.drain import DrainPlan, Progress
from logship._delivery.transport import SocketTransport, Transport
from logship._ecs.awaited_tag import AwaitedTag
from logship._ecs.reader import task_reader
from logship._hooks import registry
from logship._hooks.interruptions import is_from_outside
from logship._hooks.preexec import is_about_to_exec, parents_stderr
from logship._hooks.threads import refuse_subinterpreter
from logship._metrics.meter import Meter
from logship._metrics.process import HERE, Process
from logship._settings import Settings, program_name
from logship._settings.addresses import is_loopback
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill

if TYPE_CHECKING:
    from logship._spool.orphans import Orphans

STOP_LINGER_SECONDS = 0.005
"""How long an open chunk waits for more once the process is to end. Not zero: an application that
logs thousands of lines then would have a chunk with a few of them for each ack, and the shipper's
thread would take twice as much of the interpreter from it as it needs itself."""

_UNCLOSED_SECONDS = 2.0
_RESTART_SECONDS_BASE = 0.1
_RESTART_SECONDS_MAX = 30.0
"""How long the shipper waits after an error of its own: twice as long each time."""


class Shipper:
    """Ships the records of one client.

    Args:
        transport: How to connect; real sockets where none is given.
        last_resort: Where warnings, spilled records and the report go; stderr.
        orphans: Where chunks of dead processes come from; by default those of its own spool.
        process: What publishes the numbers of all clients here.

    Attributes:
        buffer: Where records wait.
        closing: Their end, for all calls that end the client to join and drive.
        spill: Writes them to stderr; None where they may not be.
        broken: Whether nothing will be sent any more, because of a bug or for want of a thread.
        follows_loops: Whether to go on, where its loop is closed, on the one that logs.

    Raises:
        SettingsError: A setting needs what this operating system does not offer.
        UnsupportedRuntime: This is a subinterpreter.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport | None = None,
        last_resort: LastResort | None = None,
        orphans: Orphans | None = None,
        process: Process = HERE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_subinterpreter()
        refuse_impossible(settings)
        self.settings = settings
        self.last_resort: LastResort = last_resort or LastResort(
            bytes_per_second_max=settings.spill_bytes_per_second_max
        )
        self.broken: bool = False
        self.follows_loops: bool = False
        self._waits_for_loop = False
        self._restart_seconds = _RESTART_SECONDS_BASE  # the wait after the next error
        self._drain_plan: DrainPlan | None = None
        self._drives_end = False
        self._progress_callbacks: list[Callable[[], None]] = []
        self._process = process
        self._monotonic = monotonic
        self._tls = tls_source(settings)
        self._spool = new_spool(settings, monotonic)
        if self._spool is not None and orphans is None:
            orphans = new_orphans(self._spool, monotonic)
        self._orphans = orphans
        may_adopt = orphans is not None and not orphans.is_closed
        self._awaited_tag = AwaitedTag(settings, task_reader(os.environ), may_adopt=may_adopt)
        if orphans is not None:
            orphans.default_tag = self._awaited_tag.routed
            orphans.warn = self.last_resort.warn
        self._schedule = LoopSchedule(monotonic, self._fail)
        self.buffer: Buffer = Buffer(
            bytes_max=settings.buffer_bytes_max
            if self._spool is None
            else settings.spool_bytes_max,
            chunk_bytes_max=settings.chunk_bytes_max,
            linger_seconds=settings.linger_seconds,
            stamp_key=settings.stamp_key if settings.stamp else None,
            awaited_tag=settings.tag if self._awaited_tag.holds_records else None,
            storage=self._spool,
            wake=self.wake,
            failed=functools.partial(self.last_resort.warn_of_bug, "the buffer"),
            monotonic=monotonic,
        )
        self.last_resort.is_needed_here = lambda: self.buffer.is_held_here
        self.delivery: Delivery[Chunk] = Delivery(
            Attempts(settings.endpoints, retry_wait(settings), return_wait),
            source=self.buffer.departure,
            inflight_chunks_max=settings.inflight_chunks_max,
            ack_timeout_seconds=settings.ack_timeout_seconds,
        )
        self.meter: Meter = Meter(
            self.buffer,
            self.delivery,
            spool=self._spool,
            orphans=self._orphans,
            stop_timeout_seconds=settings.stop_timeout_seconds,
        )
        self.spill: Spill | None = None
        if settings.last_resort == "stderr":
            self.spill = Spill(self.buffer.spilling, self.last_resort, monotonic)
        self._spool_upkeep = SpoolUpkeep(
            self.buffer, self._spool, orphans, last_resort=self.last_resort
        )
        self._high_water = HighWater(
            self.buffer, settings.high_water_seconds if settings.stamp else 0.0, monotonic()
        )
        self._port = SocketPort(
            settings,
            self.buffer,
            self._schedule,
            transport=transport,
            last_resort=self.last_resort,
            spill=self.spill,
            count_sent=self.meter.sent,
            progressed=self.note_progress,
        )
        self._pump = self._port.pump = Pump(
            self.buffer,
            self.delivery,
            port=self._port,
            upkeep=self,
            schedule=self._schedule,
            monotonic=monotonic,
        )
        self.closing: Closing = self._new_closing()
        if not settings.disabled:
            process.add(self.meter, settings, self.last_resort)

    def new_intake(self) -> Intake:
        """Return the way into the buffer."""
        found, _ = self._awaited_tag.found()
        return Intake(
            self.settings,
            self.buffer,
            None if self._awaited_tag.holds_records else found or self.settings.tag,
            self.last_resort if self.spill is not None else None,
            self.last_resort.warn,
            constant_fields(self.settings),
            self._monotonic,
        )

    # -- the beginning -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the transport, and begin to find out the default tag; `start` does it too.

        The thread that starts a shipper's thread calls this before: what it imports must not be
        interrupted by a fork, and in a program that logs and ends the shipper's thread would be too
        late.

        Raises:
            RuntimeError: A thread cannot be started: at interpreter exit none can.
        """
        self._awaited_tag.begin(self._monotonic(), self.wake)
        if self._port.transport is None:
            self._port.transport = SocketTransport(self.settings, self._tls)

    def start(self) -> None:
        """Begin to ship, on the running event loop; go on there if the loop before has stopped."""
        is_first = self._schedule.loop is None
        if self.settings.disabled or not self._schedule.move_here():
            return
        self._schedule.guarded(self._begin if is_first else self._begin_again)
        if self._drain_plan is not None:  # it is ending already, and had no loop to be told on
            self._schedule.guarded(self._hurry)
        if self._drives_end:
            self._schedule.drive(self.closing.step)

    def _begin(self) -> None:
        self.prepare()
        self._warn_of_clear_text()
        self._pump.start()

    def _begin_again(self) -> None:
        """Connect anew, because the application runs the connection's loop no more."""
        if self._port.transport is not None:
            self._port.transport.abandon()
        self._pump.restart("its event loop has stopped", 0.0)

    def _warn_of_clear_text(self) -> None:
        """Say it where a key makes people believe that their records are encrypted."""
        if self.settings.shared_key is None:
            return
        for endpoint in self.settings.endpoints:
            if endpoint.scheme == "tcp" and not is_loopback(endpoint.host):
                text = f"records to {endpoint} are authenticated, not encrypted; tls:// does both"
                self.last_resort.warn("clear", text)

    def wake(self) -> bool:
        """Have the loop look at the buffer; called by producers in any thread.

        Returns:
            False where no loop hears it, and the next producer is to try again.
        """
        schedule = self._schedule
        if schedule.is_running or not self.follows_loops:
            return schedule.soon(self._pump.turn) or not self.follows_loops
        if schedule.soon_here(self.start):
            return True
        if not self._waits_for_loop:  # it has stopped, and may run again or be closed
            self._waits_for_loop = schedule.soon(self._turn_again)
        return False

    def _turn_again(self) -> None:
        """Look at the buffer on a loop that had stopped."""
        self._waits_for_loop = False
        self._pump.turn()

    # -- what is due in a turn (pump.Upkeep) -------------------------------------------------------

    def tend(self, now_seconds: float) -> None:
        """Let records go whose tag is known by now; tend to metrics, numbers and the spool."""
        if self._port.transport is None:  # there were no descriptors for it, or no memory
            self.prepare()
        if self._awaited_tag.is_due(now_seconds):
            self._resolve_tag()
        if self.meter.begins_use():
            self._process.write_soon()
        self._high_water.tend(now_seconds)
        self._spool_upkeep.tend(may_adopt=self._awaited_tag.is_over and not self.broken)

    def deadlines(self) -> Iterable[float | None]:
        """Return when something will be due, if nothing else happens."""
        if not self._awaited_tag.is_over:
            return (self._awaited_tag.deadline_seconds,)
        return (self._high_water.deadline_seconds(), *self._spool_upkeep.deadlines())

    def _resolve_tag(self) -> None:
        """Let the records go that name no tag: it is known by now, or it will not be."""
        if self._awaited_tag.holds_records:
            tag, warning = self._awaited_tag.found()
            self.buffer.resolve_tag(tag)
            if warning:
                self.last_resort.warn("tag", warning)
        self._awaited_tag.is_over = True

    # -- how far it has come -----------------------------------------------------------------------

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call back when chunks were settled, when a plan has changed, and at the end.

        In any thread.
        """
        self._progress_callbacks.append(callback)

    def forget_progress(self, callback: Callable[[], None]) -> None:
        """Take back `on_progress`."""
        self._progress_callbacks.remove(callback)

    def progress(self) -> Progress:
        """Return how sending goes."""
        delivery, buffer, spill = self.delivery, self.buffer, self.spill
        now = self._monotonic()
        return Progress(
            last_ack_seconds=delivery.last_ack_seconds,
            is_hopeful=delivery.is_hopeful,
            bytes_to_spill=0 if spill is None else buffer.spilling.bytes_to_spill,
            spill_seconds_per_byte=0.0 if spill is None else spill.cost.seconds_per_byte,
            silent_seconds=float("inf") if self.broken else delivery.silent_seconds(now),
            acked_bytes_per_second=delivery.ack_rate.bytes_per_second(now),
            ack_interval_seconds=delivery.ack_rate.interval_seconds,
            full_share=buffer.bytes_held / buffer.bytes_max,
            unanswered=self._port.unanswered,
            only_ends=buffer.only_ends_wait,
        )

    def note_progress(self) -> None:
        """Call all back: there is something new to look at. From any thread."""
        self._restart_seconds = _RESTART_SECONDS_BASE
        for callback in list(self._progress_callbacks):
            callback()

    def publish_numbers(self) -> None:
        """Have the metrics page written, as at an end: after a flush the process may end.

        Otherwise the page of a process that leaves by `os._exit` would count as lost what is acked.
        """
        self._process.write_last()

    # -- errors of its own -------------------------------------------------------------------------

    def break_down(self, why: str) -> None:
        """Have callers expect no more acks: no thread can send, or a bug made it impossible."""
        self.broken = self._pump.is_stopped = True
        self.last_resort.warn("broken", f"{why}; records go to stderr when the program ends")
        self.buffer.tell_waiters()
        self.note_progress()

    def _fail(self, error: BaseException) -> None:
        """A bug: say so, end the connection, and begin again after a while.

        What a signal handler raised is not a bug. But it may have come in the middle of a decision.
        """
        why, wait_seconds = "an exception of a signal handler", 0.0
        if not is_from_outside(error):
            why = "an error of the shipper's own"
            self.last_resort.warn_of_bug("the shipper", error)
            self.delivery.counters.shipper_restarts += 1
            wait_seconds = self._restart_seconds
            self._restart_seconds = min(2 * wait_seconds, _RESTART_SECONDS_MAX)
        try:
            self._pump.restart(why, wait_seconds)
        except BaseException as again:
            if is_from_outside(again):
                self._fail(again)
                raise
            self.last_resort.warn_of_bug("the shipper's restart", again)
            self.break_down("shipping has ended after an error of its own")

    # -- the end -----------------------------------------------------------------------------------

    def stop_lingering(self) -> None:
        """Hardly linger from now on, and look often for a sidecar that is unreachable.

        The stop clock runs. From any thread.
        """
        self._hardly_linger()
        self._schedule.soon(self._pump.look_often)

    def hurry(self, plan: DrainPlan) -> None:
        """Send what there is at once, and wait less for everything. From any thread."""
        self._hardly_linger()
        self.buffer.seal_all()
        self._drain_plan = plan
        now = self._monotonic()
        self._awaited_tag.limit(now, plan.deadline_seconds - now)
        self._schedule.soon(self._hurry)

    def _hurry(self) -> None:
        assert self._drain_plan is not None
        self._spool_upkeep.hurry()
        self._pump.hurry(self._drain_plan.deadline_seconds)
        self.note_progress()  # the callers that drive the end look at the new plan now

    def _hardly_linger(self) -> None:
        departure = self.buffer.departure
        departure.linger_seconds = min(departure.linger_seconds, STOP_LINGER_SECONDS)

    def plan(self, timeout_seconds: float | None) -> DrainPlan:
        """Return the plan of a drain with this timeout, or of one bound by progress alone.

        At interpreter exit, such drains wait together for a sidecar that acks nothing.
        """
        now, settings = self._monotonic(), self.settings
        if timeout_seconds is not None:
            return DrainPlan.until(now, now + timeout_seconds)
        plan = DrainPlan.by_itself(
            now, settings.exit_stall_seconds, settings.exit_drain_seconds_max
        )
        return plan._replace(started_seconds=min(now, registry.exit_began_seconds))

    def _new_closing(self) -> Closing:
        return Closing(
            self,
            always_report=bool(self.settings.report),
            monotonic=self._monotonic,
            is_over=self.meter.drained,
            publish=self._process.write_last,
            more=_emf_writer() if self.settings.report == "emf" else None,
        )

    def end_beside(self, plan: DrainPlan, reason: str) -> None:
        """Have the loop drive the steps of the exit hook's end, also before that joins."""
        self.closing.join(plan, reason)
        self._drives_end = True  # before the next line: the loop may not have begun
        self._schedule.drive(self.closing.step)

    def shut(self) -> None:
        """End the connection and all timers, on the loop. What is in the buffer stays there."""
        self.shut_connection()
        if self._port.transport is not None:
            self._port.transport.close()
        self._spool_upkeep.close()

    def shut_connection(self) -> None:
        """Send nothing more, and take no more acks; soon, where another thread runs the loop."""
        self._schedule.on_loop(self._pump.close)

    def spill_rest(
        self,
        *,
        alone: bool,
        seconds: float = _UNCLOSED_SECONDS,
        reason: str = "exit without close",
    ) -> None:
        """Drive the steps that are left of an end, in this thread: no loop sends any more.

        It takes so many seconds at most; `alone` is as of `Closing.join`.
        """
        self.broken = True
        self.closing.join(self.plan(seconds), reason, alone=alone)
        drive(self.closing.step)
        self._spool_upkeep.close()

    def after_fork_in_child(self) -> None:
        """In a forked child: let go of the parent's socket, spool and records, without a word.

        If the child is about to exec, its records are refused, and so go to stderr at once.
        """
        self._port.after_fork_in_child()
        if self._spool is not None:
            self._spool.abandon()
        if self._orphans is not None:
            self._orphans.abandon()
        refuses = is_about_to_exec()
        self.buffer.after_fork_in_child(refuses=refuses)
        self.last_resort.after_fork_in_child()
        if refuses:  # the parent's may be locked by a thread that is not here
            self.last_resort = LastResort(descriptor=parents_stderr())
        self.closing = self._new_closing()


def _emf_writer() -> Callable[[DrainReport], str]:
    from logship._metrics.emf import emf_line  # noqa: PLC0415 - few settings need it

    return lambda report: emf_line(report, program_name(), time.time_ns() // 1_000_000)
