"""The pace of spilled lines and of warnings."""

from __future__ import annotations

from pathlib import Path

from logship._stderr.last_resort import LastResort
from logship.testing import ManualClock
from tests.unit.clients import Stderr
from tests.unit.pipes import LINE, Interposed, Pipe


def paced(pipe: Pipe, rate: int) -> tuple[LastResort, ManualClock]:
    clock = ManualClock()
    resort = LastResort(descriptor=pipe.writing, bytes_per_second_max=rate, monotonic=clock)
    return resort, clock


def offers(resort: LastResort, count: int) -> int:
    return sum(resort.offer_line(LINE) for _ in range(count))


def test_the_pace_is_kept_in_runs(pipe: Pipe) -> None:
    """Once dry it stays dry until a second's worth is there: gaps stay few in a long outage."""
    resort, clock = paced(pipe, 10 * len(LINE))
    assert offers(resort, 20) == 10
    clock.advance(0.9)
    assert offers(resort, 20) == 0
    clock.advance(0.1)
    assert offers(resort, 20) == 10
    assert resort.write_line(LINE), "only offers are paced"


def test_a_line_longer_than_a_second_s_worth_passes_when_nothing_else_did(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 50)
    assert offers(resort, 3) == 1
    clock.advance(1.0)
    assert offers(resort, 3) == 0
    clock.advance(1.0)
    assert offers(resort, 3) == 1


def test_pace_nought_lets_nothing_pass(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 0)
    clock.advance(1e6)
    assert offers(resort, 3) == 0


def test_one_warning_of_a_kind_in_a_minute(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 1000)
    for _ in range(3):
        resort.warn("connect", "no sidecar")
        resort.warn("other", "\udcff umlaut ä")
    clock.advance(60.0)
    resort.warn("connect", "still none")
    assert pipe.read().decode().splitlines() == [
        "logship: no sidecar",
        "logship: \\udcff umlaut ä",
        "logship: still none",
    ]


def test_a_warning_of_an_endless_interval_is_written_once(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 1000)
    for _ in range(3):
        resort.warn("port", "it is taken", interval_seconds=float("inf"))
        clock.advance(1e9)
    assert pipe.read() == b"logship: it is taken\n"


def test_a_warning_that_did_not_come_out_is_tried_again(pipe: Pipe) -> None:
    resort, _ = paced(pipe, 1000)
    pipe.fill()
    resort.warn("connect", "no sidecar")
    pipe.read()
    resort.warn("connect", "no sidecar")
    assert pipe.read() == b"logship: no sidecar\n"


def test_a_warning_in_the_middle_of_a_write_comes_after_it(pipe: Pipe) -> None:
    resort, _ = paced(pipe, 1000)

    def warn() -> None:
        for kind in ("bug", "broken"):
            resort.warn(kind, "the loop has failed")

    Interposed(resort, warn)
    resort.warn("bug", "a trace")
    assert pipe.read() == b"logship: a trace\nlogship: the loop has failed\n"


def test_a_bug_is_named_though_it_ends_a_long_chain_of_errors(tmp_path: Path) -> None:
    bug = ZeroDivisionError("the bug")
    bug.__context__ = OSError("o" * 10_000)
    stderr = Stderr(tmp_path / "stderr")
    stderr.last_resort().warn_of_bug("emit", bug)
    stderr.close()
    (warning,) = stderr.warnings()
    assert "please report it: ZeroDivisionError: the bug | " in warning
