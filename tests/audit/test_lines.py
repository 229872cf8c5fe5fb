"""What one line says: every format, the outermost stamp, and lines that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logship._audit
from logship._audit.lines import Glance, Refused, Stamped, Unreadable, read_line
from logship._audit.reports import Declared, Report
from tests.audit import lines
from tests.audit.asking import judged, read
from tests.audit.lines import (
    FORMATS,
    ONE,
    TAGGED,
    TWO,
    Format,
    bit,
    fluentd,
    in_string,
    received,
    record,
    spilled,
    stamp,
)
from tests.unit.test_architecture import imports_of


def stamp_of(line: bytes | str) -> tuple[str, int, bool] | None:
    """Return stream, number and whether it is a spilled copy; None if the line has no stamp."""
    found = read(line)
    return (found.stream, found.number, found.spilled) if isinstance(found, Stamped) else None


ROOT = {"logship.errors.LogshipError"}
IMPURE = {"os", "socket", "threading", "time", "pathlib.Path", "sys"}
READERS = {"sources", "outputs", "stores"}


def test_the_judge_imports_nothing_of_the_client_but_the_root_of_its_errors() -> None:
    imported: set[str] = set()
    for path in Path(logship._audit.__file__).parent.glob("*.py"):
        imports = set(imports_of(f"_audit.{path.stem}"))
        others = {each for each in imports if each.startswith("logship")}
        assert not {each for each in others if not each.startswith("logship._audit.")} - ROOT
        assert path.stem in READERS or not imports & IMPURE
        imported |= others
    assert imported >= ROOT, "nothing was looked at"


@pytest.mark.parametrize("line_format", FORMATS)
def test_every_format_gives_its_stamp(line_format: Format) -> None:
    assert stamp_of(line_format(record(7))) == (ONE, 7, False)


@pytest.mark.parametrize("line_format", TAGGED)
@pytest.mark.parametrize("tag", ["web", "app-firelens-0123", "a.b: [1", "curly{tag}", "ü"])
def test_the_tag_is_taken_from_the_line(line_format: Format, tag: str) -> None:
    found = read(line_format(record(7), tag=tag))
    assert isinstance(found, Stamped)
    assert (found.number, found.tag) == (7, tag)


def test_a_tag_of_the_records_own_does_not_hide_its_route() -> None:
    for line_format in (fluentd, bit, received):
        found = read(line_format(record(7, tag="own"), tag="route"))
        assert isinstance(found, Stamped)
        assert found.tag == "route"


def test_an_array_of_records_gives_each() -> None:
    """Fluent Bit's `format json` writes one array per flush."""
    line = json.dumps([{"date": 1.5, **record(1)}, {"date": 1.6, **record(2, TWO)}, {"date": 1.7}])
    one, two, three = read_line(line)
    assert isinstance(one, Stamped)
    assert isinstance(two, Stamped)
    assert (one.number, two.stream) == (1, TWO)
    assert three is None


@pytest.mark.parametrize("key", ["log", "message"])
@pytest.mark.parametrize("line_format", FORMATS)
def test_a_spilled_copy_that_came_back_inside_a_string_is_a_spilled_copy(
    line_format: Format, key: str
) -> None:
    line = line_format(in_string(spilled(record(9, TWO)) + b"\n", key))
    assert stamp_of(line) == (TWO, 9, True)


def test_a_spilled_copy_is_found_on_stderr_and_behind_a_log_viewers_prefix() -> None:
    copy = spilled(record(9), tag="web").decode()
    for line in (copy, f"web-1  | {copy}", f"2026-01-02T03:04:05.678Z {copy}", f"[pod/a/b] {copy}"):
        assert stamp_of(line) == (ONE, 9, True)
    for prefix in ("app-1  | ", "2026-01-02T03:04:05.678Z stderr F "):
        found = read(f"{prefix}{copy}")
        assert isinstance(found, Stamped)
        assert found.tag == "web"


def test_a_spilled_copy_that_a_filter_parsed_is_still_a_spilled_copy() -> None:
    """FireLens with `parse-json` turns the string into fields of the record."""
    parsed = {"container_name": "app", **json.loads(spilled(record(9)))}
    assert stamp_of(lines.plain(parsed)) == (ONE, 9, True)
    assert stamp_of(lines.received(parsed)) == (ONE, 9, True)


def test_a_copy_of_the_receivers_own_output_inside_a_string_is_delivered() -> None:
    """`logship receive` writing to a stdout that a log driver wraps."""
    assert stamp_of(lines.plain(in_string(lines.received(record(9))))) == (ONE, 9, False)


