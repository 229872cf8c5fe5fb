"""The table of states, and what delivery promises whatever the network does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._delivery.actions import Connect, Disconnect, Quarantine, Release, Send, Warn
from logship._delivery.attempts import UNANSWERED_FAILURES, UNANSWERED_SECONDS
from logship._delivery.delivery import IDLE_SECONDS, Delivery
from logship._delivery.states import TRANSITIONS, Event, State
from logship._settings import Endpoint
from tests.unit.accounts import QUICK

FIRST, SECOND = (Endpoint("tcp", "127.0.0.1", port, "") for port in (1, 2))
ACK_TIMEOUT_SECONDS = 90.0
RETURN_SECONDS = 60.0


@dataclass(eq=False)
class Handle:
    """A chunk as delivery sees it; `records` tells how often it can be split."""

    id: str
    records: list[int] = field(default_factory=list)
    size: int = 1000

    def __repr__(self) -> str:
        return f"<{self.id}>"


class Source:
    """The buffer as delivery sees it."""

    def __init__(self, *chunks: Handle) -> None:
        self.chunks = deque(chunks)

    def take(self) -> Handle | None:
        return self.chunks.popleft() if self.chunks else None

    def has_sealed(self) -> bool:
        return bool(self.chunks)

    def split(self, chunk: Any) -> tuple[Handle, Handle] | None:
        if len(chunk.records) < 2:
            return None
        middle = len(chunk.records) // 2
        parts = (chunk.records[:middle], chunk.records[middle:])
        return (Handle(f"{chunk.id}l", parts[0]), Handle(f"{chunk.id}r", parts[1]))


def handles(count: int) -> list[Handle]:
    return [Handle(f"c{number}", [number]) for number in range(count)]


def a_delivery(
    source: Source,
    *,
    window: int = 8,
    endpoints: tuple[Endpoint, ...] = (FIRST,),
    retry_wait_seconds: Callable[[int], float] = float,
) -> Delivery[Handle]:
    return Delivery(
        endpoints,
        source=source,
        inflight_chunks_max=window,
        ack_timeout_seconds=ACK_TIMEOUT_SECONDS,
        retry_wait_seconds=retry_wait_seconds,
        return_wait_seconds=lambda: RETURN_SECONDS,
    )


def ready(source: Source, **options: Any) -> tuple[Delivery[Handle], list[str]]:
    """Return a delivery that is connected, and the ids it sent."""
    delivery = a_delivery(source, **options)
    delivery.start()
    return delivery, sent(delivery.connected(0.0))


def refused(source: Source, **options: Any) -> Delivery[Handle]:
    """Return a delivery whose first attempt to connect has failed."""
    delivery = a_delivery(source, **options)
    delivery.start()
    delivery.connect_failed(0.0, "refused")
    return delivery


def connected_again(delivery: Delivery[Handle]) -> list[str]:
    """Connect when the next attempt is due; return the ids that are sent then."""
    deadline = delivery.next_deadline_seconds()
    assert deadline is not None
    delivery.timer(deadline)
    return sent(delivery.connected(deadline))


def sent(actions: Any) -> list[str]:
    return [action.chunk.id for action in actions if isinstance(action, Send)]


def released(actions: Any) -> list[str]:
    return [action.chunk.id for action in actions if isinstance(action, Release)]


# -- the table -------------------------------------------------------------------------------------


def in_state(state: State) -> Delivery[Handle]:
    delivery = a_delivery(Source(*handles(2)))
    delivery.state = state
    return delivery


CALLS: dict[Event, Callable[[Delivery[Handle]], Any]] = {
    Event.WANTED: lambda delivery: delivery.start(),
    Event.CONNECTED: lambda delivery: delivery.connected(1.0),
    Event.FAILED: lambda delivery: delivery.connect_failed(1.0, "no"),
    Event.LOST: lambda delivery: delivery.connection_lost(1.0, "gone"),
    Event.RETRY: lambda delivery: delivery.timer(1e9),
    Event.CLOSE: lambda delivery: delivery.close(),
}
TOLERANT = {Event.WANTED, Event.RETRY, Event.CLOSE}  # asked when nothing is known to have happened


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_cannot_happen(state: State, event: Event) -> None:
    delivery = in_state(state)
    if (state, event) in TRANSITIONS or event in TOLERANT:
        CALLS[event](delivery)
        assert delivery.state is TRANSITIONS.get((state, event), state)
    else:
        with pytest.raises(KeyError, match=f"{state.name}.*{event.name}"):
            CALLS[event](delivery)


# -- window and acks -------------------------------------------------------------------------------


def test_the_window_is_never_exceeded_and_an_ack_makes_room_in_it() -> None:
    delivery, first = ready(Source(*handles(5)), window=3)
    assert first == ["c0", "c1", "c2"]
    assert delivery.inflight_chunks == 3
    assert not delivery.can_send
    assert delivery.chunks_ready(0.0) == []
    actions = delivery.acked(1.0, ["c0"])
    assert (released(actions), sent(actions)) == (["c0"], ["c3"])


def test_acks_count_in_any_order_and_only_once() -> None:
    delivery, _ = ready(Source(*handles(3)))
    assert released(delivery.acked(1.0, ["c2", "c0"])) == ["c2", "c0"]
    assert released(delivery.acked(1.0, ["c2", "unknown", "c1", "c1"])) == ["c1"]
    assert delivery.counters.unknown_acks == 3
    assert delivery.inflight_chunks == 0


def test_an_unknown_ack_is_no_progress() -> None:
    delivery, _ = ready(Source(*handles(1)))
    delivery.acked(50.0, ["unknown"])
    assert delivery.last_ack_seconds is None
    assert delivery.next_deadline_seconds() == ACK_TIMEOUT_SECONDS


def test_nothing_is_sent_while_the_connection_takes_nothing() -> None:
    source = Source(*handles(2))
    delivery, _ = ready(source, window=1)
    assert delivery.set_writable(1.0, False) == []
    assert sent(delivery.acked(1.0, ["c0"])) == []
    assert sent(delivery.chunks_ready(1.0)) == []
    assert sent(delivery.set_writable(2.0, True)) == ["c1"]


def test_idle_delivery_connects_when_there_is_something_to_send() -> None:
    source = Source()
    delivery = a_delivery(source)
    assert delivery.chunks_ready(0.0) == []
    source.chunks.extend(handles(1))
    assert delivery.chunks_ready(0.0) == [Connect(FIRST)]


# -- losing the connection -------------------------------------------------------------------------


def test_all_that_was_not_acked_is_sent_again_in_its_old_order_with_its_old_ids() -> None:
    source = Source(*handles(6))
    delivery, _ = ready(source, window=4)
    delivery.acked(1.0, ["c1"])
    actions = delivery.connection_lost(2.0, "reset")
    assert any(isinstance(action, Warn) and "reset" in action.text for action in actions)
    assert delivery.timer(2.0) == [Connect(FIRST)], "it had worked: at once"
    assert sent(delivery.connected(3.0)) == ["c0", "c2", "c3", "c4"]
    assert delivery.counters.chunks_resent == 4
    assert sent(delivery.acked(4.0, ["c0"])) == ["c5"]


def test_silence_ends_the_connection_and_is_counted_from_the_first_question() -> None:
    source = Source()
    delivery, _ = ready(source)
    source.chunks.extend(handles(2))
    delivery.chunks_ready(1000.0)
    assert delivery.next_deadline_seconds() == 1000.0 + ACK_TIMEOUT_SECONDS
    delivery.acked(1050.0, ["c0"])
    assert delivery.next_deadline_seconds() == 1050.0 + ACK_TIMEOUT_SECONDS
    assert delivery.timer(1139.0) == []
    actions = delivery.timer(1140.0)
    assert isinstance(actions[0], Disconnect)
    assert delivery.state is State.WAITING


def test_the_silence_ends_the_connection_that_takes_nothing_too() -> None:
    """What was passed over is not tried again meanwhile: then nothing would be in flight."""
    delivery, _ = ready(Source(*handles(3)))
    delivery.acked(1.0, ["c2"])  # c0 and c1 were passed over
    delivery.set_writable(2.0, False)
    due_seconds = delivery.next_deadline_seconds()
    assert due_seconds == 1.0 + ACK_TIMEOUT_SECONDS
    assert delivery.timer(due_seconds - 0.1) == []
    assert isinstance(delivery.timer(due_seconds)[0], Disconnect)


def test_a_sidecar_is_silent_from_the_moment_in_which_it_is_asked_and_does_not_take() -> None:
    source = Source()
    delivery = refused(source)
    assert delivery.silent_seconds(0.0) == float("inf"), "looked for, and not there"
    delivery.timer(delivery.next_deadline_seconds() or 0.0)
    delivery.connected(10.0)
    assert delivery.silent_seconds(50.0) == 0.0, "nothing was asked"
    source.chunks.extend(handles(2))
    delivery.chunks_ready(50.0)
    assert delivery.silent_seconds(50.5) == 0.5
    delivery.acked(51.0, ["c0"])
    assert delivery.silent_seconds(51.25) == 0.25
    delivery.connection_lost(51.5, "reset")
    assert delivery.silent_seconds(52.0) == 1.0, "since the last ack, and not since the loss"
    delivery.timer(52.0)
    delivery.connected(52.0)
    assert delivery.silent_seconds(52.1) == pytest.approx(0.1)


# -- trying again ----------------------------------------------------------------------------------


def test_waits_follow_the_number_of_failures_in_a_row() -> None:
    delivery = a_delivery(Source(), retry_wait_seconds=lambda failures: 10.0 * failures)
    delivery.start()
    waits, now = [], 0.0
    for _ in range(3):
        delivery.connect_failed(now, "refused")
        deadline = delivery.next_deadline_seconds()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
        assert delivery.timer(now - 0.1) == []
        assert delivery.timer(now) == [Connect(FIRST)]
    assert waits == [10.0, 20.0, 30.0]


def test_an_ack_and_nothing_less_resets_the_wait() -> None:
    source = Source(*handles(2))
    delivery = refused(source, window=1, retry_wait_seconds=lambda failures: 10.0 * failures)
    delivery.timer(10.0)
    delivery.connected(10.0)
    delivery.connection_lost(10.0, "closed without an ack")
    assert delivery.next_deadline_seconds() == 10.0 + 20.0
    delivery.timer(30.0)
    delivery.connected(30.0)
    delivery.acked(30.0, ["c0"])
    delivery.connection_lost(30.0, "closed after an ack")
    assert delivery.next_deadline_seconds() == 30.0
    delivery.timer(30.0)
    delivery.connect_failed(30.0, "refused")
    assert delivery.next_deadline_seconds() == 30.0 + 10.0


def test_failover_goes_round_and_an_ack_leads_back_to_the_first() -> None:
    source = Source(*handles(1))
    delivery = a_delivery(source, endpoints=(FIRST, SECOND), retry_wait_seconds=lambda _: 1.0)
    assert delivery.start() == [Connect(FIRST)]
    delivery.connect_failed(0.0, "refused")
    assert delivery.timer(1.0) == [Connect(SECOND)]
    delivery.connected(1.0)
    delivery.acked(2.0, ["c0"])
    delivery.connection_lost(3.0, "restarting")
    assert delivery.timer(3.0) == [Connect(FIRST)]


def test_a_connection_that_was_closed_because_it_was_idle_is_no_failure() -> None:
    """Balancers do that every minute; a server that closes at once is left for the next."""
    source = Source()
    delivery, _ = ready(source, endpoints=(FIRST, SECOND))
    now = 0.0
    for _ in range(3):
        now += IDLE_SECONDS
        assert delivery.connection_lost(now, "closed") == []
        assert delivery.silent_seconds(now + 1.0) == 1.0, "before, nothing was to be taken"
        assert delivery.timer(now) == [Connect(FIRST)]
        assert delivery.connected(now) == []
    assert delivery.connection_lost(now + IDLE_SECONDS - 0.1, "closed too soon") == []
    assert delivery.endpoint == SECOND


def test_a_sidecar_that_has_stopped_acking_is_left_for_the_next() -> None:
    delivery, _ = ready(Source(*handles(2)), endpoints=(FIRST, SECOND))
    delivery.acked(1.0, ["c0"])
    now = 1.0 + ACK_TIMEOUT_SECONDS
    assert delivery.timer(now)[0] == Disconnect()
    assert delivery.timer(now) == [Connect(SECOND)]


def test_a_second_best_sidecar_is_left_when_nothing_is_on_its_way() -> None:
    delivery = refused(Source(), endpoints=(FIRST, SECOND), retry_wait_seconds=lambda _: 1.0)
    delivery.timer(1.0)
    delivery.connected(1.0)
    assert delivery.next_deadline_seconds() == 1.0 + RETURN_SECONDS
    assert delivery.timer(1.0 + RETURN_SECONDS) == [Disconnect()]
    assert delivery.timer(1.0 + RETURN_SECONDS) == [Connect(FIRST)]


def test_after_an_attempt_without_an_answer_the_wait_is_any_up_to_the_longest() -> None:
    """All clients of a server that is gone give up together, and must not try again together."""
    delivery = refused(Source(*handles(1)))
    assert delivery.next_deadline_seconds() == 1.0
    delivery.timer(1.0)
    delivery.connect_failed(1.0 + UNANSWERED_SECONDS, "no answer")
    assert delivery.next_deadline_seconds() == 1.0 + UNANSWERED_SECONDS + UNANSWERED_FAILURES
    delivery.timer(100.0)
    delivery.connect_failed(100.1, "late, and refused at once")
    assert delivery.next_deadline_seconds() == 100.1 + 3.0


def test_hurry_shortens_every_wait_and_lengthens_none() -> None:
    delivery = refused(Source(*handles(1)), retry_wait_seconds=lambda _: 60.0)
    delivery.hurry(1.0, 5.0)
    assert delivery.next_deadline_seconds() == 1.25
    delivery.hurry(1.1, 1000.0)
    assert delivery.next_deadline_seconds() == 1.25
    delivery.timer(1.25)
    delivery.connect_failed(1.25, "refused")
    assert delivery.next_deadline_seconds() == 1.5
    delivery.timer(1.5)
    delivery.connected(2.0)
    assert delivery.next_deadline_seconds() == 7.0


def test_an_ending_client_looks_often_for_a_sidecar_and_cuts_none_off() -> None:
    delivery = refused(Source(*handles(1)), retry_wait_seconds=lambda _: 60.0)
    assert delivery.look_often(1.0) == []
    assert delivery.next_deadline_seconds() == 1.25
    delivery.timer(1.25)
    delivery.connected(2.0)
    assert delivery.next_deadline_seconds() == 2.0 + ACK_TIMEOUT_SECONDS


def test_a_closed_delivery_wants_nothing_any_more() -> None:
    delivery, _ = ready(Source(*handles(20)))
    assert delivery.close() == [Disconnect()]
    assert delivery.close() == []
    assert delivery.next_deadline_seconds() is None
    assert delivery.chunks_ready(1.0) == []
    assert delivery.acked(1.0, []) == []


def test_a_shipper_that_begins_again_while_it_waits_goes_on_waiting() -> None:
    source = Source()
    delivery, _ = ready(source)
    delivery.connection_lost(1.0, "reset")
    deadline = delivery.next_deadline_seconds()
    between = handles(1)
    assert delivery.restart(1.0, "an error", between) == []
    assert delivery.next_deadline_seconds() == deadline
    assert connected_again(delivery) == ["c0"]


def test_after_an_exception_where_a_connection_ended_its_chunks_are_sent_again() -> None:
    """As of a signal handler, right behind the step to the next state."""
    taken = handles(2)
    delivery, _ = ready(Source(*taken))
    delivery.state = State.WAITING
    delivery.restart(1.0, "an error", taken)
    delivery.timer(1.0)
    assert sent(delivery.connected(1.0)) == ["c0", "c1"]


def test_after_an_error_chunks_go_out_in_their_old_order() -> None:
    """One was taken off the line to be sent, and the error came before it was in the window."""
    taken = handles(4)
    delivery, _ = ready(Source(*taken))
    delivery.connection_lost(1.0, "reset")
    delivery._resend.popleft()
    delivery.restart(1.0, "an error", taken)
    assert connected_again(delivery) == ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("endpoints", "hopes"),
    [((FIRST,), [False, False]), ((FIRST, SECOND), [True, True, False, False])],
)
def test_there_is_hope_until_each_of_several_endpoints_has_failed(
    endpoints: tuple[Endpoint, ...], hopes: list[bool]
) -> None:
    delivery = a_delivery(Source(), endpoints=endpoints)
    delivery.start()
    for is_hopeful in hopes:
        assert delivery.is_hopeful is is_hopeful
        delivery.connect_failed(1.0, "refused")
        delivery.timer(1e9)
    delivery.connected(1e9)
    assert delivery.is_hopeful


def test_a_record_whose_probe_was_dropped_goes_out_again() -> None:
    """Set aside for a probe, which the buffer then had to drop for want of space."""
    source = Source(*handles(2))
    delivery, out = ready(source, window=1)
    for now in (1.0, 2.0, 3.0, 4.0):
        delivery.connection_lost(now, "reset")
        delivery.timer(now + 100.0)
        if delivery._aside:
            source.chunks.clear()
        out += sent(delivery.connected(now + 100.0))
    assert out == ["c0"] * 5


def test_an_action_is_a_value_and_reads_as_it_is_written() -> None:
    actions = [Warn("lost", "the text"), Disconnect(), Release(handles(1)[0])]
    assert repr(actions) == "[Warn('lost', 'the text'), Disconnect(), Release(<c0>)]"
    assert {Warn("lost", "text"), Warn("lost", "text"), Disconnect()} == {
        Disconnect(),
        Warn("lost", "text"),
    }


# -- whatever the network does ---------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["chunk", "connect", "fail", "lose", "ack", "ack any", "tick", "block", "unblock"]
        ),
        st.integers(0, 10),
    ),
    max_size=80,
)


class Network:
    """Performs delivery's actions, and checks each of them against what was promised."""

    def __init__(self, window: int) -> None:
        self.now = 0.0
        self.source = Source()
        self.window = window
        self.delivery = a_delivery(self.source, window=window)
        self.made = 0
        self.outstanding: list[str] = []  # on this connection
        self.acked: set[str] = set()
        self.released: list[str] = []
        self.first_sends: list[int] = []
        self.perform(self.delivery.start())

    def perform(self, actions: Any) -> None:
        for action in actions:
            match action:
                case Send(chunk):
                    self._sends(chunk)
                case Release(chunk):
                    assert chunk.id in self.acked, "released without an ack"
                    assert chunk.id not in self.released, "released twice"
                    self.released.append(chunk.id)
                case Quarantine(_):
                    raise AssertionError("an innocent record was quarantined")
                case Disconnect():
                    self.outstanding.clear()

    def _sends(self, chunk: Handle) -> None:
        assert self.delivery.state is State.READY
        assert chunk.id not in self.released, "sent after it was acked"
        assert chunk.id not in self.outstanding, "sent twice on one connection"
        self.outstanding.append(chunk.id)
        assert len(self.outstanding) <= self.window
        for record in chunk.records:
            if record not in self.first_sends:
                self.first_sends.append(record)

    def step(self, what: str, choice: int) -> None:
        delivery, state = self.delivery, self.delivery.state
        self.now += 0.01
        if what == "chunk":
            records = [self.made * 2, self.made * 2 + 1]
            self.source.chunks.append(Handle(f"c{self.made}", records))
            self.made += 1
            self.perform(delivery.chunks_ready(self.now))
        elif what == "connect" and state is State.CONNECTING:
            self.perform(delivery.connected(self.now))
        elif what == "fail" and state is State.CONNECTING:
            self.perform(delivery.connect_failed(self.now, "refused"))
        elif what == "lose" and state is State.READY:
            self.outstanding.clear()
            self.perform(delivery.connection_lost(self.now, "reset"))
        elif what.startswith("ack") and self.outstanding:
            place = choice % len(self.outstanding) if what == "ack any" else 0
            self.ack(self.outstanding.pop(place))
        elif what == "tick":
            self.now += choice
            self.perform(delivery.timer(self.now))
        elif what in ("block", "unblock") and state is State.READY:
            self.perform(delivery.set_writable(self.now, what == "unblock"))

    def ack(self, chunk_id: str) -> None:
        self.acked.add(chunk_id)
        self.perform(self.delivery.acked(self.now, [chunk_id, chunk_id]))

    def heal(self) -> None:
        """From now on all is well; count the steps until everything is delivered."""
        for _ in range(2000):
            if not (self.outstanding or self.source.chunks) and self._nothing_waits():
                return
            deadline = self.delivery.next_deadline_seconds()
            if self.delivery.state is State.CONNECTING:
                self.perform(self.delivery.connected(self.now))
                self.perform(self.delivery.set_writable(self.now, True))
            elif self.outstanding:
                self.ack(self.outstanding.pop(0))
            elif deadline is not None:
                self.now = max(self.now, deadline)
                self.perform(self.delivery.timer(self.now))
            else:
                self.perform(self.delivery.set_writable(self.now, True))
        raise AssertionError(f"it does not drain: {self.delivery!r}")

    def _nothing_waits(self) -> bool:
        return self.delivery.inflight_chunks == 0 and "resend=0" in repr(self.delivery)


@QUICK
@given(EVENTS, st.integers(1, 4))
def test_whatever_the_network_does(events: list[tuple[str, int]], window: int) -> None:
    """Nothing released without its ack, first sends in order, and when all heals it drains."""
    network = Network(window)
    for what, choice in events:
        network.step(what, choice)
    network.heal()
    assert sorted(network.first_sends) == [*range(2 * network.made)]
    assert network.first_sends == sorted(network.first_sends)
    assert set(network.released) == network.acked
