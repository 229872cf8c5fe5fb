"""The application under test: its pace, its lines, its kinds."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks.application import Pace, _made_up, _replayed, _tail_of
from benchmarks.ledger import marked


@pytest.mark.parametrize("rate", [1.0, 300.0, 3_000.0, 30_000.0])
def test_the_pace_gives_the_rate_whatever_the_delays(rate: float) -> None:
    """Sleeps that end late, and one stall of three seconds, are caught up."""
    pace, now, given = Pace(rate, started=100.0), 100.0, 0
    for step in itertools.count():
        given += pace.due(now)
        if now >= 110.0:
            break
        now += pace.wait_seconds(now) + (3.0 if step == 5 else 0.0004)
    assert given == int((now - 100.0) * rate) + 1


def test_the_pace_ticks_no_oftener_than_it_must() -> None:
    assert Pace(300.0, started=0.0).wait_seconds(0.0) == pytest.approx(0.005)
    assert Pace(10.0, started=0.0).wait_seconds(0.0) == pytest.approx(0.1)


@pytest.mark.parametrize("chars", [40, 400, 4000])
def test_a_made_up_line_has_the_length_asked_for(chars: int) -> None:
    lines = itertools.islice(_made_up(chars), 3)
    assert {len(marked(line, "0a1b2c3d", "m00", 1)[0]) for line in lines} == {chars}


def test_a_file_is_replayed_over_and_over_with_every_byte_readable(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"first\r\n\xff second\n\nlast")
    expected = ["first\r", "\\xff second", "", "last"]
    assert list(itertools.islice(_replayed(path), 8)) == expected * 2


def test_the_tail_is_shared_without_remainder() -> None:
    assert sum(_tail_of(100_001, index) for index in range(4)) == 100_001
