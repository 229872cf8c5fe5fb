"""Shows that the report counts the lines of refused records, whenever it is asked for."""

from __future__ import annotations

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.counters import DrainReport
from tests.unit.accounts import a_buffer


def test_each_line_of_a_refused_record_has_a_number_and_is_counted(buffer: Buffer) -> None:
    lines = [buffer.number_refused() for _ in range(3)]
    report = buffer.report("", 0.0)
    assert lines == [f"{report.refused_id}:{number:010d}" for number in (1, 2, 3)]
    assert report.refusals == (0, 3, 0)


@pytest.mark.parametrize("is_in_the_middle", [False, True])
def test_a_report_counts_what_was_refused_until_then(is_in_the_middle: bool) -> None:
    """In the middle of the section, as a signal handler asks for it, the last are only noted."""
    buffer = a_buffer()

    def refuse() -> DrainReport:
        for _ in range(2):
            buffer.number_refused()
        for _ in range(3):
            buffer.note("refused_unwritten", 1)
        for _ in range(4):
            buffer.note("refused", 1)
        return buffer.report("", 0.0)

    assert refuse().refusals == (4, 2, 3)
    report = buffer.exclusively(refuse) if is_in_the_middle else refuse()
    assert report.refusals == (8, 4, 6)
