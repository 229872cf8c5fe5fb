"""The client as `logship/_client/shipper.py` is, without asyncio, around the product's own pump."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk, ChunkState
from logship._buffer.counters import DrainReport
from logship._buffer.entrance import Outcome
from logship._buffer.overflow import Admission
from logship._buffer.ranges import Gap
from logship._buffer.stream import Stream
from logship._client import closing, parts
from logship._client.closing import Closing
from logship._client.pump import Pump
from logship._delivery.delivery import Delivery
from logship._delivery.drain import DrainPlan, Progress
from logship._delivery.states import State
from logship._protocol.compression import compressor
from logship._protocol.frames import AckReader, AnswerError, frame_parts
from logship._reasons import QUARANTINED, WITHHELD
from logship._settings import Endpoint, Settings
from logship._spool.adoption import AdoptedChunk
from logship._spool.storage import RETRY_SECONDS
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill
from tests.simulation.disk import SimulatedDisk, SimulatedStorage
from tests.simulation.estate import Stamp
from tests.simulation.ledgers import Account, Holdings
from tests.simulation.network import EMPTY, GARBAGE, Answer, Link
from tests.simulation.spool import WatchedOrphans, upkeep_of
from tests.simulation.stderr import SimulatedStderr
from tests.simulation.wire import Frame, Violation, decode, serial_of
from tests.support.packing import pack_record

if TYPE_CHECKING:
    from tests.simulation.history import History

_LATE_SECONDS = closing._REPORT_SECONDS_MIN + 0.001
_CONTROL_BYTES_MAX = 200


class SimulatedClient:
    """One process life.

    Attributes:
        life: What the judge knows of it.
        link: Its connection.
        broken: As `Shipper.broken`: whether shipping has ended for good.
        is_closing: Whether its intake is closed.
        waiting: How many producers wait for space.
        is_recoverer: Whether it only ships what others left on a spool, as `logship recover`.
    """

    def __init__(self, history: History, number: int, *, is_recoverer: bool = False) -> None:
        options, clock = history.options, history.clock
        self.history = history
        self.life = history.judge.begin(number)
        self.link: Link | None = None
        self.broken = False
        self.is_closing = False
        self.is_dead = False
        self.waiting = 0
        self.is_recoverer = is_recoverer
        self._disk: SimulatedDisk | None = history.disk
        self.storage = self._new_storage()
        self.stderr = SimulatedStderr(history.draw, history.rate("stderr stalls"))
        self.last_resort = LastResort(
            descriptor=-1,
            bytes_per_second_max=options.spill_bytes_per_second_max,
            monotonic=clock.monotonic,
        )
        self.last_resort._write = self.stderr  # type: ignore[assignment]
        self.buffer = Buffer(
            bytes_max=options.buffer_bytes_max,
            chunk_bytes_max=options.chunk_bytes_max,
            linger_seconds=options.linger_seconds,
            stamp_key=options.stamp_key,
            storage=self.storage,
            wake=self.wake,
            monotonic=clock.monotonic,
            time_ns=clock.time_ns,
            random_bytes=history.draw.randbytes,
            combine_at=options.combine_at,
            inbox_max=options.inbox_max,
            inbox_bytes_max=int(options.buffer_bytes_max * options.inbox_share),
        )
        spill = Spill(self.buffer.spilling, self.last_resort, clock.monotonic)
        self.spill = spill if options.spills else None
        self.admission = Admission(
            self.buffer,
            policy=options.overflow,
            block_seconds_max=0.0,  # as on an event loop's thread
            last_resort=self.last_resort if options.spills else None,
            monotonic=clock.monotonic,
        )
        backoff = SimpleNamespace(
            backoff_seconds_base=options.backoff_seconds_base,
            backoff_seconds_max=options.backoff_seconds_max,
        )
        self._retry_wait = parts.retry_wait(cast(Settings, backoff), random.uniform)
        self.delivery: Delivery[Chunk] = Delivery(
            tuple(Endpoint("tcp", "sidecar", 1 + each, "") for each in range(options.endpoints)),
            source=self.buffer.departure,
            inflight_chunks_max=options.window,
            ack_timeout_seconds=options.ack_timeout_seconds,
            retry_wait_seconds=self._wait_seconds,
            return_wait_seconds=lambda: parts.RETURN_SECONDS,
        )
        self._orphans: WatchedOrphans | None = None
        if self._disk is not None:
            self._orphans = WatchedOrphans(self, self._disk)
            self._upkeep = upkeep_of(self, self._disk, self._orphans)
        self.pump = Pump(
            self.buffer,
            self.delivery,
            port=self,
            upkeep=self,
            schedule=self,
            monotonic=clock.monotonic,
        )
        self._compress = compressor(options.compress)
        self._asked_failures: int | None = None
        self._answers = AckReader()
        self._attempt = 0
        self._steps: Iterator[float] | None = None
        self._closing: Closing | None = None
        self._ticket = 0
        self._deadline_seconds = 0.0
        self._unspooled_seen = 0
        self._timer_seconds = math.inf
        self._left_over: Chunk | None = None

    # -- producers -------------------------------------------------------------------------------

    def emit(self, tag: str, body: bytes) -> None:
        """Put a record into the buffer, as `Client.emit` does.

        Args:
            tag: Its route.
            body: The beginning of its entry.
        """
        if self.is_closing:
            self.life.refused += 1
        else:
            self.life.accepted += 1
        outcome = self.admission.admit_after(self.buffer.offer(tag, body), tag, body)
        is_in = outcome is Outcome.ACCEPTED
        if not is_in and not self.is_closing:
            self.history.fired["overflow"] += 1
        if is_in and self._disk is not None:
            self._accepted(self._disk, tag, body)

    def withhold(self, tag: str) -> None:
        """Keep a record back, as `Client.emit` does for `redact`."""
        if self.is_closing:
            self.life.refused += 1
            self.buffer.note("refused", 1, tag)
        else:
            self.life.accepted += 1
            self.buffer.note(WITHHELD, 1, tag)

    def put(self, tag: str, body: bytes) -> None:
        """Put a record into the buffer as soon as there is space, as `Client.send` does."""
        if self.is_dead:
            return
        asked: list[bool] = []

        def space() -> None:
            if not asked:
                asked.append(True)
                self.waiting -= 1
                self.history.clock.after(0.0, self.put, tag, body)

        take_back = self.buffer.when_space(space)
        match self.buffer.offer(tag, body):
            case Outcome.FULL:
                self.history.fired["overflow"] += 1
                self.waiting += 1
                return
            case Outcome.ACCEPTED:
                self.life.accepted += 1
                if self._disk is not None:
                    self._accepted(self._disk, tag, body)
            case Outcome.REFUSED:
                self.life.refused += 1
        asked.append(True)
        take_back()

    def send_many(self, tag: str, records: list[dict[str, object]], time_ns: int) -> None:
        """Put records into the buffer, as `Intake.put_many` does; without space as `emit` does."""
        for record in records:
            self.emit(tag, pack_record(record, time_ns))

    # -- the end ---------------------------------------------------------------------------------

    def close(self, plan: DrainPlan, reason: str) -> None:
        """Drain and report, as `Client.close` does."""
        self.is_closing = True
        self._deadline_seconds = plan.deadline_seconds
        self._closing = Closing(
            self,
            always_report=False,
            monotonic=self.history.clock.monotonic,
            is_over=self._note_report,
        )
        self._closing.join(plan, reason)
        self._steps = self._closing.steps()
        self._step(self._ticket)

    def _step(self, ticket: int) -> None:
        if ticket != self._ticket or self._steps is None or self.is_dead:
            self.history.clock.events -= 1
            return
        self._ticket += 1
        assert self._closing is not None
        wait_seconds = next(self._steps, None)
        if wait_seconds is None:
            self._finish()
        else:
            self.history.clock.events -= 1  # it only looked
            self.history.clock.after(wait_seconds, self._step, self._ticket)

    def _note_report(self, report: DrainReport) -> Callable[[], None]:
        """Have the report judged now: it may be a while until it is printed."""
        self.history.client_reported(self, report.to_json())
        return lambda: None

    def _finish(self) -> None:
        self._steps = None
        self.shut()
        late = self.history.clock.now - self._deadline_seconds
        if late > _LATE_SECONDS:
            raise Violation(f"closing ended {late:.3f} s after its deadline")
        self.history.client_closed(self)

    def limit(self, plan: DrainPlan) -> None:
        """Take a shorter plan for the end, as when a stop clock begins to run."""
        assert self._closing is not None
        self._deadline_seconds = min(self._deadline_seconds, plan.deadline_seconds)
        self._closing.join(plan, "limit")

    def progress(self) -> Progress:
        """Return how sending goes."""
        delivery = self.delivery
        return Progress(
            delivery.last_ack_seconds,
            delivery.is_hopeful,
            self.buffer.spilling.bytes_to_spill,
            silent_seconds=delivery.silent_seconds(self.history.clock.now),
            acked_bytes_per_second=delivery.ack_rate.bytes_per_second(self.history.clock.now),
            ack_interval_seconds=delivery.ack_rate.interval_seconds,
            only_ends=self.buffer.only_ends_wait,
        )

    def hurry(self, plan: DrainPlan) -> None:
        """Send what there is at once, and wait less for everything."""
        self.buffer.departure.linger_seconds = 0.0
        self.buffer.seal_all()
        self.history.clock.after(0.0, self._hurry, plan)

    def _hurry(self, plan: DrainPlan) -> None:
        if self.is_dead:
            return
        now = self.history.clock.now
        self.history.judge.hurried(self.life, self.link, plan.deadline_seconds - now, now)
        self.pump.hurry(plan.deadline_seconds)

    def flush(self) -> None:
        """Seal everything and send it."""
        self.buffer.seal_all()
        self.turn()

    def shut(self) -> None:
        """End the connection, then give up the spool, as `Shipper.shut` does.

        A turn that was called before the end comes behind it, and must do nothing. It comes late
        where the loop is busy: when the spool would look again at what failed.
        """
        self.pump.close()
        if self._disk is not None:
            self._leave_spool(self._disk, dies=False)
            self.history.clock.after(RETRY_SECONDS, self._unless_dead, self.turn)

    def die(self) -> None:
        """Be killed."""
        self.is_dead = True
        if self.link is not None:
            self.link.abort()
        if self._disk is not None:
            self._leave_will(self._disk)
            self._leave_spool(self._disk, dies=True)

    # -- the connection's events -----------------------------------------------------------------

    def answered(self, link: Link, answers: list[Answer], wire: bytes) -> None:
        """The server answered: with bytes, or with what they mean."""
        history = self.history
        for answer in answers:
            if answer in (EMPTY, GARBAGE):
                break
            history.judge.ack_reached(link, answer, history.clock.now)
        acks, fault = self._read(answers, wire)
        history.note("acks %s%s", acks, fault)
        self.pump.acked(acks)
        if fault and self.link is link:
            self.link = None
            link.abort()
            history.judge.link_ended(link, history.clock.now)
            self.pump.connection_lost(fault)

    def _read(self, answers: list[Answer], wire: bytes) -> tuple[list[str], str]:
        """Return the acks, and what is wrong behind them."""
        if wire:
            try:
                return self._answers.feed(wire), ""
            except AnswerError as error:
                return error.acks, str(error)
        for place, answer in enumerate(answers):
            if answer in (EMPTY, GARBAGE):
                return answers[:place], f"the answer is {answer}"
        return answers, ""

    def connection_ended(self, link: Link) -> None:
        """The connection is gone."""
        if self.link is not link:
            return
        self.link = None
        now = self.history.clock.now
        self.history.note("connection lost")
        self.history.judge.link_ended(link, now)
        self.pump.connection_lost("it was reset")

    def writable_changed(self, link: Link, writable: bool) -> None:
        """The connection takes more bytes, or takes no more for now."""
        if self.link is link:
            self.pump.writable_changed(writable=writable)

    def connect_ended(self, attempt: int, link: Link | None) -> None:
        """An attempt succeeded, or failed."""
        if attempt != self._attempt or self.is_dead:
            if link is not None:
                link.abort()
            return
        if link is None:
            self.history.note("connect failed")
            self.history.judge.connect_failed(self.life, self.history.clock.now)
            self.pump.connect_failed("refused")
        else:
            self.history.note("connected")
            self.link = link
            self._answers = AckReader()
            self.pump.connected()

    # -- inside ----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Take a turn in this moment, after what is due already."""
        self.history.clock.after(0.0, self.turn)

    def turn(self) -> None:
        """Look at the buffer and the clock, do what is due, and arrange for the next time."""
        if self.is_dead:
            return
        due = self._due()
        self.pump.turn()
        is_left = due is not None and due.state in (ChunkState.OPEN, ChunkState.SEALED)
        if not (is_left and self.delivery.can_send):
            return
        # A chunk that this very turn sealed, when it combined, goes first; the other goes in the
        # next turn, which comes at once.
        now = self.history.clock.now
        if due is self._left_over or self._timer_seconds > now:
            raise Violation(f"{due!r} was due, and was not sent in this turn")
        self._left_over = due

    def _due(self) -> Chunk | None:
        """Return a chunk that is sealed, or has lingered, of those that may leave."""
        chunks, now = self.buffer._section.accumulator.chunks, self.history.clock.now
        sealed = next(iter(chunks.sealed.values()), None)
        oldest = next(iter(chunks.open.values()), None)
        if sealed is not None or oldest is None:
            return sealed
        return (
            oldest if oldest.opened_seconds + self.buffer.departure.linger_seconds <= now else None
        )

    # -- the pump's schedule and upkeep (pump.Schedule, pump.Upkeep) -------------------------------

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back in this moment, after what is due already."""
        self.history.clock.after(0.0, self._unless_dead, callback)

    def at(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at this time; return what takes it back."""
        timer = [callback]
        clock = self.history.clock
        self._timer_seconds = seconds
        clock.at(max(seconds, clock.now), self._ring, timer)
        return timer.clear

    def _ring(self, timer: list[Callable[[], None]]) -> None:
        if timer and not self.is_dead:
            self._timer_seconds = math.inf
            timer[0]()
        else:
            self.history.clock.events -= 1  # it was taken back

    def _unless_dead(self, callback: Callable[[], None]) -> None:
        if not self.is_dead:
            callback()

    def tend(self, now_seconds: float) -> None:
        """Tend to the spool, as a client does."""
        del now_seconds
        if self._disk is not None:
            self._upkeep.tend(may_adopt=True)

    def deadlines(self) -> Iterable[float | None]:
        """Return when to look at the spool again."""
        self._note_wait()
        return () if self._disk is None else self._upkeep.deadlines()

    # -- the pump's port (pump.Port) ---------------------------------------------------------------

    def progressed(self) -> None:
        """Chunks were settled: the end may go on."""
        if self._steps is not None:
            self.history.clock.after(0.0, self._step, self._ticket)

    def warn(self, kind: str, text: str) -> None:
        """Tell a person, who knows no paths."""
        if self._disk is None:
            self.last_resort.warn(kind, text)
        else:
            self.last_resort.warn(kind, self._disk.said(text))

    def _note_wait(self) -> None:
        if self._asked_failures is not None:
            asked, self._asked_failures = self._asked_failures, None
            self.history.judge.check_wait(self.life, asked)

    def send(self, chunks: list[Chunk]) -> list[Chunk]:
        """Put the chunks on the wire."""
        for chunk in chunks:
            self._send(chunk)
        return []

    def set_aside(self, chunk: Chunk) -> None:
        """Fail: none is damaged here."""
        raise Violation(f"{chunk!r} was set aside")

    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the server acked."""
        if chunk.adopted:
            self.history.judge.recovered(chunk.id)
            self.history.fired["recovered"] += 1
        else:
            self.history.judge.released(self.life, chunk.id)
        with self._recovering(chunk):
            self.buffer.release(chunk)

    def _send(self, chunk: Chunk) -> None:
        link = self.link
        if link is None:
            return
        if self._disk is not None:
            chunk.before_sending()
        judge, clock = self.history.judge, self.history.clock
        payload, tag = bytes(chunk.data), chunk.stream.tag
        if not payload:
            raise Violation(f"chunk {chunk.id} was sent, and nothing is in it")
        frame = judge.frame(chunk.id)
        if frame is None or frame.payload != payload or frame.tag != tag:
            frame = decode(chunk.id, tag, payload, self.history.options.stamp_key)
        self.history.note("send %s %s-%s", chunk.id, frame.numbers[0], frame.numbers[-1])
        judge.sent(link, frame, clock.now)
        link.send(frame, self._wire(chunk) if self.history.options.framed else b"")

    def _wire(self, chunk: Chunk) -> bytes:
        payload, method = bytes(chunk.data), None
        if self._compress is not None:
            payload, method = self._compress(payload), self.history.options.compress
        before, behind = frame_parts(
            chunk.stream.tag, chunk.id, chunk.entries, len(payload), method
        )
        return before + payload + behind

    def quarantine(self, chunk: Chunk) -> None:
        """Give up a record that no server takes."""
        self.history.note("quarantine %s %s", chunk.id, chunk.first)
        self.history.judge.quarantined(self.life, self.link, chunk.id, self.history.clock.now)
        fault = "poison recovered" if chunk.adopted else "poison spooled"
        self.history.fired[fault] += self._disk is not None
        if chunk.own_records and self.spill is not None:
            self.spill.write_now(chunk)
        with self._recovering(chunk):
            self.buffer.give_up(chunk, QUARANTINED)

    def connect(self, endpoint: Endpoint) -> None:
        """Begin an attempt to connect."""
        self.history.note("connect to %s", endpoint.port)
        self.history.judge.connects(self.life, self.history.clock.now)
        self._attempt += 1
        self.history.connect(self, self._attempt, endpoint.port - 1)

    def disconnect(self) -> None:
        """End the connection, or the attempt."""
        self._attempt += 1
        link, self.link = self.link, None
        if link is not None:
            self.history.note("disconnect")
            if self.delivery.state is not State.CLOSED:
                self.history.judge.gave_up(link, self.history.clock.now)
            link.abort()

    def _wait_seconds(self, failures: int) -> float:
        self._asked_failures = failures
        return self._retry_wait(failures)

    # -- the spool -------------------------------------------------------------------------------

    def _recovering(self, chunk: Chunk) -> contextlib.AbstractContextManager[None]:
        """Return what the end of a chunk is noted in; of a dead process's one, on its spool."""
        if self._disk is None or not chunk.adopted:
            return contextlib.nullcontext()
        return self._disk.recovering()

    def has_recovered(self) -> bool:
        """Whether nothing of dead processes is left, as a recoverer asks before it ends."""
        assert self._orphans is not None
        orphans = self._orphans.orphans
        return orphans.is_idle and orphans.has_scanned and not self.buffer.adopted

    def check_disk(self) -> None:
        """Look whether files and memory stay within their bounds."""
        disk, storage = self._disk, self.storage
        if disk is None or storage is None:
            return
        on_volume = storage.bytes_on_volume()
        if on_volume > disk.options.bytes_max:
            raise Violation(f"{on_volume} bytes are on the volume, not {disk.options.bytes_max}")
        chunks = [each for each in self.buffer.unsettled() if not each.spooled]
        # Our own records, and halves of what a server does not take, come on top.
        controls = sum(each.entries - each.records for each in chunks) * _CONTROL_BYTES_MAX
        in_memory = sum(each.size for each in chunks if each.whole is each)
        if in_memory > disk.options.memory_bytes_max + controls:
            raise Violation(f"{in_memory} bytes are in memory, for want of a disk")

    def check_locks(self) -> None:
        """Check that no other process could ship the same records."""
        if self._disk is not None:
            for name in {each.adoption.name for each in self._adopted()}:
                self._disk.check_locked(name)

    def unproven(self) -> dict[str, set[Stamp]]:
        """Return what is left of dead processes, by directory, where that is poison alone."""
        left: dict[str, set[Stamp]] = {}
        for chunk in self.buffer.adopted:
            frame = self._frame_of(chunk)
            if len(frame.numbers) != 1 or not self.history.judge.is_poison(frame):
                return {}
            whole = chunk.whole
            assert isinstance(whole, AdoptedChunk)
            left.setdefault(whole.adoption.name, set()).add((frame.stream, frame.numbers[0]))
        return left

    def _adopted(self) -> list[AdoptedChunk]:
        wholes = [each.whole for each in self.buffer.adopted]
        return [each for each in wholes if isinstance(each, AdoptedChunk)]

    def _new_storage(self) -> SimulatedStorage | None:
        if self._disk is None or self.is_recoverer:
            return None
        return SimulatedStorage(self.history, self._disk)

    def _accepted(self, disk: SimulatedDisk, tag: str, body: bytes) -> None:
        """Note in the estate which record has which number."""
        stream = self.buffer._section.accumulator.streams.open[tag]
        number = stream.next_number - 1
        disk.estate.accepted(self.life, stream.id, number, serial_of(body), body)
        fired, unspooled = self.history.fired, self.buffer.unspooled
        fired["unspooled"] += unspooled > self._unspooled_seen
        self._unspooled_seen = unspooled

    def _leave_will(self, disk: SimulatedDisk) -> None:
        """Tell the judge what is in memory. The buffer is torn, perhaps: it is not asked."""
        chunks = [
            each
            for each in self.buffer._section.accumulator.chunks.unsettled.values()
            if not each.spooled
        ]
        at_risk = {
            (chunk.stream.id, number)
            for chunk in chunks
            for first, last in chunk.ranges()
            for number in range(first, last + 1)
        }
        disk.estate.died(self.life, at_risk, self.buffer.unspooled)
        streams = self.buffer._section.accumulator.streams
        left_out = self.life.may_leave_out(self.history.options.lost_max)
        given_up, untold = set(left_out), set(left_out)
        for stream in (*streams.ended, *streams.open.values()):
            declared_here = (stream.declaring.get(each.id, []) for each in chunks)
            given_up |= _stamps(stream, stream.lost)
            untold |= _stamps(stream, chain(stream.undeclared, *declared_here))
        disk.estate.excused(self.life, given_up=given_up, untold=untold)

    def _leave_spool(self, disk: SimulatedDisk, *, dies: bool) -> None:
        assert self._orphans is not None
        self._orphans.close()
        if disk.faults is not None:
            disk.faults.told_nothing()
        chunks = [each.whole for each in self.buffer._section.accumulator.chunks.unsettled.values()]
        waiting = {each.stream.id for each in chunks if each.spooled and each.entries}
        directory = None if self.storage is None else self.storage.end(dies=dies)
        if directory is not None:
            disk.estate.left(self.life, directory, waiting)
            disk.damage(directory)

    # -- for the judge ---------------------------------------------------------------------------

    def counted(self) -> tuple[int, int, int]:
        """Return accepted, acked and refused records, with those that wait to be counted.

        Nothing is combined by it: entries must wait in the inbox as they do in life.
        """
        section, counters = self.buffer._section, self.buffer.counters
        waiting = 0 if section.closed else len(section.inbox)
        names = [name for name, _, _ in section.notes]
        waiting += names.count(WITHHELD)
        return (
            counters.accepted + waiting,
            counters.acked,
            counters.refused + names.count("refused"),
        )

    def account(self) -> Account:
        """Return what the client says of itself."""
        self.buffer.unsettled()  # which combines what waits
        counters = self.buffer.counters
        return Account(
            counters.accepted,
            counters.acked,
            counters.spilled,
            sum(counters.dropped.values()),
            counters.refused,
            self.buffer.bytes_held,
        )

    def holdings(self) -> Holdings:
        """Look into the buffer."""
        records = entries = data_bytes = 0
        for chunk in self.buffer.unsettled():
            records += chunk.records
            entries += chunk.entries
            data_bytes += len(chunk.data)
        return Holdings(records, entries, data_bytes)

    def stderr_lines(self) -> list[dict[str, Any]]:
        """Return what is on standard error, a line included that is only begun.

        Its end comes before whatever is written next, so before the report that names it.
        """
        return self.stderr.lines(self.last_resort._pending)

    def held(self) -> list[Frame]:
        """Return what lies in the buffer, read anew."""
        return [self._frame_of(chunk) for chunk in self.buffer.unsettled()]

    def _frame_of(self, chunk: Chunk) -> Frame:
        key = self.history.options.stamp_key
        return decode(chunk.id, chunk.stream.tag, bytes(chunk.data), key)


def _stamps(stream: Stream, gaps: Iterable[Gap]) -> set[Stamp]:
    return {(stream.id, number) for gap in gaps for number in range(gap.first, gap.last + 1)}
