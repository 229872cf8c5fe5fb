"""`logship audit` as a program: files as killed servers leave them, words, exit codes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from logship._audit.verdict import Outcome
from tests.audit.asking import audit
from tests.audit.lines import (
    LIFE,
    ONE,
    TWO,
    bit,
    end,
    fluentd,
    gap,
    plain,
    received,
    record,
    refused,
    report,
    spill_begins,
    spilled,
    stream_report,
    write,
)
from tests.support.commands import LOGSHIP, ran

WHOLE = [*(received(record(number)) for number in (1, 2, 3)), received(end(4, 3))]
HOLED = [line for number, line in enumerate(WHOLE, start=1) if number != 2]


def first_line(result: Result) -> str:
    return result.output.splitlines()[0]


def as_json(*arguments: str) -> Any:
    return json.loads(audit(*arguments, "--json").output)


# --- the program ----------------------------------------------------------------------------------


def test_a_terminal_that_cannot_show_a_tag_changes_no_verdict() -> None:
    write("out.log", [received(record(1), tag="café ✓"), received(end(2, 1))])
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert r"caf\xe9 \u2713" in ran(*LOGSHIP, "audit", "out.log", env=environ).stdout


@pytest.mark.parametrize(
    ("lines", "code", "options"), [(WHOLE, 0, ["--json"]), (HOLED, 1, []), ([b"text"], 2, [])]
)
def test_an_output_that_takes_nothing_changes_no_verdict(
    lines: list[bytes], code: int, options: list[str]
) -> None:
    write("out.log", lines)
    reading, writing = os.pipe()
    os.close(reading)
    said = "logship: standard output: No space left on device\n"
    outputs = {"capture_output": False, "stderr": subprocess.PIPE}
    with os.fdopen(writing, "wb") as closed, Path("/dev/full").open("wb") as full:
        for stdout, told in ((closed, ""), (full, said)):
            words = [*LOGSHIP, "audit", "out.log", *options]
            assert ran(*words, code=code, stdout=stdout, **outputs).stderr == told


# --- reading --------------------------------------------------------------------------------------


def test_plain_files_gzip_and_standard_input_together() -> None:
    write("a.log", WHOLE[:1])
    Path("b.gz").write_bytes(gzip.compress(WHOLE[1] + b"\n"))
    result = audit("a.log", "b.gz", "-", stdin=b"\n".join(WHOLE[2:]))
    assert first_line(result).startswith("complete: 3 records")


def test_the_output_of_another_program_can_be_a_file() -> None:
    """As in `logship audit <(zcat out.gz)`."""
    write("out.log", WHOLE)
    words = '"$0" -m logship audit <(cat out.log) --expect <(cat r)'
    write("r", [report(stream_report(4, 3, end=4))])
    assert ran("bash", "-c", words, sys.executable).stderr == ""


def test_gzip_is_known_by_its_content_and_may_have_members_and_padding() -> None:
    members = [gzip.compress(line + b"\n") for line in WHOLE]
    data = b"".join([*members[:2], bytes(40_000), *members[2:], bytes(20_000)])
    Path("out.log").write_bytes(data)
    assert "note" not in audit("out.log", code=0).output
    audit("-", stdin=data, code=0)


def test_every_line_of_a_large_file_is_read() -> None:
    """More than one block, plain and packed, with lines that cross the blocks' borders."""
    count = 5_000
    lines = [fluentd(record(number, text="x" * (number % 97))) for number in range(1, count + 1)]
    data = b"\n".join([*lines, fluentd(end(count + 1, count))])
    Path("out.log").write_bytes(data)
    Path("out.gz").write_bytes(gzip.compress(data))
    for name in ("out.log", "out.gz"):
        found = as_json(name)
        assert (found["outcome"], found["lines"]) == ("complete", count + 1)
        assert found["streams"][0]["records"] == count


