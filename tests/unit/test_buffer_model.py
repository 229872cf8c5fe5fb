"""Any sequence of operations against a reference made of plain lists, and a naive shipper.

Safety: every record is in exactly one place, and the report names it there. Liveness: a shipper
that sleeps until it is woken, or until the time that the buffer named, is never late: it comes for
every sealed chunk, and for every open chunk whose linger is over.
"""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logship._buffer.entrance import Outcome
from logship._buffer.losses import Numbered
from logship._reasons import QUARANTINED
from logship.testing import ManualClock
from tests.unit.accounts import QUICK, Sink, a_buffer, body, check, check_declared, entries_of

LINGER_SECONDS = 0.2
TAGS = st.sampled_from(["a", "b", "c"])


class Model(RuleBasedStateMachine):
    """The reference: where each record is, by the number that the test gave it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.awake = False
        self.alarm: float | None = None
        self.buffer = a_buffer(
            bytes_max=2500,
            chunk_bytes_max=400,
            linger_seconds=LINGER_SECONDS,
            monotonic=self.clock,
            wake=self._wake,
        )
        self.sink = Sink(self.buffer)
        self.next = 0
        self.kept: set[int] = set()
        self.acked: set[int] = set()
        self.dropped: set[int] = set()
        self.spilled: set[int] = set()
        self.refused = 0
        self.numbered: list[Numbered] = []
        self.closed = False

    def _wake(self) -> None:
        assert not self.awake, "woken twice before it looked"
        self.awake = True

    # -- producers ---------------------------------------------------------------------------------

    @rule(tag=TAGS, characters=st.sampled_from([0, 20, 150, 600]))
    def offer(self, tag: str, characters: int) -> None:
        self.next += 1
        packed = body(self.next, characters)
        size = len(packed) + len("logship_id") + 25
        fits = self.buffer.bytes_held + size <= self.buffer.bytes_max
        outcome = self.buffer.offer(tag, packed)
        if self.closed:
            assert outcome is Outcome.REFUSED
            self.refused += 1
        elif fits:
            assert outcome is Outcome.ACCEPTED
            self.kept.add(self.next)
        else:
            assert outcome is Outcome.FULL

    @rule(tag=TAGS)
    def number_and_drop(self, tag: str) -> None:
        self.next += 1
        numbered = self.buffer.number_and_drop(tag, body(self.next))
        if self.closed:
            assert numbered is None
            self.refused += 1
        else:
            assert numbered is not None
            self.numbered.append(numbered)
            self.dropped.add(self.next)

    @precondition(lambda self: self.numbered)
    @rule(data=st.data())
    def spill_dropped(self, data: st.DataObject) -> None:
        numbered = data.draw(st.sampled_from(self.numbered))
        self.numbered.remove(numbered)
        self.buffer.dropped_was_spilled(numbered)
        (record,) = entries_of(numbered.entry)
        self.dropped.remove(record["n"])
        self.spilled.add(record["n"])

    @rule()
    def drop_oldest(self) -> None:
        before = {chunk.id: chunk for chunk in self.buffer.unsettled()}
        payloads = {key: bytes(chunk.data) for key, chunk in before.items()}
        dropped = self.buffer.drop_oldest()
        gone = before.keys() - {chunk.id for chunk in self.buffer.unsettled()}
        assert len(gone) == dropped
        for key in gone:
            assert before[key] not in self.sink.taken
            chunk = before[key]
            on_stderr = chunk.spilled_entries == chunk.entries
            self._move(entries_of(payloads[key]), self.spilled if on_stderr else self.dropped)

    # -- the shipper -------------------------------------------------------------------------------

    @rule(states=st.booleans())
    def shipper_comes(self, states: bool) -> None:
        """The shipper was woken, or its time has come; it does what the client's turn does."""
        assume(self.awake or (self.alarm is not None and self.alarm <= self.clock()))
        self.awake = False
        if states:
            self.buffer.state_highest()
        self.buffer.departure.seal_due(self.clock())
        self.sink.take_all()
        self.alarm = self.buffer.departure.next_deadline_seconds()
        assert not self.buffer.departure.has_sealed()

    @rule(seconds=st.sampled_from([0.05, 0.1, 0.3]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.sink.taken)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(self.sink.taken))
        self._move(entries_of(chunk.data), self.acked)
        self.sink.ack(chunk)

    @precondition(lambda self: self.sink.taken)
    @rule(data=st.data())
    def take_apart(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(self.sink.taken))
        self.sink.taken.remove(chunk)
        records = entries_of(chunk.data)
        halves = self.buffer.departure.split(chunk)
        if halves is not None:
            self.sink.taken += halves
        else:
            self.buffer.give_up(chunk, QUARANTINED)
            self._move(records, self.dropped)

    @precondition(lambda self: self.buffer.unsettled())
    @rule(data=st.data())
    def spill_some(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(self.buffer.unsettled()))
        entries = data.draw(st.integers(0, chunk.entries))
        records = sum("n" in record for record in entries_of(chunk.data)[:entries])
        self.buffer.spilling.note_spilled(chunk, entries, records)

    @rule()
    def close(self) -> None:
        self.buffer.close_intake()
        self.closed = True

    # -- what must hold ----------------------------------------------------------------------------

    def _move(self, records: list[dict[str, Any]], where: set[int]) -> None:
        numbers = {record["n"] for record in records if "n" in record}
        assert numbers <= self.kept
        self.kept -= numbers
        where |= numbers

    @invariant()
    def every_record_is_in_its_place(self) -> None:
        check(self.buffer, self.sink.acked)
        report = self.buffer.report("", 0.0)
        assert report.accepted == sum(map(len, (self.kept, self.acked, self.dropped, self.spilled)))
        assert report.acked == len(self.acked)
        assert report.dropped == len(self.dropped)
        assert report.spilled + report.unacked == len(self.spilled) + len(self.kept)
        assert report.refused == self.refused
        in_chunks = [r for chunk in self.buffer.unsettled() for r in entries_of(chunk.data)]
        assert sorted(r["n"] for r in in_chunks if "n" in r) == sorted(self.kept)

    @invariant()
    def the_shipper_will_come_for_everything(self) -> None:
        if self.awake:
            return
        assert not self.buffer.departure.has_sealed()
        for chunk in self.buffer.unsettled():
            if chunk not in self.sink.taken:  # an open one
                assert self.alarm is not None
                assert self.alarm <= chunk.opened_seconds + LINGER_SECONDS

    def teardown(self) -> None:
        """Everything heals: it must drain, and every gap be declared in what arrived."""
        self.buffer.close_intake()
        self.sink.drain()
        assert self.buffer.bytes_held == 0
        assert not self.buffer.unsettled()
        check(self.buffer, self.sink.acked)
        if not self.closed:
            check_declared(self.buffer, self.sink.acked)


TestModel = Model.TestCase
TestModel.settings = QUICK
