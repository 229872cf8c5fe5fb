"""Compares an application's ledger with what arrived; imports nothing of logship's.

It reads files alone: the ledger (what was written), the sidecar's output files (what was
delivered) and what the application left on stderr (what was spilled or declared as dropped). Every
line that was written is then exactly one of delivered, spilled, dropped and LOST. Output files may
hold lines of other runs too: neither those nor their gaps count.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ledger import MARKER, MARKER_CHARS, intact, read_ledger, run_of

Range = tuple[int, int]


@dataclass
class Found:
    """What a set of files holds."""

    copies: Counter[str] = field(default_factory=Counter)
    """Marker of an intact line, and how often it is there."""
    damaged: Counter[str] = field(default_factory=Counter)
    """Run, and how many of its lines are unreadable: their JSON or their message is cut off."""
    streams: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Run, and the streams that number its lines."""
    numbers: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The numbers seen of each stream."""
    gaps: dict[str, list[Range]] = field(default_factory=lambda: defaultdict(list))
    """Ranges that gap records declare, except as spilled: what is spilled has to be there."""
    reports: list[dict[str, Any]] = field(default_factory=list)
    """Drain reports."""


@dataclass(frozen=True)
class Verdict:
    """Where the written lines are. `written = delivered + spilled + dropped + lost`."""

    written: int
    delivered: int
    """In the sidecar's output."""
    spilled: int
    """Not in the output, but on the application's stderr."""
    late: int
    """Of those that are not in the output, how many were logged when intake may have been closed:
    the last of a stop timeout is for the spill."""
    dropped: int
    """Nowhere, and declared so by a gap record or the drain report."""
    lost: int
    """Nowhere, and not declared."""
    duplicated: int
    """Copies in the output beyond the first."""
    damaged: int
    """Copies in the output that are not whole; a line that has no other copy is lost."""
    unwritten: int
    """In the output, but not in the ledger: the application died between logging and noting."""
    lost_examples: tuple[str, ...]
    """Markers of the first lost lines, to search for."""


def judge(
    ledger: Path, outputs: Iterable[Path], stderr: Path | None, late_from_ns: int | None = None
) -> Verdict:
    """Compare a ledger with the sidecar's output files and the application's stderr.

    Args:
        ledger: What `application.py` noted.
        outputs: JSON lines, also after a tag or time (Fluentd's TSV, Fluent Bit), plain or gzip.
        stderr: The application's; None or a missing file: nothing was spilled or reported.
        late_from_ns: When intake may close, on the ledger's clock; None: never.
    """
    times_ns = read_ledger(ledger).times_ns
    written = times_ns.keys()
    runs = {run_of(marker) for marker in written}
    arrived, said = _read(outputs), _read([stderr] if stderr and stderr.exists() else [])
    copies = {marker: n for marker, n in arrived.copies.items() if run_of(marker) in runs}
    delivered = written & copies.keys()
    spilled = (written & said.copies.keys()) - delivered
    missing = sorted(written - delivered - spilled)
    dropped = min(len(missing), _declared_dropped(runs, arrived, said))
    return Verdict(
        written=len(written),
        delivered=len(delivered),
        spilled=len(spilled),
        late=0
        if late_from_ns is None
        else sum(times_ns[marker] >= late_from_ns for marker in written - delivered),
        dropped=dropped,
        lost=len(missing) - dropped,
        duplicated=sum(copies.values()) - len(copies),
        damaged=sum(arrived.damaged[run] for run in runs),
        unwritten=len(copies.keys() - written),
        lost_examples=tuple(missing[:3]) if len(missing) > dropped else (),
    )


def last_report(stderr: Path) -> dict[str, Any] | None:
    """Return the last drain report on a captured stderr, or None."""
    reports = _read([stderr]).reports
    return reports[-1] if reports else None


# --- reading -----------------------------------------------------------------------------------


def _read(paths: Iterable[Path]) -> Found:
    found = Found()
    for path in paths:
        for line in _lines(path):
            _take(line, found)
    return found


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with (
        contextlib.suppress(EOFError),  # the end of a gzip file is cut off
        opened(path, "rt", encoding="utf-8", errors="backslashreplace", newline="\n") as lines,
    ):
        yield from lines


def _take(line: str, found: Found) -> None:
    marked = MARKER.search(line)
    if not (marked or "logship" in line):
        return  # quickly: nothing of ours
    try:
        documents = list(_documents(line))
    except ValueError:
        if marked:
            found.damaged[run_of(marked[0])] += 1
        return
    for document in documents:
        for mapping in _mappings(document):
            _take_mapping(mapping, found)


def _documents(line: str) -> Iterator[Any]:
    """Yield each JSON object of a line, whatever tag or time stands before or between them."""
    start = line.find("{")
    while start >= 0:
        document, end = _DECODER.raw_decode(line, start)
        yield document
        start = line.find("{", end)


_DECODER = json.JSONDecoder()


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _mappings(inner)


def _take_mapping(mapping: dict[str, Any], found: Found) -> None:
    stream, _, number = str(mapping.get("logship_id", "")).partition(":")
    if number.isdecimal():
        found.numbers[stream].add(int(number))
    if "logship_gap" in mapping:
        first, last, reason = mapping["logship_gap"]
        if "spill" not in str(reason):
            found.gaps[stream].append((int(first), int(last)))
    if mapping.get("logship") == "drain report":
        found.reports.append(mapping)
    for value in mapping.values():
        if isinstance(value, str) and (marked := MARKER.search(value)):
            if intact(value):
                marker = value[-MARKER_CHARS:]
                found.copies[marker] += 1
                found.streams[run_of(marker)].add(stream)
            else:
                found.damaged[run_of(marked[0])] += 1


# --- what was declared -------------------------------------------------------------------------


def _declared_dropped(runs: Iterable[str], arrived: Found, said: Found) -> int:
    """Count the numbers that are declared as dropped and were seen nowhere.

    A gap counts only in a stream that numbers lines of these runs, or that a report names.
    A number that a report or a gap names may have arrived after all; it must then excuse no other
    line. Control records may stand in a range too, so a report's own count is the upper bound.
    """
    declared: dict[str, list[Range]] = defaultdict(list)
    for report in said.reports:
        for stream in report["streams"]:
            declared[stream["stream"]] += [(first, last) for first, last, *_ in stream["dropped"]]
    streams = declared.keys() | {
        stream for found in (arrived, said) for run in runs for stream in found.streams[run]
    }
    for stream, ranges in (*arrived.gaps.items(), *said.gaps.items()):
        if stream in streams:
            declared[stream] += ranges
    absent = sum(
        len(_numbers(ranges) - arrived.numbers[stream] - said.numbers[stream])
        for stream, ranges in declared.items()
    )
    if said.reports:
        return min(absent, sum(int(report["dropped"]) for report in said.reports))
    return absent


def _numbers(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}
