"""Faults put into the product on purpose, to show that the judge would notice them.

Each is a function that changes the product through a `MonkeyPatch`; its docstring is what a person
sees. The first are mistakes that one might make; the last are those that were made, and that this
simulation found.
"""

from __future__ import annotations

import functools
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
from logship._buffer.departure import Departure
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
from logship._delivery import attempts as attempts_module
from logship._delivery.attempts import Attempts
from logship._delivery.chunks import Flight
from logship._delivery.delivery import Delivery
from logship._delivery.drain import DrainPlan
from logship._delivery.poison import PoisonSearch
from logship._protocol.frames import AckReader
from logship._settings import Settings

Mutation = Callable[[pytest.MonkeyPatch], None]
Remove = Callable[[Item, int], None]
ChunkDelivery = Delivery[Chunk]


class Mutations(list[Mutation]):
    """Mutations, in the order in which they were written down."""

    def add(self, mutation: Mutation) -> Mutation:
        """Take in a function that changes the product through a `MonkeyPatch`."""
        self.append(mutation)
        return mutation

    def around(self, owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
        """Take in what is called instead of a function; that is its first argument.

        Args:
            owner: The class or module that has the function.
            name: The function's name there.
        """

        def take_in(change: Callable[..., Any]) -> None:
            def mutate(patch: pytest.MonkeyPatch) -> None:
                original = getattr(owner, name)

                def changed(*arguments: Any, **named: Any) -> Any:
                    return change(original, *arguments, **named)

                patch.setattr(owner, name, changed)

            self.add(functools.update_wrapper(mutate, change))

        return take_in

    def after_init(self, kind: type) -> Callable[[Callable[[Any], None]], None]:
        """Take in what is done to each new object of a class."""

        def take_in(change: Callable[[Any], None]) -> None:
            def init(
                original: Callable[..., None], new: Any, *arguments: Any, **named: Any
            ) -> None:
                original(new, *arguments, **named)
                change(new)

            self.around(kind, "__init__")(functools.update_wrapper(init, change))

        return take_in


MUTATIONS = Mutations()
_mutation, _around, _after_init = MUTATIONS.add, MUTATIONS.around, MUTATIONS.after_init


# -- delivery --------------------------------------------------------------------------------


@_mutation
def resend_without_the_last(patch: pytest.MonkeyPatch) -> None:
    """Of several chunks that were lost the last is not sent again."""
    restore = ChunkDelivery._restore
    patch.setattr(Delivery, "_restore", lambda self, lost: restore(self, lost[:-1] or lost))


@_after_init(Delivery)
def window_off_by_one(delivery: ChunkDelivery) -> None:
    """One chunk too many is in flight."""
    delivery._inflight_chunks_max += 1


@_around(Delivery, "_restore")
def id_regenerated_on_resend(restore: Any, self: ChunkDelivery, lost: list[Chunk]) -> None:
    """A chunk gets a new id when it is sent again."""
    for chunk in lost:
        chunk.id = chunk.id[::-1]
    restore(self, lost)


@_around(Delivery, "next_deadline_seconds")
def retry_timer_lost(deadline: Any, self: ChunkDelivery) -> float | None:
    """No attempt follows a failed one."""
    return None if self.state.name == "WAITING" else deadline(self)


@_around(Delivery, "_note_progress")
def ack_timeout_from_the_connection(note: Any, self: ChunkDelivery, now_seconds: float) -> None:
    """The silence is counted from the beginning of the connection, whatever was acked since."""
    since = self._progress_at_seconds
    note(self, now_seconds)
    self._progress_at_seconds = since


@_mutation
def resend_behind_the_others(patch: pytest.MonkeyPatch) -> None:
    """New chunks go out before those that were lost."""

    def next_chunk(self: ChunkDelivery) -> Chunk | None:
        chunk = self._source.take()
        return chunk if chunk is not None or not self._resend else self._resend.popleft()

    patch.setattr(Delivery, "_next_chunk", next_chunk)


@_around(Delivery, "acked")
def ack_taken_for_all_before(
    acked: Any, self: ChunkDelivery, now: float, chunk_ids: Iterable[str]
) -> Any:
    """An ack releases every chunk that was sent before it as well."""
    sent = list(self._inflight)
    last = max((sent.index(each) for each in chunk_ids if each in sent), default=-1)
    return acked(self, now, sent[: last + 1])


@_around(Delivery, "acked")
def any_ack_taken_for_the_first(
    acked: Any, self: ChunkDelivery, now: float, chunk_ids: Iterable[str]
) -> Any:
    """An ack for an unknown id releases the chunk that waits longest."""
    first = next(iter(self._inflight), "")
    return acked(self, now, [each if each in self._inflight else first for each in chunk_ids])


@_around(Delivery, "_note_progress")
def backoff_never_reset(note: Any, self: ChunkDelivery, now_seconds: float) -> None:
    """Failures are counted from the beginning of the process."""
    failures = self._attempts.failures
    note(self, now_seconds)
    self._attempts.failures = failures


@_around(Attempts, "try_next")
def backoff_never_grows(try_next: Any, self: Attempts, now_seconds: float, *more: int) -> None:
    """Each failure is taken for the first."""
    self.failures = 0
    try_next(self, now_seconds, *more)


@_around(parts_module, "retry_wait")
def backoff_never_capped(
    retry_wait: Any, settings: Settings, *more: Uniform
) -> Callable[[int], float]:
    """The longest wait is not the longest."""
    wait = retry_wait(settings, *more)
    return lambda failures: wait(failures) * max(1, failures - 5)


@_mutation
def backoff_short_without_an_answer(patch: pytest.MonkeyPatch) -> None:
    """After an attempt without an answer the wait is that after a refusal."""
    patch.setattr(attempts_module, "UNANSWERED_FAILURES", 0)


@_mutation
def backoff_not_hurried(patch: pytest.MonkeyPatch) -> None:
    """A drain waits as long between attempts as a running program."""
    patch.setattr(attempts_module, "DRAIN_WAIT_SECONDS_MAX", 1e9)


@_around(Delivery, "hurry")
def hurry_cuts_off(hurry: Any, self: ChunkDelivery, now: float, ack_timeout_seconds: float) -> Any:
    """A drain's shorter ack timeout counts from before the drain."""
    since = self._progress_at_seconds
    actions = hurry(self, now, ack_timeout_seconds)
    self._progress_at_seconds = since
    return actions


@_around(Delivery, "_split")
def split_loses_its_second_half(
    split: Any, self: ChunkDelivery, chunk: Chunk
) -> tuple[Chunk, ...] | None:
    """Of a chunk that was taken apart only the first half is sent."""
    halves = split(self, chunk)
    return None if halves is None else halves[:1]


@_mutation
def split_without_a_trial(patch: pytest.MonkeyPatch) -> None:
    """A chunk is taken apart when it is lost for the first time."""
    patch.setattr("logship._delivery.poison.STRIKES_BEFORE_SPLIT", 1)


@_around(Delivery, "_split")
def whole_sent_after_its_halves(
    split: Any, self: ChunkDelivery, chunk: Chunk
) -> tuple[Chunk, ...] | None:
    """A chunk that was taken apart stays in line itself."""
    halves = split(self, chunk)
    return None if halves is None else (*halves, chunk)


# -- the inbox -------------------------------------------------------------------------------


@_around(Accumulator, "append")
def append_lost_during_combine(append: Any, self: Accumulator, run: Run, remove: Remove) -> Any:
    """The last of the entries that are combined at once is removed and not kept."""
    first, bodies = run
    if len(bodies) == 1:
        return append(self, run, remove)
    return 1 + append(self, (first, bodies[:-1]), lambda each, n: remove(each, n + 1))


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

    def counting(self: Accumulator, tag: Tag, body: bytes) -> Numbered | None:
        result = number_and_drop(self, tag, body)

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


@_around(Accumulator, "_number_withheld")
def withheld_counted_twice(number: Any, self: Accumulator, stream: Stream) -> None:
    """What has got its numbers goes on waiting for them."""
    withheld = dict(stream.withheld)
    number(self, stream)
    if stream.end is None and not self.streams.open.keys() > {stream.key}:
        stream.withheld = withheld


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
    init = Entrance.__init__

    def widened(self: Entrance, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        section = self._section
        section.relaxed_bytes_max = section.inbox_max = section.inbox_entries_max = 1 << 60
        self._relaxed_body_bytes_max = self._combine_at = 1 << 60

    patch.setattr(Entrance, "__init__", widened)
    patch.setattr(Section, "combine", lambda self: None)


@_around(Stream, "stamped")
def all_have_one_number(stamped: Any, self: Stream, bodies: Sequence[bytes]) -> bytes:
    """Entries that are combined at once all get the stamp of the first."""
    return b"".join(stamped(self, [body]) for body in bodies)


@_around(Accumulator, "append")
def full_chunk_begins_anew(append: Any, self: Accumulator, run: Run, remove: Remove) -> Any:
    """Entries that did not fit into a chunk are put into the next one with those that did."""

    def remove_too_few(first: Item, count: int) -> None:
        remove(first, 1 if count < len(run[1]) else count)

    return append(self, run, remove_too_few)


def _made_twice(self: Changes, change: Change, *values: Any) -> None:
    """Commit as after an exception that came at the end of the change."""
    change(*values)
    change(*values)


# -- the buffer ------------------------------------------------------------------------------


@_around(Accumulator, "number_and_drop")
def number_used_twice(number_and_drop: Any, self: Accumulator, tag: Tag, body: bytes) -> Any:
    """The number of a record that found no place is given to the next one as well."""
    result = number_and_drop(self, tag, body)
    if result is not None:
        result.stream.next_number -= 1
    return result


@_around(Accumulator, "_declare_gaps")
def gap_not_declared(declare: Any, self: Accumulator, stream: Stream) -> None:
    """What was lost is counted, and the stream says nothing of it."""
    stream.undeclared = []
    declare(self, stream)


@_around(Buffer, "drop_oldest")
def gap_forgotten_with_its_chunk(drop: Any, self: Buffer) -> Any:
    """A gap record that is dropped with its chunk is not written again."""
    chunk = self._section.accumulator.chunks.first_droppable()
    if chunk is not None:
        chunk.gaps = []
    return drop(self)


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


@_around(Chunks, "first_droppable")
def drops_what_is_in_flight(droppable: Any, self: Chunks) -> Chunk | None:
    """A full buffer drops a chunk that delivery has."""
    taken = (each for each in self.unsettled.values() if each.state is ChunkState.TAKEN)
    return next(taken, None) or droppable(self)


@_around(Departure, "take")
def chunk_sealed_and_lost(take: Any, self: Departure) -> Any:
    """A chunk is taken out of the line and given to nothing."""
    chunk = take(self)
    return take(self) if chunk is not None and chunk.serial % 7 == 0 else chunk


@_mutation
def wake_up_lost(patch: pytest.MonkeyPatch) -> None:
    """The shipper is not told of entries and sealed chunks."""
    patch.setattr(Wakeups, "chunk_sealed", lambda self: None)
    patch.setattr(Wakeups, "entry_waits", lambda self: None)
    patch.setattr(entrance_module, "_ASLEEP", None)


@_around(Accumulator, "release")
def space_not_told(release: Any, self: Accumulator, chunk: Chunk) -> None:
    """The bytes of an acked chunk stay in the account."""
    held = self.chunks.bytes_held
    release(self, chunk)
    self.chunks.bytes_held = held


@_after_init(Entrance)
def bound_not_kept(entrance: Entrance) -> None:
    """The buffer takes more than it may."""
    entrance.bytes_max += entrance.bytes_max // 2


@_around(Buffer, "release")
def acked_counted_twice(release: Any, self: Buffer, chunk: Chunk) -> None:
    """A chunk that has been sent twice counts twice."""
    release(self, chunk)
    self.counters.acked += chunk.records if chunk.serial % 5 == 0 else 0


@_around(account_module, "_stream_report")
def report_leaves_out_a_range(report: Any, stream: Stream, waiting: list[Chunk]) -> Any:
    """The report counts what is not acked, and does not name it."""
    return report(stream, waiting)._replace(unacked=[])


@_around(Accumulator, "end")
def end_record_with_a_wrong_count(
    end: Any, self: Accumulator, stream: Stream, *, retires: bool = True
) -> None:
    """The end record says that one record less was accepted."""
    stream.controls += 1
    end(self, stream, retires=retires)
    stream.controls -= 1


# -- the client and the protocol -------------------------------------------------------------


@_mutation
def answers_of_two_connections_mixed(patch: pytest.MonkeyPatch) -> None:
    """What a connection left half read is taken for the beginning of the next one's answers."""
    shared = AckReader()
    patch.setattr(AckReader, "__init__", lambda self: self.__dict__.update(shared.__dict__))


@_around(Pump, "turn")
def turn_sends_first(turn: Any, self: Pump) -> None:
    """A turn sends, and only then seals and gives up what is due."""
    self.perform(self._delivery.chunks_ready(self._monotonic()))
    with pytest.MonkeyPatch.context() as late:
        late.setattr(self._delivery, "chunks_ready", lambda _: [])
        turn(self)


@_around(Closing, "join")
def drain_ends_late(join: Any, self: Closing, plan: DrainPlan, reason: str) -> None:
    """A drain takes a second more than it was given."""
    join(self, plan._replace(deadline_seconds=plan.deadline_seconds + 1.0), reason)


# -- those that were found -------------------------------------------------------------------


@_mutation
def timer_not_armed_when_writable(patch: pytest.MonkeyPatch) -> None:
    """What is sent when the kernel takes bytes again has no ack timeout."""

    def changed(self: Pump, *, writable: bool) -> None:
        self.perform(self._delivery.set_writable(self._monotonic(), writable))

    patch.setattr(Pump, "writable_changed", changed)


@_mutation
def loop_spins_during_a_trial(patch: pytest.MonkeyPatch) -> None:
    """While a chunk is alone in flight, the client looks for more to send without a pause."""

    def can_send(self: ChunkDelivery) -> bool:
        room = len(self._inflight) < self._inflight_chunks_max
        return self.state.name == "READY" and self.writable and room

    patch.setattr(Delivery, "can_send", property(can_send))


@_around(Delivery, "_condemn_overtaken")
def resend_ends_the_silence(condemn: Any, self: ChunkDelivery, now_seconds: float) -> Any:
    """To send again what was passed over puts off the ack timeout, each time."""
    actions = condemn(self, now_seconds)
    if not self._inflight.keys().isdisjoint(self._passed_over):
        self._progress_at_seconds = now_seconds
    return actions


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


@_around(Delivery, "_fill_window")
def suspect_overtaken_by_nothing(fill: Any, self: ChunkDelivery, now_seconds: float) -> Any:
    """A chunk that was passed over once counts as overtaken again as soon as it is sent."""
    actions = fill(self, now_seconds)
    for flight in self._inflight.values():
        if flight.overtaken_at_seconds is None and flight.chunk.id in self._passed_over:
            flight.overtaken_at_seconds = now_seconds
    return actions


@_around(Delivery, "_send_again")
def sent_again_behind_the_others(
    send_again: Any, self: ChunkDelivery, flight: Flight[Chunk]
) -> Any:
    """A chunk that is slow to be acked loses its place in the window when it is sent again."""
    self._inflight[flight.chunk.id] = self._inflight.pop(flight.chunk.id)
    return send_again(self, flight)
