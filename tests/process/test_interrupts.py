"""SIGINT: `KeyboardInterrupt` as without logship, a second one, and a stop without a terminal."""

from __future__ import annotations

import os
import signal

import pytest

from tests.process.conftest import Launch
from tests.support.programs import Programs
from tests.support.programs_gate import Gate


def test_sigint_raises_keyboard_interrupt_and_drains(launch: Launch) -> None:
    ended = launch.start("""
        logship.install(level="INFO")
        try:
            log("before")
            ready()
            forever()
        finally:
            log("in finally")
    """).stopped(signal.SIGINT)
    assert ended.returncode in launch.statuses_of_sigint
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert ended.stderr.count("Traceback") == 1
    ended.verdict.assert_all_delivered(2)


def test_a_sidecar_that_ends_at_the_same_ctrl_c_does_not_change_the_exit_code(
    programs: Programs,
) -> None:
    """The first attempt to connect that fails comes while the exit hook drains."""
    ended = programs.start("""
        server = socket.create_server(("127.0.0.1", 0))
        endpoint = "tcp://127.0.0.1:%d" % server.getsockname()[1]
        logship.install(level="INFO", endpoints=endpoint, exit_stall_seconds=0.5)
        log()
        connection, _ = server.accept()
        atexit.register(connection.close)
        atexit.register(server.close)
        raise KeyboardInterrupt
    """).end(returncode=-signal.SIGINT)
    assert "cannot connect" in ended.stderr


def test_a_second_ctrl_c_while_the_exit_hook_drains_reports_spills_and_exits_130(
    programs: Programs, black_hole: Gate
) -> None:
    terminal, stdin = os.openpty()  # a person sits before it, so no clock runs
    program = programs.start(
        """
        once_it_ends(logship.install(level="INFO"), progress, "ending")
        log()
        ready()
        forever()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "40"},
        stdin=stdin,
    )
    program.stop(signal.SIGINT)
    program.until("ending")
    program.signal(signal.SIGINT)
    ended = program.end(seconds_max=20.0)
    os.close(stdin)
    os.close(terminal)
    assert ended.returncode == 130
    assert len(ended.reports) == 1
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert {*ended.ledger} <= {*verdict.spilled}


def test_a_handler_that_raises_while_the_exit_hook_drains_has_it_spill_at_once(
    programs: Programs, black_hole: Gate
) -> None:
    """As a worker of gunicorn, at SIGQUIT after SIGTERM: it is killed two seconds later."""
    ended = programs.start(
        """
        client = logship.install(level="INFO", exit_stall_seconds=3600, exit_drain_seconds_max=3600)
        signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
        log(times=20)
        once_it_ends(client, os.kill, os.getpid(), signal.SIGQUIT)
        """,
        endpoint=black_hole.endpoint,
    ).end(returncode=0)
    ended.verdict.assert_nothing_lost(spilled=20)


@pytest.mark.parametrize(
    ("client", "function"),
    [
        ("BackgroundClient", "exit_begins"),
        ("BackgroundClient", "end_at_exit"),
        ("BackgroundClient", "drain"),
        ("Client", "end_at_exit"),
        ("Client", "_close_at_exit"),
    ],
)
def test_a_handler_that_raises_in_the_exit_hook_has_all_clients_spill_at_once(
    programs: Programs, black_hole: Gate, client: str, function: str
) -> None:
    """Before any client drains, or while the first one does."""
    ended = programs.start(
        f"""
        settings = {{"exit_stall_seconds": 3600, "exit_drain_seconds_max": 3600}}
        other = logship.{client}(**settings)
        logship.install(level="INFO", **settings)
        signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
        log(times=20)
        other.emit({{"message": "of another client"}})

        def interrupt(frame, event, _):
            if (frame.f_code.co_name, event) == ({function!r}, "call"):
                sys.setprofile(None)
                os.kill(os.getpid(), signal.SIGQUIT)

        sys.setprofile(interrupt)
        """,
        endpoint=black_hole.endpoint,
    ).end(returncode=0)
    assert ended.stderr.count('"logship":"spilled"') >= 21
    assert [report["unacked"] for report in ended.reports] == [0, 0]


def test_sigint_starts_the_clock_where_no_person_sits(programs: Programs, black_hole: Gate) -> None:
    """Some images have STOPSIGNAL SIGINT. The program is not ended: Python's handler is one."""
    program = programs.start(
        """
        logship.install(level="INFO")
        log()
        try:
            ready()
            forever()
        except KeyboardInterrupt:
            progress("caught")
        wait_for("end")
        sys.exit(6)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.stop(signal.SIGINT)
    program.until("caught")
    program.until_true(lambda: '"spilled",' in program.stderr, "the spill")
    assert program.is_alive
    ended = program.finish("end", returncode=6)
    assert [report["reason"] for report in ended.reports] == ["SIGINT"]
    ended.verdict.assert_nothing_lost()


def test_sigterm_after_sigint_ends_the_program(programs: Programs) -> None:
    program = programs.start("""
        logship.install(level="INFO")
        log()
        try:
            ready()
            forever()
        except KeyboardInterrupt:
            log()
            progress("caught")
        forever()
    """)
    program.stop(signal.SIGINT)
    program.until("caught")
    program.signal(signal.SIGTERM)
    program.end(returncode=-signal.SIGTERM).verdict.assert_all_delivered()


def test_sigint_with_sigterm_while_the_exit_hook_drains_has_the_deadline_of_the_stop(
    programs: Programs, black_hole: Gate
) -> None:
    program = programs.start(
        """
        once_it_ends(logship.install(level="INFO"), ready)
        log()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "40", "LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.until_ready()
    for signum in signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT:
        program.signal(signum)
    ended = program.end(seconds_max=20.0)
    assert ended.returncode in {128 + signal.SIGINT, -signal.SIGTERM}
    ended.verdict.assert_nothing_lost()
