"""What delivery did so far, in numbers, and how fast a sidecar acknowledges. PURE."""

from bisect import bisect_left
from typing import NamedTuple

ACK_SECONDS_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes in which acks are counted, in seconds. A healthy Fluentd takes 0.2 to
5 ms, and one that blocks takes minutes. Longer acks are counted in a last class."""

HALF_LIFE_SECONDS = 1.0
"""An ack counts half as much after so much time in which chunks were in flight. A sidecar with a
quarter of a CPU acknowledges in bursts, some of them a second apart."""


class DeliveryCounters:
    """What delivery did so far.

    Attributes:
        connected: Connections made.
        connect_failures: Attempts that failed.
        chunks_sent: Chunks written, resent ones too.
        chunks_resent: Chunks, or their halves, written again, because no ack came.
        chunks_split: Chunks taken apart because the server did not take them.
        chunks_quarantined: Single records that the server did not take.
        unknown_acks: Acks for no chunk in the window.
        connections_lost: Connections that ended while they were wanted.
        shipper_restarts: How often the shipper began again after an error of its own.
        acks_by_seconds: Acks in each class of `ACK_SECONDS_BOUNDS`, and in the last one.
        ack_seconds: From sending to ack, summed over all acks.
    """

    def __init__(self) -> None:
        self.connected: int = 0
        self.connect_failures: int = 0
        self.chunks_sent: int = 0
        self.chunks_resent: int = 0
        self.chunks_split: int = 0
        self.chunks_quarantined: int = 0
        self.unknown_acks: int = 0
        self.connections_lost: int = 0
        self.shipper_restarts: int = 0
        self.acks_by_seconds: list[int] = [0] * (len(ACK_SECONDS_BOUNDS) + 1)
        self.ack_seconds: float = 0.0

    def note_ack(self, seconds: float) -> None:
        """Count an ack by the seconds that it took."""
        self.acks_by_seconds[bisect_left(ACK_SECONDS_BOUNDS, seconds)] += 1
        self.ack_seconds += seconds


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
    """How fast a sidecar acknowledges. While no chunk is in flight, time does not count."""

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
