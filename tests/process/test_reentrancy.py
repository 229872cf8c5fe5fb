"""Shows that logging from signal handlers and from `__del__` under GC neither locks nor loses.

A plain lock in the emit path deadlocks within 5 to 32 signals of such a storm, a bare RLock
re-enters half-updated state. The storm goes on until the last hook of the program, so it also
blows through the drain.
"""

from __future__ import annotations

import logging

import pytest

from tests.support.programs import Programs

nested_calls_arrive = pytest.mark.skipif(
    hasattr(logging.Logger, "_tls"),
    reason="the logging of this Python ignores what a thread logs while it handles a record",
)

STORM = """
    import atexit, gc, os, signal, sys, threading, time
    made, gone, nested, calm = [], [], [], []  # appending is one bytecode

    def be_calm():
        calm.append(1)
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.disable()
        while len(gone) < len(made):  # their last words, before modules are torn down
            gc.collect()  # returns at once if it runs in another thread
            time.sleep(0.001)

    atexit.register(be_calm)  # before import logship: runs after its drain
    import logship
    from application import log
    logship.install(level="INFO", linger_seconds=0.01)

    class Cycle:
        def __init__(self):
            self.me = self
            made.append(1)

        def __del__(self):
            log("in __del__")
            gone.append(1)

    def on_usr1(number, frame):
        log("in a signal handler")

    def on_alarm(number, frame):
        # Armed anew each time, and no deeper than this: on a busy machine a handler may take
        # longer than the interval, and handlers would nest until the stack is full.
        if len(nested) >= 8:
            return
        nested.append(1)
        if len(nested) < 4:
            arm()
        log("in a signal handler")
        nested.pop()
        arm()

    def arm():
        if not calm:
            # Again after a while in any case: one that comes just before its thread waits for a
            # lock does not interrupt that (CPython looks for signals, then waits), and a storm
            # that only its handler keeps up would be over.
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.1)

    def storm():
        gc.set_threshold(20)
        signal.signal(signal.SIGALRM, on_alarm)
        signal.signal(signal.SIGUSR1, on_usr1)
        arm()

    def work(records):
        for number in range(records):
            log("in the program")
            Cycle()
            if number % 50 == 0:
                os.kill(os.getpid(), signal.SIGUSR1)
"""
ONE_THREAD = """
    storm()
    work(2000)
    sys.exit(5)
"""
TWO_THREADS = """
    threads = [threading.Thread(target=work, args=(700,)) for _ in range(2)]
    storm()
    for thread in threads:
        thread.start()
    work(700)
    for thread in threads:
        thread.join()
    sys.exit(5)
"""
RUNS = [
    pytest.param(
        ONE_THREAD if number % 2 == 0 else TWO_THREADS,
        marks=() if number < 2 else pytest.mark.proof,
        id=f"{number:02d}-{'one thread' if number % 2 == 0 else 'threads'}",
    )
    for number in range(20)
]


@nested_calls_arrive
@pytest.mark.parametrize("work", RUNS)
def test_a_storm_of_signals_and_del_loses_nothing(programs: Programs, work: str) -> None:
    ended = programs.start(STORM, work).end()
    assert ended.returncode == 5, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    assert len(ended.ledger) > 3000
    ended.verdict.assert_nothing_lost()


def test_a_del_may_take_a_lock_that_is_held_while_logging(programs: Programs) -> None:
    """GC runs it in any thread, the shipper's too, which must not hold a lock of ours then.

    Otherwise that thread waits for the application's lock and the application for the shipper's;
    `logging` has such a lock itself, for a moment, in `getLogger`.
    """
    ended = programs.start("""
        sys.setswitchinterval(1e-6)
        logship.install(level="INFO", linger_seconds=0.0, chunk_bytes_max=1024)
        lock = threading.RLock()

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                with lock:
                    pass

        for number in range(4000):
            gc.set_threshold(10 if number % 200 < 100 else 100)
            with lock:
                Cycle()
                log()
    """).end(seconds_max=30)
    assert ended.returncode == 0
    ended.verdict.assert_all_delivered()
