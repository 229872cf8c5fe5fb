"""The asyncio client: does what delivery decides, and decides nothing.

Everything that touches the network happens in callbacks on one event loop: the buffer's wake-up,
a timer, the connection's bytes and its end. Each callback tells `Delivery` what happened and
performs the actions that come back. `emit` alone may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import math
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from logship import living
from logship.buffer.buffer import DEFAULT_ROUTE, Buffer, BufferBusy, Outcome
from logship.buffer.chunk import Chunk
from logship.buffer.counters import DrainReport, FlushReport
from logship.buffer.overflow import Admission
from logship.closing import Closing, SpillAhead, drive, empty_report
from logship.delivery import (
    Actions,
    Connect,
    Delivery,
    Disconnect,
    Quarantine,
    Release,
    Send,
    Warn,
)
from logship.drain import SPILL_SECONDS_PER_BYTE, DrainPlan, Progress
from logship.ecs import AwaitedTag, default_tag, task_reader
from logship.emf import emf_line
from logship.errors import BufferFull, ClientClosed, ConnectError, ProtocolError, SettingsError
from logship.intake import Intake, Record, Step, TextEmitter, body_bytes_max
from logship.lastresort import LastResort, Spill, SpillCost, spilled_lines
from logship.lateimports import late
from logship.metering import process
from logship.metering.meter import Meter
from logship.protocol.compression import compressor
from logship.protocol.frames import AckReader, AnswerError, frame_parts
from logship.settings import Endpoint, Settings, program_name
from logship.threads import refuse_subinterpreter
from logship.transport import Connection, SocketTransport, Transport, is_loopback, tls_context

if TYPE_CHECKING:
    from logship.buffer.direct import TextWriter
    from logship.buffer.leftovers import Leftovers
    from logship.buffer.spool import SpoolStorage

STOP_LINGER_SECONDS = 0.005
"""How long an open chunk waits for more once the process is to end. Not zero: an application that
logs thousands of lines then would have a chunk with a few of them for each ack, and the shipper's
thread would take twice as much of the interpreter from it as it needs itself."""

_DRAIN_RETRY_WAIT_SECONDS_MAX = 0.25
_DRAIN_ACK_TIMEOUT_SECONDS_MIN = 5.0
_UNCLOSED_SECONDS = 2.0
_ADOPTED_MAX = 16
"""Chunks of dead processes in memory: more than the few that go out at a time, because
those that no server takes wait here for one that it does take, and the proof."""

_ADOPTION_STEPS = 4
_ACCEPTED = Outcome.ACCEPTED
_TOO_LARGE = Outcome.TOO_LARGE
_now_ns = time.time_ns

P = ParamSpec("P")


def _guarded(
    callback: Callable[Concatenate[Client, P], None],
) -> Callable[Concatenate[Client, P], None]:
    """Around each callback: an exception in it is a bug, and must not vanish in the event loop."""

    @functools.wraps(callback)
    def guarded(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            self._fail(error)

    return guarded


class Client:
    """Ships records from the running event loop.

    Args:
        settings: What to do; from the environment where none are given.
        transport: How to connect; real sockets where none is given.
        last_resort: Where warnings, spilled records and the report go; stderr.
        leftovers: Where chunks of dead processes come from; by default those of its own spool.
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
        leftovers: Leftovers | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_subinterpreter()
        self.settings = settings = settings or Settings.from_env(os.environ)
        self._spool = _spool(settings, monotonic)
        if self._spool is not None and leftovers is None:
            leftovers = _leftovers(self._spool, monotonic)
        self._leftovers = leftovers
        is_wanted = settings.firelens_tag or leftovers is not None
        self._awaited_tag = AwaitedTag(
            task_reader(os.environ), is_wanted=is_wanted and not settings.disabled
        )
        waits_for_tag = settings.firelens_tag and not self._awaited_tag.is_over
        if leftovers is not None:
            leftovers.default_tag = self._routed_tag
        self.buffer = Buffer(
            bytes_max=settings.buffer_bytes_max
            if self._spool is None
            else settings.spool_bytes_max,
            chunk_bytes_max=settings.chunk_bytes_max,
            body_bytes_max=body_bytes_max(settings),
            linger_seconds=settings.linger_seconds,
            stamp_key=settings.stamp_key if settings.stamp else None,
            awaited_tag=settings.tag if waits_for_tag else None,
            storage=self._spool,
            wake=self._wake,
            monotonic=monotonic,
        )
        self.last_resort = last_resort or LastResort(
            bytes_per_second_max=settings.spill_bytes_per_second_max
        )
        self.delivery: Delivery[Chunk] = Delivery(
            settings.endpoints,
            source=self.buffer,
            inflight_chunks_max=settings.inflight_chunks_max,
            ack_timeout_seconds=settings.ack_timeout_seconds,
            retry_wait_seconds=_retry_wait(settings),
        )
        self._admit_after = Admission(
            self.buffer,
            policy=settings.overflow,
            block_seconds_max=settings.block_seconds_max,
            last_resort=self.last_resort if self._spills else None,
            monotonic=monotonic,
        ).admit_after
        self._spill_cost = SpillCost(SPILL_SECONDS_PER_BYTE)
        self._spill = (
            Spill(self.buffer, self.last_resort, self._spill_cost) if self._spills else None
        )
        known_tag, _ = default_tag(settings, self._awaited_tag.task)
        tag = DEFAULT_ROUTE if waits_for_tag else known_tag or settings.tag
        self.intake = Intake(settings, self.buffer, tag)
        self._disabled = settings.disabled
        self._tls = tls_context(settings)
        self._compress = _compressor(settings)
        self._transport = transport
        self._monotonic = monotonic
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._answers = AckReader()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_seconds = math.inf
        self._progress_callbacks: list[Callable[[], None]] = []
        self._closing: asyncio.Task[DrainReport] | None = None
        self._drain_plan: DrainPlan | None = None
        self._broken = False
        self._meter = Meter(
            self.buffer,
            self.delivery,
            spool=self._spool,
            leftovers=leftovers,
            stop_timeout_seconds=settings.stop_timeout_seconds,
        )
        if not settings.disabled:
            living.add_forkable(self)
            process.HERE.add(self._meter, settings, self.last_resort)

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
        if self._loop is not None or self.settings.disabled:
            return
        self._loop = asyncio.get_running_loop()
        self._begin()
        if self._drain_plan is not None:
            self._hurry(self._drain_plan)  # it is ending already, and had no loop to be told on

    @_guarded
    def _begin(self) -> None:
        self.seek_tag()
        self.open_transport()
        self._warn_of_clear_text()
        self._perform(self.delivery.start())
        self._turn()

    def open_transport(self) -> None:
        """Make the transport; `start` does it too.

        Raises:
            RuntimeError: Its thread cannot be started: at interpreter exit none can. So whoever
                starts a shipper's thread calls this before, and not that thread, which would be
                too late in a program that logs and ends.
        """
        if self._transport is None:
            self._transport = SocketTransport.of(self.settings, self._tls)

    def seek_tag(self) -> None:
        """Begin to find out the default tag, where it must be; `start` does it too.

        Whoever starts a shipper's thread calls this before, and not in that thread: what it imports
        must not be interrupted by a fork.
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
        try:
            intake = self.intake
            body = None
            if time_ns is None:
                if tag is None:
                    body = intake.put_at_once(record)
                    if body is not None and not body:
                        return True
                time_ns = _now_ns()
            if body is None:
                body = intake.pack(record, time_ns)
            tag = intake.tag if tag is None else intake.route(tag)
            outcome = intake.put(tag, body)
            if outcome is _TOO_LARGE:
                body = intake.cut(record, time_ns)
                outcome = intake.put(tag, body)
            return outcome is _ACCEPTED or self._admit_after(outcome, tag, body)
        except Exception as error:  # noqa: BLE001 - logging must not break the application
            self._warn_of_a_bug("emit", error)
            return False

    def text_emitter(
        self, text_key: str, name_keys: tuple[str, str], tag: str | None = None
    ) -> TextEmitter | None:
        """Return what does as `emit` does with `{text_key: text, **zip(name_keys, names)}`.

        None where this client must see each record: to redact it, to rename its fields, or to do
        nothing with it.
        """
        write = self.text_writer(text_key, name_keys, tag)
        if write is None:
            return None

        def emit_text(text: str, names: tuple[str, str], time_ns: int) -> bool | None:
            body = write(text, names, time_ns)
            return None if body is None else not body or self.emit_body(body, tag)

        return emit_text

    def text_writer(
        self, text_key: str, name_keys: tuple[str, str], tag: str | None
    ) -> TextWriter | None:
        """Return what puts such records into the buffer, or packs them for `emit_body`."""
        return None if self._disabled else self.intake.text_writer(text_key, name_keys, tag)

    def emit_body(self, body: bytes, tag: str | None = None) -> bool:
        """Put a record whose entry's beginning is packed into the buffer, as `emit` does."""
        try:
            intake = self.intake
            tag = intake.tag if tag is None else intake.route(tag)
            outcome = intake.put(tag, body)
            return outcome is _ACCEPTED or self._admit_after(outcome, tag, body)
        except Exception as error:  # noqa: BLE001 - as above
            self._warn_of_a_bug("emit", error)
            return False

    async def send(
        self, record: Record, tag: str | None = None, *, time_ns: int | None = None
    ) -> None:
        """Put a record into the buffer, waiting for space as long as that takes.

        Returning means that the record was accepted, not that it was delivered.

        Raises:
            ClientClosed: The client takes no more records.
            BufferFull: The buffer is full, and nothing will be sent any more.
        """
        if not self.settings.disabled:
            intake, body = self.intake, None
            if tag is None and time_ns is None:
                body = intake.put_at_once(record)
                if body is not None and not body:
                    return
            await self.send_packed(intake.route(tag), intake.packed(record, time_ns, body))

    async def send_packed(self, tag: str, body: bytes) -> None:
        """Do as `send` does with a record that is packed, and cut if it must be."""
        if self.is_accepted(self.intake.put(tag, body)):
            return
        while True:
            space: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            try:
                take_back = self.buffer.when_space(_waker(space))
            except BufferBusy:
                await asyncio.sleep(0)
                continue
            try:
                # Once more, because space may have come free before this was arranged.
                if self.is_accepted(self.intake.put(tag, body)):
                    return
                if self._broken:
                    raise BufferFull("the buffer is full, and shipping has ended: see stderr")
                await space
            finally:
                with contextlib.suppress(BufferBusy):  # then it is called in vain
                    take_back()

    async def send_many(
        self, records: Iterable[Record], tag: str | None = None, *, time_ns: int | None = None
    ) -> None:
        """Put records into the buffer, in their order, waiting for space as long as that takes.

        Cheaper than as many calls of `send`, for who has many records at once.
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
        opened = self.buffer.chunks_opened
        for accepted, body in self.intake.put_many(records, tag, time_ns):
            if body is not None:
                try:
                    await self.send_packed(self.intake.route(tag), body)
                except (BufferFull, ClientClosed) as error:
                    error.records_accepted = accepted
                    raise
            elif opened != self.buffer.chunks_opened:
                opened = self.buffer.chunks_opened
                await asyncio.sleep(0)

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
        self._turn()
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
        """At interpreter exit: say and spill what a client holds that nobody closed."""
        if self._closing is None and self.buffer.unsettled():
            self._broken = True
            plan = DrainPlan.until(self._monotonic(), self._monotonic() + _UNCLOSED_SECONDS)
            drive(self.closing(plan, "exit without close"))
            self._leave_spool()

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
            is_over=functools.partial(process.HERE.drained, self._meter),
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
        self._call_soon(self._look_often)
        self._wake()

    def hurry(self, plan: DrainPlan) -> None:
        """Send what there is at once, and wait less for everything. From any thread."""
        self._hardly_linger()
        self.buffer.seal_all()
        self._drain_plan = plan
        now = self._monotonic()
        self._awaited_tag.limit(now, plan.deadline_seconds - now)
        self._call_soon(self._hurry, plan)

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call back on the loop after each ack, and when the shipper breaks."""
        self._progress_callbacks.append(callback)

    def shut(self) -> None:
        """End the connection and all timers, on the loop. What is in the buffer stays there."""
        self.shut_connection()
        self._cancel_timer()
        if self._transport is not None:
            self._transport.close()
        self._leave_spool()

    def shut_connection(self) -> None:
        """Send nothing more, and take no more acks."""
        self._perform(self.delivery.close())

    def abandon(self) -> None:
        """In a forked child: let go of the parent's socket and spool, without a word to anybody."""
        if isinstance(self._transport, SocketTransport):
            self._transport.abandon()
        if self._spool is not None:
            self._spool.abandon()
        if self._leftovers is not None:
            self._leftovers.close()

    def after_fork_in_child(self) -> None:
        """In a forked child: keep nothing of the parent's; no loop here would ship it."""
        self.abandon()

    def break_down(self, why: str) -> None:
        """Send nothing more: there is no thread to do it, or a bug made it impossible."""
        self._broken = True
        self.last_resort.warn("broken", f"{why}; records go to stderr when the program ends")
        self.buffer.tell_waiters()

    # -- the connection's events (transport.ConnectionEvents) --------------------------------------

    @_guarded
    def bytes_received(self, data: bytes) -> None:
        """The sidecar answered."""
        try:
            acks = self._answers.feed(data)
        except AnswerError as error:
            self._perform(self.delivery.acked(self._monotonic(), error.acks))
            self._give_up_connection(str(error))
        except ProtocolError as error:
            self._give_up_connection(str(error))
        else:
            self._perform(self.delivery.acked(self._monotonic(), acks))
            self._arm_timer()

    @_guarded
    def connection_ended(self, reason: str) -> None:
        """The connection is gone."""
        self._connection = None
        self._perform(self.delivery.connection_lost(self._monotonic(), reason))
        self._arm_timer()

    @_guarded
    def writable_changed(self, writable: bool) -> None:
        """The connection takes more bytes, or takes no more for now."""
        self._perform(self.delivery.set_writable(self._monotonic(), writable))
        self._arm_timer()

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
        self._call_soon(self._turn)

    def _call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                # Not in the caller's context, which may hold a request's objects.
                self._loop.call_soon_threadsafe(callback, *args, context=contextvars.Context())

    def _turn_again(self) -> None:
        """Have the loop look at the buffer once more; on the loop, which needs no waking."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon(self._turn)

    @_guarded
    def _turn(self) -> None:
        """Look at the buffer and the clock, do what is due, and arrange for the next time."""
        now = self._monotonic()
        if self._awaited_tag.is_due(now):
            self._resolve_tag()
        if self._meter.begins_use():
            process.HERE.write_soon()
        self._tend_spool()
        self.buffer.seal_due(now)
        self._perform(self.delivery.timer(now))
        self._perform(self.delivery.chunks_ready(now))
        self._arm_timer()

    def _arm_timer(self) -> None:
        """Have the loop look again when something is due, and at once where something is already.

        A timer that is early enough stays: then the loop looks in vain, once, where it would have
        made a new one for every ack.
        """
        due_seconds = self._due_seconds()
        may_look = self._loop is not None and not self._broken
        if may_look and due_seconds < self._timer_seconds:
            self._set_timer(due_seconds)
        if self.buffer.has_sealed() and self.delivery.can_send:
            self._turn_again()  # sealed between the last look and now

    def _due_seconds(self) -> float:
        """Return when the clock alone makes something to do (monotonic); infinity for never."""
        deadlines = [
            self.buffer.next_deadline_seconds(),
            self.delivery.next_deadline_seconds(),
            None if self._awaited_tag.is_over else self._awaited_tag.deadline_seconds,
            *self._spool_deadlines(),
        ]
        return min([each for each in deadlines if each is not None], default=math.inf)

    def _set_timer(self, due_seconds: float) -> None:
        assert self._loop is not None
        self._cancel_timer()
        wait_seconds = max(0.0, due_seconds - self._monotonic())
        self._timer = self._loop.call_later(wait_seconds, self._timer_rang)
        self._timer_seconds = due_seconds

    def _timer_rang(self) -> None:
        self._cancel_timer()
        self._turn()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_seconds = None, math.inf

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

    def _tend_spool(self) -> None:
        """Let the spool prepare files and say what happened; fetch what dead processes left."""
        if self._spool is not None:
            self._spool.maintain(self.buffer.locked)
            while self._spool.news:
                self.last_resort.warn(*self._spool.news.popleft(), interval_seconds=0.0)
        if self._leftovers is not None and not self._broken and self._awaited_tag.is_over:
            try:
                self._adopt(self._leftovers)
            except Exception as error:  # noqa: BLE001 - the living must not suffer for the dead
                self._leftovers.close()
                self._warn_of_a_bug("recovery", error)
            self._tell_news(self._leftovers)

    def _adopt(self, leftovers: Leftovers) -> None:
        """Take a few chunks of dead processes, in small steps."""
        from logship.buffer.leftovers import AdoptedChunk, Waiting  # noqa: PLC0415 - see `_spool`

        for _ in range(_ADOPTION_STEPS):
            if not self._may_adopt:
                return
            found = leftovers.step()
            self._tell_news(leftovers)
            if isinstance(found, AdoptedChunk):
                self.buffer.adopt(found)
            elif found is not Waiting.NOT:
                return
        self._turn_again()

    def _tell_news(self, leftovers: Leftovers) -> None:
        """Say what was found damaged, before the next step keeps, marks or removes it."""
        while leftovers.news:
            self.last_resort.warn("recovery", leftovers.news.popleft(), interval_seconds=0.0)

    @property
    def _may_adopt(self) -> bool:
        has_room = len(self.buffer.adopted) < _ADOPTED_MAX
        return has_room and self._awaited_tag.is_over and not self.buffer.intake_closed

    def _spool_deadlines(self) -> tuple[float | None, ...]:
        """Return when to look at the spool again, if nothing else happens."""
        if self.buffer.intake_closed:
            return ()
        return (
            self._spool.retry_deadline_seconds() if self._spool is not None else None,
            self._leftovers.deadline_seconds if self._leftovers and self._may_adopt else None,
        )

    def _leave_spool(self) -> None:
        """Give up the locks: what is left is for whoever recovers it."""
        if self._leftovers is not None:
            self._leftovers.close()
        if self._spool is not None:
            self._spool.close()

    @_guarded
    def _look_often(self) -> None:
        wait = _DRAIN_RETRY_WAIT_SECONDS_MAX
        self._perform(self.delivery.look_often(self._monotonic(), wait))
        self._arm_timer()

    @_guarded
    def _hurry(self, plan: DrainPlan) -> None:
        now = self._monotonic()
        budget = plan.deadline_seconds - now
        ack_timeout = max(_DRAIN_ACK_TIMEOUT_SECONDS_MIN, budget / 3)
        actions = self.delivery.hurry(now, ack_timeout, _DRAIN_RETRY_WAIT_SECONDS_MAX)
        self._perform(actions)
        self._turn()
        self._note_progress()  # who conducts the end has a new plan, and looks at it now

    def _perform(self, actions: Actions[Chunk]) -> None:
        parts: list[bytes | bytearray | memoryview] = []
        progressed = False
        for action in actions:
            match action:
                case Send(chunk):
                    parts += self._frame(chunk)
                case Release(chunk):
                    self._release(chunk)
                    progressed = True
                case Quarantine(chunk):
                    self._quarantine(chunk)
                    progressed = True
                case Connect(endpoint):
                    self._connect(endpoint)
                case Disconnect():
                    self._disconnect()
                case Warn(kind, text):
                    self.last_resort.warn(kind, text)
        if parts and self._connection is not None:
            # All at once: after each system call a busy application has the interpreter for five
            # milliseconds, if it wants it.
            self._connection.send(parts)
            self._meter.sent(sum(map(len, parts)))
        if progressed:
            self._note_progress()

    def _frame(self, chunk: Chunk) -> tuple[bytes | bytearray | memoryview, ...]:
        """Return what is to be written of a chunk."""
        chunk.before_sending()
        payload, method = self._payload(chunk)
        arguments = (chunk.stream.tag, chunk.id, chunk.entries, len(payload), method)
        before, behind = frame_parts(*arguments)
        if self._spills:
            self._spill_cost.sample(chunk.stream.tag, chunk.data, self._monotonic())
        return before, payload, behind

    def _payload(self, chunk: Chunk) -> tuple[bytes | bytearray | memoryview, str | None]:
        """Return what is sent of the chunk, and how it is compressed.

        A record that is larger than a chunk goes as it is: Fluent Bit takes no more than a
        megabyte out of one compressed block.
        """
        if self._compress is None or chunk.size > self.settings.chunk_bytes_max:
            return chunk.data, None
        return self._compress(chunk.data), self.settings.compress

    def _release(self, chunk: Chunk) -> None:
        self.buffer.release(chunk)
        if chunk.adopted:
            from logship.buffer.leftovers import settle  # noqa: PLC0415 - see `_spool`

            settle(chunk)
            self._turn_again()  # there may be more where it came from

    def _quarantine(self, chunk: Chunk) -> None:
        """Write a record that no server takes to stderr, if that takes it."""
        if chunk.adopted:
            from logship.buffer.leftovers import refuse  # noqa: PLC0415 - see `_spool`

            self.last_resort.warn("quarantine", refuse(chunk))
            self._release(chunk)
            return
        if chunk.records:  # else it is one of our own
            stamp = f"{chunk.stream.id}:{chunk.first:010d}"
            text = f"the sidecar does not take record {stamp} ({chunk.size} bytes)"
            self.last_resort.warn("quarantine", f"{text}; it is quarantined")
        self.buffer.quarantine(chunk, spilled=self._spill_now(chunk))

    def _spill_now(self, chunk: Chunk) -> bool:
        """Write a chunk's one record to stderr at once; tell whether it is there."""
        if not chunk.records or not self._spills:
            return False
        if chunk.spilled_entries:
            return True
        lines = spilled_lines(chunk.stream.tag, bytes(chunk.data))
        return all(self.last_resort.offer_line(line) for line, _ in lines)

    def _connect(self, endpoint: Endpoint) -> None:
        assert self._loop is not None
        self._connecting = self._loop.create_task(self._try_connect(endpoint))

    async def _try_connect(self, endpoint: Endpoint) -> None:
        assert self._transport is not None
        try:
            connection = await self._transport.connect(endpoint, self)
        except ConnectError as error:
            self._after_connect(None, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in here must not end shipping for good
            self._after_connect(None, f"cannot connect to {endpoint}: {error!r}")
        else:
            self._after_connect(connection, "")

    @_guarded
    def _after_connect(self, connection: Connection | None, reason: str) -> None:
        self._connecting = None
        now = self._monotonic()
        if connection is None:
            self._perform(self.delivery.connect_failed(now, reason))
        else:
            self._connection = connection
            self._answers = AckReader()
            self._perform(self.delivery.connected(now))
        self._turn()

    def _give_up_connection(self, reason: str) -> None:
        """End a connection whose peer says what no sidecar says."""
        self._disconnect()
        self._perform(self.delivery.connection_lost(self._monotonic(), reason))
        self._arm_timer()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def _note_progress(self) -> None:
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
        """A bug: say so, end the connection, and let everybody who waits go on."""
        self._warn_of_a_bug("the shipper", error)
        self.break_down("shipping has ended after an error of its own")
        self._disconnect()
        self._note_progress()


def _spool(settings: Settings, monotonic: Callable[[], float]) -> SpoolStorage | None:
    """Return where chunks lie so that they outlive the process, or None where there is no spool.

    Only who has a spool imports what it needs, all of it here, in the thread that makes the
    client: later, in a forked child or at interpreter exit, it is there.
    """
    if settings.spool_dir is None or settings.disabled:
        return None
    from pathlib import Path  # noqa: PLC0415 - as above

    from logship.buffer.spool import SpoolStorage  # noqa: PLC0415 - as above

    return SpoolStorage(
        Path(settings.spool_dir),
        bytes_max=settings.spool_bytes_max,
        memory_bytes_max=settings.buffer_bytes_max,
        chunk_bytes_max=settings.chunk_bytes_max,
        stamp_key=settings.stamp_key if settings.stamp else None,
        syncs=settings.spool_fsync == "interval",
        monotonic=monotonic,
    )


def _leftovers(spool: SpoolStorage, monotonic: Callable[[], float]) -> Leftovers | None:
    """Return what dead processes left on this spool; a supervisor ships that itself."""
    from logship.buffer.leftovers import Leftovers  # noqa: PLC0415 - see `_spool`
    from logship.buffer.lives import is_supervised  # noqa: PLC0415 - see `_spool`

    return None if is_supervised(spool.path) else Leftovers(spool.path, monotonic=monotonic)


def _emf_line(report: DrainReport) -> str:
    return emf_line(report, program_name(), time.time_ns() // 1_000_000)


def _compressor(settings: Settings) -> Callable[[bytes | bytearray | memoryview], bytes] | None:
    try:
        return compressor(settings.compress)
    except ImportError:
        raise SettingsError(
            "compress (LOGSHIP_COMPRESS): zstd needs Python 3.14 or the package backports.zstd; "
            "pip install 'logship-forward[zstd]', or give gzip or none"
        ) from None


def _waker(space: asyncio.Future[None]) -> Callable[[], None]:
    """Return a function that ends the wait on `space`, from any thread."""
    loop = space.get_loop()

    def settle() -> None:
        if not space.done():
            space.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the waiter's loop is closed, and so is he gone
            loop.call_soon_threadsafe(settle)

    return wake


def _retry_wait(settings: Settings) -> Callable[[int], float]:
    """Return tenacity's random exponential wait as a function of the number of failures.

    tenacity is imported when the first attempt to connect has failed, on the loop that is about
    to wait: where the sidecar answers, as nearly always, nobody pays for it.
    """
    strategy: Callable[[int], float] | None = None

    def wait_seconds(failures: int) -> float:
        nonlocal strategy
        strategy = strategy or _random_exponential_wait(
            settings.backoff_seconds_base, settings.backoff_seconds_max
        )
        return strategy(failures)

    return wait_seconds


def _random_exponential_wait(base_seconds: float, seconds_max: float) -> Callable[[int], float]:
    tenacity = late("tenacity")
    strategy = tenacity.wait_random_exponential(multiplier=base_seconds, max=seconds_max)

    def wait_seconds(failures: int) -> float:
        state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})
        state.attempt_number = failures
        return float(strategy(state))

    return wait_seconds
