"""Programs that hang at SIGTERM, and C calls that hold the main thread: the watchdog ends them."""

from __future__ import annotations

import signal

import pytest

from tests.process.conftest import Launch
from tests.support.programs import Program, Programs, let_pass
from tests.support.programs_gate import Gate

HANGS = {
    "a loop that swallows exceptions": """
        logship.install(level="INFO")
        log("before")
        ready()
        while True:
            try:
                signal.pause()
            except:
                log("swallowed")
    """,
    "in an atexit hook": """
        logship.install(level="INFO")
        atexit.register(forever)
        log("before")
        ready()
    """,
    "in an atexit hook that runs after ours": """
        atexit.register(forever)
        import logship
        logship.install(level="INFO")
        log("before")
        ready()
    """,
    "a thread that is joined at exit": """
        logship.install(level="INFO")
        threading.Thread(target=forever).start()
        log("before")
        ready()
    """,
    "a hung ThreadPoolExecutor worker": """
        from concurrent.futures import ThreadPoolExecutor
        logship.install(level="INFO")
        log("before")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(forever)
            ready()
            forever()
    """,
}
BOUNDED = {"LOGSHIP_STOP_TIMEOUT_SECONDS": "2", "LOGSHIP_REPORT": "1"}


@pytest.mark.parametrize(
    "how", ["a loop that swallows exceptions", "in an atexit hook that runs after ours"]
)
def test_a_program_that_hangs_is_ended_where_all_was_delivered(launch: Launch, how: str) -> None:
    ended = launch.start(HANGS[how], environ=BOUNDED).stopped(returncode=launch.status_of_sigterm)
    assert len(ended.reports) == 1
    ended.verdict.assert_all_delivered()


def test_a_process_that_is_frozen_beyond_its_deadline_reports_when_it_goes_on(
    programs: Programs, black_hole: Gate
) -> None:
    """By a pause of its container or machine; several, because threads race when they go on."""
    source = """
        logship.install(level="INFO")
        log("x" * 200, times=200)
        ready()
        forever()
    """
    environ = {"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"}
    frozen = [
        programs.start(source, endpoint=black_hole.endpoint, environ=environ) for _ in range(6)
    ]
    for program in frozen:
        program.until_ready()
    for signum, seconds in (signal.SIGTERM, 0.2), (signal.SIGSTOP, 3.0), (signal.SIGCONT, 0.0):
        for program in frozen:
            program.signal(signum)
        let_pass(seconds)
    for program in frozen:
        program.end(returncode=-signal.SIGTERM).verdict.assert_nothing_lost()


@pytest.mark.parametrize("how", HANGS)
def test_a_program_that_hangs_is_ended_in_time(
    programs: Programs, black_hole: Gate, how: str
) -> None:
    ended = programs.start(HANGS[how], endpoint=black_hole.endpoint, environ=BOUNDED).stopped(
        returncode=-signal.SIGTERM
    )
    assert len(ended.reports) == 1
    verdict = ended.verdict
    assert set(verdict.spilled) | set(verdict.refused) == set(ended.ledger)
    verdict.assert_nothing_lost()


LOCKED_MUTEX = """
    mutex = ctypes.create_string_buffer(256)  # zeros: an unlocked pthread_mutex_t
    libc = ctypes.CDLL(None)  # gives the GIL away during a call, as sqlite and numpy do
    libc.pthread_mutex_lock(mutex)

    def hold_main_thread():
        libc.pthread_mutex_lock(mutex)  # for ever, and no signal interrupts it
"""


SQLITE = """
    def hold_main_thread():
        sqlite3.connect(":memory:").execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
        ).fetchall()
"""


STARTS = """
    logship.install(level="INFO")

    def before_the_call():
        log(times=20)
        ready()
"""
HOLDS = """
    before_the_call()
    hold_main_thread()
"""
IN_C = {
    "a sqlite query": (SQLITE, HOLDS),
    "a mutex in a coroutine": (
        LOCKED_MUTEX,
        """
        async def main():
            before_the_call()
            hold_main_thread()

        asyncio.run(main())
        """,
    ),
    "an event loop that has ended": (
        """
        async def main():
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)

        asyncio.run(main())
        """,
        *(LOCKED_MUTEX, HOLDS),
    ),
    "nothing is told of signals": ("signal.set_wakeup_fd(-1)", LOCKED_MUTEX, HOLDS),
    "what was told before is told again": (
        """
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        signal.set_wakeup_fd(signal.set_wakeup_fd(writing.fileno()))
        """,
        *(LOCKED_MUTEX, HOLDS),
    ),
}


