"""Counters of what happened to records, and the two reports that are made from them.

Counters are integers that the buffer advances inside its critical section; nothing is computed
on the emit path. The reports carry the promise: `accepted` equals the sum of what was acked,
spooled, spilled, dropped and left unacked, and everything that was not acked is named by number.
"""

import copy
import json
from collections import Counter
from typing import NamedTuple, Self

from logship._buffer.ranges import Ranges
from logship._reasons import ON_PURPOSE, OVERFLOW


class Counters:
    """What happened to the application's records in this process life.

    Attributes:
        accepted: Records that were given a number.
        acked: Records whose chunk the sidecar acked.
        spilled: Records written to stderr instead, while the program ran.
        dropped: Records dropped, by reason; also those that were kept back on purpose.
        refused: Records turned away without a number: after close, or past repair.
        refused_lines: Those of them for which a line on stderr was numbered, because a logging call
            returns nothing.
        refused_unwritten: Lines of these that stderr did not take.
        truncated: Records that were cut to the longest that may be sent, refused ones too.
        blocked_seconds: Time that senders waited for space, summed over all of them.
        undecided: Threads that write a record to stderr at this moment, because it found no place:
            it is counted as dropped until it is there.
    """

    def __init__(self) -> None:
        self.accepted: int = 0
        self.acked: int = 0
        self.spilled: int = 0
        self.dropped: Counter[str] = Counter()
        self.refused: int = 0
        self.refused_lines: int = 0
        self.refused_unwritten: int = 0
        self.truncated: int = 0
        self.blocked_seconds: float = 0.0
        self.undecided: set[int] = set()

    @property
    def withheld(self) -> int:
        """How many of the dropped records were kept back on purpose."""
        return sum(self.dropped[reason] for reason in ON_PURPOSE)

    @property
    def not_delivered(self) -> int:
        """How many records were dropped and not kept back, or written to stderr instead."""
        return self.dropped.total() - self.withheld + self.spilled

    def now(self) -> Self:
        """Return a copy of these numbers, in which what is undecided is not dropped."""
        now = copy.copy(self)
        now.dropped = self.dropped.copy()
        now.dropped[OVERFLOW] -= len(self.undecided)
        return now


class Account(NamedTuple):
    """The numbers that metrics are made of, all of one moment.

    Attributes:
        counters: Of that moment.
        waiting: Records of the application that are neither acked nor dropped.
        spooled: Those of them that would outlive the process.
        unspooled: Records taken in memory because the spool could not be written.
        bytes_held: Bytes of entries that wait.
    """

    counters: Counters
    waiting: int
    spooled: int
    unspooled: int
    bytes_held: int


class StreamReport(NamedTuple):
    """One stream's part of a drain report; ranges are inclusive (first, last) pairs.

    Attributes:
        stream: The stream's twelve characters.
        tag: The route of its records.
        last: The highest number that was given out, control records included.
        end: The end record's number, or None where there is none.
        accepted: Records of the application that were numbered.
        refused: Records that were turned away without a number.
        spilled: Numbers written to stderr and not acked.
        dropped: Numbers dropped, as (first, last, reason). What was kept back on purpose is among
            them only if the sidecar has not acked the record that declares it. Of very many ranges,
            spilled ones too, the same goes for the oldest.
        unacked: Numbers that are nowhere else.
        spooled: Numbers that lie on the spool.
    """

    stream: str
    tag: str
    last: int
    end: int | None
    accepted: int
    refused: int
    spilled: Ranges
    dropped: list[tuple[int, int, str]]
    unacked: Ranges
    spooled: Ranges


class DrainReport(NamedTuple):
    """What happened to every record, when a client was closed.

    The counts are of the application's records. Control records are not counted, but they have
    numbers, so they are in the streams' ranges.

    Attributes:
        reason: What ended the drain: `close`, `SIGTERM`, `exit` …
        seconds: How long the drain took.
        accepted: The sum of the next five counts.
        acked: Acknowledged by the sidecar.
        spooled: Left on the spool.
        spilled: Written to stderr.
        dropped: Dropped, with a reason.
        unacked: None of these.
        refused: Refused without a number so far; not included in `accepted`. A process that goes on
            after its report may refuse more, and then a correction follows.
        refused_lines: How many of the refused records logship had to write to stderr, numbered from
            1, because a logging call returns nothing. The calls that refused the others raised an
            error or returned False, or the end of the process has stopped them in the middle.
        refused_unwritten: How many of those lines stderr did not take, or would have had to take
            faster than the settings allow.
        refused_id: The id in these lines.
        truncated: Records that were cut to the longest that may be sent, refused ones too.
        streams: Each stream's numbers.
        withheld: How many of the dropped records were kept back on purpose.
    """

    reason: str
    seconds: float
    accepted: int
    acked: int
    spooled: int
    spilled: int
    dropped: int
    unacked: int
    refused: int
    refused_lines: int
    refused_unwritten: int
    refused_id: str
    truncated: int
    streams: tuple[StreamReport, ...]
    withheld: int

    @property
    def all_acked(self) -> bool:
        """Whether the sidecar acknowledged every accepted record, except withheld ones."""
        return self.accepted == self.acked + self.withheld

    @property
    def late_counts(self) -> tuple[int, int, int, int]:
        """The counts that grow if the process goes on."""
        return self.refused, self.refused_lines, self.refused_unwritten, self.spilled

    @property
    def says_all_is_well(self) -> bool:
        """Whether every accepted record was acked, and no logging call was refused in silence."""
        return self.all_acked and not self.refused_lines

    def to_json(self, kind: str = "drain report", **more: object) -> str:
        """Return the report as the one JSON line that is printed on stderr.

        Args:
            kind: Of the line; lines of other kinds have the same fields.
            more: Fields that only the printed line has.
        """
        fields = {
            "logship": kind,
            **self._asdict(),
            "seconds": round(self.seconds, 3),
            "streams": [each._asdict() for each in self.streams],
            **more,
        }
        return json.dumps(fields)


class FlushReport(NamedTuple):
    """The result of a flush.

    Attributes:
        all_acked: True only if every record accepted before the flush was acknowledged. It is False
            also if a later record was dropped or spilled meanwhile.
        unacked: How many of the buffer's records were not acknowledged when the flush ended.
        seconds: How long it took.
    """

    all_acked: bool
    unacked: int
    seconds: float
