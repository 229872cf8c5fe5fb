"""Collects evidence from lines and reports, stream by stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from logship._audit.evidence import HIGH_WATER_KEY, Refusals, Stream
from logship._audit.lines import (
    STAMP_KEY,
    Glance,
    Refused,
    Stamped,
    Unreadable,
    read_line,
    read_stamps,
    refused_in,
    stream_in,
)
from logship._audit.reports import Report
from logship._audit.verdict import Place, Verdict, judge

UNREADABLE_PLACES_MAX: Final = 5
"""How many unreadable lines are shown with their place; all of them are counted."""


class Audit:
    """Takes lines and reports in any order, and draws a verdict from them."""

    def __init__(self, stamp_key: str = STAMP_KEY) -> None:
        self.stamp_key = stamp_key
        self.lines = 0
        self.unstamped = 0
        self.unreadable = 0
        self.torn_reports = 0
        self.unreadable_places: list[Place] = []
        self.reports = 0
        self.unnamed = 0
        self.problems: dict[str, None] = {}
        self.streams: dict[bytes, Stream] = {}
        self._begun: dict[bytes, Stream] = {}  # those of which a whole line was parsed
        self._refusals: dict[str, Refusals] = {}
        self._glance = Glance(stamp_key)
        self._source = "?"
        self._source_began = 0

    def begin(self, source: str) -> None:
        """Name the source of the lines that follow, so that messages can point at them."""
        self._source = source
        self._source_began = self.lines

    def feed(self, lines: Iterable[bytes]) -> None:
        """Take lines of output without their ends. They may hold any bytes."""
        glance = self._glance.stamp
        known = self._begun.get
        for line in lines:
            self.lines += 1
            match = glance(line)
            stream = known(match[1]) if match else None
            if match is None or stream is None:  # the first line of a stream also gives its tag
                self._feed_parsed(line)
            elif not stream.delivered.add(int(match[2])):
                stream.duplicates += 1

    def _feed_parsed(self, line: bytes) -> None:
        # Bad UTF-8 in one message must not hide the stamp beside it.
        text, is_readable = line.decode("utf-8", "replace").strip("\ufeff\0\r"), True
        for found in read_line(text, self.stamp_key):
            match found:
                case Stamped():
                    self._begun[found.stream.encode()] = begun = self._stream(found.stream)
                    begun.take(found)
                    for stream, number in read_stamps(found.record.get(HIGH_WATER_KEY)):
                        self._stream(stream).take_stated(number)
                case Refused():
                    self._refusals_of(found.life).copies.add(found.number)
                case Report():
                    self.expect(found)
                case Unreadable():
                    self._note_unreadable(found)
                    is_readable = False
                case None:
                    self.unstamped += 1
        if not is_readable and (name := stream_in(text, self.stamp_key)):
            self._stream(name)  # it exists, and only other lines can say more of it
        if not is_readable and (refused := refused_in(text)):
            self.expect(refused)

    def _note_unreadable(self, found: Unreadable) -> None:
        self.unreadable += 1
        self.torn_reports += found.is_report
        if len(self.unreadable_places) < UNREADABLE_PLACES_MAX:
            place = Place(self._source, self.lines - self._source_began, found.why)
            self.unreadable_places.append(place)

    def expect(self, found: Report | Refused) -> None:
        """Take what must be accounted for.

        It is a drain report, with every stream that it names, or a refused record, whose number
        says how many there were up to it.
        """
        if isinstance(found, Refused):
            refusals = self._refusals_of(found.life)
            refusals.expected = max(refusals.expected, found.number)
            return
        self.reports += 1
        self.unnamed = max(self.unnamed, found.unnamed)  # one process may print several reports
        if found.problem:
            self.problems[found.problem] = None
        for stream in found.streams:
            self._stream(stream.stream).take_report(stream)
        if found.refused is not None:
            self._refusals_of(found.refused.life).take_count(found.refused)

    def _refusals_of(self, life: str) -> Refusals:
        return self._refusals.setdefault(life, Refusals(life))

    def _stream(self, name: str) -> Stream:
        key = name.encode()
        return self.streams.get(key) or self.streams.setdefault(key, Stream(name))

    def verdict(self) -> Verdict:
        """Return the conclusions from all that was fed so far."""
        streams = sorted(self.streams.values(), key=lambda stream: stream.name)
        return Verdict(
            streams=tuple(judge(stream) for stream in streams),
            refusals=tuple(self._refusals.values()),
            problems=tuple(self.problems),
            reports=self.reports,
            unnamed=self.unnamed,
            lines=self.lines,
            unstamped=self.unstamped,
            unreadable=self.unreadable,
            torn_reports=self.torn_reports,
            unreadable_places=tuple(self.unreadable_places),
        )