@pytest.mark.parametrize("program", IN_C.values(), ids=IN_C)
def test_the_clock_runs_while_a_c_call_holds_the_main_thread(
    programs: Programs, black_hole: Gate, program: tuple[str, ...]
) -> None:
    """Python's handlers run in the main thread, which does not get to them.

    Others may be told of signals before the call, or have been told until then.
    """
    programs.start(
        *(STARTS, *program),
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    ).stopped(returncode=-signal.SIGTERM).verdict.assert_nothing_lost(spilled=20)


@pytest.mark.parametrize(("method", "records"), [("fork", 0), ("fork", 20), ("forkserver", 0)])
def test_a_child_in_a_c_call_ends_at_sigterm_also_where_it_has_logged_nothing(
    programs: Programs, method: str, records: int
) -> None:
    """A pool's worker that computes; and one that waits, if the signal comes right before that.

    The fork server, which Python 3.14 starts by default, imports the main module.
    """
    in_child = f"""
        logship.install(level="INFO")

        def child():
            log(times={records})
            hold_main_thread()

        def processor_ticks(pid):
            with open(f"/proc/{{pid}}/stat") as stat:
                return int(stat.read().split()[13])

        if __name__ == "__main__":
            process = multiprocessing.get_context("{method}").Process(target=child)
            process.start()
            while processor_ticks(process.pid) < 20:
                time.sleep(0.005)
            process.terminate()
            process.join(20)
            progress(f"exitcode {{process.exitcode}}")
            process.kill()
    """
    ended = programs.start(SQLITE, in_child).end(returncode=0)
    assert ended.progress == (f"exitcode {-signal.SIGTERM}",)
    ended.verdict.assert_delivered_once(records)


ENDING = """
    import atexit, signal, sys, threading, time
    took_part = threading.Event()

    def leave(number, frame):
        sys.exit(5)

    def leave_once_the_watchdog_takes_part(number, frame):
        took_part.wait()
        sys.exit(5)

    def drain(plan, reason):
        if threading.current_thread() is not threading.main_thread():
            took_part.set()
        return type(client).drain(client, plan, reason)
"""


@pytest.mark.parametrize(
    ("handler", "end", "returncode"),
    [
        pytest.param("lambda *_: forever()", "", -signal.SIGKILL, id="does not return, exit hook"),
        pytest.param(
            "lambda *_: forever()", "client.close()", -signal.SIGKILL, id="does not return, close"
        ),
        pytest.param("leave", "client.close()", 5, id="ends a close, and the exit hook goes on"),
        pytest.param(
            "leave_once_the_watchdog_takes_part",
            "atexit.register(client.close)\nclient.close()",
            5,
            id="ends a close, and the next has no limit",
        ),
    ],
)
def test_a_handler_that_comes_while_the_end_is_on_does_not_hold_it_up(
    programs: Programs, black_hole: Gate, handler: str, end: str, returncode: int
) -> None:
    program = programs.start(
        ENDING,
        f"signal.signal(signal.SIGTERM, {handler})",
        """
        client = logship.install(level="INFO")
        client.drain = drain
        once_it_ends(client, ready)
        log(times=20)
        """,
        end,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2", "LOGSHIP_EXIT_STALL_SECONDS": "40"},
    )
    program.stop()
    until_reported(program)
    if returncode == -signal.SIGKILL:
        program.signal(signal.SIGKILL)
    ended = program.end(returncode=returncode, seconds_max=20.0)
    assert len(ended.reports) == 1
    ended.verdict.assert_nothing_lost(spilled=20)


def until_reported(program: Program) -> None:
    """Wait for the drain report, for half as long as the end would be held up."""
    program.until_true(lambda: '"drain report"' in program.stderr, "the report", seconds_max=20.0)


