"""Finds the chunk that a server cannot take. PURE.

A server may close the connection on the same chunk every time. Such a *poison chunk* would be
resent forever, and no chunk could pass it. But a server that is down, restarting or full closes
connections on good chunks too, and their order must be kept. So a chunk is given up only after a
trial:

1. Two connections in a row that end without a single ack begin the trial. From then on each chunk
   goes out *alone*.
2. A chunk that loses two connections alone is split in halves, and each half goes out alone and has
   a trial of its own. A good chunk is not harmed by that, and its order is kept. It also finds the
   largest chunk that a server with a low limit takes.
3. A single record cannot be split. It is set aside, and the next chunk, the *probe*, is tried in
   its place.
4. If the probe is acked, other records pass and this one does not: it is *accused*. The server may
   have recovered just then, so the record has a second trial. If it is accused again, it is
   quarantined.
5. If the probe is lost, it is set aside too and the next chunk is the probe, a few times, because
   several neighbours may be poison. If all probes are lost, the server takes nothing at the moment,
   and all that was set aside goes back to the front in its old order, without an accusation. To end
   this after finitely many trials, one chunk among those is split, or the next trial has twice as
   many probes.

A chunk that the server neither acks nor closes on is found in a simpler way. Later chunks are acked
and it is not, for longer than a server reorders acks. It is sent once more, because its ack may
have been lost, and then split in the same way.
"""

from __future__ import annotations

LOSSES_BEFORE_TRIAL = 2
STRIKES_BEFORE_SPLIT = 2
PROBES_AT_FIRST = 2


class PoisonSearch:
    """The trial of chunks, by their ids."""

    def __init__(self) -> None:
        self._silent_losses = 0
        self._strikes: dict[str, int] = {}
        self._alone: set[str] = set()
        self._accused: set[str] = set()
        self._probes_max = PROBES_AT_FIRST

    def goes_alone(self, chunk_id: str) -> bool:
        """Return whether this chunk must be alone on the connection; in a trial each one must."""
        return self._silent_losses >= LOSSES_BEFORE_TRIAL or chunk_id in self._alone

    def connection_lost(self) -> None:
        """A connection with chunks was lost without an ack."""
        self._silent_losses += 1

    def lost_alone(self, chunk_id: str) -> bool:
        """This chunk was alone on that connection, and no probe; return whether to split it."""
        self._strikes[chunk_id] = self._strikes.get(chunk_id, 0) + 1
        return self._strikes[chunk_id] >= STRIKES_BEFORE_SPLIT

    def takes_probe(self, probes_lost: int) -> bool:
        """Return whether another probe is tried after so many that were lost."""
        return probes_lost < self._probes_max

    def acquit(self, *, one_was_split: bool) -> None:
        """All probes were lost; change the next trial, or it would end as this one did."""
        self._strikes.clear()
        if not one_was_split:
            self._probes_max *= 2

    def acked(self, chunk_id: str) -> None:
        """The server took a chunk."""
        self._silent_losses = 0
        self._probes_max = PROBES_AT_FIRST
        self.forget(chunk_id)

    def accuse(self, chunk_id: str) -> bool:
        """A probe passed and this record did not; return whether that happened before."""
        if chunk_id in self._accused:
            return True
        self._accused.add(chunk_id)
        self._strikes.pop(chunk_id, None)
        self._alone.add(chunk_id)
        return False

    def split(self, chunk_id: str, halves: tuple[str, str]) -> None:
        """A chunk was split: each half goes out alone."""
        self.forget(chunk_id)
        self._alone.update(halves)

    def forget(self, chunk_id: str) -> None:
        """The chunk is acked, split, quarantined or damaged."""
        self._strikes.pop(chunk_id, None)
        self._alone.discard(chunk_id)
        self._accused.discard(chunk_id)
