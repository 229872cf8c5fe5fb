"""Which chunk is it that the server cannot take? PURE.

A chunk that a server closes the connection on, every time, would be resent for ever and let
nothing past it. But a server that is down, restarting or full closes connections on innocent
chunks too, and order must not be broken for those. So nobody is condemned without a trial:

1. Two connections in a row that were lost without a single ack begin the trial: from now on
   chunks go out *alone*.
2. A chunk that loses two connections alone is set aside, and the next one is tried in its place,
   the *probe*.
3. If the probe is lost as well, the server takes nothing at the moment: the chunk goes back to
   the front, in its old order, without a stain.
4. If the probe is acked, others pass and this one does not: it is *guilty*. It is split in two
   halves, each of which goes out alone and has a trial of its own, until a record stands alone;
   that record is quarantined.

A chunk that the server neither acks nor closes on is found more simply: chunks that were sent
after it are acked and it is not, for longer than a server could plausibly reorder.
"""

from __future__ import annotations

from enum import Enum, auto

LOSSES_BEFORE_TRIAL = 2
STRIKES_BEFORE_PROBE = 2


class Verdict(Enum):
    """What to do with a chunk that was lost, alone on its connection."""

    AGAIN = auto()  # send it again, alone
    PROBE = auto()  # set it aside, and try the next one in its place
    ACQUIT = auto()  # the probe was lost as well: it, and what was set aside, are innocent
    GUILTY = auto()  # nothing else is there to try: take it apart


class Suspects:
    """The trial of chunks, by their ids."""

    def __init__(self) -> None:
        self._silent_losses = 0
        self._strikes: dict[str, int] = {}
        self._alone: set[str] = set()
        self.is_probing = False

    @property
    def is_trial(self) -> bool:
        """Whether every chunk goes out alone."""
        return self._silent_losses >= LOSSES_BEFORE_TRIAL or self.is_probing

    def goes_alone(self, chunk_id: str) -> bool:
        """Tell whether this chunk must be alone on the connection."""
        return self.is_trial or chunk_id in self._alone

    def lost_together(self) -> None:
        """A connection with several chunks, or none that is on trial, was lost without an ack."""
        self._silent_losses += 1

    def lost_alone(self, chunk_id: str, others_wait: bool) -> Verdict:
        """A connection was lost on which this chunk was alone.

        Args:
            chunk_id: Whose trial it is.
            others_wait: Whether there is another chunk that could be the probe.
        """
        if self.is_probing:
            self.is_probing = False
            self._strikes.clear()
            return Verdict.ACQUIT
        self._silent_losses += 1
        self._strikes[chunk_id] = self._strikes.get(chunk_id, 0) + 1
        if self._strikes[chunk_id] < STRIKES_BEFORE_PROBE:
            return Verdict.AGAIN
        if not others_wait:
            return Verdict.GUILTY
        self.is_probing = True
        return Verdict.PROBE

    def acked(self, chunk_id: str) -> bool:
        """The server took a chunk; tell whether that condemns the one that was set aside."""
        condemns = self.is_probing
        self.is_probing = False
        self._silent_losses = 0
        self._forget(chunk_id)
        return condemns

    def split(self, chunk_id: str, halves: tuple[str, str]) -> None:
        """A guilty chunk was split: each half goes out alone."""
        self._forget(chunk_id)
        self._alone.update(halves)

    def settled(self, chunk_id: str) -> None:
        """The chunk was quarantined."""
        self._forget(chunk_id)

    def _forget(self, chunk_id: str) -> None:
        self._strikes.pop(chunk_id, None)
        self._alone.discard(chunk_id)
