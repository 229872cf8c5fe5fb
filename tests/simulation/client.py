"""The client as `logship/_client/shipper.py` is, without asyncio, around the product's own pump."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

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
from logship._delivery.attempts import Attempts
from logship._delivery.delivery import Delivery
from logship._delivery.drain import DrainPlan, Progress
from logship._reasons import WITHHELD
from logship._settings import Endpoint, Settings
from logship._spool.storage import RETRY_SECONDS
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill
from tests.simulation import inspection
from tests.simulation.disk import SimulatedDisk, SimulatedStorage
from tests.simulation.estate import Stamp
from tests.simulation.port import SimulatedPort
from tests.simulation.schedule import SimulatedSchedule
from tests.simulation.spool import WatchedOrphans, upkeep_of
from tests.simulation.stderr import SimulatedStderr
from tests.simulation.wire import Violation, serial_of
from tests.support.packing import pack_record
from tests.support.raising import reraise

if TYPE_CHECKING:
    from tests.simulation.history import History

_LATE_SECONDS = closing._REPORT_SECONDS_MIN + 0.001


class SimulatedClient:
    """One process life.

    Attributes:
        life: What the judge knows of it.
        broken: As `Shipper.broken`: whether shipping has ended for good.
        waiting: How many producers wait for space.
        is_recoverer: Whether it only ships what others left on a spool, as `logship recover`.
    """

    def __init__(self, history: History, number: int, *, is_recoverer: bool = False) -> None:
        options, clock = history.options, history.clock
        self.history = history
        self.life = history.judge.begin(number)
        self.schedule = SimulatedSchedule(clock, history.late)
        self.port = SimulatedPort(self)
        self.broken = False
        self.waiting = 0
        self.is_recoverer = is_recoverer
        self.disk: SimulatedDisk | None = history.disk
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
            failed=reraise,
            monotonic=clock.monotonic,
            time_ns=clock.time_ns,
            random_bytes=history.draw.randbytes,
            combine_at=options.combine_at,
            inbox_max=options.inbox_max,
            inbox_bytes_max=int(options.buffer_bytes_max * options.inbox_share),
        )
        self._watch_giving_up()
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
        endpoints = [Endpoint("tcp", "sidecar", 1 + each, "") for each in range(options.endpoints)]
        self.delivery: Delivery[Chunk] = Delivery(
            Attempts((*endpoints,), self._wait_seconds, lambda: parts.RETURN_SECONDS),
            source=self.buffer.departure,
            inflight_chunks_max=options.window,
            ack_timeout_seconds=options.ack_timeout_seconds,
        )
        self._orphans: WatchedOrphans | None = None
        if self.disk is not None:
            self._orphans = WatchedOrphans(self, self.disk)
            self._upkeep = upkeep_of(self, self.disk, self._orphans)
        self.pump = Pump(
            self.buffer,
            self.delivery,
            port=self.port,
            upkeep=self,
            schedule=self.schedule,
            monotonic=clock.monotonic,
        )
        self._asked_failures: int | None = None
        self._steps: Iterator[float] | None = None
        self._closing: Closing | None = None
        self._ticket = 0
        self._deadline_seconds = 0.0
        self._unspooled_seen = 0

    # -- producers -------------------------------------------------------------------------------

    def emit(self, tag: str, body: bytes) -> None:
        """Put a record into the buffer, as `Client.emit` does.

        Args:
            tag: Its route.
            body: The beginning of its entry.
        """
        if self.life.is_closing:
            self.life.refused += 1
        else:
            self.life.accepted += 1
        outcome = self.admission.admit_after(self.buffer.offer(tag, body), tag, body)
        is_in = outcome is Outcome.ACCEPTED
        if not is_in and not self.life.is_closing:
            self.history.fired["overflow"] += 1
        if is_in and self.disk is not None:
            self._accepted(self.disk, tag, body)

    def withhold(self, tag: str) -> None:
        """Keep a record back, as `Client.emit` does for `redact`."""
        if self.life.is_closing:
            self.life.refused += 1
            self.buffer.note("refused", 1, tag)
        else:
            self.life.accepted += 1
            self.buffer.note(WITHHELD, 1, tag)

    def put(self, tag: str, body: bytes) -> None:
        """Put a record into the buffer as soon as there is space, as `Client.send` does."""
        if self.schedule.is_dead:
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
                if self.disk is not None:
                    self._accepted(self.disk, tag, body)
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
        self.life.is_closing = True
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
        if ticket != self._ticket or self._steps is None or self.schedule.is_dead:
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

    def _note_report(self, report: DrainReport) -> None:
        """Have the report judged now: it may be a while until it is printed."""
        self.history.client_reported(self, report.to_json())

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
        if self.schedule.is_dead:
            return
        now = self.history.clock.now
        self.history.judge.hurried(self.life, self.port.link, plan.deadline_seconds - now, now)
        self.pump.hurry(plan.deadline_seconds)

    def flush(self) -> None:
        self.buffer.seal_all()
        self.turn()

    def shut(self) -> None:
        """End the connection, then give up the spool, as `Shipper.shut` does.

        A turn that was called before the end comes behind it, and must do nothing. It comes late
        where the loop is busy: when the spool would look again at what failed.
        """
        self.pump.close()
        if self.disk is not None:
            self._leave_spool(self.disk, dies=False)
            self.schedule.after(RETRY_SECONDS, self.turn)

    def die(self) -> None:
        self.schedule.is_dead = True
        if self.port.link is not None:
            self.port.link.abort()
        if self.disk is not None:
            self._leave_will(self.disk)
            self._leave_spool(self.disk, dies=True)

    def progressed(self) -> None:
        """Chunks were settled: the end may go on."""
        if self._steps is not None:
            self.history.clock.after(0.0, self._step, self._ticket)

    # -- inside ----------------------------------------------------------------------------------

    def _watch_giving_up(self) -> None:
        """Tell the judge why each chunk is given up."""
        accumulator, history = self.buffer._section.accumulator, self.history
        give_up = accumulator.give_up

        def watched(chunk: Chunk, reason: str) -> None:
            history.note("give up %s %s-%s: %s", chunk.id, chunk.first, chunk.last, reason)
            frame = inspection.frame_of(self, chunk)
            link, now = self.port.link, history.clock.now
            history.judge.chunk_given_up(self.life, link, frame, reason, now)
            give_up(chunk, reason)

        accumulator.give_up = watched  # type: ignore[method-assign]

    def wake(self) -> None:
        """Take a turn in this moment, after what is due already, or later on a busy loop."""
        self.history.clock.after(self.history.late(), self.turn)

    def turn(self) -> None:
        """Look at the buffer and the clock, do what is due, and arrange for the next time."""
        if self.schedule.is_dead:
            return
        due = self._due()
        self.pump.turn()
        if due is not None and due.is_waiting and self.delivery.can_send:
            raise Violation(f"{due!r} was due, and was not sent in this turn")

    def _due(self) -> Chunk | None:
        """Return the oldest chunk that is sealed, or has lingered, of those that may leave."""
        chunks, now = self.buffer._section.accumulator.chunks, self.history.clock.now
        linger_seconds = self.buffer.departure.linger_seconds
        for chunk in chunks.in_order():
            is_open = chunk.state is ChunkState.OPEN
            has_lingered = is_open and chunk.opened_seconds + linger_seconds <= now
            if has_lingered or chunk.state is ChunkState.SEALED:
                return chunk
        return None

    # -- the pump's upkeep (pump.Upkeep) -----------------------------------------------------------

    def tend(self, now_seconds: float) -> None:
        """Tend to the spool, as a client does."""
        del now_seconds
        if self.disk is not None:
            self._upkeep.tend(may_adopt=True)

    def deadlines(self) -> Iterable[float | None]:
        """Return when to look at the spool again."""
        self._note_wait()
        return () if self.disk is None else self._upkeep.deadlines()

    def _note_wait(self) -> None:
        if self._asked_failures is not None:
            asked, self._asked_failures = self._asked_failures, None
            self.history.judge.check_wait(self.life, asked)

    def _wait_seconds(self, failures: int) -> float:
        self._asked_failures = failures
        return self._retry_wait(failures)

    # -- the spool -------------------------------------------------------------------------------

    def has_recovered(self) -> bool:
        """Whether nothing of dead processes is left, as a recoverer asks before it ends."""
        assert self._orphans is not None
        orphans = self._orphans.orphans
        return orphans.is_idle and orphans.has_scanned and not self.buffer.adopted

    def _new_storage(self) -> SimulatedStorage | None:
        if self.disk is None or self.is_recoverer:
            return None
        return SimulatedStorage(self.history, self.disk)

    def _accepted(self, disk: SimulatedDisk, tag: str, body: bytes) -> None:
        """Note in the estate which record has which number."""
        stream = self.buffer._section.accumulator.streams.open[tag]
        number = stream.next_number - 1
        disk.estate.accepted(self.life, stream.id, number, serial_of(body), body)
        unspooled = self.buffer.unspooled
        if unspooled > self._unspooled_seen:
            self._unspooled_seen = unspooled
            self.history.fired["unspooled"] += 1
            storage = self.storage
            if storage is not None and storage._own is not None and not storage._trouble:
                raise Violation("a record is in memory alone, and the spool is in no trouble")

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


def _stamps(stream: Stream, gaps: Iterable[Gap]) -> set[Stamp]:
    return {(stream.id, number) for gap in gaps for number in range(gap.first, gap.last + 1)}