def test_an_applications_field_does_not_make_a_delivered_record_a_spilled_one() -> None:
    assert stamp_of(lines.received(record(3, logship="spilled"))) == (ONE, 3, False)
    assert stamp_of(lines.plain(record(3, logship="drain report"))) == (ONE, 3, False)


FORGED = stamp(99, "zzzzzzzzzzzz")


@pytest.mark.parametrize(
    "fields",
    [
        {"message": f'{{"logship_id": "{FORGED}"}}'},
        {"message": f'"logship_id":"{FORGED}"'},
        {"log": spilled(record(99, "zzzzzzzzzzzz")).decode()},
        {"nested": {"logship_id": FORGED}},
        {"record": {"logship_id": FORGED}},
        {"list": [{"logship_id": FORGED}]},
        {"logship_id ": FORGED},
    ],
)
@pytest.mark.parametrize("line_format", FORMATS)
def test_nothing_inside_a_record_hides_its_outermost_stamp(
    line_format: Format, fields: dict[str, Any]
) -> None:
    own = record(5)
    before = {**fields, **own} | fields
    behind = {**own, **fields}
    assert stamp_of(line_format(before)) == (ONE, 5, False)
    assert stamp_of(line_format(behind)) == (ONE, 5, False)
    verdict = judged(line_format(own), line_format(before), line_format(behind))
    assert [stream.stream for stream in verdict.streams] == [ONE]


@pytest.mark.parametrize(
    "record_without_stamp",
    [
        {"text": f'{{"logship_id": "{FORGED}"}}'},
        {"message": f'the key is "logship_id": "{FORGED}"'},
        {"message": f'["logship_id", "{FORGED}"]'},
        {"nested": {"logship_id": FORGED}},
        {"list": [{"logship_id": FORGED}]},
        {"value": "logship_id"},
        {"record": "logship_id"},
        {"message": '{"log": "x", "other": {"logship_id": 1}}'},
    ],
)
@pytest.mark.parametrize("line_format", FORMATS)
def test_a_stamp_in_any_other_place_does_not_count(
    line_format: Format, record_without_stamp: dict[str, Any]
) -> None:
    line = line_format(record_without_stamp)
    assert read(line) is None
    verdict = judged(line)
    assert (verdict.streams, verdict.unstamped) == ((), 1)


@pytest.mark.parametrize(
    "value",
    ["", "x", None, 5, ["a"], f"{ONE}:0000000000", f"{ONE}:1", f"{ONE}:00000000001", "a:b",
     "abcdefghij\ud800\udfff:0000000001", f"{ONE}:000000000٣"],
)  # fmt: skip
def test_what_is_not_a_stamp_under_the_stamps_key_is_reported(value: object) -> None:
    line = json.dumps({"tag": "t", "time_ns": 1, "record": {"m": 1, "logship_id": value}})
    assert read(line) == Unreadable("logship_id is not a stamp")


@pytest.mark.parametrize("line_format", FORMATS)
def test_a_torn_line_is_never_a_record(line_format: Format) -> None:
    """At whatever byte a kill cut it: no stamp is believed in a line that is not whole."""
    for original in (record(5, extra={"a": 1}), record(5), {**record(5), "z": "last } field"}):
        line = line_format(original)
        for cut in range(len(line)):
            verdict = judged(line_format(record(1)), line[:cut])
            assert verdict.streams[0].delivered.count == 1, line[:cut]


@pytest.mark.parametrize("line_format", FORMATS)
def test_a_torn_line_that_ends_inside_the_record_is_reported(line_format: Format) -> None:
    line = line_format(record(5))
    assert isinstance(read(line[: len(line) - 3]), Unreadable)


@pytest.mark.parametrize("line_format", FORMATS)
def test_a_line_with_a_hole_is_never_a_record(line_format: Format) -> None:
    """A machine that crashed leaves zeros, in one line or from one into another."""
    one, two = line_format(record(2, text="x" * 99)), line_format(record(3, text="y" * 99))
    for holed in (one.replace(b"x" * 50, bytes(50)), one[:-70] + bytes(50) + two[-70:]):
        verdict = judged(line_format(record(1)), holed)
        assert verdict.streams[0].delivered.count == 1, holed
        assert verdict.unreadable == 1


def test_a_torn_line_with_another_glued_to_it_is_reported() -> None:
    """The stamp in the second half may be a nested one of the first: it cannot be told."""
    torn = lines.received(record(1))[:-20] + lines.received(record(2))
    assert isinstance(read(torn), Unreadable)
    torn = lines.plain({"message": "x", "nested": {"logship_id": FORGED}})[:-1]
    assert isinstance(read(torn), Unreadable)