def test_gzip_cut_off_by_a_kill_gives_what_it_holds_and_says_so() -> None:
    first = gzip.compress(b"".join(line + b"\n" for line in WHOLE[:2]))
    second = gzip.compress(WHOLE[2] + b"\n" + WHOLE[3] + b"\n")
    Path("out.gz").write_bytes(first + second[:-12])
    write("rest.log", WHOLE[2:])
    alone = audit("out.gz")
    assert "note: out.gz: the gzip data is cut off" in alone.output
    assert alone.exit_code == 3
    resent = audit("out.gz", "rest.log", code=0)
    assert "the gzip data is cut off" in resent.output
    assert as_json("out.gz")["notes"] == [
        "out.gz: the gzip data is cut off (its writer was killed, or is still writing); "
        "records in the missing part count as missing"
    ]


def test_a_torn_last_line_is_named() -> None:
    Path("out.log").write_bytes(b"\n".join(WHOLE)[:-5])
    result = audit("out.log", code=3)
    assert "unreadable: 1 line; what they held counts as missing" in result.output
    assert "  out.log, line 4: not JSON, or cut off" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'FILE...'"),
        (["missing.log"], "cannot read missing.log: No such file or directory"),
        (["directory/"], "directory/ is a directory; name the files in it, as directory/*.log"),
        (["out.log", "./out.log"], "FILE: ./out.log is the same input as out.log"),
        (["-", "-"], "FILE: - is the same input as -"),
        (["-", "--expect", "-"], "standard input cannot be both FILE and --expect"),
        (["out.log", "--stamp-key", ""], "--stamp-key is empty"),
        (["damaged.gz"], "cannot read damaged.gz: its gzip data is damaged (Error -3"),
        (["out.zst"], "cannot read out.zst: it is zstd; pipe it: zstdcat ... | logship audit -"),
        (["out.log", "out.xz"], "cannot read out.xz: it is xz; pipe it: xzcat ... | logship audit"),
        (["out.log", "out.bz2"], "cannot read out.bz2: it is bzip2; pipe it: bzcat ... | logship"),
        (["out.log", "utf16.log"], "cannot read utf16.log: it is UTF-16; pipe it: iconv -f UTF-16"),
        (["out.log", "--expect", "out.log"], "--expect out.log: no drain report in it."),
        (["out.log", "--expect", "missing"], "cannot read missing: No such file or directory"),
        (["out.log", "--expect", "bad.report"], "line 2: a drain report without a list"),
        (["out.log", "--expect", "torn.report"], "torn.report, line 1: not JSON, or cut off"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_meant_is_one_clear_error(
    arguments: list[str], message: str
) -> None:
    write("out.log", WHOLE)
    Path("directory").mkdir()
    packed = bytearray(gzip.compress(b"".join(WHOLE) * 9))
    packed[20:40] = b"\xff" * 20
    Path("damaged.gz").write_bytes(packed)
    Path("out.zst").write_bytes(b"\x28\xb5\x2f\xfdrest")
    Path("out.xz").write_bytes(lzma.compress(b"".join(HOLED)))
    Path("out.bz2").write_bytes(bz2.compress(b"".join(HOLED)))
    Path("utf16.log").write_text(HOLED[0].decode(), encoding="utf-16")
    write("bad.report", [b"text", b'{"logship": "drain report"}'])
    write("torn.report", [report(stream_report(4, 3))[:-9]])
    result = audit(*arguments, code=2)
    assert message in result.output


def test_a_file_that_fails_while_it_is_read_is_one_clear_error() -> None:
    """A disk or a network mount gives up in the middle; `/proc/self/mem` does it at once."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("no /proc here")
    result = audit("/proc/self/mem", code=2)
    assert "cannot read /proc/self/mem: Input/output error" in result.output


def test_a_file_without_lines_is_not_taken_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logship._audit.sources.LINE_BYTES_MAX", 200_000)
    Path("binary").write_bytes(b"x" * 1_000_000)
    result = audit("binary", code=2)
    assert "cannot read binary: no end of line in 64 MiB; is it a text file?" in result.output


# --- reports --------------------------------------------------------------------------------------


def test_expected_streams_must_be_there() -> None:
    write("out.log", WHOLE)
    stderr = [
        b"logship: the sidecar does not answer",
        report(stream_report(4, 3, end=4)),
        b"INFO bye {",
        b"{'event': 'waiting for the drain report'}",
        b"app-1  | " + report(stream_report(2, 2, stream=TWO, tag="jobs")),
    ]
    write("stderr.log", stderr)
    result = audit("out.log", "--expect", "stderr.log", code=1)
    assert first_line(result) == f"LOST: 2 records of stream {TWO} (tag jobs): 1-2"
    assert "acked, says its report" in result.output
    assert "2 reports" in result.output
    assert "note:" not in result.output


def test_reports_may_be_packed_and_in_many_files() -> None:
    write("out.log", WHOLE[:3])
    Path("a.gz").write_bytes(gzip.compress(report(stream_report(3, 3))))
    write("b", [report(stream_report(0, 0, stream=TWO))])
    assert audit("out.log", "--expect", "a.gz", "--expect", "b").exit_code == 0
    assert audit("out.log", "--expect", "a.gz", "--expect", "-", stdin=b"x").exit_code == 2


def test_a_report_in_gzip_that_is_cut_off_is_noted() -> None:
    write("out.log", WHOLE)
    packed = gzip.compress(report(stream_report(4, 3, end=4)) + b"\n")
    Path("stderr.gz").write_bytes(packed[:-8])
    result = audit("out.log", "--expect", "stderr.gz", code=0)
    assert "note: stderr.gz: the gzip data is cut off" in result.output


def test_the_first_line_of_a_spill_is_a_report_too() -> None:
    write("out.log", WHOLE[:2])
    write("stderr.log", [spill_begins(stream_report(4, 3, end=4, unacked=[(3, 4)]))])
    result = audit("out.log", "--expect", "stderr.log", code=3)
    assert f"{ONE} declared by spill's first line, unacked: 3-4" in result.output
    write("torn.log", [spill_begins(stream_report(4, 3))[:-9]])
    assert "torn.log, line 1: not JSON" in audit("out.log", "--expect", "torn.log").output


def test_nothing_delivered_at_all_asks_whether_these_are_the_files() -> None:
    write("out.log", [b"text"])
    write("report", [report(stream_report(4, 3, end=4))])
    result = audit("out.log", "--expect", "report", code=1)
    assert "note: nothing stamped was delivered at all; are these the right files" in result.output


def test_records_of_streams_that_the_report_does_not_name_are_unproven() -> None:
    write("out.log", WHOLE)
    write("report", [report(stream_report(4, 3, end=4), accepted=1_005, acked=1_005)])
    result = audit("out.log", "--expect", "report", code=3)
    assert first_line(result).endswith(
        "; at least 1,002 accepted in streams that no report names, or without this stamp"
    )


def test_a_captured_stderr_can_be_a_file_of_its_own() -> None:
    """Spilled copies and report in it count without --expect; --expect alone takes the report."""
    write("out.log", WHOLE[:2])
    stderr = [b"INFO up", report(stream_report(3, 3, spilled=[(3, 3)])), spilled(record(3))]
    write("stderr.log", stderr)
    result = audit("out.log", "stderr.log", code=3)
    assert first_line(result) == (
        "NOT COMPLETE, but nothing lost in silence: 2 records delivered; 1 only as spilled copies"
    )
    assert f"{ONE} spilled, the copies are here: 3" in result.output
    expected = audit("out.log", "--expect", "stderr.log", code=3)
    assert f"{ONE} declared by drain report, spilled: 3" in expected.output
    assert first_line(expected).endswith(": 2 records delivered; 1 number declared missing")


# --- words ----------------------------------------------------------------------------------------


def test_a_complete_audit_reads_like_this() -> None:
    write("out.log", [*WHOLE, WHOLE[0], plain(record(1, TWO)), plain(end(2, 1, TWO)), b"text"])
    assert audit("out.log").output == (
        "complete: 4 records of 2 streams, all delivered, 1 duplicate\n"
        "\n"
        "stream        tag  records  duplicates  spilled  declared  LOST  end\n"
        f"{TWO}  ?          1           0        0         0     0  end record: 2\n"
        f"{ONE}  web        3           1        0         0     0  end record: 4\n"
        "\n"
        "read: 8 lines, 1 of them without a stamp; 0 reports\n"
    )


def test_losses_come_first_with_their_ranges() -> None:
    numbers = [n for n in range(1, 121) if n not in {*range(101, 111), *range(115, 121)}]
    lines = [bit(record(number)) for number in numbers]
    two = [plain(record(1, TWO)), plain(record(3, TWO)), plain(gap(7, 4, 6, "overflow", TWO))]
    write("out.log", [*two, *lines, bit(end(121, 120)), plain(end(8, 6, TWO))])
    assert audit("out.log").output == (
        f"LOST: 17 records of 2 streams; most of them, 16, of stream {ONE} (tag web)\n"
        "\n"
        "stream        tag  records  duplicates  spilled  declared  LOST  end\n"
        f"{ONE}  web      104           0        0         0    16  end record: 121\n"
        f"{TWO}  ?          2           0        0         3     1  end record: 8\n"
        f"{ONE} LOST: 101-110, 115-120\n"
        f"{TWO} LOST: 2\n"
        f"{TWO} declared by gap record, overflow: 4-6\n"
        "\n"
        "read: 109 lines, 0 of them without a stamp; 0 reports\n"
        "note: no report answers for a LOST stream. The stderr of its process may have one, or the "
        "records themselves: give it as a FILE too\n"
    )


def test_long_lists_are_shortened_and_json_has_all() -> None:
    write("out.log", [plain(record(number)) for number in range(2, 402, 2)])
    result = audit("out.log")
    assert first_line(result).endswith(
        "LOST: 200 records of stream abcdefghij01 (tag ?): "
        "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, ... and 190 more ranges"
    )
    assert as_json("out.log")["streams"][0]["lost"] == [[n, n] for n in range(1, 401, 2)]
    names = [f"stream-{number:05d}" for number in range(50)]
    write("many.log", [line for name in names for line in (plain(record(1, name)),)])
    many = audit("many.log").output
    assert "; 50 streams without a proven end" in many
    assert "... and 30 streams more; --json has all" in many
    assert len(many.splitlines()) < 30
    assert len(as_json("many.log")["streams"]) == 50


def test_what_contradicts_itself_is_told_apart_from_what_is_lost() -> None:
    write("out.log", [*WHOLE, received(record(6)), received(record(6))])
    result = audit("out.log", code=1)
    assert first_line(result) == (
        f"INCONSISTENT: stream {ONE} (tag web) goes on to 6 after its end record 4"
    )
    assert f"{ONE} numbers after the end: 6" in result.output
    write("report", [report(stream_report(4, 3), acked=2)])
    write("whole.log", WHOLE)
    result = audit("whole.log", "--expect", "report", code=1)
    assert first_line(result).startswith("INCONSISTENT: a drain report does not add up: 3 accepted")
    names = [f"stream-{number:05d}" for number in range(30)]
    write("many.log", [plain(end(1, 5, name)) for name in names])
    assert "INCONSISTENT: and 10 streams more" in audit("many.log").output


def test_refusals_and_copies_of_delivered_records_are_told() -> None:
    write("out.log", [*WHOLE[:3], spilled(record(3)), received(end(4, 3, refused=1_234))])
    result = audit("out.log", code=Outcome.DECLARED.exit_code)
    assert f"{ONE} spilled and delivered as well: 1" in result.output
    assert f"{ONE} refused by the client, without a number: 1,234" in result.output
    assert "1,234 refused, and no report says whether the application was told" in result.output


def test_refused_records_that_are_only_on_stderr_are_not_delivered() -> None:
    write("out.log", WHOLE)
    words = {"refused": 7, "refused_lines": 3, "refused_unwritten": 1, "refused_id": LIFE}
    write("stderr", [refused(1), b"text", report(stream_report(4, 3, end=4), **words), refused(3)])
    result = audit("out.log", "--expect", "stderr", code=Outcome.DECLARED.exit_code)
    assert "3 refused by calls that returned no error" in first_line(result)
    no_error = f"{LIFE} refused by calls that returned no error: 3"
    assert f"{no_error}; copies of 0 are here" in result.output
    result = audit("out.log", "stderr", code=Outcome.DECLARED.exit_code)
    assert f"{no_error}; copies of 2 are here" in result.output
    assert f"{LIFE} refused, and stderr did not take them: 1" in result.output
    assert f"{LIFE} refused by calls that returned an error or False: 4" in result.output


def test_a_refused_line_that_is_torn_does_not_hide_the_report() -> None:
    write("out.log", WHOLE)
    write("stderr", [report(stream_report(4, 3, end=4)), refused(1), refused(2)[:40]])
    result = audit("out.log", "--expect", "stderr", code=Outcome.DECLARED.exit_code)
    assert f"{LIFE} refused by calls that returned no error: 1" in result.output


def test_a_report_behind_a_refused_line_that_is_torn_is_told() -> None:
    write("out.log", WHOLE)
    whole = report(stream_report(4, 3, end=4))
    write("stderr", [whole, refused(2)[:40] + report(stream_report(9, 8, end=9, stream=TWO))])
    result = audit("out.log", "--expect", "stderr", code=Outcome.NO_STAMPS.exit_code)
    assert "stderr, line 2: not JSON" in result.output


def test_a_refused_line_that_no_report_counts_and_that_is_missing_is_lost() -> None:
    write("stderr", [refused(1), refused(3)])
    result = audit("stderr", code=Outcome.LOST.exit_code)
    assert first_line(result) == f"LOST: 1 record that process life {LIFE} refused: 2"


def test_names_from_files_cannot_command_the_terminal() -> None:
    evil = "\x1b[2J\u202eweb"
    write("out.log", [received(record(1), tag=evil), received(gap(3, 2, 2, "\x07")), b'{"\x1b'])
    output = audit("out.log").output
    assert not any(character in output for character in "\x1b\x07\u202e")
    assert r"\x1b[2J\u202eweb" in output


def test_json_has_everything() -> None:
    lines = [received(record(1)), received(gap(4, 3, 3, "overflow")), spilled(record(2)), WHOLE[0]]
    write("out.log", [*lines, received(record(8)), b'{"torn', b"text"])
    words = {"refused": 2, "refused_lines": 1, "refused_unwritten": 1, "refused_id": LIFE}
    stream = stream_report(7, 5, end=7, unacked=[(5, 5)], refused=2)
    write("report", [report(stream, **words)])
    assert as_json("out.log", "--expect", "report") == {
        "outcome": "lost",
        "exit_code": 1,
        "lines": 7,
        "unstamped": 1,
        "unreadable": 1,
        "unreadable_places": [{"source": "out.log", "line": 6, "why": "not JSON, or cut off"}],
        "reports": 1,
        "unnamed": 0,
        "notes": [],
        "problems": [],
        "refusals": [
            {
                "refused_id": LIFE,
                "copies": [],
                "declared": 1,
                "lost": [],
                "unwritten": 1,
                "told": 1,
            }
        ],
        "streams": [
            {
                "stream": ONE,
                "tag": "web",
                "outcome": "lost",
                "last": 7,
                "proof": "drain report",
                "delivered": 3,
                "records": 2,
                "duplicates": 1,
                "spilled": [[2, 2]],
                "spilled_and_delivered": 0,
                "declared": [
                    [3, 3, "overflow", "gap record"],
                    [5, 5, "unacked", "drain report"],
                    [7, 7, "end record", "drain report"],
                ],
                "lost": [[6, 6]],
                "beyond": [[8, 8]],
                "refused": 2,
                "problems": ["goes on to 8 after the end 7 in its drain report"],
            }
        ],
    }


def test_another_stamp_key_can_be_named() -> None:
    lines = [plain({"m": 1, "seq": f"{ONE}:{number:010d}"}) for number in (1, 2)]
    last = {"logship_end": True, "logship_accepted": 2, "seq": f"{ONE}:0000000003"}
    write("out.log", [*lines, plain(last)])
    assert audit("out.log", "--stamp-key", "seq").exit_code == 0
    missing = audit("out.log", code=2)
    assert 'no line of 3 has a stamp under "logship_id"' in first_line(missing)


def test_a_long_tag_and_reason_leave_room_for_the_numbers() -> None:
    tag, reason = "t" * 1_000_000, "r" * 1_000_000
    write("out", [received(record(1), tag), received(gap(3, 2, 2, reason), tag)])
    lines = audit("out").output.splitlines()
    assert max(map(len, lines)) < 1_000
    assert any(line.endswith("UNPROVEN after 3") for line in lines)
    assert any(line.endswith("r…: 2") for line in lines)
