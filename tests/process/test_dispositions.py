"""Shows each row of the table of dispositions: what handles SIGTERM, and how a program then ends.

Programs whose end is different for PID 1 run twice: as a plain process, and as PID 1 of a pid
namespace. For PID 1 the kernel ignores a signal without a handler, so restoring the default does
not kill it.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.process.conftest import Launch
from tests.support.programs import Programs, let_pass
from tests.support.programs_gate import Gate


def test_sig_dfl_delivers_and_dies_by_sigterm_as_it_would_without_us(launch: Launch) -> None:
    """Nothing is raised: no `finally`, no exit hook, no flush of what only Python holds."""
    ended = launch.start("""
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
    """).stopped(returncode=launch.status_of_sigterm)
    assert len(ended.progress) == 1
    assert ended.stdout == ""
    assert ended.stderr == ""
    verdict = ended.verdict
    verdict.assert_drained(1)
    verdict.assert_no_duplicates()


def test_a_program_that_logs_without_a_pause_loses_nothing_at_sigterm(programs: Programs) -> None:
    """A call that came too late does not return, and so nothing is written to stderr either."""
    ended = programs.start("""
        logship.install(level="INFO")

        def work():
            while True:
                log("x" * 200)

        for _ in range(4):
            threading.Thread(target=work).start()
        ready()
        work()
    """).stopped(logged=2000, returncode=-signal.SIGTERM)
    assert ended.stderr == ""
    ended.verdict.assert_drained()


def test_a_profiler_and_late_destructors_do_not_keep_a_program_from_dying_by_sigterm(
    programs: Programs,
) -> None:
    programs.start("""
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
    """).stopped(returncode=-signal.SIGTERM).verdict.assert_all_delivered()


def test_children_of_multiprocessing_end_before_their_parent_does(launch: Launch) -> None:
    """Their parent's exit would end daemonic ones. The end of PID 1 would kill every child."""
    launch.start(f"""
        logship.install(level="INFO", linger_seconds=5.0)

        def child(connection):
            log("in the child")
            connection.send("logged")
            forever()

        context = multiprocessing.get_context("fork")
        for _ in range(3):
            here, there = context.Pipe()
            context.Process(target=child, args=(there,), daemon={not launch.as_pid_1}).start()
            here.recv()
        ready()
        forever()
    """).stopped(returncode=launch.status_of_sigterm).verdict.assert_drained(3)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_starts_no_child_in_the_place_of_one_that_a_stop_has_ended(
    programs: Programs, black_hole: Gate, method: str
) -> None:
    """Nothing would end such a child, and its parent would wait for it until the deadline."""
    program = programs.start(
        f"""
        if __name__ == "__main__":
            import logship
            logship.install(level="INFO")
            pool = multiprocessing.get_context({method!r}).Pool(2)
            pool.map(abs, range(4))
            for child in multiprocessing.active_children():
                progress(f"/proc/{{child.pid}}/cmdline")
            log("in the parent")
            ready()
            forever()
        """,
        endpoint=black_hole.endpoint,
        environ={
            "LOGSHIP_STOP_TIMEOUT_SECONDS": "240",
        },
    )
    program.stop()
    children = [Path(each) for each in program.progress if each.startswith("/proc/")]
    assert len(children) == 2
    program.until_true(lambda: not any(map(_has_words, children)), "no children")
    black_hole.open()
    program.end(returncode=-signal.SIGTERM)


