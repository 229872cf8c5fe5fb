"""Decides whether what processes with a spool left behind was delivered, or honestly counted.

Like the judge it knows what was accepted from the producers and what arrived from the servers. Of
a dead process it asks only what that said while it lived: which records it held in memory, for
want of a disk, and how many it had counted so.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.simulation.ledgers import Life
from tests.simulation.wire import NO_SERIAL, Frame, Violation

Stamp = tuple[str, int]

DAMAGED_REASON = "damaged"
QUARANTINED_REASON = "quarantined"

TORN = "disk torn"
VANISHED = "segment vanishes"
STREAMS_DAMAGED = "disk streams"
_UNREADABLE = frozenset({"disk header", TORN, VANISHED})
"""Damage that may hide which numbers are lost; any other must be declared to the number."""


@dataclass
class Heir:
    """What one process life accepted, and what its end may cost.

    Attributes:
        accepted: The record that each number was given to.
        given_up: Numbers that the process itself counted as lost.
        untold: Those of them that nothing on the spool or at a server declares.
        at_risk: Numbers in its memory when it was killed.
        unspooled: How many records it had counted as taken in memory, when it was killed.
        directories: Where it left something.
        damages: What happened to that.
        hit: Numbers in the one chunk that was hit; None where it is not known how many were.
        waiting: Streams of which there was something in it.
        unreadable: Numbers in chunks that a bad sector hides for good.
    """

    accepted: dict[Stamp, int] = field(default_factory=dict)
    given_up: set[Stamp] = field(default_factory=set)
    untold: set[Stamp] = field(default_factory=set)
    at_risk: set[Stamp] = field(default_factory=set)
    unspooled: int = 0
    directories: list[str] = field(default_factory=list)
    damages: set[str] = field(default_factory=set)
    hit: set[Stamp] | None = None
    waiting: set[str] = field(default_factory=set)
    unreadable: set[Stamp] = field(default_factory=set)


class Estate:
    """All lives of one history, and what became of their records."""

    def __init__(self) -> None:
        self._heirs: defaultdict[int, Heir] = defaultdict(Heir)
        self._lives: dict[str, Life] = {}
        self._arrived: defaultdict[Stamp, set[int]] = defaultdict(set)
        self._declared: dict[Stamp, str] = {}
        self._own_ends: defaultdict[str, set[int]] = defaultdict(set)
        self._recovered_ends: defaultdict[str, set[int]] = defaultdict(set)
        self._last: defaultdict[str, int] = defaultdict(int)
        self._last_record: defaultdict[str, int] = defaultdict(int)
        self._last_gap: defaultdict[str, int] = defaultdict(int)
        self._given_up: dict[Stamp, str] = {}
        self._said: list[str] = []
        self._troubled: set[str] = set()
        self._unmarked: set[str] = set()
        self._owed: set[str] = set()
        self._hiding: set[str] = set()
        self._bodies: dict[int, bytes] = {}

    # -- while processes live --------------------------------------------------------------------

    def accepted(
        self, life: Life, stream: str, number: int, serial: int, body: bytes = b""
    ) -> None:
        """A call that put a record into the buffer has returned."""
        self._heirs[life.number].accepted[stream, number] = serial
        self._bodies[serial] = body

    def acked(self, frame: Frame) -> None:
        """A server has these records for good."""
        for number, serial in zip(frame.numbers, frame.serials, strict=True):
            if serial != NO_SERIAL:
                self._arrived[frame.stream, number].add(serial)
                _raise_to(self._last_record, frame.stream, number)
        last = frame.numbers[-1]
        _raise_to(self._last, frame.stream, last)
        if frame.gaps:
            _raise_to(self._last_gap, frame.stream, last)
        if frame.end is not None:
            is_own = frame.end["logship_end"] is True
            (self._own_ends if is_own else self._recovered_ends)[frame.stream].add(last)
        for first, last, reason in frame.gaps:
            for number in range(first, last + 1):
                self._declared[frame.stream, number] = reason

    def excused(self, life: Life, *, given_up: set[Stamp], untold: set[Stamp]) -> None:
        """A process that counted these as lost was killed, or has reported them."""
        self._heirs[life.number].given_up |= given_up
        self._heirs[life.number].untold |= untold

    def said(self, text: str) -> None:
        self._said.append(text)

    # -- when they die ---------------------------------------------------------------------------

    def left(self, life: Life, directory: str, streams: set[str]) -> None:
        """A process has ended and left this, with something of these streams in it."""
        self._heirs[life.number].directories.append(directory)
        self._heirs[life.number].waiting = streams
        self._lives[directory] = life

    def died(self, life: Life, at_risk: set[Stamp], unspooled: int) -> None:
        heir = self._heirs[life.number]
        heir.at_risk, heir.unspooled = at_risk, unspooled

    def damaged(self, directory: str, fault: str, stream: str, numbers: list[int]) -> None:
        """What a process left was damaged, at a chunk with these numbers of this stream."""
        life = self._lives[directory]
        heir = self._heirs[life.number]
        heir.damages.add(fault)
        heir.hit = None if fault == TORN else {(stream, number) for number in numbers}
        life.damaged = True

    def troubled(self, name: str) -> None:
        """A call on a directory failed: something may be said of it.

        Args:
            name: Of the directory, or the stamp of a record out of it; empty where nothing is said.
        """
        self._troubled |= {name} - {""}

    def unmarked(self, directory: str) -> None:
        """A recoverer could not store there what a server has, or that a stream has ended."""
        self._unmarked.add(directory)

    def must_be_said(self, text: str) -> None:
        """A recoverer lives that has met this: it must have told a person."""
        self._owed.add(text)

    def unreadable(self, directory: str, stamps: set[Stamp]) -> None:
        """No process can read these any more; the life that has them must stay."""
        self._heirs[self._lives[directory].number].unreadable |= stamps
        self._hiding.add(directory)

    def vanished(self, directory: str, stamps: set[Stamp]) -> None:
        """Another program removed a segment with these."""
        life = self._lives[directory]
        heir = self._heirs[life.number]
        heir.damages.add(VANISHED)
        heir.hit = (heir.hit or set()) | stamps
        life.damaged = True

    def life_of(self, directory: str) -> Life:
        return self._lives[directory]

    def gave_up(self, frame: Frame, reason: str) -> None:
        """A recoverer gives up a chunk."""
        self._given_up |= {(frame.stream, number): reason for number in frame.numbers}

    def given_up_of(self, frame: Frame) -> dict[Stamp, str]:
        """Return which of these records a recoverer gave up, and why."""
        stamps = {(frame.stream, number) for number in frame.numbers}
        return {stamp: self._given_up[stamp] for stamp in stamps & self._given_up.keys()}

    # -- in the end ------------------------------------------------------------------------------

    def settle(
        self,
        left: list[str],
        poison: dict[str, set[Stamp]] | None = None,
        kept: bytes = b"",
        noted: dict[str, dict[Stamp, str]] | None = None,
    ) -> None:
        """Everything healed and everything was recovered: account for every accepted record.

        Args:
            left: What is still in the spool's directory; it needs a reason.
            poison: By directory, what no server takes, and nothing was there to prove it.
            kept: What is in the quarantine.
            noted: By directory, the marks on the spool, which the end of the stream must declare.
        """
        waits = {} if poison is None else poison
        for directory in left:
            if directory not in waits and directory not in self._hiding:
                raise Violation(f"left on the spool: {left}")
        self._check_said()
        for number, heir in self._heirs.items():
            stays = {each for name in heir.directories for each in waits.get(name, ())}
            here = set(left).intersection(heir.directories)
            stays |= heir.unreadable if here else set()
            self._check_not_ended(heir, stays, kept)
            to_declare = self._to_declare(heir, noted or {})
            self._settle(number, heir, stays, kept, to_declare)
            if not heir.damages and not here:
                self._check_ends(heir)
            if heir.damages <= {STREAMS_DAMAGED} and not here:
                self._check_told(heir)

    def _check_told(self, heir: Heir) -> None:
        """Every stream with something on the spool has an end, and no slots go in silence.

        It has one end, with two exceptions. If a mark could not be stored, nothing says that it
        ended. What a recoverer gives up has no mark: the next one declares it again.
        """
        given_up = {stream for stream, _ in self._given_up}
        for stream in sorted(heir.waiting):
            if not self._own_ends[stream] | self._recovered_ends[stream]:
                raise Violation(f"{stream} was recovered, and its end was not told")
            is_marked = self._unmarked.isdisjoint(heir.directories)
            if len(self._recovered_ends[stream]) > 1 and is_marked and stream not in given_up:
                raise Violation(f"{stream} was ended at {sorted(self._recovered_ends[stream])}")
        if heir.damages and heir.waiting and not self._is_named(heir):
            raise Violation(f"slots were damaged, and no report says so: {heir.directories}")

    def _to_declare(self, heir: Heir, noted: dict[str, dict[Stamp, str]]) -> dict[Stamp, str]:
        """Return what the next recoverer declares, when nothing holds it up any longer.

        That may be a record that no server takes, or a bad sector. A recoverer that has ended a
        stream has declared all of its gaps.
        """
        return {
            (stream, number): reason
            for directory in heir.directories
            for (stream, number), reason in noted.get(directory, {}).items()
            if not self._recovered_ends[stream]
        }

    def _check_not_ended(self, heir: Heir, stays: set[Stamp], kept: bytes) -> None:
        """No recoverer ends a stream of which a record is on the spool, and nowhere else."""
        for stream, number in sorted(stays & heir.accepted.keys()):
            serial = heir.accepted[stream, number]
            is_elsewhere = serial in self._arrived[stream, number] or self._bodies[serial] in kept
            if self._recovered_ends[stream] and not is_elsewhere:
                raise Violation(f"{stream} was ended, and {number} is still on the spool")

    def _check_said(self) -> None:
        """A recoverer must not report damage without damage, nor be silent after a failure."""
        for owed in sorted(self._owed):
            if not any(owed in text for text in self._said):
                raise Violation(f"no report says that something failed: {owed}")
        sound = [
            directory
            for heir in self._heirs.values()
            if not heir.damages and not heir.unreadable
            for directory in heir.directories
        ]
        for text in self._said:
            is_of_trouble = any(name in text for name in self._troubled)
            if not is_of_trouble and any(directory in text for directory in sound):
                raise Violation(f"said of what was not damaged: {text}")

    def _check_ends(self, heir: Heir) -> None:
        """A stream has one end of its own, no record follows an end, and an end is the last.

        It is ended again behind a gap, or where its own end record was sent from memory.
        """
        in_memory = heir.at_risk | heir.given_up
        for stream in sorted({stream for stream, _ in heir.accepted} | heir.waiting):
            own, again = self._own_ends[stream], self._recovered_ends[stream]
            ends, last = own | again, self._last[stream]
            if len(own) > 1 or (
                ends and (self._last_record[stream] > min(ends) or last not in ends)
            ):
                raise Violation(f"{stream} goes on to {last}, its end records are {sorted(ends)}")
            known = {end for end in own if (stream, end) not in in_memory}
            if again and known and self._last_gap[stream] < max(known):
                raise Violation(
                    f"{stream} ended at {known}, and was ended again at {sorted(again)}"
                )

    def _settle(
        self, number: int, heir: Heir, stays: set[Stamp], kept: bytes, to_declare: dict[Stamp, str]
    ) -> None:
        missing = {
            stamp for stamp, serial in heir.accepted.items() if serial not in self._arrived[stamp]
        }
        # What is damaged, or cannot be read any more, may have declared any of them.
        missing -= heir.given_up if heir.damages or heir.unreadable else heir.untold
        missing -= stays | self._refused_without_a_gap(missing, kept)
        declared = to_declare | self._declared
        reasons = {stamp: declared[stamp] for stamp in missing if stamp in declared}
        damaged = {stamp for stamp, reason in reasons.items() if reason == DAMAGED_REASON}
        swallowed = self.swallowed(heir, damaged)
        broken = damaged - swallowed
        undeclared = missing - reasons.keys()
        forgotten = (undeclared & heir.at_risk) | swallowed
        if len(forgotten) > heir.unspooled:
            raise Violation(
                f"{len(forgotten)} records died in the memory of life {number}, "
                f"which had counted {heir.unspooled} as unspooled"
            )
        lost = undeclared - forgotten
        if lost and not heir.damages & _UNREADABLE:
            raise Violation(
                f"life {number}: accepted, spooled and lost: {_some(lost)}, {heir.damages}"
            )
        if heir.hit is not None and not lost | broken <= heir.hit:
            raise Violation(f"life {number}: one chunk was damaged, others are lost: {_some(lost)}")
        self._check_kept(heir, lost | broken, reasons, kept)
        if (lost or broken) and VANISHED not in heir.damages and not self._is_named(heir):
            raise Violation(
                f"life {number}: {_some(lost | broken)} are lost, and no report says why"
            )

    def _refused_without_a_gap(self, missing: set[Stamp], kept: bytes) -> set[Stamp]:
        """Return what is in the quarantine, of streams in which no gap can declare it.

        No recoverer gives out numbers in a stream whose newest chunk is damaged, since they may
        have been given before.
        """
        closed = {stamp for stamp in missing if not self._recovered_ends[stamp[0]]}
        bodies = {
            stamp: self._bodies[serial]
            for heir in self._heirs.values()
            for stamp, serial in heir.accepted.items()
            if stamp in closed
        }
        return {stamp for stamp, body in bodies.items() if body and body in kept}

    def _check_kept(
        self, heir: Heir, lost: set[Stamp], reasons: dict[Stamp, str], kept: bytes
    ) -> None:
        """Nothing on the spool is deleted that was not shipped, spilled or quarantined."""
        declared = {stamp for stamp, reason in reasons.items() if reason == QUARANTINED_REASON}
        refused = declared & self._declared.keys()  # any other is still on the spool
        refused -= heir.given_up  # its own process may have had no disk to keep it on
        if heir.damages <= {
            "disk flip",
            STREAMS_DAMAGED,
        }:  # any other may have taken the bytes with it
            refused |= lost
        gone = {each for each in refused if self._bodies[heir.accepted[each]] not in kept}
        if len(gone) > len(
            heir.damages - {STREAMS_DAMAGED}
        ):  # the bit that flipped is in one record
            raise Violation(f"deleted, and not in the quarantine: {_some(gone)}")

    @staticmethod
    def swallowed(heir: Heir, damaged: set[Stamp]) -> set[Stamp]:
        """Return what is declared as damaged, and died in memory.

        Records that were taken in memory behind a chunk on the spool leave a hole there. Where that
        chunk is damaged, a recoverer cannot see where it ended: it declares the hole with it.
        """
        if not heir.hit:
            return set()
        hit_stream, hit_first = min(heir.hit)
        in_memory = (damaged & heir.at_risk) - heir.hit
        return {(stream, n) for stream, n in in_memory if stream == hit_stream and n > hit_first}

    def _is_named(self, heir: Heir) -> bool:
        return any(each in text for each in heir.directories for text in self._said)


def _some(stamps: set[Stamp]) -> str:
    first = ", ".join(f"{stream}:{number}" for stream, number in sorted(stamps)[:5])
    return f"{len(stamps)} records ({first})"


def _raise_to(numbers: defaultdict[str, int], stream: str, number: int) -> None:
    numbers[stream] = max(numbers[stream], number)
