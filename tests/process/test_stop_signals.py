"""Shows that each stop signal is treated as SIGTERM is, whatever handles it.

`test_dispositions.py` shows the whole table for SIGTERM. All stop signals take the same path, so
one short program for each row is enough here. `tests/stops` shows them under each server.
"""

from __future__ import annotations

import importlib.util
import os
import signal

import pytest

from tests.process.test_hangs import LOCKED_MUTEX
from tests.support.programs import Programs, let_pass
from tests.support.programs_gate import Gate

REAL_TIME = signal.SIGRTMIN + 3
LISTED = {"LOGSHIP_STOP_SIGNALS": "USR1, WINCH,SIGRTMIN+3"}

LOGS_AND_WAITS = """
    logship.install(level="INFO", linger_seconds=5.0)
    log()
    ready()
    forever()
"""


@pytest.mark.parametrize(
    ("signum", "environ"),
    [
        pytest.param(signal.SIGQUIT, {}, id="SIGQUIT"),
        pytest.param(REAL_TIME, LISTED, id="SIGRTMIN+3"),
    ],
)
def test_the_default_disposition_delivers_and_dies_by_the_signal(
    programs: Programs, signum: int, environ: dict[str, str]
) -> None:
    ended = programs.start(LOGS_AND_WAITS, environ=environ).stopped(signum, returncode=-signum)
    assert ended.stderr == ""
    ended.verdict.assert_drained(1)


@pytest.mark.parametrize("records", [0, 1])
def test_a_signal_that_the_kernel_would_ignore_exits_with_its_status(
    programs: Programs, records: int
) -> None:
    """The default action of SIGWINCH ends no process, so it cannot die by it."""
    ended = programs.start(
        f"""
        logship.install(level="INFO", linger_seconds=5.0)
        log(times={records})
        ready()
        forever()
        """,
        environ=LISTED,
    ).stopped(signal.SIGWINCH, returncode=128 + signal.SIGWINCH)
    assert ended.stderr == ""
    ended.verdict.assert_all_delivered()


def test_a_program_whose_main_thread_hangs_in_c_dies_by_the_signal(programs: Programs) -> None:
    """The kernel lets the main thread write the core file, if it may choose the thread."""
    start = """
        logship.install(level="INFO", linger_seconds=5.0)
        log()
        ready()
        hold_main_thread()
    """
    programs.start(LOCKED_MUTEX, start).stopped(
        signal.SIGQUIT, returncode=-signal.SIGQUIT
    ).verdict.assert_all_delivered()


@pytest.mark.parametrize(
    ("name", "receives", "status"),
    [
        ("SIGQUIT", False, -signal.SIGQUIT),
        ("SIGTERM", True, 5),
    ],
)
def test_trio_stops_as_it_does_without_logship(
    programs: Programs, name: str, receives: bool, status: int
) -> None:
    if importlib.util.find_spec("trio") is None:
        pytest.skip("not installed: trio")
    ended = programs.start(f"""
        import signal, sys, trio
        logship.install(level="INFO", linger_seconds=5.0)

        async def main():
            log()
            if not {receives}:
                ready()
                await trio.sleep_forever()
            with trio.open_signal_receiver(signal.{name}) as signals:
                ready()
                async for _ in signals:
                    log("stopping")
                    return

        trio.run(main)
        log("after the loop")
        sys.exit(5)
    """).stopped(signal.Signals[name], returncode=status)
    assert ended.stderr == ""
    ended.verdict.assert_all_delivered(3 if receives else 1)


@pytest.mark.parametrize(
    ("name", "listed", "reason"),
    [("SIGHUP", "", "exit"), ("SIGQUIT", "TERM,QUIT,HUP", "SIGQUIT")],
    ids=["default", "listed"],
)
def test_a_python_function_means_a_stop_only_if_the_signal_is_listed(
    programs: Programs, name: str, listed: str, reason: str
) -> None:
    """Many programs read their configuration again at SIGHUP, and go on."""
    program = programs.start(
        f"""
        signal.signal(signal.{name}, lambda number, frame: progress("called"))
        logship.install(level="INFO")
        log()
        ready()
        wait_for("end")
        log()
        sys.exit(6)
        """,
        environ={"LOGSHIP_STOP_SIGNALS": listed, "LOGSHIP_REPORT": "1"},
    )
    program.stop(signal.Signals[name])
    program.until("called")
    ended = program.finish("end", returncode=6)
    assert ended.progress.count("called") == 1
    assert [report["reason"] for report in ended.reports] == [reason]
    ended.verdict.assert_all_delivered(2)