def test_a_child_that_a_thread_was_about_to_start_at_a_stop_ends_too(
    programs: Programs, black_hole: Gate
) -> None:
    program = programs.start(
        """
        logship.install(level="INFO")
        context = multiprocessing.get_context("fork")

        class Late(context.Process):
            @staticmethod
            def _Popen(child):
                wait_for("fork")
                return context.Process._Popen(child)

        def start():
            Late(target=forever, daemon=True).start()
            progress("started")

        early = context.Process(target=forever, daemon=True)
        early.start()
        progress(f"/proc/{early.pid}/cmdline")
        threading.Thread(target=start).start()
        log("in the parent")
        ready()
        forever()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "240"},
    )
    program.stop()
    early = Path(program.progress[0])
    program.until_true(lambda: not _has_words(early), "the stop has begun")
    program.let_go("fork")
    program.until("started")
    black_hole.open()
    program.end(returncode=-signal.SIGTERM)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("log('in the parent')", "pass"),
        ("pass", "pass"),
        ("pass", "wait_for_the_end()"),
    ],
    ids=["the parent logs", "it does not", "the main thread is late"],
)
def test_a_child_that_the_main_thread_was_about_to_start_at_a_stop_ends_too(
    programs: Programs, before: str, behind: str
) -> None:
    """The signal comes between the fork and the note that there is another child.

    On a busy machine the main thread may get the processor only once all is delivered.
    """
    ended = programs.start(f"""
        client = logship.install(level="INFO")
        context = multiprocessing.get_context("fork")

        def wait_for_the_end():
            until = time.monotonic() + 0.2
            while client.report is None or time.monotonic() < until:
                time.sleep(0.001)

        class Late(context.Process):
            @staticmethod
            def _Popen(child):
                popen = context.Process._Popen(child)
                progress(f"/proc/{{popen.pid}}/cmdline")
                os.kill(os.getpid(), signal.SIGTERM)
                {behind}
                return popen

        {before}
        Late(target=forever, daemon=True).start()
        forever()
    """).end(returncode=-signal.SIGTERM)
    assert not _has_words(Path(ended.progress[0]))


def _has_words(command_line: Path) -> bool:
    """Return whether a process lives. One that has ended, and was not waited for, has no words."""
    try:
        return command_line.read_bytes() != b""
    except OSError:
        return False


def test_sig_ign_is_left_alone(programs: Programs) -> None:
    """As `nohup` leaves SIGHUP to a program. It starts no clock."""
    program = programs.start(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logship.install(level="INFO")
        progress(f"disposition {signal.getsignal(signal.SIGTERM)!r}")
        log("before")
        ready()
        wait_for("end")
        log("after")
        sys.exit(4)
        """,
        environ={"LOGSHIP_REPORT": "1"},
    )
    program.stop()
    ended = program.finish("end", returncode=4)
    assert f"disposition {signal.SIG_IGN!r}" in ended.progress
    assert [report["reason"] for report in ended.reports] == ["exit"]
    ended.verdict.assert_all_delivered()


def test_a_handler_that_is_not_pythons_is_left_alone(programs: Programs) -> None:
    """An embedding program (uWSGI) has one in C, of which `getsignal` knows only that it is one."""
    ended = programs.start("""
        ask, touched = signal.getsignal, []
        signal.getsignal = lambda number: None if number == signal.SIGTERM else ask(number)
        set_handler = signal.signal
        signal.signal = lambda number, to: (touched.append(number), set_handler(number, to))[1]
        import logship
        from application import log, progress
        logship.install(level="INFO")
        progress(f"touched {signal.SIGTERM in touched}")
        log()
    """).end(returncode=0)
    assert "touched False" in ended.progress
    ended.verdict.assert_all_delivered()


def test_a_signal_does_not_end_the_drain_of_a_worker_of_uwsgi(
    programs: Programs, black_hole: Gate
) -> None:
    """A stand-in: uWSGI's own handlers call `exit` in C, also in a worker that exits already.

    At a stop its master sends SIGHUP to all workers, also to those that end by `--max-requests`.
    """
    ended = programs.start(
        """
        import ctypes
        uwsgi = types.ModuleType("uwsgi")
        uwsgi.masterpid = uwsgi.worker_id = lambda: 1
        uwsgi.opt = {"hook-master-start": b"unix_signal:15 gracefully_kill_them_all"}
        sys.modules["uwsgi"] = uwsgi
        libc = ctypes.CDLL(None)
        libc.signal(signal.SIGHUP, libc._exit)
        client = logship.install(level="INFO", exit_drain_seconds=1.0)
        log(times=20)
        once_it_ends(client, os.kill, os.getpid(), signal.SIGHUP)
        """,
        endpoint=black_hole.endpoint,
    ).end(returncode=0)
    ended.verdict.assert_nothing_lost(spilled=20)


def test_the_main_thread_stops_at_sigterm_and_further_ones_change_nothing(
    launch: Launch, black_hole: Gate
) -> None:
    """Without us it would be dead: it must take no more work while records wait for an ack.

    It goes on for a moment after a second, which a busy machine may take for this test.
    """
    program = launch.start(
        """
        from logship._process import signals
        signals._STOPPED_SECONDS = 60.0
        logship.install(level="INFO")
        log()
        ready()
        wait_for("work")
        progress("went on")
        forever()
        """,
        endpoint=black_hole.endpoint,
    )
    program.stop()
    program.let_go("work")
    for _ in range(3):
        let_pass(0.05)
        program.signal(signal.SIGTERM)
    assert program.is_alive
    black_hole.open()
    ended = program.end(returncode=launch.status_of_sigterm)
    assert "went on" not in ended.progress
    assert "Traceback" not in ended.stderr
    ended.verdict.assert_all_delivered(1)


