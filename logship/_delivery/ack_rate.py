"""How fast a sidecar acknowledges while it has something to take. PURE."""

from typing import NamedTuple

HALF_LIFE_SECONDS = 1.0
"""An ack counts half as much after so much time in which chunks were in flight. A sidecar with a
quarter of a CPU acknowledges in bursts, some of them a second apart."""


class Acked(NamedTuple):
    """What was acked lately; what is older has less weight.

    Attributes:
        acks: How many acks.
        size: Their bytes.
        seconds: The time in which chunks were in flight.
    """

    acks: float = 0.0
    size: float = 0.0
    seconds: float = 0.0

    def after(self, seconds: float) -> "Acked":
        """Return the same after so much time without an ack."""
        weight = 0.5 ** (max(0.0, seconds) / HALF_LIFE_SECONDS)
        return Acked(self.acks * weight, self.size * weight, self.seconds * weight + seconds)


class AckRate:
    """Measures how fast. While no chunk is in flight, time does not count."""

    def __init__(self) -> None:
        self._acked = Acked()
        self._since_seconds: float | None = None  # chunks are in flight, and counted so far

    @property
    def interval_seconds(self) -> float:
        """The usual time from one ack to the next; 0 if nothing is known."""
        return self._acked.seconds / self._acked.acks if self._acked.acks else 0.0

    def bytes_per_second(self, now_seconds: float) -> float:
        """Return the rate. It falls while no ack comes, and is 0 if nothing is known."""
        acked = self._at(now_seconds)
        return acked.size / acked.seconds if acked.seconds > 0 else 0.0

    def begin(self, now_seconds: float) -> None:
        """Note that a chunk is sent while none is in flight."""
        self._since_seconds = now_seconds

    def acked(self, now_seconds: float, size: int) -> None:
        """Note the ack of a chunk of this many bytes."""
        acked = self._at(now_seconds)
        self._acked = acked._replace(acks=acked.acks + 1, size=acked.size + size)
        self._since_seconds = now_seconds

    def end(self, now_seconds: float) -> None:
        """Note that no chunk is in flight any more."""
        self._acked = self._at(now_seconds)
        self._since_seconds = None

    def _at(self, now_seconds: float) -> Acked:
        since = self._since_seconds
        return self._acked if since is None else self._acked.after(now_seconds - since)
