"""Counts that are noted outside the critical section, and advanced inside it.

`counter += 1` is three steps, between which another thread or a signal handler may come. To append
a note is one. The section counts what was noted, by a change.
"""

from __future__ import annotations

from logship.buffer.accumulator import Accumulator
from logship.buffer.inbox import Tag


class Notes:
    """What happened to records outside the section.

    Attributes:
        items: What is not counted yet, as (counter, tag, amount).
    """

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[tuple[str, Tag, float]] = []

    def __len__(self) -> int:
        """Return how many are not counted yet."""
        return len(self.items)

    def add(self, counter: str, tag: Tag, amount: float) -> None:
        """Note that a counter is to be advanced. From any thread, at any point."""
        self.items.append((counter, tag, amount))

    def count(self, accumulator: Accumulator) -> None:
        """Advance the counters by what was noted; in the critical section."""
        notes = self.items
        taken = notes[:]
        counters, streams = accumulator.counters, accumulator.streams
        totals = {name: getattr(counters, name) for name, _, _ in taken}
        refused = {streams[tag]: streams[tag].refused for _, tag, _ in taken if tag in streams}
        for name, tag, amount in taken:
            totals[name] += amount
            if name == "refused" and tag in streams:
                refused[streams[tag]] += int(amount)

        def change() -> None:
            for name, total in totals.items():
                setattr(counters, name, total)
            for stream, count in refused.items():
                stream.refused = count
            if notes and notes[0] is taken[0]:
                del notes[: len(taken)]

        accumulator.changes.commit(change)
