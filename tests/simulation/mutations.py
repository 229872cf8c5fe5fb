"""Faults put into the product on purpose, to show that the judge would notice them.

Each is a function that changes the product through a `MonkeyPatch`; its docstring is what a person
sees. The first are mistakes that one might make; the last are those that were made, and that this
simulation found.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from logship._buffer.accumulator import Accumulator
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk, ChunkState, MemoryChunk
from logship._buffer.chunks import Chunks
from logship._buffer.entrance import Entrance
from logship._buffer.inbox import Item, Run, Tag
from logship._buffer.stream import Stream
from logship._client.closing import Closing
from logship._client.pump import Pump
from logship._delivery import attempts as attempts_module
from logship._delivery.chunks import Flight
from logship._delivery.delivery import Delivery
from logship._delivery.drain import DrainPlan
from logship._delivery.poison import PoisonSearch
from logship._protocol.frames import AckReader
from logship._reasons import OVERFLOW, QUARANTINED
from tests.simulation.options import Forced

Change = Callable[[pytest.MonkeyPatch], None]
Remove = Callable[[Item, int], None]
ChunkDelivery = Delivery[Chunk]


@dataclass(frozen=True)
class Mutation:
    """A mistake.

    Attributes:
        put_in: Changes the product; its docstring says how.
        seed: Of a history that shows the mistake, so that a test need not look for one each time.
        forced: Options of each history where the mistake is looked for.
    """

    put_in: Change
    seed: int
    forced: Forced

    def __str__(self) -> str:
        return self.put_in.__name__


class Mutations(list[Mutation]):
    """Mutations, in the order in which they were written down."""

    def add(self, *, seed: int, **forced: Any) -> Callable[[Change], None]:
        """Take in a function that changes the product through a `MonkeyPatch`."""
        return lambda put_in: self.append(Mutation(put_in, seed, forced))

    def around(self, owner: Any, name: str, **known: Any) -> Callable[[Callable[..., Any]], None]:
        """Take in what is called instead of a function; that is its first argument.

        Args:
            owner: The class or module that has the function.
            name: The function's name there.
            known: As of `add`.
        """

        def take_in(change: Callable[..., Any]) -> None:
            def mutate(patch: pytest.MonkeyPatch) -> None:
                original = getattr(owner, name)

                def changed(*arguments: Any, **named: Any) -> Any:
                    return change(original, *arguments, **named)

                patch.setattr(owner, name, changed)

            self.add(**known)(functools.update_wrapper(mutate, change))

        return take_in

    def after_init(self, kind: type, **known: Any) -> Callable[[Callable[[Any], None]], None]:
        """Take in what is done to each new object of a class."""

        def take_in(change: Callable[[Any], None]) -> None:
            def init(
                original: Callable[..., None], new: Any, *arguments: Any, **named: Any
            ) -> None:
                original(new, *arguments, **named)
                change(new)

            self.around(kind, "__init__", **known)(functools.update_wrapper(init, change))

        return take_in


MUTATIONS = Mutations()
_mutation, _around, _after_init = MUTATIONS.add, MUTATIONS.around, MUTATIONS.after_init


# -- delivery --------------------------------------------------------------------------------


@_around(Delivery, "_restore", seed=2)
def id_regenerated_on_resend(restore: Any, self: ChunkDelivery, lost: list[Chunk]) -> None:
    """A chunk gets a new id when it is sent again."""
    for chunk in lost:
        chunk.id = chunk.id[::-1]
    restore(self, lost)


@_around(Delivery, "next_deadline_seconds", seed=3)
def retry_timer_lost(deadline: Any, self: ChunkDelivery) -> float | None:
    """No attempt follows a failed one."""
    return None if self.state.name == "WAITING" else deadline(self)


@_around(Delivery, "_note_progress", seed=15)
def ack_timeout_from_the_connection(note: Any, self: ChunkDelivery, now_seconds: float) -> None:
    """The silence is counted from the beginning of the connection, whatever was acked since."""
    since = self._progress_at_seconds
    note(self, now_seconds)
    self._progress_at_seconds = since


@_mutation(seed=4)
def resend_behind_the_others(patch: pytest.MonkeyPatch) -> None:
    """New chunks go out before those that were lost."""

    def next_chunk(self: ChunkDelivery) -> Chunk | None:
        chunk = self._source.take()
        return chunk if chunk is not None or not self._resend else self._resend.popleft()

    patch.setattr(Delivery, "_next_chunk", next_chunk)


@_around(Delivery, "acked", seed=1)
def ack_taken_for_all_before(
    acked: Any, self: ChunkDelivery, now: float, chunk_ids: Iterable[str]
) -> Any:
    """An ack releases every chunk that was sent before it as well."""
    sent = list(self._inflight)
    last = max((sent.index(each) for each in chunk_ids if each in sent), default=-1)
    return acked(self, now, sent[: last + 1])


@_around(Delivery, "_note_progress", seed=13)
def backoff_never_reset(note: Any, self: ChunkDelivery, now_seconds: float) -> None:
    """Failures are counted from the beginning of the process."""
    failures = self._attempts.failures
    note(self, now_seconds)
    self._attempts.failures = failures


@_mutation(seed=63)
def backoff_short_without_an_answer(patch: pytest.MonkeyPatch) -> None:
    """After an attempt without an answer the wait is that after a refusal."""
    patch.setattr(attempts_module, "UNANSWERED_FAILURES", 0)


@_mutation(seed=15)
def backoff_not_hurried(patch: pytest.MonkeyPatch) -> None:
    """A drain waits as long between attempts as a running program."""
    patch.setattr(attempts_module, "DRAIN_WAIT_SECONDS_MAX", 1e9)


@_mutation(seed=21)
def split_without_a_trial(patch: pytest.MonkeyPatch) -> None:
    """A chunk is taken apart when it is lost for the first time."""
    patch.setattr("logship._delivery.poison.STRIKES_BEFORE_SPLIT", 1)


# -- the inbox -------------------------------------------------------------------------------


@_around(Accumulator, "append", seed=1)
def append_lost_during_combine(append: Any, self: Accumulator, run: Run, remove: Remove) -> Any:
    """The last of the entries that are combined at once is removed and not kept."""
    first, bodies = run
    if len(bodies) == 1:
        return append(self, run, remove)
    return 1 + append(self, (first, bodies[:-1]), lambda each, n: remove(each, n + 1))


@_mutation(seed=3)
def end_forgets_what_was_withheld(patch: pytest.MonkeyPatch) -> None:
    """Records that are withheld just before the end get no numbers."""
    patch.setattr(Accumulator, "_number_withheld", lambda _self, _stream: None)


@_mutation(seed=1)
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


@_around(Stream, "stamped", seed=1)
def all_have_one_number(stamped: Any, self: Stream, bodies: Sequence[bytes]) -> bytes:
    """Entries that are combined at once all get the stamp of the first."""
    return b"".join(stamped(self, [body]) for body in bodies)


# -- the buffer ------------------------------------------------------------------------------


@_around(Accumulator, "number_and_drop", seed=3)
def number_used_twice(number_and_drop: Any, self: Accumulator, tag: Tag, body: bytes) -> Any:
    """The number of a record that found no place is given to the next one as well."""
    result = number_and_drop(self, tag, body)
    if result is not None:
        result.stream.next_number -= 1
    return result


@_around(Accumulator, "declare_gaps", seed=3)
def gap_not_declared(declare: Any, self: Accumulator, stream: Stream, *behind: int) -> None:
    """What was lost is counted, and the stream says nothing of it."""
    stream.undeclared = []
    declare(self, stream, *behind)


@_around(Buffer, "drop_oldest", seed=21)
def gap_forgotten_with_its_chunk(drop: Any, self: Buffer) -> Any:
    """A gap record that is dropped with its chunk is not written again."""
    chunk = self._section.accumulator.chunks.first_droppable()
    if chunk is not None:
        chunk.gaps = []
    return drop(self)


@_around(Chunks, "first_droppable", seed=21)
def drops_what_is_in_flight(droppable: Any, self: Chunks) -> Chunk | None:
    """A full buffer drops a chunk that delivery has."""
    taken = (each for each in self.unsettled.values() if each.state is ChunkState.TAKEN)
    return next(taken, None) or droppable(self)


@_around(Accumulator, "release", seed=1)
def space_not_told(release: Any, self: Accumulator, chunk: Chunk) -> None:
    """The bytes of an acked chunk stay in the account."""
    held = self.chunks.bytes_held
    release(self, chunk)
    self.chunks.bytes_held = held


@_after_init(Entrance, seed=3)
def bound_not_kept(entrance: Entrance) -> None:
    """The buffer takes more than it may."""
    entrance.bytes_max += entrance.bytes_max // 2


@_around(Buffer, "release", seed=1)
def acked_counted_twice(release: Any, self: Buffer, chunk: Chunk) -> None:
    """A chunk that has been sent twice counts twice."""
    release(self, chunk)
    self.counters.acked += chunk.records if chunk.serial % 5 == 0 else 0


@_around(Accumulator, "end", seed=1)
def end_record_with_a_wrong_count(
    end: Any, self: Accumulator, stream: Stream, *, retires: bool = True
) -> None:
    """The end record says that one record less was accepted."""
    stream.controls += 1
    end(self, stream, retires=retires)
    stream.controls -= 1


# -- the client and the protocol -------------------------------------------------------------


@_mutation(seed=140)
def answers_of_two_connections_mixed(patch: pytest.MonkeyPatch) -> None:
    """What a connection left half read is taken for the beginning of the next one's answers."""
    shared = AckReader()
    patch.setattr(AckReader, "__init__", lambda self: self.__dict__.update(shared.__dict__))


