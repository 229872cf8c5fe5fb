"""Faults put into the product on purpose, to show that the judge would notice them.

Each is a function that changes the product through a `MonkeyPatch`; its docstring is what a person
sees. The first are mistakes that one might make; the last are those that were made, and that this
simulation found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from logship._buffer import account as account_module
from logship._buffer import entrance as entrance_module
from logship._buffer import losses as losses_module
from logship._buffer import ranges as ranges_module
from logship._buffer.accumulator import Accumulator
from logship._buffer.buffer import Buffer
from logship._buffer.changes import Change, Changes
from logship._buffer.chunk import Chunk, ChunkState, MemoryChunk
from logship._buffer.chunks import Chunks
from logship._buffer.counters import StreamReport
from logship._buffer.entrance import Entrance
from logship._buffer.inbox import Inbox, Item, Run, Tag
from logship._buffer.losses import Numbered
from logship._buffer.ranges import Gap
from logship._buffer.section import Section
from logship._buffer.stream import Stream
from logship._buffer.wakeups import Wakeups
from logship._client import parts as parts_module
from logship._client.closing import Closing
from logship._client.parts import Uniform
from logship._client.pump import Pump
from logship._delivery import Actions, Delivery, Flight, Release, Send
from logship._delivery import attempts as attempts_module
from logship._delivery.attempts import Attempts
from logship._delivery.poison import PoisonSearch
from logship._protocol.frames import AckReader
from logship._settings import Settings

Mutation = Callable[[pytest.MonkeyPatch], None]
Remove = Callable[[Item, int], None]
MUTATIONS: list[Mutation] = []

ChunkDelivery = Delivery[Chunk]


def _mutation(change: Mutation) -> Mutation:
    MUTATIONS.append(change)
    return change


def _after_init(patch: pytest.MonkeyPatch, kind: type, change: Callable[[Any], None]) -> None:
    """Have `change` applied to each new object of this class."""
    original = kind.__init__  # type: ignore[misc]

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        change(self)

    patch.setattr(kind, "__init__", init)


# -- delivery --------------------------------------------------------------------------------


@_mutation
def release_before_ack(patch: pytest.MonkeyPatch) -> None:
    """A chunk is released when it is sent."""
    fill = ChunkDelivery._fill_window

    def filled(self: ChunkDelivery, now_seconds: float) -> Actions[Chunk]:
        actions = fill(self, now_seconds)
        return [*actions, *(Release(each.chunk) for each in actions if isinstance(each, Send))]

    patch.setattr(Delivery, "_fill_window", filled)


@_mutation
def resend_dropped(patch: pytest.MonkeyPatch) -> None:
    """What was lost with a connection is not sent again."""
    restore = ChunkDelivery._restore
    patch.setattr(Delivery, "_restore", lambda self, _lost: restore(self, []))


@_mutation
def resend_without_the_last(patch: pytest.MonkeyPatch) -> None:
    """Of several chunks that were lost the last is not sent again."""
    restore = ChunkDelivery._restore
    patch.setattr(Delivery, "_restore", lambda self, lost: restore(self, lost[:-1] or lost))


@_mutation
def window_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """One chunk too many is in flight."""

    def widen(delivery: ChunkDelivery) -> None:
        delivery._inflight_chunks_max += 1

    _after_init(patch, Delivery, widen)


@_mutation
def id_regenerated_on_resend(patch: pytest.MonkeyPatch) -> None:
    """A chunk gets a new id when it is sent again."""
    restore = ChunkDelivery._restore

    def restored(self: ChunkDelivery, lost: list[Chunk]) -> None:
        for chunk in lost:
            chunk.id = chunk.id[::-1]
        restore(self, lost)

    patch.setattr(Delivery, "_restore", restored)


@_mutation
def retry_timer_lost(patch: pytest.MonkeyPatch) -> None:
    """No attempt follows a failed one."""
    deadline = ChunkDelivery.next_deadline_seconds

    def without_retry(self: ChunkDelivery) -> float | None:
        return None if self.state.name == "WAITING" else deadline(self)

    patch.setattr(Delivery, "next_deadline_seconds", without_retry)


@_mutation
def ack_timeout_never_fires(patch: pytest.MonkeyPatch) -> None:
    """A silent connection is waited for as long as it lasts."""

    def wait_for_ever(delivery: ChunkDelivery) -> None:
        delivery._ack_timeout_seconds = float("inf")

    _after_init(patch, Delivery, wait_for_ever)


@_mutation
def ack_timeout_from_the_connection(patch: pytest.MonkeyPatch) -> None:
    """The silence is counted from the beginning of the connection, whatever was acked since."""
    note = ChunkDelivery._note_progress

    def noted(self: ChunkDelivery, now_seconds: float) -> None:
        since = self._progress_at_seconds
        note(self, now_seconds)
        self._progress_at_seconds = since

    patch.setattr(Delivery, "_note_progress", noted)


@_mutation
def order_reversed_on_resend(patch: pytest.MonkeyPatch) -> None:
    """The last chunk that was lost is the first that is sent again."""
    restore = ChunkDelivery._restore
    patch.setattr(Delivery, "_restore", lambda self, lost: restore(self, lost[::-1]))


@_mutation
def resend_behind_the_others(patch: pytest.MonkeyPatch) -> None:
    """New chunks go out before those that were lost."""

    def next_chunk(self: ChunkDelivery) -> Chunk | None:
        chunk = self._source.take()
        return chunk if chunk is not None or not self._resend else self._resend.popleft()

    patch.setattr(Delivery, "_next_chunk", next_chunk)


@_mutation
def ack_taken_for_all_before(patch: pytest.MonkeyPatch) -> None:
    """An ack releases every chunk that was sent before it as well."""
    acked = ChunkDelivery.acked

    def acked_all(self: ChunkDelivery, now: float, chunk_ids: Iterable[str]) -> Actions[Chunk]:
        sent = list(self._inflight)
        last = max((sent.index(each) for each in chunk_ids if each in sent), default=-1)
        return acked(self, now, sent[: last + 1])

    patch.setattr(Delivery, "acked", acked_all)


@_mutation
def any_ack_taken_for_the_first(patch: pytest.MonkeyPatch) -> None:
    """An ack for an unknown id releases the chunk that waits longest."""
    acked = ChunkDelivery.acked

    def acked_any(self: ChunkDelivery, now: float, chunk_ids: Iterable[str]) -> Actions[Chunk]:
        first = next(iter(self._inflight), "")
        return acked(self, now, [each if each in self._inflight else first for each in chunk_ids])

    patch.setattr(Delivery, "acked", acked_any)


@_mutation
def backoff_never_reset(patch: pytest.MonkeyPatch) -> None:
    """Failures are counted from the beginning of the process."""
    note = ChunkDelivery._note_progress

    def noted(self: ChunkDelivery, now_seconds: float) -> None:
        failures = self._attempts.failures
        note(self, now_seconds)
        self._attempts.failures = failures

    patch.setattr(Delivery, "_note_progress", noted)


@_mutation
def backoff_never_grows(patch: pytest.MonkeyPatch) -> None:
    """Each failure is taken for the first."""
    try_next = Attempts._try_next

    def tried(self: Attempts, now_seconds: float, *more: int) -> None:
        self.failures = 0
        try_next(self, now_seconds, *more)

    patch.setattr(Attempts, "_try_next", tried)


@_mutation
def backoff_never_capped(patch: pytest.MonkeyPatch) -> None:
    """The longest wait is not the longest."""
    retry_wait = parts_module.retry_wait

    def uncapped(settings: Settings, *more: Uniform) -> Callable[[int], float]:
        wait = retry_wait(settings, *more)
        return lambda failures: wait(failures) * max(1, failures - 5)

    patch.setattr(parts_module, "retry_wait", uncapped)


@_mutation
def backoff_short_without_an_answer(patch: pytest.MonkeyPatch) -> None:
    """After an attempt without an answer the wait is that after a refusal."""
    patch.setattr(attempts_module, "UNANSWERED_FAILURES", 0)


@_mutation
def backoff_not_hurried(patch: pytest.MonkeyPatch) -> None:
    """A drain waits as long between attempts as a running program."""
    hurry = ChunkDelivery.hurry
    patch.setattr(
        Delivery, "hurry", lambda self, now, timeout, _most: hurry(self, now, timeout, 1e9)
    )


@_mutation
def hurry_cuts_off(patch: pytest.MonkeyPatch) -> None:
    """A drain's shorter ack timeout counts from before the drain."""
    hurry = ChunkDelivery.hurry

    def hurried(
        self: ChunkDelivery, now: float, ack_timeout_seconds: float, wait_seconds_max: float
    ) -> Actions[Chunk]:
        since = self._progress_at_seconds
        actions = hurry(self, now, ack_timeout_seconds, wait_seconds_max)
        self._progress_at_seconds = since
        return actions

    patch.setattr(Delivery, "hurry", hurried)


