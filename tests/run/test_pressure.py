"""Shows what a full buffer does: it pushes back on the command, within bounds."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.run.conftest import SIGKILLED, Runs, read_receipt
from tests.support.programs_gate import Gate
from tests.support.waiting import wait_until

SMALL = {"LOGSHIP_BUFFER_BYTES_MAX": "65536", "LOGSHIP_CHUNK_BYTES_MAX": "8192"}

PRINTS_MUCH = """
    for number in range(2000):
        print_marker("x" * 400)
        progress("line")
    progress("over")
"""


def until_it_waits(program_lines: Path) -> None:
    """Wait until the command is blocked: the pipe is full, and is not read."""
    seen = [-1, 0]

    def stands_still() -> bool:
        seen.append(program_lines.stat().st_size if program_lines.exists() else 0)
        return len(seen) > 100 and len(set(seen[-50:])) == 1

    wait_until(stands_still, "the command waits")


def test_a_full_buffer_makes_the_command_wait_and_loses_nothing(
    runs: Runs, gate: Gate, receipt: Path
) -> None:
    gate.silence()
    options = ("--receipt", str(receipt), "--push-back", "3600")
    program = runs.start(PRINTS_MUCH, endpoint=gate.endpoint, options=options, environ=SMALL)
    program.until_logged(100)
    until_it_waits(program.directory / "progress")
    assert "over" not in program.progress
    gate.open()
    program.end(returncode=0).verdict.assert_all_delivered(2000)
    runs.assert_proved(receipt)


def test_push_back_is_bounded_and_then_the_overflow_policy_holds(
    runs: Runs, gate: Gate, receipt: Path
) -> None:
    """What finds no place is declared in its stream: no record is lost in silence."""
    gate.silence()
    program = runs.start(
        PRINTS_MUCH,
        endpoint=gate.endpoint,
        options=("--receipt", str(receipt), "--push-back", "0.5"),
        environ=SMALL | {"LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "3600"},
    )
    program.until("over")
    gate.open()
    program.end(returncode=0).verdict.assert_nothing_lost(2000)
    found = read_receipt(receipt)
    assert found["accepted"] == 2000
    assert found["dropped"] + found["spilled"] > 0
    code, verdict = runs.audit(receipt)
    assert code == 3, verdict


def test_overflow_drop_newest_never_makes_the_command_wait(
    runs: Runs, gate: Gate, receipt: Path
) -> None:
    gate.silence()
    options = ("--receipt", str(receipt), "--push-back", "3600")
    environ = SMALL | {"LOGSHIP_OVERFLOW": "drop_newest"}
    program = runs.start(PRINTS_MUCH, endpoint=gate.endpoint, options=options, environ=environ)
    program.until("over")
    gate.open()
    program.end().verdict.assert_nothing_lost()
    assert read_receipt(receipt)["dropped"] > 0


def test_a_command_that_waits_for_space_can_be_stopped(
    runs: Runs, gate: Gate, receipt: Path
) -> None:
    """Its pipe is full, its sidecar silent: all that it wrote is on stderr, in time."""
    gate.silence()
    program = runs.start(
        PRINTS_MUCH.replace("400", "3000"),
        endpoint=gate.endpoint,
        options=("--push-back", "3600", "--stop-timeout", "4", "--receipt", str(receipt)),
        environ=SMALL,
    )
    program.until_logged(20)
    until_it_waits(program.directory / "progress")
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode in (143, SIGKILLED)
    ended.verdict.assert_nothing_lost()
    assert read_receipt(receipt)["unacked"] == 0, "the time was over before all was written"
