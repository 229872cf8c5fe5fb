"""The pump: in which order a turn does what is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._client.pump import Cancel, Pump
from logship._delivery.attempts import Attempts
from logship._delivery.delivery import Delivery
from logship._settings import Endpoint
from logship.testing import ManualClock
from tests.unit.accounts import a_buffer
from tests.unit.test_buffer_kept import an_adopted_chunk

LINGER_SECONDS = 0.2
ENDPOINT = Endpoint("tcp", "sidecar", 1, "")


class Outside:
    """A pump's port, schedule and upkeep: all that it knows of the world.

    Attributes:
        sent: The first numbers of the chunks that were sent.
        due: What upkeep does.
    """

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.due: Callable[[], object] = bool

    def tend(self, now_seconds: float) -> None:
        self.due()

    def deadlines(self) -> Iterable[float | None]:
        return ()

    def soon(self, callback: Callable[[], None]) -> None:
        """Never call back: a test looks at one turn."""

    def at(self, seconds: float, callback: Callable[[], None]) -> Cancel:
        return lambda: None

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


def a_pump(outside: Outside, clock: ManualClock) -> tuple[Buffer, Pump]:
    """Return a connected pump and its buffer."""
    buffer = a_buffer(linger_seconds=LINGER_SECONDS, monotonic=clock)
    delivery: Delivery[Chunk] = Delivery(
        Attempts((ENDPOINT,), lambda _: 1.0, lambda: 60.0),
        source=buffer.departure,
        inflight_chunks_max=8,
        ack_timeout_seconds=90.0,
    )
    pump = Pump(buffer, delivery, port=outside, upkeep=outside, schedule=outside, monotonic=clock)
    pump.start()
    pump.connected()
    return buffer, pump


def test_after_an_error_what_a_dead_process_left_is_sent_again_too() -> None:
    """It is taken, and in no line: the error came in between."""
    outside, clock = Outside(), ManualClock()
    buffer, pump = a_pump(outside, clock)
    adopted = an_adopted_chunk(buffer, "adopted")
    assert buffer.departure.take() is adopted
    pump.restart("an error", 0.1)
    clock.advance(1.0)
    pump.turn()
    pump.connected()
    assert outside.sent == [adopted.first]
