"""Compares what arrived with what the logging calls returned. Exact: there is no tolerance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.storms.ledger import Noted, Outcome
from tests.storms.receiver import CONTROL_CODE, StreamLog

_FAULTS_MAX = 20


@dataclass
class Verdict:
    """What a run came to.

    Attributes:
        calls: How many there were of each outcome.
        arrived: Different records of the application.
        resent: Entries that came once more, under the same number.
        refused_twice: Lines on stderr that came once more: an exception ended the call that wrote.
        faults: What must not be; none is the promise.
    """

    calls: Counter[Outcome] = field(default_factory=Counter)
    arrived: int = 0
    resent: int = 0
    refused_twice: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note what must not be; of very many, the first."""
        if len(self.faults) < _FAULTS_MAX:
            self.faults.append(text)


def judge(
    streams: dict[str, StreamLog], noted: Iterable[Noted], refused_codes: Counter[int]
) -> Verdict:
    """Judge a run.

    Args:
        streams: What arrived.
        noted: The ledgers of all processes.
        refused_codes: What stands on stderr as refused, and how often.
    """
    verdict = Verdict()
    sources = {each.number: each for each in noted}
    times = {each.number: bytearray(len(each.outcomes)) for each in sources.values()}
    for stream, log in streams.items():
        codes = _codes_by_number(stream, log, verdict)
        _judge_numbers(stream, log, codes, verdict)
        _count(codes, times, verdict)
        _judge_order(stream, codes, sources, verdict)
    for code in refused_codes:
        if code >> 32 not in sources:
            verdict.fault(f"stderr has a record that no call logged: {code}")
    for number, source in sources.items():
        _judge_source(source, times[number], refused_codes, verdict)
    return verdict


def _codes_by_number(stream: str, log: StreamLog, verdict: Verdict) -> dict[int, int]:
    """Return the records of a stream in the order of their numbers, each once."""
    codes: dict[int, int] = {}
    for number, code in zip(log.numbers, log.codes, strict=True):
        if codes.setdefault(number, code) != code:
            verdict.fault(f"stream {stream}: number {number} was given twice")
    verdict.resent += len(log.numbers) - len(codes)
    return dict(sorted(codes.items()))


def _judge_numbers(stream: str, log: StreamLog, codes: dict[int, int], verdict: Verdict) -> None:
    """Judge that no number is missing, and that the end record tells the truth."""
    if log.end is None:
        verdict.fault(f"stream {stream}: {len(codes)} records, and no end record")
        return
    declared = {number for first, last in log.gaps for number in range(first, last + 1)}
    missing = [n for n in range(1, log.end + 1) if n not in codes and n not in declared]
    if missing or max(codes) != log.end:
        verdict.fault(f"stream {stream}: numbers {missing[:10]} of {log.end} are missing")
    accepted = sum(code != CONTROL_CODE for code in codes.values())
    accepted += len(declared - codes.keys())
    if accepted != log.accepted:
        verdict.fault(f"stream {stream}: its end says {log.accepted} records of {accepted}")


def _count(codes: dict[int, int], times: dict[int, bytearray], verdict: Verdict) -> None:
    for code in codes.values():
        if code == CONTROL_CODE:
            continue
        counts = times.get(code >> 32)
        call = code & 0xFFFF_FFFF
        if counts is None or call >= len(counts):
            verdict.fault(f"a record arrived that no call logged: {code}")
        else:
            counts[call] = min(counts[call] + 1, 255)
            verdict.arrived += 1


def _judge_order(
    stream: str, codes: dict[int, int], sources: dict[int, Noted], verdict: Verdict
) -> None:
    """Judge that the calls of one thread have numbers in their order."""
    latest: dict[int, int] = {}
    for number, code in codes.items():
        source = sources.get(code >> 32)
        if source is not None and source.is_ordered:
            if latest.get(source.number, -1) >= code:
                verdict.fault(f"stream {stream}: number {number} is out of order")
            latest[source.number] = code


def _judge_source(
    source: Noted, times: bytearray, refused_codes: Counter[int], verdict: Verdict
) -> None:
    told = {c & 0xFFFF_FFFF: n for c, n in refused_codes.items() if c >> 32 == source.number}
    pairs = Counter(zip(source.outcomes, times, strict=True))
    for (outcome, count), calls in pairs.items():
        verdict.calls[Outcome(outcome)] += calls
        if count > 1:
            verdict.fault(f"source {source.number}: {calls} records arrived {count} times")
        elif outcome == Outcome.ACCEPTED and not count:
            first = next(_where(source, times, outcome, count))
            text = f"{calls} accepted records are lost, call {first} the first"
            verdict.fault(f"source {source.number}: {text}")
        elif outcome == Outcome.REFUSED and count:
            verdict.fault(f"source {source.number}: {calls} refused records arrived")
        elif outcome == Outcome.LOGGED and not count:
            lost = [call for call in _where(source, times, outcome, count) if call not in told]
            if lost:
                text = f"{len(lost)} logged records neither arrived nor stand on stderr"
                verdict.fault(f"source {source.number}: {text}, call {lost[0]} the first")
    verdict.refused_twice += sum(count > 1 for count in told.values())
    both = [call for call in told if times[call]]
    if both:
        verdict.fault(f"source {source.number}: {len(both)} refused on stderr, and arrived")


def _where(source: Noted, times: bytearray, outcome: int, count: int) -> Iterator[int]:
    for call, pair in enumerate(zip(source.outcomes, times, strict=True)):
        if pair == (outcome, count):
            yield call
