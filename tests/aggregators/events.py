"""What happens to the tier, and when: all of it is drawn from a seed before the start."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

AGGREGATORS = 2

PARTITIONS = ("stall", "black hole", "cut", "refusal")
"""`stall`: nothing passes for a while, then everything. `black hole`: what is sent meanwhile is
gone, and so are the connections at its end. `cut`: the connections end at once. `refusal`: and no
other can be made for a while."""

LONG_PARTITION = 0.1
"""The share of partitions that are longer than the time in which a sidecar waits for an ack."""


@dataclass(frozen=True, order=True)
class Event:
    """One thing that happens.

    Attributes:
        seconds: When, after the start.
        what: `kill`, `start`, one of `PARTITIONS`, or `heal`.
        place: The number of the aggregator, or of the network in front of it.
    """

    seconds: float
    what: str
    place: int


def drawn(seed: int, seconds: float, pause_seconds: float) -> list[Event]:
    """Return the events in their order; at the end every aggregator runs, and all is healed.

    Args:
        seed: The same seed draws the same events.
        seconds: All of them happen within.
        pause_seconds: Between two kills, and between two partitions of one aggregator, on average.
    """
    chance = random.Random(seed)
    events = [*_kills(chance, seconds, pause_seconds)]
    for place in range(AGGREGATORS):
        events += _partitions(chance, place, seconds, pause_seconds)
    return sorted(events)


def _kills(chance: random.Random, seconds: float, pause_seconds: float) -> Iterator[Event]:
    """Yield kills of either aggregator; one is dead at a time."""
    killed = chance.uniform(0.2, 1.0) * pause_seconds
    while killed < seconds:
        place = chance.randrange(AGGREGATORS)
        started = min(seconds, killed + chance.uniform(0.0, 0.5) * pause_seconds)
        yield Event(killed, "kill", place)
        yield Event(started, "start", place)
        killed = started + chance.uniform(0.5, 1.5) * pause_seconds


def _partitions(
    chance: random.Random, place: int, seconds: float, pause_seconds: float
) -> Iterator[Event]:
    begun = chance.uniform(0.2, 1.0) * pause_seconds
    while begun < seconds:
        longest = 4.0 if chance.random() < LONG_PARTITION else 0.5
        healed = min(seconds, begun + chance.uniform(0.05, longest) * pause_seconds)
        yield Event(begun, chance.choice(PARTITIONS), place)
        yield Event(healed, "heal", place)
        begun = healed + chance.uniform(0.5, 1.5) * pause_seconds
