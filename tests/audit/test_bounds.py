"""What a hostile file may cost: CPU and memory grow with its size, and no faster."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logship._audit.ages import Ages
from logship._audit.audit import Audit
from logship._audit.evidence import Stream
from logship._audit.ranges import Ranges
from logship._audit.sources import Source
from logship._audit.text import verdict_as_text
from logship._audit.verdict import OTHER, REASONS_MAX, Outcome
from tests.audit.asking import audit, judged
from tests.audit.lines import (
    ONE,
    TWO,
    Record,
    end,
    gap,
    plain,
    record,
    refused,
    report,
    stream_report,
    write,
)
from tests.audit.watched import Watched
from tests.support.memory import traced_memory
from tests.support.pace import costs_less

SECONDS_A_BYTE_MAX = 10e-6
"""Many times what these lines cost, and a small part of what they cost where it was squared."""


def reasons(count: int) -> list[bytes]:
    """Gap records, each with a reason and a hole of its own."""
    numbers = range(1, 2 * count, 2)
    return [plain(gap(2 * count + each, each, each, f"reason {each}")) for each in numbers]


def ends(count: int) -> list[bytes]:
    return [plain(end(2 * each + 1, each)) for each in range(count)]


def claims(count: int) -> list[bytes]:
    """A report that declares each second number, for two reasons by turns."""
    ranges = [(2 * each, 2 * each, f"{each % 2}") for each in range(1, count)]
    named = stream_report(2 * count, 2 * count, dropped=ranges)
    return [*(plain(record(2 * each + 1)) for each in range(count)), report(named)]


HOSTILE: dict[str, Callable[[], list[bytes]]] = {
    "heads of Fluent Bit": lambda: [b": [1.1, {" * 40_000],
    "gaps with reasons": lambda: reasons(2_000),
    "end records": lambda: ends(3_000),
    "contradictory reports": lambda: [report(accepted=each) for each in range(1, 5_000)],
    "backslashes": lambda: [b"logship" + b"\\" * 400_000],
    "members": lambda: [plain(record(1)), plain(record(2))[:-1] + b',"a":1' * 80_000],
    "copies in strings": lambda: [b'{"log":"' + b'{\\"log\\":' * 40_000],
    "kinds in text": lambda: [b'x {"logship": "drain report"' * 15_000],
    "kinds in a string": lambda: [plain({"log": 'x {"logship": "spilled"' * 15_000})],
    "records beside a kind": lambda: [
        b'[{"a":"\\"logship\\": \\"drain report\\""}' + b",1" * 80_000 + b"]"
    ],
    "blanks": lambda: [b" " * 400_000 + b"{", b"\t" * 400_000, b"[" + b" " * 400_000],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines_cost_cpu_in_proportion_to_their_size(name: str) -> None:
    lines = HOSTILE[name]()

    def judge() -> None:
        audit = Audit()
        audit.feed(lines)
        audit.verdict()

    assert costs_less(SECONDS_A_BYTE_MAX * sum(map(len, lines)), judge)


HOLES = 60_000
ORDERS: dict[str, list[int]] = {
    "descending": list(range(HOLES, 0, -1)),
    "no order": sorted(range(HOLES), key=lambda number: number * 2_654_435_761 % 2**32),
    "from both ends": [each for at in range(HOLES // 2) for each in (at, HOLES - at)],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["numbers", "ranges", "a union"])
def test_holes_in_any_order_cost_about_what_they_cost_in_theirs(order: str, how: str) -> None:
    """To put each into the middle of a list took more than twenty times as long."""
    in_order = seconds_of_holes(list(range(HOLES)), "ranges")
    assert seconds_of_holes(ORDERS[order], how) < 20 * in_order


def seconds_of_holes(order: list[int], how: str) -> float:
    pairs = [(4 * each + 1, 4 * each + 2) for each in order]
    began = time.process_time()
    ranges = Ranges()
    if how == "a union":
        ranges = Ranges((4 * each + 4, 4 * each + 4) for each in range(HOLES)) | Ranges(pairs)
    else:
        for first, last in pairs:
            ranges.add_range(first, last) if how == "ranges" else ranges.add(first)
    assert len(ranges) >= HOLES
    return time.process_time() - began


def least_seconds(cost_seconds: Callable[[int], float], count: int) -> float:
    """Return the least of three: a collection of all that other tests left may come in between."""
    return min(cost_seconds(count) for _ in range(3))


def seconds_of_claims(count: int) -> float:
    audit = Audit()
    audit.feed(claims(count))
    began = time.process_time()
    [verdict] = audit.verdict().streams
    seconds = time.process_time() - began
    assert verdict.declared_count == count - 1
    return seconds


def seconds_of_ages(count: int) -> float:
    ages = Ages.restored({ONE: [[each, [[2 * each, 2 * each]]] for each in range(count)]})
    missing = Ranges((2 * each, 2 * each) for each in range(count + 1))
    began = time.process_time()
    ages.update({ONE: missing}, count, overdue_since_seconds=-1)
    seconds = time.process_time() - began
    assert ages.overdue(count - 1) == {ONE: count}
    return seconds


def seconds_of_files(count: int) -> float:
    files = [Stream(ONE) for _ in range(count)]
    for at, file in enumerate(files):
        file.delivered = Ranges((100 * at + each,) * 2 for each in range(0, 100, 2))
    merged = Stream(ONE)
    began = time.process_time()
    merged.absorb(*files)
    seconds = time.process_time() - began
    assert len(merged.delivered) == 50 * count
    return seconds


GROWING: dict[str, tuple[Callable[[int], float], int]] = {
    "claims of a report": (seconds_of_claims, 1_000),
    "losses, each found at a look of its own": (seconds_of_ages, 1_000),
    "holes of files": (seconds_of_files, 100),
}


@pytest.mark.parametrize(("cost_seconds", "count"), GROWING.values(), ids=GROWING)
def test_four_times_as_much_costs_about_four_times_as_much(
    cost_seconds: Callable[[int], float], count: int
) -> None:
    assert least_seconds(cost_seconds, 4 * count) < 8 * least_seconds(cost_seconds, count)


SETTLED_BYTES_MAX = 600
"""Twice what was measured, and less than a third of what the evidence and a verdict take."""


def test_streams_of_killed_processes_take_little_memory_when_their_files_may_go(
    tmp_path: Path,
) -> None:
    count = 200
    (tmp_path / "out.log").write_bytes(
        b"".join(plain(record(1, f"{each:012d}")) + b"\n" for each in range(count))
    )
    watched = Watched(str(tmp_path / "out.log"), retention_seconds=1)
    with traced_memory() as memory:
        assert watched.look() == (count, 0, 0)
        assert watched.look() == (count, 0, 0)
        watched.look()
    assert watched.watch.figures.streams_unended == count
    assert memory.kept_bytes < SETTLED_BYTES_MAX * count


def test_a_glance_at_a_long_line_takes_no_memory() -> None:
    audit = Audit()
    audit.feed([plain(record(1))])
    line = plain(record(2))[:-1] + b',"a":1' * 200_000 + b"}"
    with traced_memory() as memory:
        audit.feed([line])
    assert memory.peak_bytes < len(line)


def test_packed_newlines_take_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "newlines.gz"
    file.write_bytes(gzip.compress(b"\n" * 16_000_000))
    with traced_memory() as memory:
        lines = sum(map(len, Source(str(file)).batches()))
    assert lines == 16_000_000
    assert memory.peak_bytes < 8_000_000


def test_refused_lines_that_are_expected_take_no_memory() -> None:
    write("out.log", [plain(record(1))])
    write("stderr", map(refused, range(1, 10_001)))
    with traced_memory() as memory:
        audit("out.log", "--expect", "stderr", code=3)
    assert memory.peak_bytes < 1_000_000


def test_gzip_of_many_members_costs_in_proportion_to_its_size(tmp_path: Path) -> None:
    file = tmp_path / "members.gz"
    file.write_bytes(gzip.compress(b"") * 100_000 + gzip.compress(b"a line\n"))
    assert list(Source(str(file)).batches()) == [[b"a line"]]
    seconds_max = SECONDS_A_BYTE_MAX * file.stat().st_size
    assert costs_less(seconds_max, lambda: list(Source(str(file)).batches()))


def test_all_that_a_cut_off_member_holds_is_read(tmp_path: Path) -> None:
    """The cut may be where zlib has taken all bytes in and not yet given all bytes out."""
    data = gzip.compress(b"a" * 600_000)
    file = tmp_path / "cut.gz"
    lengths = []
    for size in range(len(data) - 30, len(data)):
        file.write_bytes(data[:size])
        lengths.append(sum(len(line) for lines in Source(str(file)).batches() for line in lines))
    assert lengths == sorted(lengths)
    assert lengths[-1] == 600_000


def test_more_reasons_than_logship_has_are_shown_as_one() -> None:
    [stream] = judged(reasons(REASONS_MAX + 10)).streams
    assert stream.declared_count == REASONS_MAX + 10
    assert len(stream.declared) == REASONS_MAX + 1
    assert stream.declared[OTHER, "gap record"].count == 10


def test_more_end_records_than_can_be_true_contradict_each_other() -> None:
    """All have the same number, so only their counts tell that no two can be believed."""
    ends = [plain(end(2, 1, refused=each)) for each in (0, 1, 2)]
    verdict = judged(plain(record(1)), ends, plain(record(1, TWO)), plain(end(2, 1, TWO)))
    assert {each.stream: each.problems for each in verdict.streams} == {
        ONE: ("has 3 end records of its own that differ: only one can be the end",),
        TWO: (),
    }


@pytest.mark.parametrize("is_one", [True, False])
def test_contradictions_of_a_stream_take_little_memory(is_one: bool) -> None:
    lines = [
        plain({"logship_gap": None, "logship_id": f"{ONE}:{1 if is_one else number:010d}"})
        for number in range(1, 4_001)
    ]
    audit = Audit()
    with traced_memory() as memory:
        audit.feed(lines)
    assert memory.kept_bytes < 40_000
    assert audit.verdict().outcome is Outcome.LOST


LONG = int("9" * 4_300)
"""As many digits as Python reads; it refuses to write one more."""


@pytest.mark.parametrize(
    "line",
    [
        lambda name: report(stream_report(LONG, LONG, stream=name)),
        lambda name: report(stream_report(5, 5, stream=name), acked=LONG, spooled=LONG),
        lambda name: report(stream_report(5, 0, stream=name, dropped=[(1, LONG)])),
        lambda name: report(stream_report(5, 5, stream=name, refused=LONG)),
    ],
)
def test_a_report_with_a_number_that_no_stream_has_is_unreadable(
    line: Callable[[str], bytes],
) -> None:
    verdict = judged(line(ONE), line(TWO))
    assert (verdict.unreadable, verdict.reports) == (2, 0)
    assert all(len(each.why) < 200 for each in verdict.unreadable_places)
    list(verdict_as_text(verdict, [], "logship_id"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (lambda name: gap(1, 1, LONG, stream=name), "gap record 1 does not say which numbers"),
        (lambda name: gap(1, 1, 10**10, stream=name), "gap record 1 does not say which numbers"),
        (lambda name: end(1, LONG, stream=name), "end record 1 has a logship_accepted that"),
        (lambda name: end(1, 0, stream=name, refused=LONG), "end record 1 has a logship_refused"),
    ],
)
def test_a_record_with_a_number_that_no_stream_has_is_a_contradiction(
    line: Callable[[str], Record], problem: str
) -> None:
    verdict = judged(plain(line(ONE)), plain(line(TWO)))
    assert [each.problems[0].startswith(problem) for each in verdict.streams] == [True, True]
    assert all(len(each) < 1_000 for each in verdict_as_text(verdict, [], "logship_id"))