@_mutation
def split_loses_its_second_half(patch: pytest.MonkeyPatch) -> None:
    """Of a chunk that was taken apart only the first half is sent."""
    split = ChunkDelivery._split

    def first_half(self: ChunkDelivery, chunk: Chunk) -> tuple[Chunk, ...] | None:
        halves = split(self, chunk)
        return None if halves is None else halves[:1]

    patch.setattr(Delivery, "_split", first_half)


@_mutation
def split_without_a_trial(patch: pytest.MonkeyPatch) -> None:
    """A chunk is taken apart when it is lost for the first time."""
    patch.setattr("logship._delivery.poison.STRIKES_BEFORE_SPLIT", 1)


@_mutation
def whole_sent_after_its_halves(patch: pytest.MonkeyPatch) -> None:
    """A chunk that was taken apart stays in line itself."""
    split = ChunkDelivery._split

    def and_whole(self: ChunkDelivery, chunk: Chunk) -> tuple[Chunk, ...] | None:
        halves = split(self, chunk)
        return None if halves is None else (*halves, chunk)

    patch.setattr(Delivery, "_split", and_whole)


@_mutation
def quarantine_without_proof(patch: pytest.MonkeyPatch) -> None:
    """A single record that a server passes over is given up at once."""
    condemn = ChunkDelivery._condemn_overtaken

    def condemned(self: ChunkDelivery, now_seconds: float) -> Actions[Chunk]:
        self._passed_over.update(self._inflight)
        return condemn(self, now_seconds)

    patch.setattr(Delivery, "_condemn_overtaken", condemned)


