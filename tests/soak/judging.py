"""Whether each record of the ledgers is in the output: by number, in memory of a byte each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import LOGSHIP, ran

SPILLED = '{"logship":"spilled"'


@dataclass
class Count:
    """What came of all records.

    Attributes:
        taken: How many the ledgers have.
        delivered: How many different ones of them are in the output.
        again: Lines of the output with a record that was there already.
        spilled: Records of the ledgers that only stderr has.
        missing: The others: source and number.
    """

    taken: int = 0
    delivered: int = 0
    again: int = 0
    spilled: int = 0
    missing: list[tuple[str, int]] = field(default_factory=list)


def judge(ledgers: Iterable[Path], outputs: Iterable[Path], stderrs: Iterable[Path]) -> Count:
    count, arrived, spilled = Count(), Seen(), Seen()
    for path in outputs:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            count.again += sum(arrived.add(line) for line in lines)
    for path in stderrs:
        with path.open(errors="replace") as lines:
            for line in lines:
                if line.startswith(SPILLED):
                    spilled.add(line)
    for path in ledgers:
        for number in map(int, _whole_lines(path)):
            count.taken += 1
            if arrived.has(path.stem, number):
                count.delivered += 1
            elif spilled.has(path.stem, number):
                count.spilled += 1
            else:
                count.missing.append((path.stem, number))
    return count


class Seen:
    """The numbers of each source."""

    def __init__(self) -> None:
        self._sources: dict[str, bytearray] = {}

    def add(self, line: str) -> bool:
        """Add the record in a line; tell whether it was there already."""
        source, _, rest = _message(line).partition(" ")
        digits = rest.partition(" ")[0]
        if not digits.isdigit():  # one of logship's own
            return False
        number, numbers = int(digits), self._sources.setdefault(source, bytearray())
        if number >= len(numbers):
            numbers.extend(bytes(number + 1 - len(numbers)))
        was, numbers[number] = numbers[number], 1
        return bool(was)

    def has(self, source: str, number: int) -> bool:
        numbers = self._sources.get(source, b"")
        return number < len(numbers) and bool(numbers[number])


def _message(line: str) -> str:
    """Return a record's text; nothing of a line that a kill has torn.

    The receiver's line has the record in a field; a line of Fluentd or Fluent Bit is the record.
    """
    try:
        decoded = json.loads(line)
    except ValueError:
        return ""
    return str(decoded.get("record", decoded).get("message", ""))


def audit(outputs: Sequence[Path], stderrs: Sequence[Path]) -> tuple[int, str]:
    """Return the exit code and the first lines of `logship audit`."""
    with_reports = [each for each in stderrs if '{"logship": "drain report"' in each.read_text()]
    expected = [word for each in with_reports for word in ("--expect", str(each))]
    done = ran(*LOGSHIP, "audit", *outputs, *expected, code=None, timeout=600)
    return done.returncode, (done.stdout + done.stderr)[:2000]


def _whole_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a ledger; a kill leaves no half of one, for each is one write(2)."""
    with path.open() as lines:
        yield from lines
