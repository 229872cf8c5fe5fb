"""Lines of logship among other text: they are found, and no report is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logship._audit.lines import Found, Refused, Stamped, Unreadable, read_line
from logship._audit.reports import Report
from logship._audit.verdict import Outcome
from tests.audit import lines
from tests.audit.asking import audit, judged, read
from tests.audit.lines import ONE, TWO, in_string, record, spilled, stamp

TWO_STREAMS = (lines.stream_report(2, 1, end=2), lines.stream_report(1, 1, stream=TWO))
OURS = [
    (lines.report(*TWO_STREAMS), Report),
    (spilled(record(9, text="a {b}")), Stamped),
    (lines.refused(7), Refused),
]


@pytest.mark.parametrize("text", [
    "cfg {'a': 1}", "\r 50%|##| {5/10} ", 'of "logship", ', "2023-11-14T22:13:20.123456789Z "
])  # fmt: skip
@pytest.mark.parametrize(("line", "kind"), OURS)
def test_other_text_before_a_line_of_logship_does_not_hide_it(
    line: bytes, kind: type[Found], text: str
) -> None:
    glued = text.encode() + line
    for carried in (glued, lines.plain(in_string(glued)), lines.received(in_string(glued))):
        assert isinstance(read(carried), kind)


REPORT = lines.report(lines.stream_report(2, 1, end=2)).decode()


@pytest.mark.parametrize(
    "line",
    [
        f"cfg {{ {REPORT[1:]}",
        f"cfg {{'a': 1}}{REPORT[:-5]}",
        json.dumps({"stderr": REPORT}),
        json.dumps({"log": f"{{'a': 1}}{REPORT}"}),
        json.dumps({"log": '{"logship_id": 1}', "message": REPORT}),
        json.dumps({"a": {"b": json.loads(REPORT)}}),
        json.dumps([{"stderr": REPORT}]),
    ],
)
def test_a_report_that_cannot_be_read_where_it_stands_is_told(line: str) -> None:
    found = read(line)
    assert isinstance(found, Unreadable)
    assert found.is_report


@pytest.mark.parametrize(
    "line",
    [
        b"web-1  | " + lines.received(record(1, TWO)),
        b'{"message": "torn ' + lines.plain(record(1, TWO)),
        b"half of a copy" + spilled(record(1, TWO))[30:],
        lines.plain(in_string(spilled(record(1, TWO))[:-1])),
        b"2026-11-29T00:00:00+00:00\ta\ttag\t" + lines.plain(record(1, TWO)),
    ],
)
def test_a_stream_of_which_no_line_can_be_read_is_not_passed_over(line: bytes) -> None:
    whole = [lines.received(record(1)), lines.received(lines.end(2, 1))]
    verdict = judged(whole, line)
    assert (verdict.unreadable, verdict.outcome) == (1, Outcome.UNPROVEN)
    assert judged(line).outcome is Outcome.NO_STAMPS
    other = [lines.received(record(1, TWO)), lines.received(lines.end(2, 1, TWO))]
    assert judged(whole, line, other).outcome is Outcome.COMPLETE


def test_a_record_beside_a_report_in_an_array_is_none() -> None:
    report, other = read_line(f'[{REPORT}, {{"a": 1}}]')
    assert isinstance(report, Report)
    assert other is None


@pytest.mark.parametrize("write", lines.FORMATS)
def test_what_run_ships_of_a_program_inside_counts_beside_the_record_that_carries_it(
    write: lines.Format,
) -> None:
    inside = [
        spilled(record(1, TWO)),
        lines.report(lines.stream_report(4, 3, stream=TWO, end=4, unacked=[(2, 3)])),
        lines.refused(1),
    ]
    carriers = [lines.shipped_by_run(line, number) for number, line in enumerate(inside, start=1)]
    verdict = judged(map(write, [*carriers, lines.end(4, 3)]))
    one, two = verdict.streams if verdict.streams[0].stream == lines.ONE else verdict.streams[::-1]
    assert (one.records, one.outcome) == (3, Outcome.COMPLETE)
    assert (list(two.spilled), two.declared_count, list(two.lost)) == ([(1, 1)], 3, [])
    [refusals] = verdict.refusals
    assert (list(refusals.copies), verdict.reports) == ([(1, 1)], 1)


def test_a_report_without_streams_that_run_ships_is_seen_under_another_stamp_key() -> None:
    report = lines.report(refused_id=lines.LIFE, refused=2, refused_lines=2, stamp_key="id")
    first = lines.compact({"message": "hi", "id": lines.stamp(1)}).encode()
    carrier = lines.compact(lines.shipped_by_run(report, 2, key="id")).encode()
    [refusals] = judged(first, carrier, stamp_key="id").refusals
    assert refusals.declared == 2


def test_a_report_that_run_ships_and_that_cannot_be_read_is_told() -> None:
    torn = lines.shipped_by_run(lines.report(lines.stream_report(4, 3), accepted="3"), 1)
    verdict = judged(lines.received(torn), lines.received(lines.end(2, 1)))
    assert (verdict.streams[0].outcome, verdict.outcome) == (Outcome.COMPLETE, Outcome.UNPROVEN)


def of_run(text: str, number: int, stream: str = ONE) -> bytes:
    """What `logship run` makes of a line of text on the stderr of a program inside."""
    return lines.received(
        {"message": text, "source": "stderr", "logship_id": stamp(number, stream)}
    )


IN_TEXT = pytest.mark.parametrize(
    "text", ["web.1 | {}", " 45%|### | 9/20{}", "Traceback\n  at x\n{}\nmore", "{}", "  {}"]
)


@IN_TEXT
@pytest.mark.parametrize(("line", "kind"), OURS)
def test_run_may_have_made_a_message_of_a_line_of_logship(
    text: str, line: bytes, kind: type[Found]
) -> None:
    message = text.replace("{}", line.decode())
    carrier, said = read_line(of_run(message, 1).decode())
    assert isinstance(carrier, Stamped)
    assert isinstance(said, kind)
    of_an_application = lines.received({"message": message, "logship_id": stamp(1)})
    assert isinstance(read(of_an_application), Stamped), "it may quote what it likes"


@IN_TEXT
def test_a_lost_stream_is_known_from_a_report_behind_other_text(text: str) -> None:
    report = lines.report(lines.stream_report(3, 2, end=3, stream=TWO)).decode()
    carrier = of_run(text.replace("{}", report), 1)
    assert judged(carrier, lines.received(lines.end(2, 1))).outcome is Outcome.LOST


def test_a_warning_that_quotes_a_report_says_nothing_under_run() -> None:
    assert isinstance(read(of_run(f"logship: the sidecar said {REPORT}", 1)), Stamped)


def test_a_line_that_two_runs_carried_is_read() -> None:
    inner = lines.shipped_by_run(lines.refused(7), 4, TWO)
    outer = lines.shipped_by_run(spilled(inner), 1)
    found = read_line(lines.received(outer).decode())
    assert [type(each) for each in found] == [Stamped, Stamped, Refused]
    text = of_run("web.1 | " + spilled(inner).decode(), 1)
    assert [type(each) for each in read_line(text.decode())] == [Stamped, Stamped, Refused]


@pytest.mark.parametrize("cut", [1, 40, 60])
def test_a_refused_line_that_is_cut_counts_by_its_number(cut: int, tmp_path: Path) -> None:
    """As a log driver cuts it that splits long lines."""
    whole = [lines.received(record(1)), lines.received(lines.end(2, 1))]
    torn = lines.refused(2)[:-cut]
    for line in (torn, b"app-1  | " + torn, lines.plain(in_string(torn))):
        verdict = judged(whole, line)
        assert verdict.outcome is not Outcome.COMPLETE
        assert [(each.life, each.declared) for each in verdict.refusals] == [(lines.LIFE, 2)]
    (tmp_path / "err").write_bytes(torn + b"\n" + lines.report(lines.stream_report(2, 1, end=2)))
    (tmp_path / "out").write_bytes(b"\n".join(whole))
    result = audit(str(tmp_path / "out"), "--expect", str(tmp_path / "err"), code=3)
    assert "2 refused by calls that returned no error" in result.output