# -- the inbox -------------------------------------------------------------------------------


@_mutation
def append_lost_during_combine(patch: pytest.MonkeyPatch) -> None:
    """The last of the entries that are combined at once is removed and not kept."""
    append = Accumulator.append

    def all_but_the_last(self: Accumulator, run: Run, remove: Remove) -> int:
        first, bodies = run
        if len(bodies) == 1:
            return append(self, run, remove)
        return 1 + append(self, (first, bodies[:-1]), lambda each, n: remove(each, n + 1))

    patch.setattr(Accumulator, "append", all_but_the_last)


@_mutation
def batch_removed_twice(patch: pytest.MonkeyPatch) -> None:
    """A change removes entries from the inbox without a look at their identity."""

    def remove(self: Inbox, first: Item, count: int) -> None:
        del first
        del self.items[:count]

    patch.setattr(Inbox, "remove", remove)
    patch.setattr(Changes, "commit", _made_twice)


@_mutation
def change_counts_up(patch: pytest.MonkeyPatch) -> None:
    """A change advances a counter by one in place of storing what was computed."""
    number_and_drop = Accumulator.number_and_drop

    def counting(self: Accumulator, tag: Tag, body: bytes, reason: str) -> Numbered | None:
        result = number_and_drop(self, tag, body, reason)

        def count() -> None:
            self.counters.accepted += 1

        self.counters.accepted -= 1
        self.changes.commit(count)
        return result

    patch.setattr(Accumulator, "number_and_drop", counting)
    patch.setattr(Changes, "commit", _made_twice)


@_mutation
def end_forgets_what_was_withheld(patch: pytest.MonkeyPatch) -> None:
    """Records that are withheld just before the end get no numbers."""
    patch.setattr(Accumulator, "_number_withheld", lambda _self, _stream: None)


