"""The simulation: tasks with the product's delivery, and tiers that take so many connections."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from logship._client import parts
from logship._delivery.actions import Actions, Connect, Disconnect, Release, Send
from logship._delivery.attempts import Attempts
from logship._delivery.delivery import Delivery
from logship._settings import Endpoint, Settings
from tests.simulation.clock import VirtualClock

LATENCY_SECONDS = 0.001
SYN_AGAIN_SECONDS = (1.0, 3.0)
"""When Linux sends the first packet of an attempt again, after the attempt began."""

SECONDS_MAX = 3600.0


@dataclass(frozen=True)
class Outage:
    """What happens.

    Attributes:
        tasks: How many are connected to the first tier when it dies.
        down_seconds: How long it is away.
        accepts_per_second: Of each tier.
        backlog: Connections that wait for `accept`; a tier takes no more.
        drops: Whether a tier that is away or full says nothing, and not that it refuses.
        tiers: Two means that a second one stays.
        seed: Of all that is drawn.
    """

    tasks: int = 10_000
    down_seconds: float = 60.0
    accepts_per_second: float = 1000.0
    backlog: int = 511
    drops: bool = False
    tiers: int = 1
    seed: int = 1


@dataclass
class History:
    """What came of an outage; time 0 is the end of it.

    Attributes:
        attempts: When a task began to connect, for each tier.
        acked: When each task had its first ack again.
    """

    attempts: list[list[float]]
    acked: list[float] = field(default_factory=list)


@dataclass(eq=False, frozen=True)
class Chunk:
    """A chunk as delivery sees it."""

    id: str
    size: int = 1000


class Waiting:
    """The buffer of a task as delivery sees it: one chunk waits, or none."""

    def __init__(self) -> None:
        self._chunks = deque([Chunk("first")])

    def log(self) -> None:
        self._chunks.append(Chunk("next"))

    def take(self) -> Chunk | None:
        return self._chunks.popleft() if self._chunks else None

    def has_sealed(self) -> bool:
        return bool(self._chunks)

    def split(self, chunk: Any) -> None:
        """Return nothing: a chunk has one record."""


class Tier:
    """A server that takes connections one after the other, at a steady rate."""

    def __init__(self, clock: VirtualClock, outage: Outage, attempts: list[float]) -> None:
        self.is_up = True
        self.clock = clock
        self.attempts = attempts
        self._outage = outage
        self._queue: deque[Attempt] = deque()

    def arrive(self, attempt: Attempt) -> None:
        """Take the first packet of an attempt."""
        if self.is_up and len(self._queue) < self._outage.backlog:
            self._queue.append(attempt)
            attempt.is_queued = True
            if len(self._queue) == 1:
                self.clock.after(1 / self._outage.accepts_per_second, self._accept)
        elif not self._outage.drops:
            self.clock.after(LATENCY_SECONDS, attempt.fail, "refused")

    def _accept(self) -> None:
        """Accept the next connection, also one that the task has given up."""
        self.clock.after(LATENCY_SECONDS, self._queue.popleft().succeed)
        if self._queue:
            self.clock.after(1 / self._outage.accepts_per_second, self._accept)


class Attempt:
    """One attempt of a task to connect."""

    def __init__(self, task: Task, tier: Tier, timeout_seconds: float) -> None:
        self.is_queued = False
        self._is_over = False
        self._task = task
        self._tier = tier
        self._again_seconds = iter(SYN_AGAIN_SECONDS)
        self._begun_seconds = tier.clock.now
        self._ends_seconds = tier.clock.now + timeout_seconds
        tier.attempts.append(tier.clock.now)
        tier.clock.after(LATENCY_SECONDS, self._arrive)

    def _arrive(self) -> None:
        """Come to the tier, and look again later if it has not answered."""
        clock = self._tier.clock
        if not self._is_over and not self.is_queued:
            self._tier.arrive(self)
            again = next(self._again_seconds, None)
            if again is None:
                clock.at(self._ends_seconds, self.fail, "timed out")
            else:
                clock.at(self._begun_seconds + LATENCY_SECONDS + again, self._arrive)
        elif not self._is_over:
            clock.at(self._ends_seconds, self.fail, "timed out")

    def succeed(self) -> None:
        """The tier accepted, if the task still waits."""
        if not self._is_over:
            self._is_over = True
            self._task.connected(self._tier)

    def fail(self, reason: str) -> None:
        """The attempt failed, if it is not over."""
        if not self._is_over:
            self._is_over = True
            self._task.connect_failed(reason)


class Task:
    """A process with a client: the product's decisions, and nothing else of it."""

    def __init__(self, clock: VirtualClock, tiers: list[Tier], history: History) -> None:
        settings = Settings()
        self._clock = clock
        self._tiers = tiers
        self._history = history
        self._timeout_seconds = settings.connect_timeout_seconds
        self._waiting = Waiting()
        self._has_lost = False
        self._tier: Tier | None = None
        self._timer_seconds: float | None = None
        endpoints = [Endpoint("tcp", "tier", 1 + each, "") for each in range(len(tiers))]
        retry_wait = parts.retry_wait(settings, random.uniform)
        self.delivery: Delivery[Chunk] = Delivery(
            Attempts((*endpoints,), retry_wait, lambda: parts.return_wait(random.uniform)),
            source=self._waiting,
            inflight_chunks_max=settings.inflight_chunks_max,
            ack_timeout_seconds=settings.ack_timeout_seconds,
        )

    def begin(self) -> None:
        """Be connected to the first tier, and have an ack from it."""
        self.delivery.start()
        self.connected(self._tiers[0])

    def lose(self, tier: Tier) -> None:
        """The tier died; the next record waits already."""
        if self._tier is tier:
            self._has_lost = True
            self._waiting.log()
            self._tier = None
            self._perform(self.delivery.connection_lost(self._clock.now, "reset"))

    def connected(self, tier: Tier) -> None:
        self._tier = tier
        self._perform(self.delivery.connected(self._clock.now))

    def connect_failed(self, reason: str) -> None:
        self._perform(self.delivery.connect_failed(self._clock.now, reason))

    def _acked(self, tier: Tier, chunk: Chunk) -> None:
        if self._tier is tier:
            if self._has_lost:
                self._has_lost = False
                self._history.acked.append(self._clock.now)
            self._perform(self.delivery.acked(self._clock.now, [chunk.id]))

    def _perform(self, actions: Actions[Chunk]) -> None:
        for action in actions:
            match action:
                case Connect(endpoint):
                    Attempt(self, self._tiers[endpoint.port - 1], self._timeout_seconds)
                case Send(chunk):
                    assert self._tier is not None
                    self._clock.after(2 * LATENCY_SECONDS, self._acked, self._tier, chunk)
                case Disconnect():
                    self._tier = None
                case Release():
                    pass
        self._rest()

    def _rest(self) -> None:
        due = self.delivery.next_deadline_seconds()
        if due is not None and due != self._timer_seconds:
            self._timer_seconds = due
            self._clock.at(max(due, self._clock.now), self._ring, due)

    def _ring(self, due: float) -> None:
        if due == self._timer_seconds:
            self._timer_seconds = None
            self._perform(self.delivery.timer(self._clock.now))


def play(outage: Outage) -> History:
    """Return what comes of an outage until its end and until all are connected again.

    Raises:
        AssertionError: Not all are, `SECONDS_MAX` after the end.
    """
    random.seed(outage.seed)
    clock = VirtualClock()
    clock.now = -outage.down_seconds - 1.0
    history = History([[] for _ in range(outage.tiers)])
    tiers = [Tier(clock, outage, attempts) for attempts in history.attempts]
    tasks = [Task(clock, tiers, history) for _ in range(outage.tasks)]
    for task in tasks:
        clock.after(0.0, task.begin)
        clock.at(-outage.down_seconds + random.uniform(0, LATENCY_SECONDS), task.lose, tiers[0])
    clock.at(-outage.down_seconds, setattr, tiers[0], "is_up", False)
    clock.at(0.0, setattr, tiers[0], "is_up", True)
    while clock.now < 0.0 or len(history.acked) < outage.tasks:
        clock.step()
        assert clock.now < SECONDS_MAX, f"{len(history.acked)} of {outage.tasks} are connected"
    return history