@pytest.mark.parametrize(
    "strikes",
    [
        pytest.param("atexit.register(ready)", id="in the hook of the application"),
        pytest.param("once_it_ends(client, ready)", id="in ours"),
    ],
)
def test_a_sigterm_while_a_batch_drains_at_exit_does_not_cut_the_drain_short(
    programs: Programs, black_hole: Gate, strikes: str
) -> None:
    """The program has ended by itself; what would be raised in the exit hook goes nowhere."""
    program = programs.start(
        f"""
        client = logship.install(level="INFO")
        {strikes}
        log(times=100)
        """,
        endpoint=black_hole.endpoint,
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGTERM)
    let_pass(0.1)
    black_hole.open()
    ended = program.end(returncode=-signal.SIGTERM)
    assert "Traceback" not in ended.stderr
    ended.verdict.assert_all_delivered()


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
    programs: Programs, signum: str, handler: str
) -> None:
    ended = programs.start(f"""
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
    assert ended.returncode == (-signal.SIGTERM if dies else 0)
    ended.verdict.assert_drained()


def test_a_start_asks_for_a_high_descriptor_before_threads_run(programs: Programs) -> None:
    """Linux waits 12 ms to lengthen the table of open files of several threads."""
    ended = programs.start("""
        import fcntl

        def note(event, arguments):
            if event == "fcntl.fcntl" and arguments[1] == fcntl.F_DUPFD_CLOEXEC:
                progress(threading.active_count())

        sys.addaudithook(note)
        logship.install()
    """).end(returncode=0)
    assert ended.progress[0] == "1"


def test_what_a_handler_raises_does_not_cut_the_drain_at_exit_short(
    programs: Programs, black_hole: Gate
) -> None:
    """Python ignores what is raised in an exit hook, and skips the rest of it."""
    program = programs.start(
        """
        def stop(number, frame):
            progress("called")
            sys.exit(5)

        signal.signal(signal.SIGTERM, stop)
        import logship
        once_it_ends(logship.install(level="INFO"), ready)
        log(times=100)
        """,
        endpoint=black_hole.endpoint,
    )
    program.stop()
    program.until("called")
    black_hole.open()
    ended = program.end(returncode=0)
    assert "Traceback" not in ended.stderr
    ended.verdict.assert_all_delivered()


@pytest.mark.parametrize(
    ("handler", "lines"),
    [("signal.SIG_DFL", 1), ("lambda number, frame: None", 1), ("signal.SIG_IGN", 0)],
)
def test_install_outside_the_main_thread_drains_at_exit_and_is_told_where_a_signal_may_end_it(
    programs: Programs, handler: str, lines: int
) -> None:
    """A handler that is not logship's starts no clock, so a drain at the exit may come too late."""
    ended = programs.start(f"""
        signal.signal(signal.SIGTERM, {handler})
        thread = threading.Thread(target=lambda: logship.install(level="INFO"))
        thread.start()
        thread.join()
        log()
        sys.exit(2)
    """).end(returncode=2)
    warnings = ended.stderr.splitlines()
    assert len(warnings) == lines
    assert all("install() was not called in the main thread" in each for each in warnings)
    ended.verdict.assert_all_delivered()


def test_a_signal_that_a_server_raises_again_drains_where_install_was_called_in_a_request(
    programs: Programs,
) -> None:
    """A request of uvicorn may run in a thread; at a stop its handler notes the signal only."""
    ended = programs.start("""
        import queue
        came = queue.SimpleQueue()
        signal.signal(signal.SIGTERM, lambda number, frame: came.put(number))
        thread = threading.Thread(target=lambda: logship.install(level="INFO", linger_seconds=9.0))
        thread.start()
        thread.join()
        log(times=100)
        ready()
        number = came.get()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        progress("never")
    """).stopped(returncode=-signal.SIGTERM)
    assert "never" not in ended.progress
    ended.verdict.assert_drained(100)