def test_a_destructor_that_hangs_in_the_shippers_thread_does_not_hold_up_the_end(
    programs: Programs,
) -> None:
    """The garbage collector runs it in any thread; here it is called in that one."""
    program = programs.start(
        """
        client = logship.install(level="INFO")
        lock = threading.Lock()
        lock.acquire()
        client._thread._loop.call_soon_threadsafe(lock.acquire)
        log(times=20)
        ready()
        forever()
        """,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.stop()
    program.end(returncode=-signal.SIGTERM, seconds_max=20.0).verdict.assert_nothing_lost(
        spilled=20
    )


def test_a_handler_that_ends_flushes_leaves_no_lock_that_the_end_waits_for(
    programs: Programs,
) -> None:
    """Since 3.14 a handler may raise between the entry of a `with` block and the block."""
    program = programs.start("""
        class Late(Exception):
            pass

        def late(number, frame):
            global is_armed
            if is_armed:
                is_armed = False
                raise Late

        def flush_until_late():
            global is_armed
            is_armed = True
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4), 0.02)
            while is_armed:
                client.flush(0.0)

        is_armed = False
        signal.signal(signal.SIGALRM, late)
        client = logship.install(level="INFO")
        for _ in range(3000):
            try:
                flush_until_late()
            except Late:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        log()
        ready()
        forever()
    """)
    program.stop()
    ended = program.end(seconds_max=20.0)
    assert ended.returncode == -signal.SIGTERM
    ended.verdict.assert_all_delivered()


def test_a_handler_does_not_run_in_the_middle_of_the_buffer_for_ever(
    programs: Programs, black_hole: Gate
) -> None:
    """It gets its signal once the interrupted call has left the buffer."""
    program = programs.start(
        """
        def stop(number, frame):
            progress(f"called {buffer.is_held_here}")
            forever()

        signal.signal(signal.SIGTERM, stop)
        import logship
        buffer = logship.install(level="INFO").shipper.buffer
        log(times=20)

        def wait():
            ready()
            wait_for("go")

        buffer.exclusively(wait)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.stop()
    let_pass(0.1)
    program.let_go("go")
    program.until("called False")
    until_reported(program)
    program.signal(signal.SIGKILL)
    ended = program.end()
    assert ended.progress[1:] == ("called False",)
    ended.verdict.assert_nothing_lost(spilled=20)


HANGS_AT_SIGALRM = """
    def alarm(number, frame):
        ready()
        forever()

    signal.signal(signal.SIGALRM, alarm)
    import logship
    buffer = logship.install(level="INFO").shipper.buffer
"""


@pytest.mark.parametrize(
    "interrupted",
    [
        "buffer.exclusively(lambda: signal.raise_signal(signal.SIGALRM))",
        # As in the start of a thread, or in a list of all threads.
        "with threading._active_limbo_lock: signal.raise_signal(signal.SIGALRM)",
    ],
    ids=["buffer", "threading"],
)
def test_a_handler_that_hangs_in_the_middle_of_a_lock_does_not_keep_a_process_alive(
    programs: Programs, interrupted: str
) -> None:
    """Inside the buffer nothing can be delivered, but without logship the signal would end it."""
    program = programs.start(
        HANGS_AT_SIGALRM,
        f"""
        log()
        {interrupted}
        """,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    )
    program.stop()
    assert program.end(seconds_max=20.0).returncode == -signal.SIGTERM


def test_another_handler_in_the_middle_of_the_buffer_does_not_keep_the_stop_from_a_program(
    programs: Programs,
) -> None:
    program = programs.start(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))",
        HANGS_AT_SIGALRM,
        """
        log(times=20)
        buffer.exclusively(lambda: signal.raise_signal(signal.SIGALRM))
        """,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.stop()
    program.end(returncode=5, seconds_max=20.0).verdict.assert_all_delivered()


def test_a_signal_is_not_sent_again_to_a_program_whose_event_loop_counts_signals(
    programs: Programs,
) -> None:
    ended = programs.start("""
        signal.signal(signal.SIGTERM, lambda *_: progress("called"))
        import logship
        client = logship.install(level="INFO")
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        client.shipper.buffer.exclusively(lambda: signal.raise_signal(signal.SIGTERM))
        client.close()
        signal.set_wakeup_fd(-1)
        progress(f"told {list(reading.recv(10))}")
    """).end(returncode=0)
    assert ended.progress == ("called", f"told [{int(signal.SIGTERM)}]")
