"""Shows each row of the table of dispositions: what handles SIGTERM, and how a program then ends.

Every program of the first half runs twice: as a plain process, and as PID 1 of a pid namespace. For
PID 1 the kernel ignores a signal without a handler, so restoring the default does not kill it.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.process.conftest import Launch, Sidecar
from tests.support.programs import Programs, let_pass
from tests.support.programs_gate import Gate


def test_sig_dfl_delivers_and_dies_by_sigterm_as_it_would_without_us(
    launch: Launch, sidecar: Sidecar
) -> None:
    """Nothing is raised: no `finally`, no exit hook, no flush of what only Python holds."""
    program = launch.start("""
        import atexit, sys
        from application import forever, log, progress, ready
        atexit.register(progress, "in an exit hook")
        import logship
        logship.install(level="INFO", linger_seconds=5.0)
        sys.stdout.write("a buffered line without an end")
        try:
            log("started")
            ready()
            forever()
        finally:
            progress("in finally")
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert len(ended.progress) == 1
    assert ended.stdout == ""
    assert ended.stderr == ""
    verdict = sidecar.output.verdict(ended)
    assert len(ended.ledger) == 1
    verdict.assert_all_delivered()
    verdict.assert_all_ended()
    verdict.assert_no_duplicates()


@pytest.mark.parametrize("threads", [0, 4])
def test_a_program_that_logs_without_a_pause_loses_nothing_at_sigterm(
    launch: Launch, sidecar: Sidecar, threads: int
) -> None:
    """A call that came too late does not return, and so nothing is written to stderr either."""
    program = launch.start(f"""
        import threading
        import logship
        from application import log, ready
        logship.install(level="INFO")

        def work():
            while True:
                log("x" * 200)

        for _ in range({threads}):
            threading.Thread(target=work).start()
        ready()
        work()
    """)
    program.until_ready()
    program.until_logged(2000)
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert ended.stderr == ""
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_all_ended()