@_mutation
def withheld_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """What has got its numbers goes on waiting for them."""
    number = Accumulator._number_withheld

    def again(self: Accumulator, stream: Stream) -> None:
        withheld = dict(stream.withheld)
        number(self, stream)
        if stream.end is None and not self.streams.keys() > {stream.key}:
            stream.withheld = withheld

    patch.setattr(Accumulator, "_number_withheld", again)


@_mutation
def commit_before_the_copy(patch: pytest.MonkeyPatch) -> None:
    """Entries are counted, and copied into the chunk only with those that follow."""
    write = MemoryChunk.write
    late: dict[str, tuple[int, bytes]] = {}

    def written(self: MemoryChunk, data: bytes) -> None:
        if self.id in late:
            at, before = late.pop(self.id)
            self.memory[at : at + len(before)] = before
        if self.entries % 3 == 2:
            late[self.id] = self.size, data
            data = bytes(len(data))
        write(self, data)

    patch.setattr(MemoryChunk, "write", written)


@_mutation
def close_overtakes_an_append(patch: pytest.MonkeyPatch) -> None:
    """Intake ends without what waits in the inbox."""

    def closed(self: Buffer) -> None:
        self._section.closing = self._section.closed = True
        self._section.exclusively(lambda: None)

    patch.setattr(Buffer, "close_intake", closed)


@_mutation
def inbox_without_a_bound(patch: pytest.MonkeyPatch) -> None:
    """Entries go into the inbox however full the buffer is, and none is combined."""

    def widen(entrance: Entrance) -> None:
        section = entrance._section
        section.relaxed_bytes_max = section.inbox_max = section.inbox_entries_max = 1 << 60
        entrance._relaxed_body_bytes_max = entrance._combine_at = 1 << 60

    _after_init(patch, Entrance, widen)
    patch.setattr(Section, "combine", lambda self: None)


@_mutation
def all_have_one_number(patch: pytest.MonkeyPatch) -> None:
    """Entries that are combined at once all get the stamp of the first."""
    stamped = Stream.stamped

    def as_the_first(self: Stream, bodies: Sequence[bytes]) -> bytes:
        return b"".join(stamped(self, [body]) for body in bodies)

    patch.setattr(Stream, "stamped", as_the_first)


@_mutation
def full_chunk_begins_anew(patch: pytest.MonkeyPatch) -> None:
    """Entries that did not fit into a chunk are put into the next one with those that did."""
    append = Accumulator.append

    def appended(self: Accumulator, run: Run, remove: Remove) -> int:
        def remove_too_few(first: Item, count: int) -> None:
            remove(first, 1 if count < len(run[1]) else count)

        return append(self, run, remove_too_few)

    patch.setattr(Accumulator, "append", appended)


def _made_twice(self: Changes, change: Change, *values: Any) -> None:
    """Commit as after an exception that came at the end of the change."""
    change(*values)
    change(*values)


# -- the buffer ------------------------------------------------------------------------------


@_mutation
def number_used_twice(patch: pytest.MonkeyPatch) -> None:
    """The number of a record that found no place is given to the next one as well."""
    number_and_drop = Accumulator.number_and_drop

    def dropped(self: Accumulator, tag: Tag, body: bytes, reason: str) -> Numbered | None:
        result = number_and_drop(self, tag, body, reason)
        if result is not None:
            result.stream.next_number -= 1
        return result

    patch.setattr(Accumulator, "number_and_drop", dropped)


@_mutation
def gap_not_declared(patch: pytest.MonkeyPatch) -> None:
    """What was lost is counted, and the stream says nothing of it."""
    declare = Accumulator._declare_gaps

    def forgotten(self: Accumulator, stream: Stream) -> None:
        stream.undeclared = []
        declare(self, stream)

    patch.setattr(Accumulator, "_declare_gaps", forgotten)


@_mutation
def gap_forgotten_with_its_chunk(patch: pytest.MonkeyPatch) -> None:
    """A gap record that is dropped with its chunk is not written again."""
    drop = Buffer.drop_oldest

    def dropped(self: Buffer) -> bool:
        chunk = self._section.accumulator.chunks.first_droppable()
        if chunk is not None:
            chunk.gaps = []
        return drop(self)

    patch.setattr(Buffer, "drop_oldest", dropped)


