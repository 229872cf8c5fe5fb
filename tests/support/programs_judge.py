"""The judge of the lifecycle tests: compares the ledger with what arrived, spilled or was named.

It imports nothing of logship and believes no count that logship gives about itself unless the
files say the same. Its rule is the promise: each record whose logging call returned arrived, or is
on stderr, or is named by number in a drain report.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.programs import Ended
from tests.support.servers import objects_of, whole_lines
from tests.support.waiting import wait_until

Numbers = set[int]
Streams = set[str]


@dataclass(frozen=True)
class Verdict:
    """What became of one program's records.

    Attributes:
        ended: The program.
        lines: The sidecar's output lines that belong to this program's streams.
    """

    ended: Ended
    lines: tuple[dict[str, Any], ...]

    @cached_property
    def delivered(self) -> Counter[str]:
        """How often each marker arrived at the sidecar."""
        return Counter(_markers(self.ended.ledger, (line["record"] for line in self.lines)))

    @cached_property
    def spilled(self) -> Counter[str]:
        """How often each marker was written to stderr as a spilled record."""
        records = (line["record"] for line in self.ended.spilled)
        return Counter(_markers(self.ended.ledger, records))

    @cached_property
    def refused(self) -> Counter[str]:
        """How often each marker was written to stderr because it was logged after the close."""
        records = (line["record"] for line in self.ended.refused)
        return Counter(_markers(self.ended.ledger, records))

    @cached_property
    def missing(self) -> list[str]:
        """The ledger's markers that neither arrived nor are on stderr."""
        seen = {*self.delivered, *self.spilled, *self.refused}
        return [marker for marker in self.ended.ledger if marker not in seen]

    @cached_property
    def seen(self) -> dict[str, Numbers]:
        """The numbers of each stream that arrived or are on stderr, control records' included."""
        numbers: dict[str, Numbers] = defaultdict(set)
        for record in self._all_records():
            stream, number = stamp_of(record)
            numbers[stream].add(number)
        return numbers

    def _all_records(self) -> Iterator[dict[str, Any]]:
        for line in (*self.lines, *self.ended.spilled):
            if "logship_id" in line["record"]:
                yield line["record"]

    @cached_property
    def named(self) -> dict[str, Numbers]:
        """The numbers of each stream that a drain report says will not arrive, or may not."""
        numbers: dict[str, Numbers] = defaultdict(set)
        for report in self.ended.reports:
            for stream in report["streams"]:
                for kind in ("dropped", "unacked", "spilled", "spooled"):
                    numbers[stream["stream"]] |= numbers_of(stream[kind])
        return numbers

    @cached_property
    def unnamed(self) -> list[tuple[str, int]]:
        """The holes: numbers given out that were never seen and that no report names."""
        return [
            (stream, number)
            for stream in {*self.seen, *self.named}
            for number in range(1, self._last(stream) + 1)
            if number not in self.seen[stream] and number not in self.named[stream]
        ]

    def _last(self, stream: str) -> int:
        said = [
            each["last"]
            for report in self.ended.reports
            for each in report["streams"]
            if each["stream"] == stream
        ]
        return max([*self.seen[stream], *said], default=0)

    @property
    def lost(self) -> list[str]:
        """The markers that are not accounted for; empty if the promise is kept.

        The number of a missing marker is unknown. So each number that a report names and that was
        not seen excuses one missing marker.
        """
        excused = sum(len(self.named[each] - self.seen[each]) for each in list(self.named))
        return self.missing[excused:]

    def assert_nothing_lost(
        self, records: int | None = None, *, spilled: int | None = None
    ) -> None:
        """Fail with what is needed to find the fault if the promise was not kept.

        Args:
            records: How many the ledger must have; None where it may be any number.
            spilled: How many of them must be on stderr as spilled; None likewise.
        """
        assert records in (None, len(self.ended.ledger)), self._told(f"not {records} were logged")
        self.assert_reports_add_up()
        assert not self.lost, self._told(f"lost {len(self.lost)}: {self.lost[:5]}")
        assert not self.unnamed, self._told(f"unnamed holes: {self.unnamed[:5]}")
        assert spilled in (None, len(self.spilled)), self._told(f"not {spilled} were spilled")

    def assert_all_ended(self, killed: Iterable[str] = ()) -> None:
        """Fail if a stream has no end record: its process was gone before it had drained.

        Args:
            killed: Process ids that were killed, of which no end is expected.
        """
        ended = {stamp_of(record)[0] for record in self._all_records() if "logship_end" in record}
        assert ended <= self.seen.keys()
        excused = set[str]().union(*(self.streams_by_process.get(each, ()) for each in killed))
        absent = self.seen.keys() - ended - excused
        assert not absent, self._told(f"no end: {absent}")

    def assert_all_delivered(self, records: int | None = None) -> None:
        """Fail if a record of the ledger did not arrive; see `assert_nothing_lost`."""
        self.assert_nothing_lost(records)
        absent = [marker for marker in self.ended.ledger if marker not in self.delivered]
        assert not absent, self._told(f"{len(absent)} not delivered: {absent[:5]}")

    def assert_drained(self, records: int | None = None) -> None:
        """Fail if a record of the ledger did not arrive, or a stream has no end record."""
        self.assert_all_delivered(records)
        self.assert_all_ended()

    def assert_no_duplicates(self) -> None:
        """Fail if a record arrived twice, or two records carry one stamp."""
        twice = [marker for marker, times in self.delivered.items() if times > 1]
        assert not twice, self._told(f"twice: {twice[:5]}")
        stamps = Counter(line["record"]["logship_id"] for line in self.lines)
        assert not [stamp for stamp, times in stamps.items() if times > 1]

    def assert_delivered_once(self, records: int | None = None) -> None:
        """Fail if a record of the ledger did not arrive, or arrived twice."""
        self.assert_all_delivered(records)
        self.assert_no_duplicates()

    @cached_property
    def streams_by_process(self) -> dict[str, Streams]:
        """The streams in which each process's records arrived; a marker names its process."""
        streams: dict[str, Streams] = defaultdict(set)
        for line in self.lines:
            marker = line["record"].get("message", "").partition(" ")[0]
            if marker in self.delivered:
                streams[marker.split("-")[1]].add(stream_of(line["record"]))
        return streams

    def assert_a_stream_each(self) -> None:
        """Fail if a process had two streams, or two processes shared one."""
        streams = self.streams_by_process.values()
        assert all(len(each) == 1 for each in streams), self.streams_by_process
        assert len(set[str]().union(*streams)) == len(streams), self.streams_by_process

    def assert_reports_add_up(self) -> None:
        """Fail if a drain report's counts break the equation of the contract."""
        for report in self.ended.reports:
            parts = ("acked", "spooled", "spilled", "dropped", "unacked")
            assert report["accepted"] == sum(report[part] for part in parts), report

    def _told(self, what: str) -> str:
        count = len(self.ended.ledger)
        return (
            f"{what}; ledger {count}, delivered {len(self.delivered)}, spilled "
            f"{len(self.spilled)}, exit {self.ended.returncode}\n{self.ended.stderr[-3000:]}"
        )

    def numbers_not_delivered(self) -> dict[str, Numbers]:
        """Return the numbers of spilled records that did not arrive, by stream."""
        arrived = {line["record"]["logship_id"] for line in self.lines}
        numbers: dict[str, Numbers] = defaultdict(set)
        for line in self.ended.spilled:
            if line["record"].get("logship_id", "") not in {"", *arrived}:
                stream, number = stamp_of(line["record"])
                numbers[stream].add(number)
        return numbers