def test_text_behind_a_whole_line_makes_it_unreadable() -> None:
    for line_format in FORMATS:
        assert isinstance(read(line_format(record(1)) + b" x"), Unreadable)


@pytest.mark.parametrize("line_format", FORMATS)
def test_no_glued_line_is_believed_at_a_glance_that_parsing_refuses(line_format: Format) -> None:
    """A killed server's torn line, and the first that its successor wrote behind it."""
    torn, whole = line_format(record(1, text="}")), line_format(record(2))
    for cut in range(1, len(torn) + 1):
        if Glance("logship_id").stamp(torn[:cut] + whole):
            assert stamp_of(torn[:cut] + whole) == (ONE, 2, False)
    rest = b',"logship_id":"' + FORGED.encode() + b'"}'
    assert Glance("logship_id").stamp(line_format({"message": "whole"}) + rest) is None


def test_a_cut_copy_inside_a_string_is_reported() -> None:
    """Log drivers split long lines: 16 KiB is the fluentd driver's piece."""
    line = lines.plain(in_string(spilled(record(9))[:-5]))
    assert read(line) == Unreadable("a copy inside a string is not JSON, or cut off")


@pytest.mark.parametrize(
    "text",
    ["", "INFO started", "Traceback (most recent call last):", "[2026/11/24 14:50:20] [engine] up",
     "logship: the sidecar at tcp://127.0.0.1:24224 does not answer", "12", '"text"', "\x00\xff"],
)  # fmt: skip
def test_other_text_is_nothing(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "{'logship_id': 1}",
        "{",
        '[{"a": 1},',
        'INFO the record {"logship_id": "abcdefghij01:0000000001"}',
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5_000 + "}",
    ],
    ids=lambda text: text[:30],
)
def test_what_may_have_been_a_record_is_unreadable_and_not_an_error(text: str) -> None:
    assert isinstance(read(text), Unreadable)


def test_json_inside_json_without_end_is_not_followed_for_ever() -> None:
    line = json.dumps(record(1))
    for _ in range(6):
        line = json.dumps({"log": line})
    assert read(line) is None


def test_bad_utf8_beside_a_stamp_does_not_hide_it() -> None:
    line = lines.fluentd(record(2, nested={})).replace(b"line", b"l\xff\xfe")
    assert judged(line).streams[0].delivered.count == 1


@pytest.mark.parametrize("line_format", FORMATS)
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf%b", b"\0\0\0%b", b"%b\r"])
def test_what_is_no_text_around_a_line_does_not_hide_it(line_format: Format, mark: bytes) -> None:
    """Windows PowerShell begins a file with a mark, and Fluent Bit on Windows ends lines with one.

    Zeros are left by a crash, and where a file is truncated whose writer does not append.
    """
    [stream] = judged(mark % line_format(record(1))).streams
    assert (stream.delivered.count, stream.tag in ("web", None)) == (1, True)


@pytest.mark.parametrize("key", ["seq", "logship_id2", "été", "@stamp", 'a"b', "a.b[0]"])
@pytest.mark.parametrize("line_format", FORMATS)
def test_another_stamp_key_is_found_and_the_usual_one_is_not(line_format: Format, key: str) -> None:
    end = {key: stamp(3), "logship_end": True, "logship_accepted": 2}
    records = ({key: stamp(1)}, {key: stamp(2)}, end, {"logship_id": stamp(4)})
    verdict = judged(map(line_format, records), stamp_key=key)
    [stream] = verdict.streams
    assert list(stream.delivered) == [(1, 3)]
    assert (stream.proof, stream.records) == ("end record", 2)
    assert verdict.unstamped == 1


def carriers(line: bytes) -> list[bytes]:
    """Return in which forms a line of a container's stderr may arrive."""
    driven = in_string(line)
    parsed = lines.received(json.loads(line))
    return [line, b"app-1  | " + line, lines.plain(driven), lines.received(driven), parsed]


def test_a_refused_line_is_read_wherever_a_stderr_ends_up() -> None:
    """Its record is the application's own text, whatever it looks like."""
    for carried in carriers(lines.refused(7)):
        assert read(carried) == Refused(lines.LIFE, 7)
    for bad in ("7", None, "life:7", f"{lines.LIFE}:0000000000"):
        assert isinstance(read(lines.refused(bad).decode()), Unreadable)
    assert read(lines.plain({"logship_refused": f"{lines.LIFE}:0000000001"})) is None


