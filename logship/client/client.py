"""The asyncio client: does what delivery decides, and decides nothing.

Everything that touches the network happens in callbacks on one event loop: the buffer's wake-up,
a timer, the connection's bytes and its end. Each callback tells `Delivery` what happened and
performs the actions that come back. `emit` alone may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from logship.buffer.buffer import Buffer
from logship.buffer.chunk import Chunk
from logship.buffer.counters import DrainReport, FlushReport
from logship.buffer.entrance import Outcome
from logship.buffer.inbox import Tag
from logship.buffer.overflow import Admission
from logship.client.closing import Closing, SpillAhead, drive, empty_report
from logship.client.intake import Intake, Record, Step
from logship.client.parts import new_compressor, new_orphans, new_spool, retry_wait
from logship.client.port import Payload, SocketPort
from logship.client.pump import Pump
from logship.client.schedule import LoopSchedule
from logship.client.upkeep import SpoolUpkeep
from logship.delivery import Delivery
from logship.delivery.credentials import tls_source
from logship.delivery.drain import SPILL_SECONDS_PER_BYTE, DrainPlan, Progress
from logship.delivery.transport import SocketTransport, Transport
from logship.ecs import AwaitedTag, default_tag, task_reader
from logship.errors import BufferFull, ClientClosed
from logship.hooks import registry
from logship.hooks.interruptions import is_interruption
from logship.hooks.threads import refuse_subinterpreter
from logship.metrics.emf import emf_line
from logship.metrics.meter import Meter
from logship.metrics.process import HERE, Process
from logship.protocol.jsonlines import json_line
from logship.protocol.readable import plain_value
from logship.settings import Settings, program_name
from logship.settings.addresses import is_loopback
from logship.stderr.last_resort import LastResort
from logship.stderr.spill import Spill, SpillCost

if TYPE_CHECKING:
    from logship.spool.orphans import Orphans

STOP_LINGER_SECONDS = 0.005
"""How long an open chunk waits for more once the process is to end. Not zero: an application that
logs thousands of lines then would have a chunk with a few of them for each ack, and the shipper's
thread would take twice as much of the interpreter from it as it needs itself."""

_DRAIN_RETRY_WAIT_SECONDS_MAX = 0.25
_DRAIN_ACK_TIMEOUT_SECONDS_MIN = 5.0
_UNCLOSED_SECONDS = 2.0
_RESTART_SECONDS_BASE = 0.1
_RESTART_SECONDS_MAX = 30.0
"""How long the shipper waits after an error of its own: twice as long each time."""

_ACCEPTED = Outcome.ACCEPTED


class Client:
    """Ships records from the running event loop.

    Args:
        settings: What to do; from the environment where none are given.
        transport: How to connect; real sockets where none is given.
        last_resort: Where warnings, spilled records and the report go; stderr.
        orphans: Where chunks of dead processes come from; by default those of its own spool.
        process: What publishes the numbers of all clients here.
        monotonic: Seconds.

    Raises:
        UnsupportedRuntime: This is a subinterpreter.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        transport: Transport | None = None,
        last_resort: LastResort | None = None,
        orphans: Orphans | None = None,
        process: Process = HERE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_subinterpreter()
        self.settings = settings = settings or Settings.from_env(os.environ)
        self._disabled = settings.disabled
        self._monotonic = monotonic
        self._process = process
        self._progress_callbacks: list[Callable[[], None]] = []
        self._closing: asyncio.Task[DrainReport] | None = None
        self._drain_plan: DrainPlan | None = None
        self._broken = False
        self._failures = 0  # of the shipper, since chunks were last settled
        self._tls = tls_source(settings)
        self._spool = new_spool(settings, monotonic)
        if self._spool is not None and orphans is None:
            orphans = new_orphans(self._spool, monotonic)
        self._orphans = orphans
        is_wanted = settings.firelens_tag or orphans is not None
        self._awaited_tag = AwaitedTag(
            task_reader(os.environ), is_wanted=is_wanted and not settings.disabled
        )
        if orphans is not None:
            orphans.default_tag = self._routed_tag
        self._schedule = LoopSchedule(monotonic, self._fail)
        self._take_records_in(last_resort)
        self._ship_them(transport, new_compressor(settings))
        if not settings.disabled:
            registry.add_forkable(self)
            process.add(self._meter, settings, self.last_resort)

    def _take_records_in(self, last_resort: LastResort | None) -> None:
        """Make what a record meets on its way into the buffer."""
        settings = self.settings
        waits_for_tag = settings.firelens_tag and not self._awaited_tag.is_over
        self.buffer = Buffer(
            bytes_max=settings.buffer_bytes_max
            if self._spool is None
            else settings.spool_bytes_max,
            chunk_bytes_max=settings.chunk_bytes_max,
            linger_seconds=settings.linger_seconds,
            stamp_key=settings.stamp_key if settings.stamp else None,
            awaited_tag=settings.tag if waits_for_tag else None,
            storage=self._spool,
            wake=self._wake,
            monotonic=self._monotonic,
        )
        self.last_resort = last_resort or LastResort(
            bytes_per_second_max=settings.spill_bytes_per_second_max
        )
        self._admit_after = Admission(
            self.buffer,
            policy=settings.overflow,
            block_seconds_max=settings.block_seconds_max,
            last_resort=self.last_resort if self._spills else None,
            monotonic=self._monotonic,
        ).admit_after
        known_tag, _ = default_tag(settings, self._awaited_tag.task)
        tag = None if waits_for_tag else known_tag or settings.tag
        self.intake = Intake(settings, self.buffer, tag)

    def _ship_them(
        self, transport: Transport | None, compress: Callable[[Payload], bytes] | None
    ) -> None:
        """Make what a chunk meets on its way out of the buffer."""
        settings = self.settings
        self.delivery: Delivery[Chunk] = Delivery(
            settings.endpoints,
            source=self.buffer,
            inflight_chunks_max=settings.inflight_chunks_max,
            ack_timeout_seconds=settings.ack_timeout_seconds,
            retry_wait_seconds=retry_wait(settings),
        )
        self._meter = Meter(
            self.buffer,
            self.delivery,
            spool=self._spool,
            orphans=self._orphans,
            stop_timeout_seconds=settings.stop_timeout_seconds,
        )
        self._spill_cost = SpillCost(SPILL_SECONDS_PER_BYTE)
        self._spill = (
            Spill(self.buffer, self.last_resort, self._spill_cost) if self._spills else None
        )
        self._spool_upkeep = SpoolUpkeep(
            self.buffer,
            self._spool,
            self._orphans,
            last_resort=self.last_resort,
            turn_soon=self._turn_soon,
            report_bug=self._warn_of_a_bug,
        )
        self._port = SocketPort(
            settings,
            self.buffer,
            self._spool_upkeep,
            self._schedule,
            last_resort=self.last_resort,
            spill_cost=self._spill_cost,
            compress=compress,
            count_sent=self._meter.sent,
            progressed=self._note_progress,
            report_bug=self._warn_of_a_bug,
            monotonic=self._monotonic,
        )
        self._port.transport = transport
        self._pump = self._port.pump = Pump(
            self.buffer,
            self.delivery,
            port=self._port,
            upkeep=self,
            schedule=self._schedule,
            monotonic=self._monotonic,
        )

    def __repr__(self) -> str:
        """Return what a person who debugs wants to see first."""
        held, most = self.buffer.bytes_held, self.buffer.bytes_max
        return f"<logship.Client {self.delivery!r} buffer={held}/{most} bytes>"

    # -- the public contract -----------------------------------------------------------------------

    async def __aenter__(self) -> Client:
        """Start shipping."""
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, draining for as long as acks make progress."""
        await self.close()

    def start(self) -> None:
        """Begin to ship, on the running event loop. Records emitted before are not lost."""
        if self._schedule.loop is not None or self.settings.disabled:
            return
        self._schedule.loop = asyncio.get_running_loop()
        self._schedule.guarded(self._begin)
        if (plan := self._drain_plan) is not None:
            self._schedule.guarded(
                lambda: self._hurry(plan)
            )  # it is ending already, and had no loop to be told on

    def _begin(self) -> None:
        self.seek_tag()
        self.open_transport()
        self._warn_of_clear_text()
        self._pump.start()

    def open_transport(self) -> None:
        """Make the transport; `start` does it too.

        Raises:
            RuntimeError: Its thread cannot be started: at interpreter exit none can. So the
                thread that starts a shipper's thread calls this before. The shipper's thread would
                be too late in a program that logs and ends.
        """
        if self._port.transport is None:
            self._port.transport = SocketTransport.of(self.settings, self._tls)

    def seek_tag(self) -> None:
        """Begin to find out the default tag, where it must be; `start` does it too.

        The thread that starts a shipper's thread calls this before: what it imports must not be
        interrupted by a fork.
        """
        self._awaited_tag.begin(self._monotonic(), self._wake)

    def emit(self, record: Record, tag: str | None = None, *, time_ns: int | None = None) -> bool:
        """Put a record into the buffer; never raises, never waits on an event loop's thread.

        Args:
            record: What is logged; any mapping.
            tag: Its route; the default one where none is given.
            time_ns: When it happened, nanoseconds since the epoch; now where none is given.

        Returns:
            Whether it is in the buffer. If not, it went where the overflow policy says, counted
            and declared; after `close` it was refused.
        """
        return self.admit(record, tag, time_ns)

    def admit(self, record: Record, tag: str | None, time_ns: int | None) -> bool:
        """Do as `emit` does."""
        try:
            intake = self.intake
            route = intake.tag if tag is None else intake.route(tag)
            body = intake.pack(record, time_ns)
            outcome = intake.put(route, body)
            if outcome is not _ACCEPTED:
                outcome = self._admit_after(outcome, route, body)
                if outcome is Outcome.CLOSED and not self.intake_closed:
                    self._write_refused(record, tag, time_ns)
            return outcome is _ACCEPTED
        except Exception as error:
            if is_interruption(error):
                raise
            self._warn_of_a_bug("emit", error)
            return False

    def _write_refused(self, record: Record, tag: str | None, time_ns: int | None) -> None:
        """Write a record to stderr that the open buffer could not even number."""
        if self._spills:
            redact = self.settings.redact
            fields = plain_value(record if redact is None else redact(record))
            line = json_line(tag or "", time_ns or time.time_ns(), fields, logship="refused")
            self.last_resort.write_in_turn(line)

    async def send(
        self, record: Record, tag: str | None = None, *, time_ns: int | None = None
    ) -> None:
        """Put a record into the buffer, waiting for space as long as that takes.

        Returning means that the record was accepted, not that it was delivered.

        Raises:
            ClientClosed: The client takes no more records.
            BufferFull: The buffer is full, and nothing will be sent any more.
        """
        if not self._disabled:
            await self.send_packed(self.intake.route(tag), self.intake.pack(record, time_ns))

    async def send_packed(self, tag: Tag, body: bytes) -> None:
        """Do as `send` does with a record that is packed, and cut if it must be."""
        if self.is_accepted(self.intake.put(tag, body)):
            return
        while True:
            space: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            take_back = self.buffer.when_space(_waker(space))
            try:
                # Once more, because space may have come free before this was arranged.
                if self.is_accepted(self.intake.put(tag, body)):
                    return
                if self._broken:
                    raise BufferFull("the buffer is full, and shipping has ended: see stderr")
                await space
            finally:
                take_back()

    async def send_many(
        self, records: Iterable[Record], tag: str | None = None, *, time_ns: int | None = None
    ) -> None:
        """Put records into the buffer, in their order, waiting for space as long as that takes.

        Cheaper than as many calls of `send`, where there are many records at once.
        The event loop gets its turn whenever they have filled a chunk. A call that is cancelled has
        put the first of them there.

        Args:
            records: What is logged; any mappings. What is no sequence is taken one by one, as it
                comes.
            tag: Their route; the default one where none is given.
            time_ns: When they happened, nanoseconds since the epoch; now where none is given.

        Raises:
            ClientClosed: The client takes no more records; `records_accepted` says how many, from
                the first, it has taken.
            BufferFull: The buffer is full, and nothing will be sent any more; the same.
        """
        if self._disabled:
            return
        for accepted, body in self.intake.put_many(records, tag, time_ns):
            if body is None:
                await asyncio.sleep(0)
                continue
            try:
                await self.send_packed(self.intake.route(tag), body)
            except (BufferFull, ClientClosed) as error:
                error.records_accepted = accepted
                raise

    def send_now(self, records: Sequence[Record], tag: str | None, time_ns: int | None) -> int:
        """Put as many of the records into the buffer as there is space for, and tell how many.

        Raises:
            ClientClosed: The client takes no more records; as of `send_many`.
        """
        if self._disabled:
            return len(records)
        step = Step(0, None)
        for step in self.intake.put_many(records, tag, time_ns):
            if step.body is not None:
                break
        return step.accepted

    def is_accepted(self, outcome: Outcome) -> bool:
        """Tell whether an offered record is in the buffer.

        Raises:
            ClientClosed: The client takes no more records.
        """
        if outcome is Outcome.CLOSED:
            raise ClientClosed
        return outcome is _ACCEPTED

    async def flush(self, timeout: float | None = None) -> FlushReport:  # noqa: ASYNC109 - contract
        """Wait until everything accepted so far is acked.

        Args:
            timeout: Seconds to wait at most; without one, as long as it takes.
        """
        started = self._monotonic()
        dropped = self.buffer.counters.dropped.total()
        target = self.buffer.seal_all()
        self._schedule.guarded(self._pump.turn)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.buffer.settled_through() < target and not self._broken:
                    await self._wait_for_progress(None)
        settled = self.buffer.settled_through() >= target
        return FlushReport(
            all_acked=settled and dropped == self.buffer.counters.dropped.total(),
            unacked=self.buffer.records_waiting,
            seconds=self._monotonic() - started,
        )

    async def close(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the public contract's name
        *,
        reason: str = "close",
    ) -> DrainReport:
        """Take no more records, deliver the rest, and say what became of everything.

        Args:
            timeout: Seconds until it must be over, spill included. Without one, as long as acks
                make progress, at most `exit_drain_seconds_max`.
            reason: A word for the report.

        Returns:
            The report; the same one when called again.
        """
        if self.settings.disabled:
            return empty_report(reason)
        if self._closing is None:
            self.start()
            self._closing = asyncio.ensure_future(self._close(self.plan(timeout), reason))
        return await asyncio.shield(self._closing)

    @property
    def intake_closed(self) -> bool:
        """Whether the client takes no more records."""
        return self.buffer.intake_closed or self.settings.disabled

    # -- for those who conduct a drain -------------------------------------------------------------

    def end_at_exit(self) -> None:
        """At interpreter exit: say and spill what a client holds that was not closed."""
        if self._closing is None and self.buffer.unsettled():
            self._broken = True
            plan = DrainPlan.until(self._monotonic(), self._monotonic() + _UNCLOSED_SECONDS)
            drive(self.closing(plan, "exit without close"))
            self._spool_upkeep.close()

    @property
    def broken(self) -> bool:
        """Whether nothing will be sent any more, because of a bug or for want of a thread."""
        return self._broken

    def plan(self, timeout_seconds: float | None) -> DrainPlan:
        """Return the plan of a drain with this timeout, or of one bound by progress alone."""
        now = self._monotonic()
        if timeout_seconds is not None:
            return DrainPlan.until(now, now + timeout_seconds)
        settings = self.settings
        return DrainPlan.by_itself(
            now, settings.exit_stall_seconds, settings.exit_drain_seconds_max
        )

    def progress(self) -> Progress:
        """Return how sending goes."""
        return Progress(
            last_ack_seconds=self.delivery.last_ack_seconds,
            ever_connected=self.delivery.ever_connected,
            bytes_to_spill=self.buffer.bytes_to_spill if self._spills else 0,
            spill_seconds_per_byte=self._spill_cost.seconds_per_byte,
            silent_seconds=float("inf")
            if self._broken
            else self.delivery.silent_seconds(self._monotonic()),
            full_share=self.buffer.bytes_held / self.buffer.bytes_max,
        )

    def closing(self, plan: DrainPlan, reason: str) -> Closing:
        """Return this client's end, to be driven by the caller."""
        return Closing(
            self,
            plan,
            reason=reason,
            last_resort=self.last_resort,
            spill=self._spill,
            always_report=bool(self.settings.report),
            monotonic=self._monotonic,
            is_over=functools.partial(self._process.drained, self._meter),
            more=_emf_line if self.settings.report == "emf" else None,
        )

    def spill_ahead(self, reason: str) -> SpillAhead:
        """Return what is to be done while a stop clock runs and intake is open."""
        return SpillAhead(
            self, self._spill, self.last_resort, reason=reason, monotonic=self._monotonic
        )

    def stop_lingering(self) -> None:
        """Hardly linger from now on, and look often for a sidecar that is away.

        The stop clock runs. From any thread.
        """
        self._hardly_linger()
        self._schedule.from_any_thread(self._look_often)
        self._wake()

    def hurry(self, plan: DrainPlan) -> None:
        """Send what there is at once, and wait less for everything. From any thread."""
        self._hardly_linger()
        self.buffer.seal_all()
        self._drain_plan = plan
        now = self._monotonic()
        self._awaited_tag.limit(now, plan.deadline_seconds - now)
        self._schedule.from_any_thread(self._hurry, plan)

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call back on the loop after each ack, and when the shipper breaks."""
        self._progress_callbacks.append(callback)

    def shut(self) -> None:
        """End the connection and all timers, on the loop. What is in the buffer stays there."""
        self.shut_connection()
        self._pump.cancel_timer()
        if self._port.transport is not None:
            self._port.transport.close()
        self._spool_upkeep.close()

    def shut_connection(self) -> None:
        """Send nothing more, and take no more acks."""
        self._pump.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's socket, spool and records, without a word."""
        if isinstance(self._port.transport, SocketTransport):
            self._port.transport.abandon()
        if self._spool is not None:
            self._spool.abandon()
        if self._orphans is not None:
            self._orphans.close()
        self.buffer.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """In a forked child: keep nothing of the parent's; no loop here would ship it."""
        self.abandon()

    def break_down(self, why: str) -> None:
        """Send nothing more: there is no thread to do it, or a bug made it impossible."""
        self._broken = self._pump.is_stopped = True
        self.last_resort.warn("broken", f"{why}; records go to stderr when the program ends")
        self.buffer.tell_waiters()

    # -- inside ------------------------------------------------------------------------------------

    def _warn_of_clear_text(self) -> None:
        """Say it where a key makes people believe that their records are encrypted."""
        if self.settings.shared_key is None:
            return
        for endpoint in self.settings.endpoints:
            if endpoint.scheme == "tcp" and not is_loopback(endpoint.host):
                text = f"records to {endpoint} are authenticated, not encrypted; tls:// does both"
                self.last_resort.warn("clear", text)

    def _hardly_linger(self) -> None:
        self.buffer.linger_seconds = min(self.buffer.linger_seconds, STOP_LINGER_SECONDS)

    @property
    def _spills(self) -> bool:
        return self.settings.last_resort == "stderr"

    def _wake(self) -> None:
        """Have the loop look at the buffer; called by producers in any thread."""
        self._schedule.from_any_thread(self._pump.turn)

    # -- what is due in a turn (pump.Upkeep) -------------------------------------------------------

    def tend(self, now_seconds: float) -> None:
        """Let records go whose tag is known by now; tend to metrics and the spool."""
        if self._awaited_tag.is_due(now_seconds):
            self._resolve_tag()
        if self._meter.begins_use():
            self._process.write_soon()
        self._spool_upkeep.tend(may_adopt=self._awaited_tag.is_over and not self._broken)

    def deadlines(self) -> Iterable[float | None]:
        """Return when something will be due, if nothing else happens."""
        if not self._awaited_tag.is_over:
            return (self._awaited_tag.deadline_seconds,)
        return self._spool_upkeep.deadlines()

    def _resolve_tag(self) -> None:
        """Let the records go that name no tag: it is known by now, or it will not be."""
        if self.settings.firelens_tag:
            tag, warning = default_tag(self.settings, self._awaited_tag.task)
            self.buffer.resolve_tag(tag)
            if warning:
                self.last_resort.warn("tag", warning)
        self._awaited_tag.is_over = True

    def _routed_tag(self) -> str | None:
        """Return the tag that FireLens routes, for what dead processes left under none."""
        task = self._awaited_tag.task
        return None if task is None else task.routed_tag

    def _turn_soon(self) -> None:
        self._pump.turn_soon()

    def _look_often(self) -> None:
        self._pump.look_often(_DRAIN_RETRY_WAIT_SECONDS_MAX)

    def _hurry(self, plan: DrainPlan) -> None:
        budget = plan.deadline_seconds - self._monotonic()
        ack_timeout = max(_DRAIN_ACK_TIMEOUT_SECONDS_MIN, budget / 3)
        self._pump.hurry(ack_timeout, _DRAIN_RETRY_WAIT_SECONDS_MAX)
        self._note_progress()  # what conducts the end has a new plan, and looks at it now

    def _note_progress(self) -> None:
        self._failures = 0
        for callback in list(self._progress_callbacks):
            callback()

    async def _wait_for_progress(self, timeout_seconds: float | None) -> None:
        """Wait for an ack, or until the time is up."""
        came = asyncio.Event()
        self._progress_callbacks.append(came.set)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await came.wait()
        finally:
            self._progress_callbacks.remove(came.set)

    async def _close(self, plan: DrainPlan, reason: str) -> DrainReport:
        closing = self.closing(plan, reason)
        try:
            for wait_seconds in closing.steps():
                await self._wait_for_progress(wait_seconds)
        finally:
            self.shut()
            report = closing.report or closing.cut_short()
        return report

    def _warn_of_a_bug(self, where: str, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(error)).strip().replace("\n", " | ")
        self.last_resort.warn("bug", f"an error of its own in {where}, please report it: {trace}")

    def _fail(self, error: Exception) -> None:
        """A bug: say so, end the connection, and begin again after a while.

        What a signal handler raised is no bug. But it may have come in the middle of a decision.
        """
        wait_seconds = 0.0
        if not is_interruption(error):
            self._warn_of_a_bug("the shipper", error)
            wait_seconds = min(2.0**self._failures * _RESTART_SECONDS_BASE, _RESTART_SECONDS_MAX)
            self._failures += 1
        try:
            self._pump.restart("an error of the shipper's own", wait_seconds)
        except Exception as again:  # noqa: BLE001 - there is no way on
            self._warn_of_a_bug("the shipper's restart", again)
            self.break_down("shipping has ended after an error of its own")
            self._note_progress()


def _emf_line(report: DrainReport) -> str:
    return emf_line(report, program_name(), time.time_ns() // 1_000_000)


def _waker(space: asyncio.Future[None]) -> Callable[[], None]:
    """Return a function that ends the wait on `space`, from any thread."""
    loop = space.get_loop()

    def settle() -> None:
        if not space.done():
            space.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the waiter's loop is closed, and the waiter gone
            loop.call_soon_threadsafe(settle)

    return wake
