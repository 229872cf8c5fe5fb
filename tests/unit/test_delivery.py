"""The table of states, and delivery's decisions one by one.

What it promises whatever the network does is in `tests/simulation`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from logship._delivery.actions import Connect, Disconnect, Release, Send, Warn
from logship._delivery.attempts import UNANSWERED_FAILURES, UNANSWERED_SECONDS, Attempts
from logship._delivery.delivery import IDLE_SECONDS, Delivery
from logship._delivery.states import TRANSITIONS, Event, State
from logship._settings import Endpoint

FIRST, SECOND = (Endpoint("tcp", "127.0.0.1", port, "") for port in (1, 2))
ACK_TIMEOUT_SECONDS = 90.0
RETURN_SECONDS = 60.0


@dataclass(eq=False)
class Handle:
    """A chunk as delivery sees it."""

    id: str
    size: int = 1000

    def __repr__(self) -> str:
        return f"<{self.id}>"


class Source:
    """The buffer as delivery sees it; each chunk is a single record, which cannot be split."""

    def __init__(self, *chunks: Handle) -> None:
        self.chunks = deque(chunks)

    def take(self) -> Handle | None:
        return self.chunks.popleft() if self.chunks else None

    def has_sealed(self) -> bool:
        return bool(self.chunks)

    def split(self, chunk: Any) -> None:
        return None


def handles(count: int) -> list[Handle]:
    return [Handle(f"c{number}") for number in range(count)]


def a_delivery(
    source: Source,
    *,
    window: int = 8,
    endpoints: tuple[Endpoint, ...] = (FIRST,),
    retry_wait_seconds: Callable[[int], float] = float,
) -> Delivery[Handle]:
    return Delivery(
        Attempts(endpoints, retry_wait_seconds, lambda: RETURN_SECONDS),
        source=source,
        inflight_chunks_max=window,
        ack_timeout_seconds=ACK_TIMEOUT_SECONDS,
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
    assert repr(delivery) == "<Delivery READY inflight=3 resend=0 failures=0>"
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
    delivery.set_writable(3.0, False)
    delivery.connection_lost(4.0, "reset")
    assert connected_again(delivery) == ["c1"], "a new one takes bytes"


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


def test_no_reason_of_a_failed_attempt_holds_back_another_one() -> None:
    delivery = a_delivery(Source(), retry_wait_seconds=lambda _: 1.0)
    delivery.start()
    now = 0.0

    def kind_of(reason: str) -> str:
        nonlocal now
        (warning,) = delivery.connect_failed(now, reason)
        assert isinstance(warning, Warn)
        assert reason in warning.text
        now += 1.0
        delivery.timer(now)
        return warning.kind

    refused, expired = kind_of("refused"), kind_of("certificate has expired")
    assert refused != expired
    assert (kind_of("refused"), kind_of("certificate has expired")) == (refused, expired)
    assert len({kind_of(f"reason {number}") for number in range(100)}) < 20


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
    assert delivery.restart(1.0, "an error", between, 1.0) == []
    assert delivery.next_deadline_seconds() == deadline
    assert connected_again(delivery) == ["c0"]


def test_a_shipper_that_begins_again_waits_also_where_its_last_connection_was_good() -> None:
    """Else an error at each ack would make connections, and send the window, without a pause."""
    delivery, _ = ready(Source(*handles(2)))
    delivery.acked(1.0, ["c0"])
    delivery.restart(1.0, "an error", handles(2)[1:], 9.0)
    delivery.chunks_ready(8.0)
    assert delivery.timer(8.0) == []
    assert delivery.next_deadline_seconds() == 9.0


def test_after_an_exception_where_a_connection_ended_its_chunks_are_sent_again() -> None:
    """As of a signal handler, right behind the step to the next state."""
    taken = handles(2)
    delivery, _ = ready(Source(*taken))
    delivery.state = State.WAITING
    delivery.restart(1.0, "an error", taken, 1.0)
    delivery.timer(1.0)
    assert sent(delivery.connected(1.0)) == ["c0", "c1"]


def test_after_an_error_chunks_go_out_in_their_old_order() -> None:
    """One was taken off the line to be sent, and the error came before it was in the window."""
    taken = handles(4)
    delivery, _ = ready(Source(*taken))
    delivery.connection_lost(1.0, "reset")
    delivery._resend.popleft()
    delivery.restart(1.0, "an error", taken, 1.0)
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
