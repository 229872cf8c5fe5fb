"""Shows that a forked child has a client of its own: nothing lost, sent twice or waited for.

After a fork the child has the parent's memory and none of its threads. The parent's records stay
the parent's; the child gets a new stream, thread, socket and locks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import Programs
from tests.support.programs_gate import Gate
from tests.support.programs_judge import Verdict


def _assert_a_stream_each(verdict: Verdict, processes: int, records: int | None = None) -> None:
    verdict.assert_delivered_once(records)
    assert len(verdict.streams_by_process) == processes
    verdict.assert_a_stream_each()


@pytest.mark.parametrize("hooks", ["", "os.register_at_fork = lambda **hooks: None"])
def test_a_forked_child_and_its_parent_each_deliver_their_own_records(
    programs: Programs, hooks: str
) -> None:
    """The parent's records that wait in the buffer at the fork are not the child's.

    Under uWSGI without --py-call-osafterfork no hooks run, not even Python's own.
    """
    ended = programs.start(f"""
        {hooks}
        import logship
        from application import end_of, log
        logship.install(level="INFO", linger_seconds=5.0)
        log("before the fork", times=50)
        child = os.fork()
        log("after the fork", times=50)
        if child == 0:
            sys.exit(4)
        end_of(child)
        sys.exit(3)
    """).end(returncode=3)
    assert ended.progress == ("child 4",)
    _assert_a_stream_each(ended.verdict, processes=2, records=150)


def test_forks_while_ten_threads_log(programs: Programs) -> None:
    """A lock that another thread holds at the fork is never released in the child."""
    ended = programs.start("""
        logship.install(level="INFO")
        done = threading.Event()

        def work():
            while not done.is_set():
                log("in a thread")
                done.wait(0.001)

        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(8):
            child = os.fork()
            if child == 0:
                log("in a child", times=20)
                sys.exit(4)
            children.append(child)
            log("in the parent")
        for child in children:
            end_of(child)
        done.set()
        for thread in threads:
            thread.join()
    """).end(returncode=0)
    assert ended.progress == ("child 4",) * 8
    _assert_a_stream_each(ended.verdict, processes=9)


def test_what_an_earlier_fork_hook_of_the_application_logs_is_delivered(programs: Programs) -> None:
    """Fork hooks run in a child in the order of their registration."""
    ended = programs.start("""
        os.register_at_fork(after_in_child=lambda: log("in the hook"))
        import logship
        logship.install(level="INFO")
        log("before the fork")
        child = os.fork()
        if child == 0:
            log("after the fork")
            grandchild = os.fork()
            if grandchild == 0:
                sys.exit(5)
            end_of(grandchild)
            sys.exit(4)
        end_of(child)
    """).end(returncode=0)
    assert ended.progress == ("child 5", "child 4")
    assert "error of its own" not in ended.stderr
    _assert_a_stream_each(ended.verdict, processes=3, records=4)


def test_a_child_that_logs_nothing_ends_at_once_and_says_nothing(
    programs: Programs, gate: Gate
) -> None:
    """It owns none of the records that its parent could not deliver, and makes no client."""
    ended = programs.start(
        """
        logship.install(level="INFO")
        from logship._client import emitter
        log("before the fork", times=20)
        child = os.fork()
        if child == 0:
            emitter.Shipper = lambda *_, **__: progress("a client")
            sys.exit(0)
        end_of(child)
        """,
        endpoint=gate.endpoint,
    ).end()
    assert ended.progress == ("child 0",)
    assert len(ended.reports) == 1
    ended.verdict.assert_nothing_lost(spilled=20)


def test_a_child_that_leaves_by_os_exit_disturbs_its_parent_in_nothing(programs: Programs) -> None:
    """As subprocess and os.posix_spawn do; what the child logged is lost as after SIGKILL."""
    ended = programs.start("""
        logship.install(level="INFO")
        log("before")
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(6)
            end_of(child)
            subprocess.run([sys.executable, "-c", ""], check=True)
            log("after")
    """).end(returncode=0)
    assert ended.progress == ("child 6",) * 3
    _assert_a_stream_each(ended.verdict, processes=1)


def test_a_child_without_hooks_ends_though_a_thread_of_its_parent_was_in_the_buffer(
    programs: Programs,
) -> None:
    ended = programs.start("""
        os.register_at_fork = lambda **hooks: None
        import logship
        from application import end_of, log
        client = logship.install(level="INFO")
        log()
        inside, forked = threading.Event(), threading.Event()
        def stay():
            inside.set()
            forked.wait()
        work = client.shipper.buffer.exclusively
        threading.Thread(target=work, args=(stay,)).start()
        inside.wait()
        child = os.fork()
        if child == 0:
            sys.exit(4)
        forked.set()
        end_of(child)
    """).end(returncode=0)
    assert ended.progress == ("child 4",)
    _assert_a_stream_each(ended.verdict, processes=1)


def test_threads_that_race_for_a_childs_first_record_leave_one_spool(
    programs: Programs, tmp_path: Path
) -> None:
    ended = programs.start(
        """
        from application import end_of, log, progress
        from logship._client import emitter
        logship.install(level="INFO")
        log()
        child = os.fork()
        if child == 0:
            new, together = emitter.Shipper, threading.Barrier(4)
            def wait_for_all(*settings, **parts):
                shipper = new(*settings, **parts)
                together.wait()
                return shipper
            emitter.Shipper = wait_for_all
            threads = [threading.Thread(target=log) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            progress(f"{len(os.listdir(os.environ['LOGSHIP_SPOOL_DIR']))} spools")
            sys.exit(4)
        end_of(child)
        """,
        environ={"LOGSHIP_SPOOL_DIR": str(tmp_path / "spool")},
    ).end(returncode=0)
    assert ended.progress == ("2 spools", "child 4")
    _assert_a_stream_each(ended.verdict, processes=2, records=5)


def test_a_child_that_is_stopped_as_it_begins_ends_and_its_parent_does_not(
    programs: Programs,
) -> None:
    """It still has the handlers of its parent, whose watchdog they would wake."""
    ended = programs.start("""
        def strike():
            held = signum in signal.pthread_sigmask(signal.SIG_BLOCK, [])
            progress(f"held back {held}")
            os.kill(os.getpid(), signum)

        os.register_at_fork(after_in_child=strike)  # what is registered first runs first
        import logship
        from logship._process.signals import StopSignals

        noted = []
        StopSignals.heard = lambda self, signum: noted.append(int(signum))
        logship.install(level="INFO")
        from logship._installation import installation
        watchdog = installation._installation.watchdog
        log("before the fork")
        for signum in (signal.SIGTERM, signal.SIGHUP) * 2:
            child = os.fork()
            if child == 0:
                forever()
            end_of(child)
        watchdog._self_pipe.wake(99)  # behind whatever they have said
        while 99 not in noted:
            time.sleep(0.001)
        progress(f"noted {noted}")
        held = signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        progress(f"held back {held}")
        log("after the fork")
    """).end(returncode=0)
    children = ("held back True", "child -15", "held back True", "child -1") * 2
    assert ended.progress == (*children, "noted [99]", "held back False")
    _assert_a_stream_each(ended.verdict, processes=1, records=2)


def test_a_child_of_a_child_that_logged_nothing(programs: Programs) -> None:
    """As a daemon begins: two forks, and only the last process has something to say."""
    ended = programs.start("""
        logship.install(level="INFO")
        log("before the forks")
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            if grandchild == 0:
                held = signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
                progress(f"held back {held}")
                log("in the grandchild")
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            end_of(grandchild)
            os._exit(0)
        end_of(child)
    """).end(returncode=0)
    assert ended.progress == ("held back False", "child -15", "child 0")
    assert "Exception ignored" not in ended.stderr
    _assert_a_stream_each(ended.verdict, processes=2, records=2)


@pytest.mark.parametrize(
    ("before", "in_hook", "in_child", "records"),
    [
        ("pass", "None", "pass", 0),
        ("pass", "None", "log(times=20)", 20),
        ("pass", "None", "in_thread(lambda: log(times=20))", 20),
        ("pass", "log(times=20)", "pass", 20),
        ("signal.signal(signal.SIGTERM, signal.SIG_DFL)", "None", "log(times=20)", 20),
    ],
    ids=["nothing", "the thread", "another thread", "a fork hook", "the default was set anew"],
)
def test_sigterm_ends_a_child_that_a_thread_has_forked(
    programs: Programs, before: str, in_hook: str, in_child: str, records: int
) -> None:
    """Since Python 3.12 no handler runs in its bytecode: `Pool.terminate` waited for ever."""
    ended = programs.start(f"""
        import logship
        os.register_at_fork(after_in_child=lambda: {in_hook})
        logship.install(level="INFO")
        {before}
        log("in the parent")

        def in_thread(work):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        def fork():
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                {in_child}
                os.write(writing, b"x")
                until = time.monotonic() + 10
                while time.monotonic() < until:
                    pass
                os._exit(1)
            os.read(reading, 1)
            os.kill(child, signal.SIGTERM)
            end_of(child)

        in_thread(fork)
    """).end(returncode=0)
    assert ended.progress == ("child -15",)
    ended.verdict.assert_delivered_once(records + 1)


@pytest.mark.parametrize(
    ("start", "records"),
    [("threading.Thread(target=fork).start()", 0), ("_thread.start_new_thread(fork, ())", 20)],
)
def test_a_child_that_a_thread_has_forked_ends_with_its_thread(
    programs: Programs, start: str, records: int
) -> None:
    """It has no main thread that could run exit hooks, and ends as its last thread does."""
    ended = programs.start(f"""
        import _thread
        logship.install(level="INFO")

        def fork():
            child = os.fork()
            if child == 0:
                log("in the child", times={records})
            else:
                end_of(child)
                is_over.set()

        is_over = threading.Event()
        {start}
        is_over.wait()
        log("in the parent")
    """).end(returncode=0)
    assert ended.progress == ("child 0",)
    ended.verdict.assert_delivered_once(records + 1)


def test_a_child_that_a_thread_has_forked_goes_on_while_it_has_another_one(
    programs: Programs,
) -> None:
    """`threading` does not know that one."""
    ended = programs.start("""
        import _thread
        from logship._process import watchdog
        logship.install(level="INFO")
        looks, is_alone = [], watchdog.is_alone

        def look():
            looks.append(is_alone())
            return looks[-1]

        watchdog.is_alone = look

        def work():
            while threading.main_thread().is_alive():
                time.sleep(0.005)
            seen = len(looks)
            while len(looks) == seen:
                time.sleep(0.005)
            progress(f"alone {looks[-1]}")
            os._exit(7)

        def fork():
            child = os.fork()
            if child == 0:
                _thread.start_new_thread(work, ())
            else:
                end_of(child)

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    """).end(returncode=0)
    assert ended.progress == ("alone False", "child 7")


@pytest.mark.parametrize("sample", [{}, {"WARNING": 0}])
def test_a_child_that_cannot_begin_writes_its_record_to_stderr_and_tries_again(
    programs: Programs, sample: dict[str, float]
) -> None:
    """As where a certificate cannot be read for want of descriptors."""
    ended = programs.start(f"""
        logship.install(level="INFO", sample={sample})
        from logship._client import emitter

        def fail(*_, **__):
            raise OSError(24, "Too many open files")

        log("before the fork")
        child = os.fork()
        if child == 0:
            real, emitter.Shipper = emitter.Shipper, fail
            log("cannot begin", level=logging.WARNING)
            emitter.Shipper = real
            log("begins")
            sys.exit(4)
        end_of(child)
    """).end(returncode=0)
    assert ended.progress == ("child 4",)
    assert len(ended.ledger) == 3
    assert [each for each in ended.warnings if "Too many open files" in each]
    verdict = ended.verdict
    verdict.assert_nothing_lost(spilled=0)
    assert len(verdict.refused) == 1