@dataclass(frozen=True)
class Output:
    """A sidecar's output file, which other tests' programs may write to at the same time."""

    path: Path

    def verdict(self, ended: Ended) -> Verdict:
        """Return what became of the records of the program `ended`.

        The sidecar acks after it wrote, so what was acked before the end is in the file; what was
        sent and not acked may still arrive, and only makes the verdict better.
        """
        return Verdict(ended, tuple(self._lines_of(ended)))

    def _lines_of(self, ended: Ended) -> Iterator[dict[str, Any]]:
        """Yield the lines of every stream of the program, control records too.

        All programs of a worker process write here, so only lines that hold a word of this one are
        decoded.
        """
        lines = list(whole_lines([self.path]))
        own = list(_objects_with([run_of(ended)], lines))
        streams = {stream_of(line["record"]) for line in [*own, *ended.spilled]}
        streams |= {each["stream"] for report in ended.reports for each in report["streams"]}
        streams.discard("")
        for line in _objects_with(streams, lines):
            if stream_of(line["record"]) in streams:
                yield line

    def until_arrived(self, marker: str) -> None:
        wait_until(lambda: marker in self.path.read_text(), f"{marker} in {self.path.name}")


def _objects_with(words: Iterable[str], lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects among the lines that hold one of the words."""
    has_word = re.compile(b"|".join(re.escape(word.encode()) for word in words) or b"(?!)").search
    return objects_of(filter(has_word, lines))


def run_of(ended: Ended) -> str:
    """Return the word that all markers of the program begin with."""
    return ended.ledger[0].partition("-")[0] if ended.ledger else "no record was logged"


def stream_of(record: dict[str, Any]) -> str:
    """Return the stream of a record's stamp; empty where it has none."""
    return str(record.get("logship_id", "")).partition(":")[0]


def stamp_of(record: dict[str, Any]) -> tuple[str, int]:
    """Return stream and number of a record's stamp."""
    stream, _, digits = record["logship_id"].partition(":")
    return stream, int(digits)


def numbers_of(ranges: Iterable[list[Any]]) -> Numbers:
    """Return the numbers in ranges `[first, last, ...]`, both ends included."""
    return {number for first, last, *_ in ranges for number in range(first, last + 1)}


def _markers(ledger: Iterable[str], records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the ledger's markers that the records carry: the first word of their message."""
    known = set(ledger)
    for record in records:
        marker = str(record.get("message", "")).partition(" ")[0]
        if marker in known:
            yield marker
