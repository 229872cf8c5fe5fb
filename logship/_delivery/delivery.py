"""The delivery of one client: events become actions. PURE."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic

from logship._delivery.actions import Actions, Connect, Disconnect, Quarantine, Release, Send, Warn
from logship._delivery.attempts import Attempts
from logship._delivery.chunks import Flight, HandleT, Source
from logship._delivery.counters import AckRate, DeliveryCounters
from logship._delivery.poison import PoisonSearch
from logship._delivery.states import TRANSITIONS, Event, State
from logship._settings import Endpoint

OVERTAKEN_TIMEOUT_SECONDS = 20.0
"""After so long a chunk that later ones have overtaken will not be acked any more. Fluentd and
Fluent Bit ack in order, and a server with several workers reorders by milliseconds."""

HURRIED_OVERTAKEN_TIMEOUT_SECONDS = 2.0
"""The same while draining."""

IDLE_SECONDS = 30.0
"""A connection that ends after so long with nothing to ack was closed for being idle. Balancers do
that, most after 50 seconds or more. A proxy whose server is away closes sooner."""


class Delivery(Generic[HandleT]):
    """The state of one client's delivery.

    Args:
        attempts: Where to connect, and when.
        source: Gives the chunks.
        inflight_chunks_max: Chunks sent and not yet acked.
        ack_timeout_seconds: A connection with chunks outstanding that acks nothing for this time is
            given up.
    """

    def __init__(
        self,
        attempts: Attempts,
        *,
        source: Source[HandleT],
        inflight_chunks_max: int,
        ack_timeout_seconds: float,
    ) -> None:
        self.state: State = State.IDLE
        self.counters: DeliveryCounters = DeliveryCounters()
        self.ack_rate: AckRate = AckRate()
        self.last_ack_seconds: float | None = None
        self.writable: bool = True
        self._attempts = attempts
        self._source = source
        self._inflight_chunks_max = inflight_chunks_max
        self._ack_timeout_seconds = ack_timeout_seconds
        self._overtaken_timeout_seconds = min(OVERTAKEN_TIMEOUT_SECONDS, ack_timeout_seconds)
        self._inflight: dict[str, Flight[HandleT]] = {}  # in the order in which they were sent
        self._resend: deque[HandleT] = deque()
        # The single record on trial, and the probes that were lost in its place, in the old order.
        self._aside: list[HandleT] = []
        self._poison = PoisonSearch()
        self._passed_over: set[str] = set()
        self._progress_at_seconds = 0.0
        self._taken_at_seconds = float("-inf")
        self._acked_on_this_connection = False

    def __repr__(self) -> str:
        """Return the state and what is on its way."""
        return (
            f"<Delivery {self.state.name} inflight={len(self._inflight)} "
            f"resend={len(self._resend)} failures={self._attempts.failures}>"
        )

    @property
    def inflight_chunks(self) -> int:
        """Chunks sent on this connection and not acked."""
        return len(self._inflight)

    @property
    def can_send(self) -> bool:
        """Whether a chunk would go out at once."""
        return self.state is State.READY and self.writable and self._window_has_room()

    def silent_seconds(self, now_seconds: float) -> float:
        """Return how long nothing that was sent was acked; infinity if the sidecar is away."""
        if self.state is State.READY and not self._inflight:
            return 0.0
        if self.state is not State.READY and self._attempts.failures:
            return float("inf")
        return max(0.0, now_seconds - self._taken_at_seconds)

    @property
    def is_hopeful(self) -> bool:
        """Whether a sidecar was ever reached, or one of several endpoints was not tried yet."""
        return self.counters.connected > 0 or self._attempts.has_untried

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the connection, or of the next attempt."""
        return self._attempts.endpoint

    def next_deadline_seconds(self) -> float | None:
        """Return when `timer` must be called, or None if only an event can change anything."""
        if self.state is State.WAITING:
            return self._attempts.due_seconds
        if self.state is not State.READY:
            return None
        if self._inflight:
            silence_ends = self._progress_at_seconds + self._ack_timeout_seconds
            return min([silence_ends, *[due_seconds for _, due_seconds in self._overtaken()]])
        return None if self._attempts.is_at_first else self._attempts.return_due_seconds

    # -- events ----------------------------------------------------------------------------------

    def start(self) -> Actions[HandleT]:
        """Connect before there is a chunk to send, so that the first one does not wait."""
        return self._connect(Event.WANTED) if self.state is State.IDLE else []

    def chunks_ready(self, now_seconds: float) -> Actions[HandleT]:
        """There may be chunks to take."""
        if self.state is State.IDLE and self._source.has_sealed():
            return self._connect(Event.WANTED)
        return self._fill_window(now_seconds)

    def connected(self, now_seconds: float) -> Actions[HandleT]:
        """The attempt succeeded."""
        self._go(Event.CONNECTED)
        self.counters.connected += 1
        self.writable = True
        self._acked_on_this_connection = False
        self._progress_at_seconds = self._taken_at_seconds = now_seconds
        self._attempts.succeeded(now_seconds)
        return self._fill_window(now_seconds)

    def connect_failed(self, now_seconds: float, reason: str) -> Actions[HandleT]:
        """The attempt failed; `reason` says to where and why."""
        self._go(Event.FAILED)
        self.counters.connect_failures += 1
        self._attempts.failed(now_seconds)
        self._attempts.note_outage(now_seconds)
        text = f"{reason}; records wait until the next try; `logship doctor` looks closer"
        return [Warn(self._attempts.warning_kind(reason), text)]

    def connection_lost(
        self, now_seconds: float, reason: str, *, has_stalled: bool = False
    ) -> Actions[HandleT]:
        """The connection ended: a chunk that was not acked was not delivered."""
        self._go(Event.LOST)
        self.ack_rate.end(now_seconds)
        self.counters.connections_lost += 1
        lost = [flight.chunk for flight in self._inflight.values()]
        self._inflight.clear()
        text = f"lost the connection to {self.endpoint} ({reason}); unacked chunks are sent again"
        was_idle = not lost and now_seconds >= self._taken_at_seconds + IDLE_SECONDS
        if not lost:
            self._taken_at_seconds = now_seconds  # a silence begins now, if there is one
        self._judge(lost)
        if self._acked_on_this_connection or was_idle:  # a restart, not a broken server
            self._attempts.try_at_once(now_seconds, has_stalled=has_stalled)
        else:
            self._attempts.try_next(now_seconds)
        if not lost:
            return []
        self._attempts.note_outage(now_seconds)
        return [Warn("lost", text)]

    def acked(self, now_seconds: float, chunk_ids: Iterable[str]) -> Actions[HandleT]:
        """The server acked these chunks, in any order."""
        actions: Actions[HandleT] = []
        for chunk_id in chunk_ids:
            if chunk_id not in self._inflight:
                self.counters.unknown_acks += 1
                continue
            self._note_overtaken(now_seconds, chunk_id)
            flight = self._inflight.pop(chunk_id)
            actions.append(Release(flight.chunk))
            self.counters.note_ack(now_seconds - flight.sent_at_seconds)
            self.ack_rate.acked(now_seconds, flight.chunk.size)
            self._passed_over.discard(chunk_id)
            self._poison.acked(chunk_id)
            if self._aside:
                actions += self._probe_passed()
        if actions:
            self._note_progress(now_seconds)
            if not self._inflight:
                self.ack_rate.end(now_seconds)
            if (seconds := self._attempts.end_outage(now_seconds)) is not None:
                text = f"{self.endpoint} acks records now, after {seconds:.1f} s"
                actions.append(Warn("back", text))
        return [*actions, *self._fill_window(now_seconds)]

    def set_writable(self, now_seconds: float, writable: bool) -> Actions[HandleT]:
        """The connection takes more bytes, or takes no more for now."""
        self.writable = writable
        return self._fill_window(now_seconds)

    def timer(self, now_seconds: float) -> Actions[HandleT]:
        """The time of `next_deadline_seconds` has come, or another event came first."""
        deadline = self.next_deadline_seconds()
        if deadline is None or now_seconds < deadline:
            return []
        if self.state is State.WAITING:
            self._attempts.begin(now_seconds)
            return self._connect(Event.RETRY)
        if not self._inflight:  # a second-best sidecar is left
            self._go(Event.LOST)
            self._attempts.try_at_once(now_seconds)
            return [Disconnect()]
        if now_seconds >= self._progress_at_seconds + self._ack_timeout_seconds:
            reason = f"no ack for {now_seconds - self._progress_at_seconds:.0f} s"
            return [Disconnect(), *self.connection_lost(now_seconds, reason, has_stalled=True)]
        return self._condemn_overtaken(now_seconds)

    def hurry(self, now_seconds: float, ack_timeout_seconds: float) -> Actions[HandleT]:
        """Wait less for acks and between attempts from now on, because time is short.

        Args:
            now_seconds: Monotonic.
            ack_timeout_seconds: The silence that is now too long, if shorter than before. It begins
                now, so that a slow sidecar is not cut off at once.
        """
        self._ack_timeout_seconds = min(self._ack_timeout_seconds, ack_timeout_seconds)
        self._overtaken_timeout_seconds = min(
            self._overtaken_timeout_seconds, HURRIED_OVERTAKEN_TIMEOUT_SECONDS
        )
        self._progress_at_seconds = now_seconds
        return self.look_often(now_seconds)

    def look_often(self, now_seconds: float) -> Actions[HandleT]:
        """Wait less between attempts from now on, because the process is to end."""
        self._attempts.look_often(now_seconds)
        return self.chunks_ready(now_seconds)

    def restart(
        self, now_seconds: float, reason: str, taken: Iterable[HandleT], due_seconds: float
    ) -> Actions[HandleT]:
        """The shipper begins again: its connection or attempt is over.

        Args:
            now_seconds: Monotonic.
            reason: For a person.
            taken: All chunks that were taken, in their order. Those that are in no line, because
                the error came in between, are sent again too.
            due_seconds: The next attempt is not made before; monotonic.
        """
        if self.state is not State.READY:  # the error may have come where a connection ended
            self._inflight.clear()
        elsewhere = {*self._inflight, *(each.id for each in self._aside)}
        self._resend = deque(each for each in taken if each.id not in elsewhere)
        actions: Actions[HandleT] = []
        if self.state is State.READY:
            actions = self.connection_lost(now_seconds, reason)
        elif self.state is State.CONNECTING:
            actions = self.connect_failed(now_seconds, reason)
        self._attempts.wait_until(due_seconds)
        return actions

    def forget(self, chunk_id: str) -> None:
        """Forget a chunk that is given up: no server takes it, or its entries are damaged."""
        self._inflight.pop(chunk_id, None)
        self._poison.forget(chunk_id)
        self._passed_over.discard(chunk_id)

    def close(self) -> Actions[HandleT]:
        """Send nothing more."""
        if self.state is State.CLOSED:
            return []
        self._go(Event.CLOSE)
        return [Disconnect()]

    # -- decisions -------------------------------------------------------------------------------

    def _go(self, event: Event) -> None:
        """Move along the table. An event that it does not have is a bug in the client."""
        self.state = TRANSITIONS[self.state, event]

    def _connect(self, event: Event) -> Actions[HandleT]:
        self._go(event)
        return [Connect(self.endpoint)]

    def _fill_window(self, now_seconds: float) -> Actions[HandleT]:
        """Send chunks while the window has room; those that were sent before go first."""
        sends: Actions[HandleT] = []
        while self.can_send and (chunk := self._next_chunk()) is not None:
            if not self._inflight:  # a silence begins with the first chunk
                self._progress_at_seconds = self._taken_at_seconds = now_seconds
                self.ack_rate.begin(now_seconds)
            self._inflight[chunk.id] = Flight(chunk, now_seconds)
            self.counters.chunks_sent += 1
            sends.append(Send(chunk))
        return sends

    def _window_has_room(self) -> bool:
        """Return whether another chunk may go out; a chunk on trial goes out alone."""
        if not self._inflight:
            return True
        if len(self._inflight) >= self._inflight_chunks_max:
            return False
        next_ids = [self._resend[0].id] if self._resend else []
        return not any(map(self._goes_alone, [*self._inflight, *next_ids]))

    def _goes_alone(self, chunk_id: str) -> bool:
        """Return whether a chunk must be alone on the connection, as each probe must."""
        return bool(self._aside) or self._poison.goes_alone(chunk_id)

    def _next_chunk(self) -> HandleT | None:
        if self._resend:
            self.counters.chunks_resent += 1
            return self._resend.popleft()
        chunk = self._source.take()
        if chunk is None and self._aside and not self._inflight:
            self._restore([])  # the probe is gone: it was dropped for want of space
            return self._next_chunk()
        return chunk

    def _judge(self, lost: list[HandleT]) -> None:
        """Put lost chunks back in line, and try any that may have made the server close."""
        if self._acked_on_this_connection or not lost:
            self._restore(lost)
            return
        was_alone = len(lost) == 1 and self._goes_alone(lost[0].id)
        self._poison.connection_lost()
        if was_alone:
            self._judge_alone(lost[0])
        else:
            self._restore(lost)

    def _judge_alone(self, lost: HandleT) -> None:
        others_wait = bool(self._resend) or self._source.has_sealed()
        if self._aside:  # it was a probe
            self._aside.append(lost)
            if not others_wait or not self._poison.takes_probe(len(self._aside) - 1):
                self._poison.acquit(one_was_split=self._split_one_aside())
                self._restore([])
        elif self._poison.lost_alone(lost.id):
            self._split_or_probe(lost, others_wait)
        else:
            self._restore([lost])

    def _split_or_probe(self, lost: HandleT, others_wait: bool) -> None:
        """Split a chunk, or try others in the place of a single record, if there are any."""
        halves = self._split(lost)
        if halves is not None:
            self._restore([*halves])
        elif others_wait:
            self._aside.append(lost)
        else:
            self._restore([lost])

    def _restore(self, lost: list[HandleT]) -> None:
        """Put chunks back at the front in their old order: those set aside come first."""
        self._resend.extendleft(reversed([*self._aside, *lost]))
        self._aside.clear()

    def _probe_passed(self) -> Actions[HandleT]:
        """Give up the record that was set aside if others pass it for the second time."""
        first = self._aside[0]
        is_guilty = self._poison.accuse(first.id)
        if is_guilty:
            self._aside.pop(0)
        self._restore([])
        return self._take_apart(first) if is_guilty else []

    def _split_one_aside(self) -> bool:
        """Split the first chunk set aside that is no single record; False if there is none."""
        for place, chunk in enumerate(self._aside):
            halves = self._split(chunk)
            if halves is not None:
                self._aside[place : place + 1] = halves
                return True
        return False

    def _take_apart(self, guilty: HandleT) -> Actions[HandleT]:
        """Split a chunk that others pass, or quarantine it if it is one record."""
        halves = self._split(guilty)
        if halves is not None:
            self._resend.extendleft(reversed(halves))
            return []
        self.forget(guilty.id)
        self.counters.chunks_quarantined += 1
        return [Quarantine(guilty)]

    def _split(self, chunk: HandleT) -> tuple[HandleT, HandleT] | None:
        """Split a chunk, and suspect its halves of the same; None if it is a single record."""
        halves = self._source.split(chunk)
        if halves is not None:
            self.counters.chunks_split += 1
            half_ids = halves[0].id, halves[1].id
            if chunk.id in self._passed_over:
                self._passed_over.remove(chunk.id)
                self._passed_over.update(half_ids)
                self._poison.forget(chunk.id)
            else:
                self._poison.split(chunk.id, half_ids)
        return halves

    def _note_overtaken(self, now_seconds: float, chunk_id: str) -> None:
        """Mark chunks that were sent before the acked one, and are not acked yet."""
        was_sent_before = True
        for sent_id, flight in self._inflight.items():
            if sent_id == chunk_id:
                was_sent_before = False
            elif flight.overtaken_at_seconds is None and (
                was_sent_before or sent_id in self._passed_over
            ):
                flight.overtaken_at_seconds = now_seconds

    def _overtaken(self) -> list[tuple[Flight[HandleT], float]]:
        """Return the chunks that the server passed over, and from when on each is tried again.

        There are none while the connection takes nothing: such a chunk could not be sent, and with
        no chunk left in flight the silence of the sidecar would have no end.
        """
        if not self.writable:
            return []
        return [
            (flight, flight.overtaken_at_seconds + self._overtaken_timeout_seconds)
            for flight in self._inflight.values()
            if flight.overtaken_at_seconds is not None
        ]

    def _condemn_overtaken(self, now_seconds: float) -> Actions[HandleT]:
        """Try chunks again that the server passed over: it took later ones, and never these."""
        due = [flight for flight, due_seconds in self._overtaken() if now_seconds >= due_seconds]
        guilty = [flight.chunk for flight in due if flight.chunk.id in self._passed_over]
        actions: Actions[HandleT] = [
            self._send_again(each) for each in due if each.chunk.id not in self._passed_over
        ]
        for chunk in reversed(guilty):  # each goes to the front of the line
            del self._inflight[chunk.id]
            actions += self._take_apart(chunk)
        silent_since = self._progress_at_seconds
        actions += self._fill_window(now_seconds)
        self._progress_at_seconds = silent_since  # sending a part again does not end the silence
        return actions

    def _send_again(self, flight: Flight[HandleT]) -> Send[HandleT]:
        """Send a chunk that was passed over once more, because its ack may have been lost.

        It keeps its place in the window. If it is only slow, nothing is out of order.
        """
        self._passed_over.add(flight.chunk.id)
        flight.overtaken_at_seconds = None
        self.counters.chunks_sent += 1
        self.counters.chunks_resent += 1
        return Send(flight.chunk)

    def _note_progress(self, now_seconds: float) -> None:
        self.last_ack_seconds = now_seconds
        self._progress_at_seconds = self._taken_at_seconds = now_seconds
        self._acked_on_this_connection = True
        self._attempts.failures = 0
