"""The pump: when a turn comes, and in which order it does what is due."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._client.pump import Pump
from logship._delivery.attempts import Attempts
from logship._delivery.delivery import Delivery
from logship._settings import Endpoint
from tests.simulation.clock import VirtualClock
from tests.simulation.schedule import SimulatedSchedule
from tests.unit.accounts import a_buffer, body
from tests.unit.test_buffer_kept import an_adopted_chunk

LINGER_SECONDS = 0.2
ENDPOINT = Endpoint("tcp", "sidecar", 1, "")
_CALLS_MAX = 1000


class Outside:
    """A pump's port and upkeep, and its clock: all that it knows of the world.

    Its server takes everything and acks nothing.

    Attributes:
        clock: The time, which passes in `pass_time`.
        schedule: The pump's.
        sent: The first numbers of the chunks that were sent.
    """

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.schedule = SimulatedSchedule(self.clock)
        self.sent: list[int] = []

    def pass_time(self, seconds: float) -> None:
        """Make the calls that are due within these seconds, in their order.

        A pump that rests until a time in the past comes again and again at the same moment.
        """
        over: list[bool] = []
        self.clock.after(seconds, over.append, True)
        for _ in range(_CALLS_MAX):
            if over:
                return
            self.clock.step()
        pytest.fail(f"time stands still at {self.clock.monotonic():.3f} s")

    def tend(self, now_seconds: float) -> None:
        """Do nothing."""

    def deadlines(self) -> Iterable[float | None]:
        return ()

    def send(self, chunks: list[Chunk]) -> list[Chunk]:
        self.sent += (chunk.first for chunk in chunks)
        return []

    def connect(self, endpoint: Endpoint) -> None:
        """Let the test say when it is connected."""

    def set_aside(self, chunk: Chunk) -> None:
        raise NotImplementedError

    def quarantine(self, chunk: Chunk) -> None:
        raise NotImplementedError

    def release(self, chunk: Chunk) -> None:
        raise NotImplementedError

    def disconnect(self) -> None:
        """Let the test say when it is connected again."""

    def warn(self, kind: str, text: str) -> None:
        """Do nothing."""

    def progressed(self) -> None:
        raise NotImplementedError


def a_pump(outside: Outside) -> tuple[Buffer, Pump]:
    """Return a connected pump and its buffer."""
    buffer = a_buffer(
        linger_seconds=LINGER_SECONDS,
        monotonic=outside.clock.monotonic,
        wake=lambda: outside.schedule.soon(pump.turn),
    )
    delivery: Delivery[Chunk] = Delivery(
        Attempts((ENDPOINT,), lambda _: 1.0, lambda: 60.0),
        source=buffer.departure,
        inflight_chunks_max=8,
        ack_timeout_seconds=90.0,
    )
    pump: Pump = Pump(
        buffer,
        delivery,
        port=outside,
        upkeep=outside,
        schedule=outside.schedule,
        monotonic=outside.clock.monotonic,
    )
    pump.start()
    pump.connected()
    return buffer, pump


def test_an_entry_leaves_when_it_has_lingered_and_nothing_else_happens() -> None:
    outside = Outside()
    buffer, _ = a_pump(outside)
    buffer.offer("t", body(1))
    outside.pass_time(LINGER_SECONDS / 2)
    assert outside.sent == []
    outside.pass_time(LINGER_SECONDS)
    assert outside.sent == [1]


def test_after_an_error_what_a_dead_process_left_is_sent_again_too() -> None:
    """It is taken, and in no line: the error came in between."""
    outside = Outside()
    buffer, pump = a_pump(outside)
    adopted = an_adopted_chunk(buffer, "adopted")
    assert buffer.departure.take() is adopted
    pump.restart("an error", 0.1)
    outside.pass_time(2.0)
    pump.connected()
    assert outside.sent == [adopted.first]
