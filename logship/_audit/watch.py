"""Follows outputs, and knows at each moment what is proved, what is missing, and for how long.

The evidence is kept for each part of an output: for each file, each object. The evidence of a part
counts while the part is there. So a part that is removed, cut or replaced takes its proof with it,
and a part that is renamed, copied or compressed does not.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import add, sub
from typing import Any, Final, NamedTuple

from logship._audit.ages import Ages
from logship._audit.audit import Audit
from logship._audit.evidence import Stream
from logship._audit.lines import STAMP_KEY
from logship._audit.outputs import Moved, Output, Part, Position
from logship._audit.sources import CannotRead
from logship._audit.text import many
from logship._audit.verdict import Outcome, StreamVerdict, judge

VERSION: Final = 3
"""Of a state."""


@dataclass
class Figures:
    """What a watch exports, as of its last look; `AUDIT_MEASURES` says what each number is."""

    records_proved: int = 0
    records_missing: int = 0
    records_overdue: int = 0
    records_duplicated: int = 0
    streams_unended: int = 0
    streams_inconsistent: int = 0
    oldest_missing_seconds: float = 0.0
    parts: int = 0
    read_failures: int = 0
    looked_timestamp_seconds: float = 0.0


@dataclass
class Followed:
    """What is known of one part.

    Attributes:
        name: What a person knows it by.
        position: How far it is read; None if nothing was read yet.
        changed_seconds: When it was last found changed.
    """

    name: str
    changed_seconds: float
    position: Position | None = None
    streams: dict[str, Stream] = field(default_factory=dict)


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
    """Streams of which only parts that may be removed hold something; no number of them is missing.

    Most of them never get another record. So their evidence is kept as text, which takes an eighth
    of the memory, and a look goes through none of it. What they add to the figures is kept as sums.

    Attributes:
        counts: What all of them add to the figures.
        texts: The evidence about each of them of which more may arrive, as JSON.
    """

    counts: Counts = Counts()
    texts: dict[str, str] = field(default_factory=dict)

    def put(self, stream: Stream, verdict: StreamVerdict) -> None:
        """Settle a stream. One of which all has arrived gets no more: it is only counted."""
        self.counts = Counts(*map(add, self.counts, Counts.of(verdict)))
        is_awaited = verdict.spilled or verdict.declared_count
        if verdict.outcome is not Outcome.COMPLETE or is_awaited:
            self.texts[stream.name] = json.dumps(stream.stored(), separators=(",", ":"))

    def take(self, names: set[str]) -> Iterator[Stream]:
        """Yield those of these streams that are known, settled no longer."""
        for name in names & self.texts.keys():
            stream = Stream.restored(json.loads(self.texts.pop(name)))
            self.counts = Counts(*map(sub, self.counts, Counts.of(judge(stream))))
            yield stream


class Watch:
    """Follows outputs.

    Args:
        overdue_seconds: A number that is missing for longer is overdue.
        retention_seconds: A part that has not changed for so long may be removed: its evidence
            still counts. None: no part may be removed.

    Attributes:
        verdicts: What is proved about each stream that is not settled.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        *,
        stamp_key: str = STAMP_KEY,
        overdue_seconds: float = 60.0,
        retention_seconds: float | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.figures = Figures()
        self.verdicts: dict[str, StreamVerdict] = {}
        self._outputs = outputs
        self._stamp_key = stamp_key
        self._overdue_seconds = overdue_seconds
        self._retention_seconds = retention_seconds
        self._say = say
        self._followed: dict[str, dict[str, Followed]] = {each.name: {} for each in outputs}
        self._folded: dict[str, Stream] = {}  # of parts that may be removed, and what is remembered
        self._settled = Settled()
        self._ages = Ages()
        self._overdue: dict[str, int] = {}
        self._touched: set[str] = set()
        self._failing: set[str] = set()
        self._unlisted = {each.name for each in outputs}

    def look(self, now_seconds: float) -> None:
        """Read what is new, and judge. The time is since the epoch: a restart goes on with it."""
        for output in self._outputs:
            with self._noting_failure(output.name):
                self._look_at(output, now_seconds)
        self._judge()
        missing = {name: each.lost for name, each in self.verdicts.items()}
        overdue_since_seconds = now_seconds - self._overdue_seconds
        self._ages.update(missing, now_seconds, overdue_since_seconds)
        self._tell_overdue(self._ages.overdue(overdue_since_seconds))
        self._count(now_seconds)
        self._settle()

    # -- reading -----------------------------------------------------------------------------------

    def _look_at(self, output: Output, now_seconds: float) -> None:
        followed = self._followed[output.name]
        parts: dict[str, Part] = {}
        unlisted: CannotRead | None = None
        try:
            parts.update((part.key, part) for part in output.parts())
            if followed.keys() - parts.keys():  # a rename in the middle of the listing hides a file
                parts.update((part.key, part) for part in output.parts())
        except CannotRead as error:
            unlisted = error
        for key, part in parts.items():
            known = followed.setdefault(key, Followed(part.name, now_seconds))
            known.name = part.name
            known.changed_seconds = min(known.changed_seconds, now_seconds)  # the clock was set
            with self._noting_failure(part.name), contextlib.suppress(Moved):
                self._read(part, known, now_seconds)
            if not part.overlaps:  # else what is read again would find its evidence gone
                self._fold_if_old(known, now_seconds)
        if unlisted is not None:
            raise unlisted  # what was not listed may be there
        if output.name in self._unlisted and not followed:
            self._say(f"{output.name}: nothing is there yet; logship keeps looking")
        self._unlisted.discard(output.name)
        for key in followed.keys() - parts.keys():
            gone = followed.pop(key)
            text = f"{gone.name} is gone; what was in it no longer counts"
            self._let_go(gone.streams, gone.changed_seconds, now_seconds, text)

    def _read(self, part: Part, known: Followed, now_seconds: float) -> None:
        reading = part.read(known.position)
        if reading is None:
            return
        audit = Audit(self._stamp_key)
        for lines in reading.batches:
            audit.feed(lines)
        # From here on nothing can fail: a part that could be read by half is read again.
        before: dict[str, Stream] = {}
        if reading.is_fresh:
            before, known.streams = known.streams, {}
        overlaps = part.overlaps and known.position is not None
        _absorb(known.streams, audit.streams.values(), overlaps=overlaps)
        self._touched |= before.keys() | {stream.name for stream in audit.streams.values()}
        self._let_go_what_went(known, before, now_seconds)
        if known.position != reading.position:
            known.position, known.changed_seconds = reading.position, now_seconds

    def _let_go_what_went(
        self, known: Followed, before: dict[str, Stream], now_seconds: float
    ) -> None:
        pairs = [(old, known.streams.get(key, Stream(""))) for key, old in before.items()]
        count = sum((old.delivered - new.delivered).count for old, new in pairs)
        if count or any(new.reach < old.reach for old, new in pairs):
            what = many(count, "record") if count else "reports or spilled copies"
            text = f"{known.name} was cut or replaced; {what} of it no longer count"
            self._let_go(before, known.changed_seconds, now_seconds, text)

    def _let_go(
        self, streams: dict[str, Stream], changed_seconds: float, now_seconds: float, text: str
    ) -> None:
        """Keep the evidence if its part may be removed.

        Otherwise say so, and keep how far streams came, though not what proved it: so what is gone
        is missing.
        """
        self._touched |= streams.keys()
        if self._may_be_removed(changed_seconds, now_seconds):
            _absorb(self._folded, streams.values())
        elif streams:  # a file without records, such as the metadata of Fluentd's buffer, may go
            far = (Stream(old.name, old.tag, stated=old.reach) for old in streams.values())
            _absorb(self._folded, far)
            self._say(text)

    def _fold_if_old(self, known: Followed, now_seconds: float) -> None:
        """Keep the evidence of a part that may be removed together with that of all others."""
        if self._may_be_removed(known.changed_seconds, now_seconds):
            self._touched |= known.streams.keys()
            _absorb(self._folded, known.streams.values())
            known.streams = {}

    def _may_be_removed(self, changed_seconds: float, now_seconds: float) -> bool:
        age_seconds = now_seconds - changed_seconds
        return self._retention_seconds is not None and age_seconds >= self._retention_seconds

    @contextlib.contextmanager
    def _noting_failure(self, name: str) -> Any:
        """Go on without what cannot be read, and say so once until it can."""
        try:
            yield
        except CannotRead as error:
            self.figures.read_failures += 1
            if name not in self._failing:
                self._say(f"{error}; what is known of it still counts")
            self._failing.add(name)
        else:
            self._failing.discard(name)

    # -- judging -----------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Judge the streams anew of which something was read, or is gone."""
        _absorb(self._folded, self._settled.take(self._touched))
        for name in self._touched:
            evidence = [streams[name] for streams in self._all_streams() if name in streams]
            if evidence:
                merged = Stream(name)
                merged.absorb(*evidence)
                self.verdicts[name] = judge(merged)
            else:
                self.verdicts.pop(name, None)
        self._touched.clear()

    def _all_streams(self) -> Iterable[dict[str, Stream]]:
        yield self._folded
        for followed in self._followed.values():
            yield from (known.streams for known in followed.values())

    def _tell_overdue(self, overdue: dict[str, int]) -> None:
        before, self._overdue = self._overdue, overdue
        for name, count in overdue.items():
            if count > before.get(name, 0):
                stream = self.verdicts[name]
                self._say(
                    f"overdue: {many(count, 'record')} of stream {name} (tag {stream.tag or '?'}), "
                    f"from number {self._ages.first(name)}"
                )

    def _count(self, now_seconds: float) -> None:
        verdicts, figures = self.verdicts.values(), self.figures
        counts = self._settled.counts.plus(verdicts)
        figures.records_proved = counts.records
        figures.records_missing = sum(each.lost.count for each in verdicts)
        figures.records_overdue = sum(self._overdue.values())
        figures.records_duplicated = counts.duplicates
        figures.streams_unended = counts.unended
        figures.streams_inconsistent = counts.inconsistent
        figures.oldest_missing_seconds = now_seconds - self._ages.oldest(now_seconds)
        figures.parts = sum(map(len, self._followed.values()))
        figures.looked_timestamp_seconds = now_seconds

    def _settle(self) -> None:
        """Settle streams without missing numbers that only parts that may be removed hold."""
        parts = [known for followed in self._followed.values() for known in followed.values()]
        for name in self._folded.keys() - set().union(*(known.streams for known in parts)):
            if not self.verdicts[name].lost:
                self._settled.put(self._folded.pop(name), self.verdicts.pop(name))

    # -- its state ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that a later watch must know to go on, as plain values."""
        return {
            "version": VERSION,
            "stamp_key": self._stamp_key,
            "settled": self._settled.counts,
            "settled_streams": self._settled.texts,
            "ages": self._ages.stored(),
            "folded": [stream.stored() for stream in self._folded.values()],
            "outputs": {
                name: {key: _stored(known) for key, known in followed.items()}
                for name, followed in self._followed.items()
            },
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where a watch was that had this state, with the outputs that both know.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: It is no such state.
        """
        if state["version"] != VERSION or state["stamp_key"] != self._stamp_key:
            raise ValueError("it is of another version, or for another stamp key")
        counts = Counts(*map(int, state["settled"]))
        self._settled = Settled(counts, dict(state["settled_streams"]))
        self._ages = Ages.restored(state["ages"])
        _absorb(self._folded, map(Stream.restored, state["folded"]))
        for name in self._followed.keys() & state["outputs"].keys():
            parts = state["outputs"][name].items()
            self._followed[name] = {key: _restored(known) for key, known in parts}
        self._touched = set().union(*self._all_streams())


def _absorb(known: dict[str, Stream], found: Iterable[Stream], *, overlaps: bool = False) -> None:
    for stream in found:
        known.setdefault(stream.name, Stream(stream.name)).absorb(stream, overlaps=overlaps)


def _stored(known: Followed) -> dict[str, Any]:
    streams = [stream.stored() for stream in known.streams.values()]
    return {**vars(known), "streams": streams}


def _restored(fields: dict[str, Any]) -> Followed:
    streams = map(Stream.restored, fields["streams"])
    return Followed(**{**fields, "streams": {stream.name: stream for stream in streams}})