def test_a_profiler_and_late_destructors_do_not_keep_a_program_from_dying_by_sigterm(
    launch: Launch, sidecar: Sidecar
) -> None:
    program = launch.start("""
        import sys, threading
        import logship
        from application import forever, log, ready

        class Late:
            def __del__(self):
                log("a late destructor")

        def profile(frame, event, argument):
            pass

        sys.setprofile(profile)
        threading.setprofile(profile)
        logship.install(level="INFO")
        sys.late = Late()
        log()
        ready()
        forever()
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    sidecar.output.verdict(ended).assert_all_delivered()


def test_daemonic_children_of_multiprocessing_end_before_their_parent_does(
    launch: Launch, sidecar: Sidecar
) -> None:
    """Their parent's exit would end them. As PID 1 its end would kill them."""
    program = launch.start("""
        import multiprocessing, signal
        import logship
        from application import forever, log, ready
        logship.install(level="INFO", linger_seconds=5.0)

        def child(connection):
            log("in the child")
            connection.send("logged")
            forever()

        context = multiprocessing.get_context("fork")
        for _ in range(3):
            here, there = context.Pipe()
            context.Process(target=child, args=(there,), daemon=True).start()
            here.recv()
        log("in the parent")
        ready()
        forever()
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert len(ended.ledger) == 4
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_all_ended()


def test_sig_dfl_ends_the_stream_with_its_end_record(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")
        for _ in range(100):
            log()
        ready()
        forever()
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    verdict = sidecar.output.verdict(program.end())
    last = max((line["record"] for line in verdict.lines), key=lambda record: record["logship_id"])
    assert last["logship_end"] is True
    assert last["logship_accepted"] == 100
    assert last["logship_refused"] == 0


def test_a_shell_sees_status_143(programs: Programs, sidecar: Sidecar) -> None:
    program = programs.start(
        """
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")
        log()
        ready()
        forever()
        """,
        before=("sh", "-c", '"$@"; echo "status $?"', "sh"),
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.stdout == "status 143\n"
    sidecar.output.verdict(ended).assert_all_delivered()


def test_records_of_an_application_inside_asyncio_run_arrive(
    launch: Launch, sidecar: Sidecar
) -> None:
    program = launch.start("""
        import asyncio
        import logship
        from application import log, ready
        logship.install(level="INFO", linger_seconds=5.0)

        async def work():
            log("started")
            await asyncio.get_running_loop().create_future()

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(work())
                group.create_task(work())
                await asyncio.sleep(0)
                ready()

        asyncio.run(main())
    """)
    program.until_ready()
    program.until_logged(2)
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert ended.stderr == ""
    sidecar.output.verdict(ended).assert_all_delivered()


def test_python_callable_is_called_once_and_the_program_goes_on(
    launch: Launch, sidecar: Sidecar
) -> None:
    program = launch.start("""
        import signal, sys
        import logship
        from application import log, progress, ready, wait_for

        def stop(number, frame):
            log("in their handler")
            progress(f"called with {number}")

        signal.signal(signal.SIGTERM, stop)
        logship.install(level="INFO")
        log("before")
        ready()
        wait_for("end")
        log("after")
        sys.exit(7)
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.until("called with 15")
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 7
    assert ended.progress.count("called with 15") == 1
    assert len(ended.ledger) == 3
    sidecar.output.verdict(ended).assert_all_delivered()


def test_python_callable_may_exit_with_its_own_code(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import signal, sys
        import logship
        from application import forever, log, ready
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(5))
        logship.install(level="INFO")
        try:
            log("before")
            ready()
            forever()
        finally:
            log("in finally")
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == 5
    assert len(ended.ledger) == 2
    sidecar.output.verdict(ended).assert_all_delivered()


def test_python_callable_is_reported_for_at_the_deadline_but_never_ended(
    launch: Launch, sidecar: Sidecar, black_hole: Gate
) -> None:
    program = launch.start(
        """
        import signal, sys
        import logship
        from application import log, progress, ready, wait_for
        signal.signal(signal.SIGTERM, lambda number, frame: progress("called"))
        logship.install(level="INFO")
        for _ in range(20):
            log()
        ready()
        wait_for("end")
        sys.exit(6)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.until_true(lambda: "drain report" in program.stderr, "a drain report")
    program.until_true(lambda: program.stderr.count('"spilled",') >= 20, "20 spilled records")
    assert program.is_alive
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 6
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_sig_ign_is_left_alone(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import signal, sys
        import logship
        from application import log, progress, ready, wait_for
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logship.install(level="INFO")
        progress(f"disposition {signal.getsignal(signal.SIGTERM)!r}")
        log("before")
        ready()
        wait_for("end")
        log("after")
        sys.exit(4)
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 4
    assert f"disposition {signal.SIG_IGN!r}" in ended.progress
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_handler_that_is_not_pythons_is_left_alone(programs: Programs, sidecar: Sidecar) -> None:
    """An embedding program (uWSGI) has one in C, of which `getsignal` knows only that it is one."""
    ended = programs.start("""
        import signal
        ask, touched = signal.getsignal, []
        signal.getsignal = lambda number: None if number == signal.SIGTERM else ask(number)
        set_handler = signal.signal
        signal.signal = lambda number, to: (touched.append(number), set_handler(number, to))[1]
        import logship
        from application import log, progress
        logship.install(level="INFO")
        progress(f"touched {signal.SIGTERM in touched}")
        log()
    """).end()
    assert ended.returncode == 0
    assert "touched False" in ended.progress
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_handler_set_later_by_another_library_owns_the_outcome(
    launch: Launch, sidecar: Sidecar
) -> None:
    program = launch.start("""
        import signal, sys
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")

        def theirs(number, frame):
            log("in their handler")
            sys.exit(9)

        signal.signal(signal.SIGTERM, theirs)
        ready()
        forever()
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == 9
    assert len(ended.ledger) == 1
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize(
    "sets",
    [
        pytest.param("signal.signal(signal.SIGTERM, lambda *_: stop.set())", id="signal"),
        pytest.param("loop.add_signal_handler(signal.SIGTERM, stop.set)", id="loop"),
    ],
)
def test_a_handler_set_later_has_the_deadline_of_the_stop(
    launch: Launch, sidecar: Sidecar, black_hole: Gate, sets: str
) -> None:
    """A server waits for a slow request. It may be killed then, so nothing may wait for its end."""
    program = launch.start(
        f"""
        import asyncio, signal
        import logship
        from application import log, progress, ready, wait_for
        logship.install(level="INFO")

        async def main():
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            {sets}
            for _ in range(20):
                log()
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
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.until("stopping")
    program.until_true(lambda: program.stderr.count('"spilled",') >= 20, "20 spilled records")
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 0
    assert [report["reason"] for report in ended.reports] == ["SIGTERM"]
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_programs_see_their_own_handlers(programs: Programs, sidecar: Sidecar) -> None:
    """Servers and event loops restore what they found, and some compare it by identity."""
    ended = programs.start("""
        import signal, threading
        import logship
        from application import log, progress
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
    """).end()
    assert ended.returncode == 3
    assert ended.stdout.splitlines() == ["the program's handler"]
    assert "only the main thread sets handlers" in ended.progress
    sidecar.output.verdict(ended).assert_all_delivered()


def test_who_was_there_before_may_restore_the_default_and_raise_the_signal_again(
    launch: Launch, sidecar: Sidecar
) -> None:
    """A uvicorn worker does: it imports the application when it has its handlers already."""
    program = launch.start("""
        import signal, time
        from application import forever, log, ready
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
        forever()
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert len(ended.ledger) == 1
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_all_ended()


def test_a_thread_that_raises_a_signal_after_the_default_was_restored_ends_the_program(
    programs: Programs,
) -> None:
    """Only the main thread may set handlers, so there it is as it would be without us."""
    ended = programs.start("""
        import signal, threading
        found = signal.signal(signal.SIGTERM, lambda signum, frame: None)
        import logship
        logship.install(level="INFO")
        signal.signal(signal.SIGTERM, found)
        thread = threading.Thread(target=signal.raise_signal, args=[signal.SIGTERM])
        thread.start()
        thread.join()
    """).end()
    assert ended.returncode == -signal.SIGTERM
    assert "Traceback" not in ended.stderr


def test_stopping_starts_the_clock(launch: Launch, sidecar: Sidecar, black_hole: Gate) -> None:
    """The clock's deadline spills though the application never ends by itself."""
    program = launch.start(
        """
        import asyncio, signal
        import logship
        from application import log, progress, ready, wait_for
        logship.install(level="INFO")

        async def main():
            for _ in range(20):
                log()
            ready()
            wait_for("stop")
            logship.stopping()
            progress("stopping")
            wait_for("end")

        asyncio.run(main())
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.until_ready()
    program.let_go("stop")
    program.until("stopping")
    program.until_true(lambda: program.stderr.count('"spilled",') >= 20, "20 spilled records")
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 0
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_loop_add_signal_handler_drains_at_exit(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import asyncio, signal
        import logship
        from application import log, ready
        logship.install(level="INFO")

        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            ready()
            await stop.wait()
            for _ in range(50):
                log("last words")

        asyncio.run(main())
    """)
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == 0
    assert len(ended.ledger) == 50
    sidecar.output.verdict(ended).assert_all_delivered()


def test_further_sigterms_change_nothing(
    launch: Launch, sidecar: Sidecar, black_hole: Gate
) -> None:
    program = launch.start(
        """
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")
        log()
        ready()
        forever()
        """,
        endpoint=black_hole.endpoint,
    )
    program.until_ready()
    for _ in range(4):
        program.signal(signal.SIGTERM)
        let_pass(0.05)
    assert program.is_alive
    black_hole.open()
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert "Traceback" not in ended.stderr
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_sigterm_while_a_batch_drains_at_exit_does_not_cut_the_drain_short(
    launch: Launch, sidecar: Sidecar, black_hole: Gate, seconds: float
) -> None:
    """The program has ended by itself; what would be raised in the exit hook goes nowhere."""
    program = launch.start(
        """
        import atexit
        import logship
        from application import log, ready
        logship.install(level="INFO")
        atexit.register(ready)
        for _ in range(100):
            log()
        """,
        endpoint=black_hole.endpoint,
    )
    program.until_ready()
    let_pass(seconds)  # into the hook of the application, or into ours
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGTERM)
    let_pass(0.1)
    black_hole.open()
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert "Traceback" not in ended.stderr
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize(
    ("signum", "handler"),
    [
        pytest.param("SIGTERM", "", id="SIGTERM"),
        pytest.param(
            "SIGTERM", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))", id="a handler"
        ),
        pytest.param("SIGINT", "", id="SIGINT"),
    ],
)
def test_a_signal_as_the_exit_hook_begins_does_not_skip_it(
    launch: Launch, sidecar: Sidecar, signum: str, handler: str
) -> None:
    ended = launch.start(f"""
        import signal, sys
        {handler}
        import logship
        from logship._hooks.exits import at_exit
        from application import log, progress

        def strike(frame, event, argument):
            if frame.f_code is at_exit.__code__:
                sys.settrace(None)
                progress("struck")
                signal.raise_signal(signal.{signum})

        logship.install(level="INFO", linger_seconds=5.0)
        log("the last word")
        sys.settrace(strike)
    """).end()
    assert ended.progress[-1] == "struck"
    dies = signum == "SIGTERM" and not handler
    assert ended.returncode == (launch.status_of_sigterm if dies else 0)
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_all_ended()


def test_what_a_handler_raises_does_not_cut_the_drain_at_exit_short(
    launch: Launch, sidecar: Sidecar, black_hole: Gate
) -> None:
    """Python ignores what is raised in an exit hook, and skips the rest of it."""
    program = launch.start(
        """
        import atexit, signal, sys
        from application import log, progress, ready

        def stop(number, frame):
            progress("called")
            sys.exit(5)

        signal.signal(signal.SIGTERM, stop)
        import logship
        logship.install(level="INFO")
        atexit.register(ready)
        for _ in range(100):
            log()
        """,
        endpoint=black_hole.endpoint,
    )
    program.until_ready()
    let_pass(0.3)  # into our hook
    program.signal(signal.SIGTERM)
    program.until("called")
    black_hole.open()
    ended = program.end()
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    sidecar.output.verdict(ended).assert_all_delivered()


def test_sigint_raises_keyboard_interrupt_and_drains(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")
        try:
            log("before")
            ready()
            forever()
        finally:
            log("in finally")
    """)
    program.until_ready()
    program.signal(signal.SIGINT)
    ended = program.end()
    assert ended.returncode in launch.statuses_of_sigint
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert ended.stderr.count("Traceback") == 1
    assert len(ended.ledger) == 2
    sidecar.output.verdict(ended).assert_all_delivered()


def test_sigint_may_be_caught_by_the_application(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import sys
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")
        try:
            ready()
            forever()
        except KeyboardInterrupt:
            log("caught")
        sys.exit(3)
    """)
    program.until_ready()
    program.signal(signal.SIGINT)
    ended = program.end()
    assert ended.returncode == 3
    assert ended.stderr == ""
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_second_ctrl_c_while_the_exit_hook_drains_reports_spills_and_exits_130(
    launch: Launch, sidecar: Sidecar, black_hole: Gate
) -> None:
    terminal, stdin = os.openpty()  # a person sits before it, so no clock runs
    program = launch.start(
        """
        import atexit
        import logship
        from application import forever, log, progress, ready
        logship.install(level="INFO")
        atexit.register(progress, "exiting")
        log()
        ready()
        forever()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "40"},
        stdin=stdin,
    )
    program.until_ready()
    program.signal(signal.SIGINT)
    program.until("exiting")
    let_pass(0.3)  # into our hook
    program.signal(signal.SIGINT)
    ended = program.end(seconds_max=20.0)
    os.close(stdin)
    os.close(terminal)
    assert ended.returncode == 130
    assert len(ended.reports) == 1
    verdict = sidecar.output.verdict(ended)
    verdict.assert_nothing_lost()
    assert {*ended.ledger} <= {*verdict.spilled}


def test_sigint_starts_the_clock_where_no_person_sits(
    launch: Launch, sidecar: Sidecar, black_hole: Gate
) -> None:
    """Some images have STOPSIGNAL SIGINT. The program is not ended: Python's handler is one."""
    program = launch.start(
        """
        import sys
        import logship
        from application import forever, log, progress, ready, wait_for
        logship.install(level="INFO")
        log()
        ready()
        try:
            forever()
        except KeyboardInterrupt:
            progress("caught")
        wait_for("end")
        sys.exit(6)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.until_ready()
    program.signal(signal.SIGINT)
    program.until("caught")
    program.until_true(lambda: '"spilled",' in program.stderr, "the spill")
    assert program.is_alive
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 6
    assert [report["reason"] for report in ended.reports] == ["SIGINT"]
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_sigterm_after_sigint_ends_the_program(launch: Launch, sidecar: Sidecar) -> None:
    program = launch.start("""
        import logship
        from application import forever, log, progress, ready
        logship.install(level="INFO")
        log()
        ready()
        try:
            forever()
        except KeyboardInterrupt:
            log()
            progress("caught")
        forever()
    """)
    program.until_ready()
    program.signal(signal.SIGINT)
    program.until("caught")
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            import signal
            import logship
            from application import log, ready
            logship.install(level="INFO")
            log("before")
            ready()
            while True:
                try:
                    signal.pause()
                except:
                    log("swallowed")
            """,
            id="a loop that swallows exceptions",
        ),
        pytest.param(
            """
            import atexit
            import logship
            from application import forever, log, ready
            logship.install(level="INFO")
            atexit.register(forever)
            log("before")
            ready()
            """,
            id="in an atexit hook",
        ),
        pytest.param(
            """
            import atexit
            from application import forever, log, ready
            atexit.register(forever)
            import logship
            logship.install(level="INFO")
            log("before")
            ready()
            """,
            id="in an atexit hook that runs after ours",
        ),
        pytest.param(
            """
            import threading
            import logship
            from application import forever, log, ready
            logship.install(level="INFO")
            threading.Thread(target=forever).start()
            log("before")
            ready()
            """,
            id="a thread that is joined at exit",
        ),
        pytest.param(
            """
            from concurrent.futures import ThreadPoolExecutor
            import logship
            from application import forever, log, ready
            logship.install(level="INFO")
            log("before")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(forever)
                ready()
                forever()
            """,
            id="a hung ThreadPoolExecutor worker",
        ),
    ],
)
@pytest.mark.parametrize("connected", [True, False], ids=["sidecar up", "black hole"])
def test_a_program_that_hangs_is_ended_in_time(
    launch: Launch, sidecar: Sidecar, black_hole: Gate, source: str, connected: bool
) -> None:
    program = launch.start(
        source,
        endpoint=sidecar.endpoint if connected else black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2", "LOGSHIP_REPORT": "1"},
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    assert len(ended.reports) == 1
    verdict = sidecar.output.verdict(ended)
    if connected:
        verdict.assert_all_delivered()
    else:
        assert set(verdict.spilled) | set(verdict.refused) == set(ended.ledger)
        verdict.assert_nothing_lost()


LOCKED_MUTEX = """
    import ctypes
    mutex = ctypes.create_string_buffer(256)  # zeros: an unlocked pthread_mutex_t
    libc = ctypes.CDLL(None)  # gives the GIL away during a call, as sqlite and numpy do
    libc.pthread_mutex_lock(mutex)

    def hold_main_thread():
        libc.pthread_mutex_lock(mutex)  # for ever, and no signal interrupts it
"""

SQLITE = """
    import sqlite3

    def hold_main_thread():
        sqlite3.connect(":memory:").execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
        ).fetchall()
"""

INSIDE_ASYNCIO = """
    import asyncio

    async def main():
        before_the_call()
        hold_main_thread()

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("hold", "run"),
    [
        pytest.param(LOCKED_MUTEX, "before_the_call()\nhold_main_thread()", id="a mutex"),
        pytest.param(SQLITE, "before_the_call()\nhold_main_thread()", id="a sqlite query"),
        pytest.param(LOCKED_MUTEX, INSIDE_ASYNCIO, id="a mutex in a coroutine"),
    ],
)
def test_the_clock_runs_while_a_c_call_holds_the_main_thread(
    launch: Launch, sidecar: Sidecar, black_hole: Gate, hold: str, run: str
) -> None:
    """Python's handlers run in the main thread, which does not get to them."""
    start = """
        import logship
        from application import log, ready
        logship.install(level="INFO")

        def before_the_call():
            for _ in range(20):
                log()
            ready()
    """
    program = launch.start(
        *(start, hold, run),
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == launch.status_of_sigterm
    verdict = sidecar.output.verdict(ended)
    verdict.assert_nothing_lost()
    assert len(verdict.spilled) == 20


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_child_terminated_dies_by_sigterm_and_its_records_arrive(
    programs: Programs, sidecar: Sidecar, method: str
) -> None:
    """Spawn and forkserver children run `install()` again at import; fork's inherit it."""
    program = programs.start(f"""
        import multiprocessing, sys
        import logship
        from application import forever, log, progress
        logship.install(level="INFO")

        def child(connection):
            for _ in range(20):
                log("in the child")
            connection.send("logged")
            forever()

        if __name__ == "__main__":
            log("in the parent")
            context = multiprocessing.get_context("{method}")
            here, there = context.Pipe()
            process = context.Process(target=child, args=(there,))
            process.start()
            here.recv()
            process.terminate()
            process.join(40)
            progress(f"exitcode {{process.exitcode}}")
            sys.exit(0)
    """)
    ended = program.end()
    assert ended.returncode == 0
    assert "exitcode -15" in ended.progress
    assert ended.reports == []  # everything was acked, long before any deadline
    assert len(ended.ledger) == 21
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_no_duplicates()


def test_a_multiprocessing_child_that_ends_by_itself_delivers_its_records(
    programs: Programs, sidecar: Sidecar
) -> None:
    """It leaves by os._exit and skips atexit."""
    ended = programs.start("""
        import multiprocessing
        import logship
        from application import log, progress
        logship.install(level="INFO")

        def child():
            for _ in range(50):
                log("in the child")

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            processes = [context.Process(target=child) for _ in range(3)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            progress(f"exitcodes {[process.exitcode for process in processes]}")
    """).end()
    assert ended.returncode == 0
    assert "exitcodes [0, 0, 0]" in ended.progress
    assert len(ended.ledger) == 150
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_no_duplicates()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_child_terminated_while_it_ends_by_itself_delivers_its_records(
    programs: Programs, sidecar: Sidecar, method: str
) -> None:
    """As the workers of `with Pool()`: what is raised in a finalizer skips those after it."""
    program = programs.start(f"""
        import multiprocessing, multiprocessing.util
        import logship
        from application import forever, log, progress, wait_for
        logship.install(level="INFO")

        def end():
            progress("ending")
            wait_for("end")

        def child():
            multiprocessing.util.Finalize(None, end, exitpriority=10)
            for _ in range(20):
                log("in the child")

        if __name__ == "__main__":
            process = multiprocessing.get_context("{method}").Process(target=child)
            process.start()
            wait_for("terminate")
            process.terminate()
            progress("terminated")
            process.join(40)
            progress(f"exitcode {{process.exitcode}}")
    """)
    program.until("ending")
    program.let_go("terminate")
    program.until("terminated")
    let_pass(0.1)
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 0
    # Since 3.13 a spawned child's finalizers run after our exit hook: it has ended by itself.
    statuses = (-15,) if method == "fork" else (-15, 0)
    assert ended.progress[-1] in [f"exitcode {status}" for status in statuses]
    assert len(ended.ledger) == 20
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_no_duplicates()


def test_install_outside_the_main_thread_still_drains_at_exit(
    programs: Programs, sidecar: Sidecar
) -> None:
    """Only the main thread may set signal handlers; the exit hook works all the same."""
    ended = programs.start("""
        import sys, threading
        import logship
        from application import log
        thread = threading.Thread(target=lambda: logship.install(level="INFO"))
        thread.start()
        thread.join()
        log()
        sys.exit(2)
    """).end()
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    sidecar.output.verdict(ended).assert_all_delivered()


def test_uvicorn_replaces_the_handlers_and_raises_the_signal_again(
    programs: Programs, sidecar: Sidecar
) -> None:
    program = programs.start("""
        import uvicorn
        import logship
        from application import forever, log, ready
        logship.install(level="INFO")

        async def app(scope, receive, send):
            assert scope["type"] == "lifespan"
            await receive()
            await send({"type": "lifespan.startup.complete"})
            ready()
            await receive()
            log("in the lifespan's shutdown")
            await send({"type": "lifespan.shutdown.complete"})

        uvicorn.run(app, host="127.0.0.1", port=0, log_config=None)
        forever()
    """)
    program.until_ready()
    program.until_true(
        lambda: "Uvicorn running" in sidecar.output.path.read_text(), "uvicorn's own records"
    )
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == -signal.SIGTERM
    assert len(ended.ledger) == 1
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_slow_shutdown_of_uvicorn_cannot_hold_records_back(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    """It waits for its last request, and the orchestrator may kill it meanwhile."""
    program = programs.start(
        """
        import uvicorn
        import logship
        from application import log, progress, ready, wait_for
        logship.install(level="INFO")

        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            log()
            ready()
            await receive()
            log("in the lifespan's shutdown")
            progress("shutting down")
            wait_for("end")
            await send({"type": "lifespan.shutdown.complete"})

        uvicorn.run(app, host="127.0.0.1", port=0, log_config=None)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.until("shutting down")
    program.until_true(lambda: "drain report" in program.stderr, "the report")
    program.signal(signal.SIGKILL)
    ended = program.end()
    assert len(ended.ledger) == 2
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_gunicorn_preload_forks_workers_that_deliver_their_own_records(
    programs: Programs, sidecar: Sidecar
) -> None:
    program = programs.start("""
        import os, threading
        from gunicorn.app.base import BaseApplication
        import logship
        from application import log, progress, ready
        logship.install(level="INFO")
        log("in the master, before the fork")

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]

        class Application(BaseApplication):
            def load_config(self):
                self.cfg.set("bind", "unix:gunicorn.sock")
                self.cfg.set("workers", 2)
                self.cfg.set("preload_app", True)
                self.cfg.set("control_socket_disable", True)
                self.cfg.set("post_worker_init", self.in_worker)
                self.cfg.set("worker_exit", lambda server, worker: log("a worker's last words"))

            def in_worker(self, worker):
                for _ in range(20):
                    log("in a worker")
                progress("worker")

            def load(self):
                return app

        ready()
        Application().run()
    """)
    program.until_true(lambda: program.progress.count("worker") == 2, "two workers")
    program.signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == 0
    assert len(ended.ledger) == 43
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    verdict.assert_no_duplicates()
