"""Streams of which only parts that may be removed hold something.

Most of them never get another record. So their evidence is kept as text, which takes an eighth of
the memory, and a look goes through none of it. What they add to the figures is kept as sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import add, sub
from typing import NamedTuple

from logship._audit.evidence import Stream
from logship._audit.verdict import Outcome, StreamVerdict, judge


class Counts(NamedTuple):
    """What streams add to the figures of a watch."""

    records: int = 0
    duplicates: int = 0
    unended: int = 0
    inconsistent: int = 0

    @classmethod
    def of(cls, verdict: StreamVerdict) -> Counts:
        """Return what one stream adds."""
        is_unended, is_inconsistent = verdict.proof is None, bool(verdict.problems)
        return cls(verdict.records, verdict.duplicates, is_unended, is_inconsistent)

    def plus(self, verdicts: Iterable[StreamVerdict]) -> Counts:
        """Return the sums of these and of what the streams add."""
        return Counts(*map(sum, zip(self, *map(Counts.of, verdicts), strict=True)))


@dataclass
class Settled:
    """Streams that are settled. None of them has a missing number.

    Attributes:
        counts: What all of them add to the figures.
        texts: The evidence about each of them that is not complete, as JSON.
    """

    counts: Counts = Counts()
    texts: dict[str, str] = field(default_factory=dict)

    def put(self, stream: Stream, verdict: StreamVerdict) -> None:
        """Settle a stream. A complete one gets no more records: it is only counted."""
        self.counts = Counts(*map(add, self.counts, Counts.of(verdict)))
        if verdict.outcome is not Outcome.COMPLETE:
            self.texts[stream.name] = json.dumps(stream.stored(), separators=(",", ":"))

    def take(self, names: set[str]) -> Iterator[Stream]:
        """Yield those of these streams that are known, settled no longer."""
        for name in names & self.texts.keys():
            stream = Stream.restored(json.loads(self.texts.pop(name)))
            self.counts = Counts(*map(sub, self.counts, Counts.of(judge(stream))))
            yield stream
