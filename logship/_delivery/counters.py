"""What delivery did so far, in numbers. PURE."""

from __future__ import annotations

from bisect import bisect_left

ACK_SECONDS_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes in which acks are counted, in seconds. A healthy Fluentd takes 0.2 to
5 ms, and one that blocks takes minutes. Longer acks are counted in a last class."""


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