@_mutation
def summary_forgets_a_gap(patch: pytest.MonkeyPatch) -> None:
    """Where gaps are too many to tell apart, the oldest is told no more."""
    summarized = ranges_module._summarized
    patch.setattr(ranges_module, "_summarized", lambda gaps: summarized(gaps)[1:])


@_mutation
def gaps_forgotten_before_they_are_told(patch: pytest.MonkeyPatch) -> None:
    """Of many gaps the oldest are forgotten, though the sidecar was not told of them."""
    patch.setattr(losses_module, "_to_report", lambda _stream, gaps, _lost_now: gaps[-1:])


@_mutation
def declared_by_a_chunk_given_up(patch: pytest.MonkeyPatch) -> None:
    """A gap counts as declared by a record that is dropped in this moment."""
    left = losses_module.left_to_declare

    def left_by_others(chunk: Chunk, gaps: list[Gap]) -> list[Gap]:
        return [gap for gap in left(chunk, gaps) if gap not in chunk.gaps]

    patch.setattr("logship._buffer.accumulator.left_to_declare", left_by_others)


@_mutation
def drops_what_is_in_flight(patch: pytest.MonkeyPatch) -> None:
    """A full buffer drops a chunk that delivery has."""
    droppable = Chunks.first_droppable

    def any_of_them(self: Chunks) -> Chunk | None:
        taken = (each for each in self.unsettled.values() if each.state is ChunkState.TAKEN)
        return next(taken, None) or droppable(self)

    patch.setattr(Chunks, "first_droppable", any_of_them)


@_mutation
def chunk_sealed_and_lost(patch: pytest.MonkeyPatch) -> None:
    """A chunk is taken out of the line and given to nothing."""
    take = Buffer.take

    def taken(self: Buffer) -> Chunk | None:
        chunk = take(self)
        return take(self) if chunk is not None and chunk.serial % 7 == 0 else chunk

    patch.setattr(Buffer, "take", taken)


@_mutation
def wake_up_lost(patch: pytest.MonkeyPatch) -> None:
    """The shipper is not told of entries and sealed chunks."""
    patch.setattr(Wakeups, "chunk_sealed", lambda self: None)
    patch.setattr(Wakeups, "entry_waits", lambda self: None)
    patch.setattr(entrance_module, "_ASLEEP", None)


@_mutation
def space_not_told(patch: pytest.MonkeyPatch) -> None:
    """The bytes of an acked chunk stay in the account."""
    release = Accumulator.release

    def released(self: Accumulator, chunk: Chunk) -> None:
        held = self.chunks.bytes_held
        release(self, chunk)
        self.chunks.bytes_held = held

    patch.setattr(Accumulator, "release", released)


@_mutation
def bound_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The buffer takes more than it may."""

    def widen(entrance: Entrance) -> None:
        entrance.bytes_max += entrance.bytes_max // 2

    _after_init(patch, Entrance, widen)


@_mutation
def acked_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """A chunk that has been sent twice counts twice."""
    release = Buffer.release

    def released(self: Buffer, chunk: Chunk) -> None:
        release(self, chunk)
        self.counters.acked += chunk.records if chunk.serial % 5 == 0 else 0

    patch.setattr(Buffer, "release", released)


@_mutation
def report_leaves_out_a_range(patch: pytest.MonkeyPatch) -> None:
    """The report counts what is not acked, and does not name it."""
    report = account_module._stream_report

    def without(stream: Stream, waiting: list[Chunk]) -> StreamReport:
        return report(stream, waiting)._replace(unacked=[])

    patch.setattr(account_module, "_stream_report", without)


@_mutation
def end_record_with_a_wrong_count(patch: pytest.MonkeyPatch) -> None:
    """The end record says that one record less was accepted."""
    end = Accumulator.end

    def ended(self: Accumulator, stream: Stream, *, retires: bool = True) -> None:
        stream.controls += 1
        end(self, stream, retires=retires)
        stream.controls -= 1

    patch.setattr(Accumulator, "end", ended)


# -- the client and the protocol -------------------------------------------------------------


@_mutation
def answers_of_two_connections_mixed(patch: pytest.MonkeyPatch) -> None:
    """What a connection left half read is taken for the beginning of the next one's answers."""
    shared = AckReader()
    patch.setattr(AckReader, "__init__", lambda self: self.__dict__.update(shared.__dict__))


