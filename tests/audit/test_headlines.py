"""Every verdict of `logship audit`: its first line, its exit code, and what the pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from logship._audit.verdict import Outcome
from tests.audit.asking import audit
from tests.audit.lines import (
    LIFE,
    TWO,
    Record,
    end,
    fluentd_sidecar,
    gap,
    in_string,
    received,
    record,
    refused,
    report,
    spilled,
    stream_report,
    write,
)

REPOSITORY = Path(__file__).parents[2]
RECORDS = [received(record(number)) for number in range(1, 1_113)]
CLOSED = [*RECORDS, received(end(1_113, 1_112))]
SMALL = [*RECORDS[:3], received(end(4, 3))]
REFUSED: dict[str, object] = {
    "refused": 1,
    "refused_lines": 1,
    "refused_unwritten": 0,
    "refused_id": LIFE,
}


DECLARED = "NOT COMPLETE, but nothing lost in silence:"
HEADS = {
    "complete:": (0, "complete"),
    "LOST:": (1, "lost"),
    "INCONSISTENT:": (1, "lost"),
    "NO STAMPS:": (2, "no_stamps"),
    "NO RECORDS:": (2, "no_stamps"),
    DECLARED: (3, "declared"),
    "UNPROVEN:": (3, "unproven"),
}
"""How the first line begins, the exit code, and the outcome in `--json`."""


class Case(NamedTuple):
    """An output, perhaps with a captured stderr, and what is to be said of it.

    Attributes:
        head: How the first line begins, one of `HEADS`.
        output: The sidecar's lines.
        stderr: Given with `--expect`.
    """

    head: str
    output: list[bytes]
    stderr: list[bytes] | None = None


REPORT = report(stream_report(4, 3, end=4))


def one_report(report_of_stream: Record, **counts: object) -> list[bytes]:
    return [report(report_of_stream, **counts)]


CASES = {
    "closed": Case("complete:", CLOSED),
    "duplicates": Case("complete:", CLOSED + CLOSED[:100]),
    "recovered": Case("complete:", [*SMALL[:3], received(end(4, 3, kind="recovered"))]),
    "end by report": Case("complete:", SMALL[:3], one_report(stream_report(3, 3))),
    "kept back": Case(
        "complete:",
        [*SMALL[:1], received(gap(3, 2, 2, "sampled")), received(end(4, 2))],
    ),
    "a hole": Case("LOST:", [*CLOSED[:99], *CLOSED[100:]]),
    "a hole and no end": Case("LOST:", [*RECORDS[:99], *RECORDS[100:800]]),
    "cut, with a report": Case(
        "LOST:", RECORDS[:800], one_report(stream_report(1_113, 1_112, end=1_113))
    ),
    "empty, with a report": Case("LOST:", [], one_report(stream_report(4, 3, end=4))),
    "a refused line is missing": Case("LOST:", [*SMALL, refused(2)]),
    "numbers after the end": Case("INCONSISTENT:", [*SMALL, received(record(5))]),
    "a wrong sum": Case("INCONSISTENT:", SMALL, one_report(stream_report(4, 3, end=4), acked=1)),
    "no stamps": Case("NO STAMPS:", [b"text", b'{"message": "x"}']),
    "empty": Case("NO RECORDS:", []),
    "declared by a gap record": Case(
        DECLARED,
        [*SMALL[:1], received(gap(3, 2, 2)), received(end(4, 2))],
    ),
    "only on stderr": Case(DECLARED, [*SMALL[:2], spilled(record(3)), received(end(4, 3))]),
    "refused": Case(DECLARED, SMALL, one_report(stream_report(4, 3, end=4), **REFUSED)),
    "cut to 800 of 1,112": Case("UNPROVEN:", RECORDS[:800]),
    "cut in the middle of a line": Case("UNPROVEN:", [*RECORDS[:800], RECORDS[800][:60]]),
    "cut, and a gap": Case("UNPROVEN:", [*SMALL[:1], received(gap(3, 2, 2))]),
    "cut, written by the Fluentd sidecar": Case(
        "UNPROVEN:", [fluentd_sidecar(record(number)) for number in range(1, 801)]
    ),
    "cut after the report": Case("UNPROVEN:", RECORDS[:800], one_report(stream_report(700, 700))),
    "one of two closed": Case("UNPROVEN:", [*SMALL, received(record(1, TWO))]),
    "streams that no report names": Case(
        "UNPROVEN:",
        SMALL,
        one_report(stream_report(4, 3, end=4), accepted=1_000, acked=1_000),
    ),
    "a report cut off": Case("UNPROVEN:", [*SMALL, REPORT[:120]]),
    "a report cut off by a log driver": Case(
        "UNPROVEN:", [*SMALL, json.dumps(in_string(REPORT[:120])).encode()]
    ),
    "a report alone, cut off": Case("UNPROVEN:", [REPORT[:120]]),
    "a report whose stream has no name": Case(
        "UNPROVEN:",
        [*SMALL, report(stream_report(4, 3, stream=TWO)).replace(TWO.encode(), b"\\ud800")],
    ),
    "ended again behind a spilled end": Case(
        DECLARED,
        [*SMALL[:1], received(end(4, 2, kind="recovered"))],
        one_report(stream_report(3, 2, end=3, spilled=[(2, 3)]), acked=1, spilled=1),
    ),
    "ended by a report, then by itself": Case(
        "INCONSISTENT:", SMALL, one_report(stream_report(3, 2, end=3))
    ),
    "refused, and no report": Case("UNPROVEN:", [*SMALL[:3], received(end(4, 3, refused=1))]),
}


def arguments_for(case: Case) -> list[str]:
    """Write the files of a case, and return them as arguments."""
    write("output.jsonl", case.output)
    if case.stderr is None:
        return ["output.jsonl"]
    write("stderr.log", case.stderr)
    return ["output.jsonl", "--expect", "stderr.log"]


@pytest.mark.parametrize("name", CASES)
def test_the_first_line_the_exit_code_and_json_agree(name: str) -> None:
    case = CASES[name]
    code, outcome = HEADS[case.head]
    arguments = arguments_for(case)
    assert audit(*arguments, code=code).output.startswith(case.head)
    verdict = json.loads(audit(*arguments, "--json", code=code).output)
    assert (verdict["outcome"], verdict["exit_code"]) == (outcome, code)


def test_the_cases_have_every_first_line_and_every_outcome() -> None:
    assert {case.head for case in CASES.values()} == {*HEADS}
    assert {outcome for _, outcome in HEADS.values()} == {each.value for each in Outcome}


@pytest.mark.parametrize("head", HEADS)
def test_help_and_page_give_each_first_line_its_exit_code(head: str) -> None:
    code, words = HEADS[head][0], head.rstrip(":")
    text = audit("--help").output
    table = text.partition("Exit codes")[2].partition("Options:")[0]
    of_code = " ".join(re.split(r"\n +(?=\d  )", table)[1 + code].split())
    assert of_code.startswith(str(code))
    assert words in of_code
    page = (REPOSITORY / "docs/audit.md").read_text("utf-8")
    assert re.search(rf"^\| {code} \| .*`{words}", page, re.MULTILINE)
