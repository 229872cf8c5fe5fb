"""The judge against hand-made files: each way a line can end, and each way to be fooled."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.judge import Verdict, judge, last_report
from benchmarks.ledger import MARKER, MARKER_CHARS, Ledger, intact, marked, read_ledger
from tests.support.commands import ran_python

RUN = "0a1b2c3d"


def message(number: int, line: str = "a line") -> str:
    return marked(line, RUN, "m00", number)[0]


def received(number: int, **fields: Any) -> str:
    record = {"message": message(number), "logship_id": f"stream-00001:{number:010}", **fields}
    return json.dumps({"tag": "t", "time_ns": 1, "record": record})


def spilled(number: int) -> str:
    return json.dumps({"logship": "spilled", **json.loads(received(number))})


def report(dropped: int, ranges: list[list[Any]]) -> str:
    stream = {"stream": "stream-00001", "spilled": [], "dropped": ranges, "unacked": []}
    return json.dumps({"logship": "drain report", "dropped": dropped, "streams": [stream]})


@pytest.fixture
def verdict(tmp_path: Path) -> Any:
    """Judges: `written` numbers, output lines, stderr lines."""

    def judged(
        written: Iterable[int], output: Iterable[str], stderr: Iterable[str] = ()
    ) -> Verdict:
        (tmp_path / "ledger").unlink(missing_ok=True)
        ledger = Ledger(tmp_path / "ledger")
        for number in written:
            ledger.note(marked("a line", RUN, "m00", number)[1])
        (tmp_path / "output").write_text("".join(f"{line}\n" for line in output))
        (tmp_path / "stderr").write_text("".join(f"{line}\n" for line in stderr))
        return judge(tmp_path / "ledger", [tmp_path / "output"], tmp_path / "stderr")

    return judged


def counts(verdict: Verdict) -> tuple[int, int, int, int, int]:
    return (verdict.written, verdict.delivered, verdict.spilled, verdict.dropped, verdict.lost)


def gap(first: int, last: int, reason: str = "overflow") -> str:
    stamp = f"stream-00001:{last + 1:010}"
    return json.dumps({"record": {"logship_gap": [first, last, reason], "logship_id": stamp}})


ONE, TWO, THREE = map(received, (1, 2, 3))
OVERFLOWED = json.dumps({"fluent-logger": "overflow", "record": {"message": message(2)}})

CASES: dict[str, tuple[int, list[str], list[str], tuple[int, int, int, int]]] = {
    "all delivered": (3, [ONE, TWO, THREE], [], (3, 0, 0, 0)),
    "one nowhere": (3, [ONE, THREE], [], (2, 0, 0, 1)),
    "copies": (2, [ONE, TWO, ONE, ONE], [], (2, 0, 0, 0)),
    "spilled": (2, [ONE], [spilled(2)], (1, 1, 0, 0)),
    "spilled and delivered": (2, [ONE, TWO], [spilled(2)], (2, 0, 0, 0)),
    "spilled by a peer": (2, [ONE], [OVERFLOWED], (1, 1, 0, 0)),
    "plain text on stderr": (1, [], [message(1)], (0, 0, 0, 1)),
    "torn": (3, [ONE, TWO[:-5], THREE], [], (2, 0, 0, 1)),
    "glued to a torn one": (2, [ONE[:40] + TWO], [], (0, 0, 0, 2)),
    "without its first character": (1, [received(1, message=message(1)[1:])], [], (0, 0, 0, 1)),
    "dropped, by a report": (3, [ONE], [report(2, [[2, 3, "overflow"]])], (1, 0, 2, 0)),
    "dropped, by a gap record": (3, [ONE, gap(2, 3)], [], (1, 0, 2, 0)),
    # what is declared excuses no other line: not what arrived or was spilled after all, not what
    # is not there although it is said to be spilled, and not a control record in the range
    "declared and there": (3, [ONE, TWO], [report(1, [[2, 2, "overflow"]])], (2, 0, 0, 1)),
    "declared and spilled": (3, [ONE], [spilled(2), report(1, [[2, 2, "x"]])], (1, 1, 0, 1)),
    "said to be spilled": (2, [ONE, gap(2, 2, "spilled")], [], (1, 0, 0, 1)),
    "a range of more than was dropped": (3, [ONE], [report(1, [[2, 4, "x"]])], (1, 0, 1, 1)),
    "not in the ledger": (1, [ONE, TWO], [], (1, 0, 0, 0)),
}
"""How many were written, the output, stderr; how many are delivered, spilled, dropped and lost."""


@pytest.mark.parametrize("name", CASES)
def test_each_line_is_one_of_four(verdict: Any, name: str) -> None:
    written, output, stderr, expected = CASES[name]
    assert counts(verdict(range(1, written + 1), output, stderr)) == (written, *expected)


def test_what_else_is_told_of_lines(verdict: Any) -> None:
    assert verdict([1, 2], [ONE]).lost_examples == (marked("a line", RUN, "m00", 2)[1],)
    assert verdict([1, 2], [ONE, TWO, ONE, ONE]).duplicated == 2
    assert verdict([1, 2], [ONE, TWO]).duplicated == 0
    assert verdict([1, 2], [ONE, TWO[:-5]]).damaged == 1
    assert verdict([1], [received(1, message=message(1)[1:])]).damaged == 1
    assert verdict([1], [ONE, TWO]).unwritten == 1


def test_what_was_logged_late_is_late_only_where_it_was_not_delivered(tmp_path: Path) -> None:
    lines = [f"{marked('a line', RUN, 'm00', number)[1]} {number * 10}\n" for number in range(1, 7)]
    (tmp_path / "ledger").write_text("".join(lines))
    (tmp_path / "output").write_text(f"{received(1)}\n{received(3)}\n{received(5)}\n")
    (tmp_path / "stderr").write_text(f"{spilled(4)}\n")
    judged = [
        judge(tmp_path / "ledger", [tmp_path / "output"], tmp_path / "stderr", late_from_ns)
        for late_from_ns in (None, 70, 40, 0)
    ]
    assert [each.late for each in judged] == [0, 0, 2, 3]
    assert {counts(each) for each in judged} == {(6, 3, 1, 0, 2)}


def test_what_another_run_left_in_the_output_counts_for_nothing(verdict: Any) -> None:
    """Its copies are no duplicates of this run, and its gap excuses no line that is missing."""
    other = marked("a line", "ffffffff", "m00", 1)[0]
    theirs = json.dumps({"message": other, "logship_id": "other:0000000001"})
    torn = json.dumps({"message": other[1:]})
    gap = json.dumps({"logship_gap": [2, 9, "overflow"], "logship_id": "other:0000000010"})
    result = verdict([1, 2], [theirs, theirs, torn, gap, received(1)])
    assert counts(result) == (2, 1, 0, 0, 1)
    assert (result.duplicated, result.unwritten, result.damaged) == (0, 0, 0)


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"message": message(1), "logship_id": "s:1"}),
        f"2026-01-01T00:00:00+00:00\tbenchmark\t{json.dumps({'message': message(1)})}",
        f"benchmark: [1764000000.5, {json.dumps({'message': message(1)})}]",
        f"[[1764000000.5, {{}}], {json.dumps({'message': message(1)})}]",
    ],
    ids=["fluentd json", "fluentd tsv", "fluent-bit template", "fluent-bit with metadata"],
)
def test_reads_what_real_servers_write(verdict: Any, line: str) -> None:
    assert counts(verdict([1], [line])) == (1, 1, 0, 0, 0)


def test_reads_gzip(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger").note(marked("a line", RUN, "m00", 1)[1])
    (tmp_path / "output.gz").write_bytes(gzip.compress(f"{received(1)}\n".encode()))
    assert judge(tmp_path / "ledger", [tmp_path / "output.gz"], None).delivered == 1


def test_what_stands_before_the_cut_in_a_gzip_file_counts(tmp_path: Path) -> None:
    """Its server was killed."""
    for number in (1, 2):
        Ledger(tmp_path / "ledger").note(marked("a line", RUN, "m00", number)[1])
    whole, cut = (gzip.compress(f"{received(number)}\n".encode()) for number in (1, 2))
    (tmp_path / "output.gz").write_bytes(whole + cut[:-12])
    assert counts(judge(tmp_path / "ledger", [tmp_path / "output.gz"], None)) == (2, 1, 0, 0, 1)


def test_last_report_is_found_among_other_lines(tmp_path: Path) -> None:
    (tmp_path / "stderr").write_text(f"logship: hello\n{report(0, [])}\n{spilled(1)}\n")
    found = last_report(tmp_path / "stderr")
    assert found is not None
    assert found["logship"] == "drain report"


def test_the_judge_imports_nothing_of_logship() -> None:
    program = "import sys, benchmarks.judge; print([m for m in sys.modules if 'logship' in m])"
    assert ran_python(program).stdout.strip() == "[]"


# --- the ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["", "plain", "ünï ☃", "\udce9 lone", "ends in space ", "tab\tnull\0", message(7)]
)
def test_a_marked_line_is_intact_and_any_change_shows(line: str) -> None:
    text, marker = marked(line, RUN, "t03", 12)
    assert MARKER.fullmatch(marker)
    assert len(marker) == MARKER_CHARS
    assert intact(text)
    assert not intact("x" + text)
    assert not intact(text[:-1])


def test_the_ledger_gives_back_markers_and_rate(tmp_path: Path) -> None:
    second = 1_000_000_000
    notes = [(marked("", RUN, "m00", n)[1], n * second // 100) for n in range(1, 102)]
    notes.append((marked("", RUN, "m01", 1)[1], 3 * second))  # logged long after the stop
    notes.append((marked("", RUN, "t00", 1)[1], second + 1))
    (tmp_path / "ledger").write_text("".join(f"{marker} {noted}\n" for marker, noted in notes))
    written = read_ledger(tmp_path / "ledger")
    assert len(written.times_ns) == 103
    assert len(written.main_ns) == 102
    assert written.rate_until(second // 2) == pytest.approx(100)
    assert written.rate_until(2 * second) == pytest.approx(50, abs=0.5), "it stood still"
    assert written.rate_until() == pytest.approx(101 / 2.99)


def test_a_foreign_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("hello 12\n")
    with pytest.raises(ValueError, match="not a line of a ledger"):
        read_ledger(tmp_path / "ledger")