@_mutation
def turn_sends_first(patch: pytest.MonkeyPatch) -> None:
    """A turn sends, and only then seals and gives up what is due."""
    turn = Pump.turn

    def turned(self: Pump) -> None:
        self.perform(self._delivery.chunks_ready(self._monotonic()))
        with pytest.MonkeyPatch.context() as late:
            late.setattr(self._delivery, "chunks_ready", lambda _: [])
            turn(self)

    patch.setattr(Pump, "turn", turned)


@_mutation
def drain_ends_late(patch: pytest.MonkeyPatch) -> None:
    """A drain takes a second more than it was given."""

    def prolong(closing: Closing) -> None:
        plan = closing._plan
        closing._plan = plan._replace(deadline_seconds=plan.deadline_seconds + 1.0)

    _after_init(patch, Closing, prolong)


# -- those that were found -------------------------------------------------------------------


@_mutation
def loop_spins_during_a_trial(patch: pytest.MonkeyPatch) -> None:
    """While a chunk is alone in flight, the client looks for more to send without a pause."""

    def can_send(self: ChunkDelivery) -> bool:
        room = len(self._inflight) < self._inflight_chunks_max
        return self.state.name == "READY" and self.writable and room

    patch.setattr(Delivery, "can_send", property(can_send))


@_mutation
def resend_ends_the_silence(patch: pytest.MonkeyPatch) -> None:
    """To send again what was passed over puts off the ack timeout, each time."""
    condemn = ChunkDelivery._condemn_overtaken

    def condemned(self: ChunkDelivery, now_seconds: float) -> Actions[Chunk]:
        actions = condemn(self, now_seconds)
        if not self._inflight.keys().isdisjoint(self._passed_over):
            self._progress_at_seconds = now_seconds
        return actions

    patch.setattr(Delivery, "_condemn_overtaken", condemned)


@_mutation
def neighbours_acquit_each_other(patch: pytest.MonkeyPatch) -> None:
    """Two records side by side that a server closes on: each is the other's probe, for ever."""
    patch.setattr("logship._delivery.poison.PROBES_AT_FIRST", 1)

    def acquit(self: PoisonSearch, *, one_was_split: bool) -> None:
        del one_was_split
        self._strikes.clear()

    patch.setattr(PoisonSearch, "acquit", acquit)


@_mutation
def accused_once_is_guilty(patch: pytest.MonkeyPatch) -> None:
    """A server that recovers while it is probed costs an innocent record."""
    patch.setattr(PoisonSearch, "accuse", lambda _self, _chunk_id: True)


@_mutation
def suspect_overtaken_by_nothing(patch: pytest.MonkeyPatch) -> None:
    """A chunk that was passed over once counts as overtaken again as soon as it is sent."""
    fill = ChunkDelivery._fill_window

    def filled(self: ChunkDelivery, now_seconds: float) -> Actions[Chunk]:
        actions = fill(self, now_seconds)
        for flight in self._inflight.values():
            if flight.overtaken_at_seconds is None and flight.chunk.id in self._passed_over:
                flight.overtaken_at_seconds = now_seconds
        return actions

    patch.setattr(Delivery, "_fill_window", filled)


@_mutation
def sent_again_behind_the_others(patch: pytest.MonkeyPatch) -> None:
    """A chunk that is slow to be acked loses its place in the window when it is sent again."""
    send_again = ChunkDelivery._send_again

    def moved(self: ChunkDelivery, flight: Flight[Chunk]) -> Send[Chunk]:
        self._inflight[flight.chunk.id] = self._inflight.pop(flight.chunk.id)
        return send_again(self, flight)

    patch.setattr(Delivery, "_send_again", moved)
