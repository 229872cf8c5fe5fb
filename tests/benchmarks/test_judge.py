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
        ledger = Ledger(tmp_path / "ledger")
        for number in written:
            ledger.note(marked("a line", RUN, "m00", number)[1])
        (tmp_path / "output").write_text("".join(f"{line}\n" for line in output))
        (tmp_path / "stderr").write_text("".join(f"{line}\n" for line in stderr))
        return judge(tmp_path / "ledger", [tmp_path / "output"], tmp_path / "stderr")

    return judged


def counts(verdict: Verdict) -> tuple[int, int, int, int, int]:
    """Return written, delivered, spilled, dropped, lost."""
    return (verdict.written, verdict.delivered, verdict.spilled, verdict.dropped, verdict.lost)


def test_every_line_delivered(verdict: Any) -> None:
    result = verdict(range(1, 6), map(received, range(1, 6)))
    assert counts(result) == (5, 5, 0, 0, 0)
    assert result.duplicated == 0


def test_a_line_that_is_nowhere_is_lost_and_named(verdict: Any) -> None:
    result = verdict([1, 2, 3], [received(1), received(3)])
    assert counts(result) == (3, 2, 0, 0, 1)
    assert result.lost_examples == (marked("a line", RUN, "m00", 2)[1],)


def test_copies_beyond_the_first_are_duplicates(verdict: Any) -> None:
    result = verdict([1, 2], [received(1), received(2), received(1), received(1)])
    assert counts(result) == (2, 2, 0, 0, 0)
    assert result.duplicated == 2


def test_spilled_is_not_delivered(verdict: Any) -> None:
    assert counts(verdict([1, 2], [received(1)], [spilled(2)])) == (2, 1, 1, 0, 0)


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


def test_a_line_that_was_spilled_and_delivered_counts_once(verdict: Any) -> None:
    assert counts(verdict([1, 2], [received(1), received(2)], [spilled(2)])) == (2, 2, 0, 0, 0)


def test_a_peers_overflow_output_counts_as_spilled(verdict: Any) -> None:
    line = json.dumps({"fluent-logger": "overflow", "record": {"message": message(2)}})
    assert counts(verdict([1, 2], [received(1)], [line])) == (2, 1, 1, 0, 0)


def test_a_line_of_plain_text_on_stderr_is_no_spilled_record(verdict: Any) -> None:
    assert counts(verdict([1], [], [message(1)])) == (1, 0, 0, 0, 1)


def test_a_torn_line_is_not_delivered(verdict: Any) -> None:
    torn = received(2)[:-5]
    result = verdict([1, 2, 3], [received(1), torn, received(3)])
    assert counts(result) == (3, 2, 0, 0, 1)
    assert result.damaged == 1


def test_a_line_glued_to_a_torn_one_is_not_delivered(verdict: Any) -> None:
    """A reader of JSON lines could not read it."""
    result = verdict([1, 2], [received(1)[:40] + received(2)])
    assert counts(result) == (2, 0, 0, 0, 2)


def test_a_message_that_lost_characters_is_not_delivered(verdict: Any) -> None:
    shortened = received(1, message=message(1)[1:])
    result = verdict([1], [shortened])
    assert (result.lost, result.damaged) == (1, 1)


def test_a_dropped_line_is_declared_by_the_report(verdict: Any) -> None:
    result = verdict([1, 2, 3], [received(1)], [report(2, [[2, 3, "overflow"]])])
    assert counts(result) == (3, 1, 0, 2, 0)


def test_a_dropped_line_is_declared_by_a_gap_record(verdict: Any) -> None:
    gap = json.dumps(
        {"record": {"logship_gap": [2, 3, "overflow"], "logship_id": "stream-00001:0000000004"}}
    )
    assert counts(verdict([1, 2, 3], [received(1), gap])) == (3, 1, 0, 2, 0)


def test_a_declaration_excuses_no_other_line(verdict: Any) -> None:
    """Number 2 was declared as dropped and arrived after all: 3 is lost, whatever was declared."""
    result = verdict([1, 2, 3], [received(1), received(2)], [report(1, [[2, 2, "overflow"]])])
    assert counts(result) == (3, 2, 0, 0, 1)


def test_a_declaration_of_a_line_that_was_spilled_excuses_no_other(verdict: Any) -> None:
    result = verdict([1, 2, 3], [received(1)], [spilled(2), report(1, [[2, 2, "overflow"]])])
    assert counts(result) == (3, 1, 1, 0, 1)


def test_declared_as_spilled_but_not_there_is_lost(verdict: Any) -> None:
    gap = json.dumps(
        {"record": {"logship_gap": [2, 2, "spilled"], "logship_id": "stream-00001:0000000003"}}
    )
    assert counts(verdict([1, 2], [received(1), gap])) == (2, 1, 0, 0, 1)


def test_control_records_in_a_declared_range_excuse_no_line(verdict: Any) -> None:
    """The range holds three numbers, but the report counts one record in it."""
    result = verdict([1, 2, 3], [received(1)], [report(1, [[2, 4, "overflow"]])])
    assert counts(result) == (3, 1, 0, 1, 1)


def test_a_line_that_the_ledger_does_not_know_is_told(verdict: Any) -> None:
    result = verdict([1], [received(1), received(2)])
    assert (result.delivered, result.lost, result.unwritten) == (1, 0, 1)


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