@_mutation(seed=3)
def dropped_is_told_as_quarantined(patch: pytest.MonkeyPatch) -> None:
    """A record that finds no space is declared for another reason."""
    patch.setattr("logship._buffer.accumulator.OVERFLOW", QUARANTINED)


@_around(Accumulator, "give_up", seed=21)
def given_up_for_another_reason(give_up: Any, self: Accumulator, chunk: Chunk, reason: str) -> None:
    """A chunk that no server takes is declared as one that found no space, or the reverse."""
    give_up(self, chunk, OVERFLOW if reason == QUARANTINED else QUARANTINED)


@_around(Pump, "turn", seed=7)
def turn_sends_first(turn: Any, self: Pump) -> None:
    """A turn sends, and only then seals and gives up what is due."""
    self.perform(self._delivery.chunks_ready(self._monotonic()))
    with pytest.MonkeyPatch.context() as late:
        late.setattr(self._delivery, "chunks_ready", lambda _: [])
        turn(self)


@_around(Closing, "join", seed=18)
def drain_ends_late(join: Any, self: Closing, plan: DrainPlan, reason: str) -> None:
    """A drain takes a second more than it was given."""
    join(self, plan._replace(deadline_seconds=plan.deadline_seconds + 1.0), reason)


@_mutation(seed=1219)
def gaps_given_up_as_ends(patch: pytest.MonkeyPatch) -> None:
    """A gap record is waited for no longer than an end record, which declares no loss."""
    patch.setattr(Buffer, "only_ends_wait", property(lambda self: not self.records_waiting))


