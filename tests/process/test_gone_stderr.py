"""Programs whose stderr has no reader any more: a closed terminal, an ended log driver."""

from __future__ import annotations

import os
import select

from tests.support.programs import Program, Programs
from tests.support.programs_gate import Gate

LOGS_WHILE_STDERR_GOES = """
    logship.install(level="INFO")
    log(times=10)
    progress("logged")
    wait_for("gone")
    {then}
    log(times=10)
"""
REDIRECTS = 'os.dup2(os.open(DIRECTORY / "stderr", os.O_WRONLY | os.O_APPEND), 2)'


def start_and_leave(programs: Programs, gate: Gate, then: str) -> Program:
    """Start the program, read its stderr until it has logged, and go."""
    reading, writing = os.pipe()
    program = programs.start(
        LOGS_WHILE_STDERR_GOES.format(then=then),
        endpoint=gate.endpoint,
        stderr=writing,
    )
    os.close(writing)
    program.until("logged")
    os.close(reading)
    program.let_go("gone")
    return program


def test_it_does_not_hold_the_exit_up(programs: Programs, gate: Gate) -> None:
    """By default a batch may drain for two minutes, but not without a sidecar."""
    ended = start_and_leave(programs, gate, "").end(seconds_max=40)
    assert ended.returncode == 0
    assert len(ended.ledger) == 20


def test_what_is_not_delivered_goes_where_stderr_was_redirected_to(
    programs: Programs, gate: Gate
) -> None:
    ended = start_and_leave(programs, gate, REDIRECTS).end(returncode=0)
    assert len(ended.reports) == 1
    ended.verdict.assert_nothing_lost(spilled=20)


def test_the_launcher_of_a_daemon_sees_the_end_of_its_stderr(programs: Programs) -> None:
    reading, writing = os.pipe()
    program = programs.start(
        """
        logship.install(level="INFO")
        log()
        if os.fork() == 0:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDWR), 2)
            progress("a daemon")
            wait_for("its end")
            sys.exit(4)
        wait_for("the launcher's end")
        """,
        stderr=writing,
    )
    os.close(writing)
    program.until("a daemon")
    program.let_go("the launcher's end")
    poll = select.poll()
    poll.register(reading, select.POLLHUP)
    assert poll.poll(20_000)
    os.close(reading)
    program.let_go("its end")
    program.end(returncode=0).verdict.assert_delivered_once(1)