@pytest.mark.parametrize(
    ("write", "source"),
    [
        (lines.report, "drain report"),
        (lines.spill_begins, "spill's first line"),
        (lines.correction, "report's correction"),
    ],
)
def test_a_report_is_read_wherever_a_stderr_ends_up(write: Format, source: str) -> None:
    line = write(lines.stream_report(10, 9, end=10, spilled=[(2, 3)], dropped=[(4, 5, "x")]))
    for carried in carriers(line):
        found = read(carried)
        assert isinstance(found, Report)
        assert found.problem is None
        [stream] = found.streams
        assert stream.source == source
        assert stream.declared == (Declared(2, 3, "spilled"), Declared(4, 5, "dropped: x"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"streams": None}, "without a list of streams"),
        ({"streams": [5]}, "stream without a name"),
        ({"acked": "12"}, "acked is '12'"),
        ({"accepted": -1}, "accepted is -1"),
        ({"acked": 10**18 + 1}, "acked is 1000000000000000001, not a whole number to 10000000"),
        ({"streams": [lines.stream_report(10**10, 1)]}, "last is 10000000000"),
        ({"streams": [lines.stream_report(1, 10**10)]}, "accepted is 10000000000"),
        ({"streams": [lines.stream_report(1, 1, spilled=[(1, 10**10)])]}, "spilled holds [1, 10"),
        ({"streams": [{**lines.stream_report(1, 1), "last": None}]}, "last is None"),
        ({"streams": [{**lines.stream_report(1, 1), "end": "x"}]}, "end is 'x'"),
        ({"streams": [{**lines.stream_report(1, 1), "spilled": 5}]}, "spilled is not a list"),
        ({"streams": [lines.stream_report(1, 1, unacked=[(5, 4)])]}, "unacked holds [5, 4]"),
        ({"streams": [lines.stream_report(1, 1, unacked=[(0, 4)])]}, "unacked holds [0, 4]"),
    ],
)
def test_a_report_that_cannot_be_understood_says_why(change: dict[str, Any], why: str) -> None:
    whole = json.loads(lines.report(lines.stream_report(1, 1)))
    found = read(json.dumps({**whole, **change}))
    assert isinstance(found, Unreadable)
    assert why in found.why


NASTY = st.lists(
    st.sampled_from([
        '"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\t", "logship_", "logship_id",
        f'"logship_id":"{FORGED}"', f', "logship_id": "{FORGED}"}}', "x", "ü", "\u2028", "1.5",
    ]),
    max_size=8,
).map("".join)  # fmt: skip
VALUES = st.recursive(
    NASTY | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=6,
)


@given(
    before=st.dictionaries(NASTY, VALUES, max_size=3),
    behind=st.dictionaries(NASTY, VALUES, max_size=2),
    stamped=st.booleans(),
    line_format=st.sampled_from(FORMATS),
    tag=NASTY.filter(lambda tag: "\n" not in tag and "\t" not in tag),
    cut=st.integers(min_value=0, max_value=40),
)
def test_what_is_seen_at_a_glance_is_what_parsing_finds(
    before: dict[str, Any],
    behind: dict[str, Any],
    stamped: bool,
    line_format: Format,
    tag: str,
    cut: int,
) -> None:
    """The fast way may pass any line on, but never sees what the slow way does not."""
    own = {"logship_id": stamp(5)} if stamped else {}
    line = line_format({**before, **own, **behind}, tag=tag)
    line = line[: len(line) - cut]
    match = Glance("logship_id").stamp(line)
    if match is not None:
        found = read(line)
        assert isinstance(found, Stamped)
        assert (found.stream.encode(), b"%010d" % found.number) == (match[1], match[2])
        assert not found.spilled


SELDOM = {lines.fluentd_comma, lines.fluentd_space, lines.fluentd_without_tag}
PARSED = SELDOM | {lines.received_with_metadata}


@pytest.mark.parametrize("line_format", [each for each in FORMATS if each not in PARSED])
def test_ordinary_lines_are_seen_at_a_glance(line_format: Format) -> None:
    """Else gigabytes take minutes: the verdict would be the same, so nothing else would show it."""
    assert Glance("logship_id").stamp(line_format(record(5, level="INFO", line=12)))


@pytest.mark.parametrize(
    "special", [lines.gap(3, 1, 2), lines.end(3, 2), in_string(spilled(record(3)))]
)
@pytest.mark.parametrize("line_format", [*FORMATS, spilled])
def test_control_records_and_spilled_copies_are_never_taken_at_a_glance(
    line_format: Format, special: dict[str, Any]
) -> None:
    assert Glance("logship_id").stamp(line_format(special)) is None
    assert Glance("logship_id").stamp(spilled(record(4))) is None
