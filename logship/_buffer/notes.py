"""Counts that are noted outside the critical section, and advanced inside it.

`counter += 1` is three steps, between which another thread or a signal handler may come. To append
a note is one. The section counts what was noted, by a change.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from logship._buffer.accumulator import Accumulator
from logship._buffer.inbox import Tag
from logship._buffer.stream import Stream
from logship._reasons import ON_PURPOSE

Note = tuple[str, Tag, float]
"""What happened, with which tag, and how often: a counter's name, or a reason of `ON_PURPOSE`."""


def count_notes(notes: list[Note], accumulator: Accumulator, *, closed: bool) -> None:
    """Advance the counters by what was noted; in the critical section.

    Args:
        notes: What is not counted yet. What is counted is removed.
        accumulator: Whose counters, and those of whose streams.
        closed: Whether intake has ended: what was withheld gets no number then, and is refused.
    """
    taken = notes[:]
    counters = accumulator.counters
    withheld, others = _sort(taken, accumulator, closed=closed)
    values = {name: getattr(counters, name) for name, _, _ in others}
    refused: Counter[Stream] = Counter()
    for name, tag, amount in others:
        values[name] += amount
        if name == "refused" and tag in accumulator.streams.open:
            refused[accumulator.streams.open[tag]] += int(amount)
    refusals = {stream: stream.refused + count for stream, count in refused.items()}
    by_reason = sum(withheld.values(), Counter[str]())
    kept_back = {stream: count + Counter(stream.withheld) for stream, count in withheld.items()}
    accepted, dropped = counters.accepted + by_reason.total(), counters.dropped + by_reason

    def change() -> None:
        for name, value in values.items():
            setattr(counters, name, value)
        for stream, count in refusals.items():
            stream.refused = count
        for stream, by_reason in kept_back.items():
            stream.withheld = by_reason
        counters.accepted, counters.dropped = accepted, dropped
        if notes and notes[0] is taken[0]:
            del notes[: len(taken)]

    accumulator.changes.commit(change)


def _sort(
    notes: list[Note], accumulator: Accumulator, *, closed: bool
) -> tuple[dict[Stream, Counter[str]], list[Note]]:
    """Return what was withheld, by stream and reason, and the other notes.

    What gets no number any more is refused.
    """
    withheld: dict[Stream, Counter[str]] = defaultdict(Counter)
    others: list[Note] = []
    for note in notes:
        name, tag, amount = note
        if name not in ON_PURPOSE:
            others.append(note)
        elif closed or not accumulator.streams.has_place(tag):
            others.append(("refused", tag, amount))
        else:
            withheld[accumulator.stream(tag)][name] += int(amount)
    return withheld, others