@pytest.mark.parametrize("order", ["before", "after"])
def test_faulthandler_keeps_its_signal(programs: Programs, order: str) -> None:
    """It sets its handler in C, and `signal.getsignal` still says that there is none."""
    lines = ["faulthandler.register(signal.SIGQUIT)", "logship.install(level='INFO')"]
    first, second = lines if order == "before" else reversed(lines)
    program = programs.start(f"""
        import faulthandler, signal, sys
        import logship
        {first}
        {second}
        log()
        ready()
        wait_for("end")
        log()
        sys.exit(3)
    """)
    program.stop(signal.SIGQUIT)
    program.until_true(lambda: "most recent call first" in program.stderr, "its dump")
    program.finish("end", returncode=3).verdict.assert_all_delivered(2)


def test_a_chained_faulthandler_dumps_and_logship_delivers(programs: Programs) -> None:
    ended = programs.start("""
        logship.install(level="INFO", linger_seconds=5.0)
        faulthandler.register(signal.SIGQUIT, chain=True)
        log()
        ready()
        forever()
    """).stopped(signal.SIGQUIT)
    assert "most recent call first" in ended.stderr
    assert ended.returncode == -signal.SIGQUIT
    ended.verdict.assert_all_delivered(1)


@pytest.mark.parametrize(
    ("signum", "before", "listed", "reason"),
    [
        (
            signal.SIGTERM,
            "signal.signal(signal.SIGTERM, signal.default_int_handler)",
            "",
            "SIGTERM",
        ),
        (signal.SIGINT, "default = signal.getsignal(signal.SIGTERM)", "QUIT", "exit"),
        (signal.SIGINT, "sys.ps1 = 'In : '  # as IPython sets it", "", "exit"),
    ],
    ids=["the handler of SIGINT for SIGTERM", "the list replaces the default", "a notebook"],
)
def test_an_interrupt_starts_the_clock_if_its_signal_means_a_stop(
    programs: Programs, signum: int, before: str, listed: str, reason: str
) -> None:
    """The kernel of a notebook is interactive without a terminal, and ships the next cells."""
    ended = programs.start(
        f"""
        {before}
        logship.install(level="INFO")
        if {listed!r}:
            assert signal.getsignal(signal.SIGTERM) == default
        log()
        try:
            ready()
            forever()
        except KeyboardInterrupt:
            log("in order")
            sys.exit(7)
        """,
        environ={"LOGSHIP_STOP_SIGNALS": listed, "LOGSHIP_REPORT": "1"},
    ).stopped(signum, returncode=7)
    assert [report["reason"] for report in ended.reports] == [reason]
    ended.verdict.assert_all_delivered(2)


@pytest.mark.parametrize(
    ("listed", "spilled"),
    [pytest.param("QUIT", 20, id="listed"), pytest.param("", 0, id="default")],
)
def test_a_handler_that_logship_cannot_see_limits_the_exit_hook_if_its_signal_means_a_stop(
    programs: Programs, black_hole: Gate, listed: str, spilled: int
) -> None:
    """The program may have got the signal long ago. By default SIGQUIT may mean anything."""
    program = programs.start(
        """
        logship.install(level="INFO", exit_drain_seconds=0.2)
        _signal.signal(signal.SIGQUIT, lambda number, frame: None)  # as an extension in C may
        log(times=20)
        atexit.register(progress, "exiting")
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_SIGNALS": listed},
    )
    program.until("exiting")
    if not spilled:
        let_pass(1.0)  # more than enough to give up, if it gave up
        black_hole.open()
    program.end(returncode=0).verdict.assert_nothing_lost(spilled=spilled)


def test_the_terminals_hangup_loses_nothing(programs: Programs) -> None:
    """The terminal is gone, and stderr with it, while the records are delivered."""
    terminal, slave = os.openpty()
    program = programs.start(
        """
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        """,
        LOGS_AND_WAITS,
        stdin=slave,
        stderr=slave,
    )
    os.close(slave)
    program.until_ready()
    os.close(terminal)
    program.end(returncode=-signal.SIGHUP).verdict.assert_all_delivered(1)
