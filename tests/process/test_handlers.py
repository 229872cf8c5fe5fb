"""Handlers for SIGTERM that a program, a server or a loop sets, before `install()` or later."""

from __future__ import annotations

import signal

import pytest

from tests.process.conftest import Launch
from tests.support.programs import Programs
from tests.support.programs_gate import Gate


def test_python_callable_is_reported_for_at_the_deadline_but_never_ended(
    programs: Programs, black_hole: Gate
) -> None:
    program = programs.start(
        """
        signal.signal(signal.SIGTERM, lambda number, frame: progress("called"))
        logship.install(level="INFO")
        log(times=20)
        ready()
        wait_for("end")
        sys.exit(6)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.stop()
    program.until_true(lambda: "drain report" in program.stderr, "a drain report")
    program.until_true(lambda: program.stderr.count('"spilled",') >= 20, "20 spilled records")
    assert program.is_alive
    program.finish("end", returncode=6).verdict.assert_nothing_lost()


@pytest.mark.parametrize(
    ("signum", "sets", "reason"),
    [
        (signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: stop.set())", "SIGTERM"),
        (signal.SIGTERM, "loop.add_signal_handler(signal.SIGTERM, stop.set)", "SIGTERM"),
        (signal.SIGUSR1, "loop.add_signal_handler(signal.SIGUSR1, call_stopping)", "stopping"),
    ],
    ids=["signal", "loop", "a call of stopping"],
)
def test_a_handler_set_later_has_the_deadline_of_the_stop(
    programs: Programs, black_hole: Gate, signum: int, sets: str, reason: str
) -> None:
    """A server waits for a slow request. It may be killed then, so nothing may wait for its end."""
    program = programs.start(
        f"""
        logship.install(level="INFO")

        async def main():
            def call_stopping():
                logship.stopping()
                stop.set()

            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            {sets}
            log(times=20)
            ready()
            while not stop.is_set():
                await asyncio.sleep(0.01)
            progress("stopping")
            wait_for("end")

        asyncio.run(main())
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.stop(signum)
    program.until("stopping")
    program.until_true(lambda: program.stderr.count('"spilled",') >= 20, "20 spilled records")
    ended = program.finish("end")
    assert [report["reason"] for report in ended.reports] == [reason]
    ended.verdict.assert_nothing_lost()


def test_programs_see_their_own_handlers(programs: Programs) -> None:
    """Servers and event loops restore what they found, and some compare it by identity."""
    ended = programs.start("""
        logship.install(level="INFO")
        log()

        def handler(number, frame):
            print("the program's handler")

        def other(number, frame):
            raise SystemExit(3)

        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1:
            found = signal.getsignal(number)
            assert signal.signal(number, handler) == found
            assert signal.getsignal(number) is handler
            assert signal.signal(number, signal.SIG_IGN) is handler
            assert signal.getsignal(number) is signal.SIG_IGN
            assert signal.signal(number, other) is signal.SIG_IGN
            assert signal.signal(number, found) is other
            assert signal.getsignal(number) == found
            try:
                signal.signal(number, "no handler")
            except TypeError:
                assert signal.getsignal(number) == found

        def elsewhere():
            try:
                signal.signal(signal.SIGTERM, handler)
            except ValueError:
                progress("only the main thread sets handlers")

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        signal.signal(signal.SIGTERM, handler)
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, other)
        signal.raise_signal(signal.SIGTERM)
    """).end(returncode=3)
    assert ended.stdout.splitlines() == ["the program's handler"]
    assert "only the main thread sets handlers" in ended.progress
    ended.verdict.assert_all_delivered()


def test_a_signal_that_a_handler_took_is_not_taken_again_after_it_is_removed(
    programs: Programs,
) -> None:
    """As by trio's `open_signal_receiver`; the watchdog hears of each signal a little later."""
    programs.start("""
        logship.install(level="INFO")
        taken = []
        for _ in range(200):
            signal.signal(signal.SIGTERM, lambda number, frame: taken.append(number))
            os.kill(os.getpid(), signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log("still here")
        sys.exit(len(taken))
    """).end(returncode=200).verdict.assert_all_delivered()


def test_a_handler_that_was_found_may_restore_the_default_and_raise_the_signal_again(
    launch: Launch,
) -> None:
    """A uvicorn worker does: it imports the application when it has its handlers already.

    As PID 1 it goes on, as it does without us, and its finalization is not cut.
    """
    ended = launch.start("""
        stop = []
        found = signal.signal(signal.SIGTERM, lambda signum, frame: stop.append(signum))
        import logship
        logship.install(level="INFO", linger_seconds=5.0)
        ready()
        while not stop:
            time.sleep(0.001)
        signal.signal(signal.SIGTERM, found)
        log("the last word")
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.05)
        progress("went on")
    """).stopped(returncode=0 if launch.as_pid_1 else -signal.SIGTERM)
    assert ("went on" in ended.progress) is launch.as_pid_1
    ended.verdict.assert_drained(1)


def test_a_thread_that_raises_a_signal_after_the_default_was_restored_ends_the_program(
    programs: Programs,
) -> None:
    """Only the main thread may set handlers, so there it is as it would be without us."""
    ended = programs.start("""
        found = signal.signal(signal.SIGTERM, lambda signum, frame: None)
        import logship
        logship.install(level="INFO")
        signal.signal(signal.SIGTERM, found)
        thread = threading.Thread(target=signal.raise_signal, args=[signal.SIGTERM])
        thread.start()
        thread.join()
    """).end(returncode=-signal.SIGTERM)
    assert "Traceback" not in ended.stderr