# -- those that were found -------------------------------------------------------------------


@_mutation(seed=1902)
def timer_not_armed_when_writable(patch: pytest.MonkeyPatch) -> None:
    """What is sent when the kernel takes bytes again has no ack timeout."""

    def changed(self: Pump, *, writable: bool) -> None:
        self.perform(self._delivery.set_writable(self._monotonic(), writable))

    patch.setattr(Pump, "writable_changed", changed)


@_mutation(seed=87)
def loop_spins_during_a_trial(patch: pytest.MonkeyPatch) -> None:
    """While a chunk is alone in flight, the client looks for more to send without a pause."""

    def can_send(self: ChunkDelivery) -> bool:
        room = len(self._inflight) < self._inflight_chunks_max
        return self.state.name == "READY" and self.writable and room

    patch.setattr(Delivery, "can_send", property(can_send))


@_around(Delivery, "_condemn_overtaken", seed=18)
def resend_ends_the_silence(condemn: Any, self: ChunkDelivery, now_seconds: float) -> Any:
    """To send again what was passed over puts off the ack timeout, each time."""
    actions = condemn(self, now_seconds)
    if not self._inflight.keys().isdisjoint(self._passed_over):
        self._progress_at_seconds = now_seconds
    return actions


@_mutation(seed=316)
def neighbours_acquit_each_other(patch: pytest.MonkeyPatch) -> None:
    """Two records side by side that a server closes on: each is the other's probe, for ever."""
    patch.setattr("logship._delivery.poison.PROBES_AT_FIRST", 1)

    def acquit(self: PoisonSearch, *, one_was_split: bool) -> None:
        del one_was_split
        self._strikes.clear()

    patch.setattr(PoisonSearch, "acquit", acquit)


@_mutation(seed=18)
def accused_once_is_guilty(patch: pytest.MonkeyPatch) -> None:
    """A server that recovers while it is probed costs an innocent record."""
    patch.setattr(PoisonSearch, "accuse", lambda _self, _chunk_id: True)


@_around(Delivery, "_fill_window", seed=1)
def suspect_overtaken_by_nothing(fill: Any, self: ChunkDelivery, now_seconds: float) -> Any:
    """A chunk that was passed over once counts as overtaken again as soon as it is sent."""
    actions = fill(self, now_seconds)
    for flight in self._inflight.values():
        if flight.overtaken_at_seconds is None and flight.chunk.id in self._passed_over:
            flight.overtaken_at_seconds = now_seconds
    return actions


@_around(Delivery, "_send_again", seed=258)
def sent_again_behind_the_others(
    send_again: Any, self: ChunkDelivery, flight: Flight[Chunk]
) -> Any:
    """A chunk that is slow to be acked loses its place in the window when it is sent again."""
    self._inflight[flight.chunk.id] = self._inflight.pop(flight.chunk.id)
    return send_again(self, flight)
