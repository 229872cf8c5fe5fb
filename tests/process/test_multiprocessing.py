"""Shows that children of multiprocessing and of RQ deliver their records, however they end."""

from __future__ import annotations

import pytest

from tests.support.programs import Programs, let_pass
from tests.support.programs_gate import Gate


def test_multiprocessing_pool_workers_deliver_their_records(programs: Programs) -> None:
    """One pool is closed and joined, the other is terminated, as `with Pool()` does."""
    programs.start("""
        logship.install(level="INFO")

        def task(number):
            log(f"task {number}")
            return number

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            pool = context.Pool(3)
            assert pool.map(task, range(60), chunksize=5) == list(range(60))
            pool.close()
            pool.join()
            with context.Pool(3) as pool:
                assert pool.map(task, range(60), chunksize=5) == list(range(60))
            pool.join()
            log("in the parent")
    """).end(returncode=0).verdict.assert_delivered_once(121)


@pytest.mark.parametrize(("by", "fails"), [("the worker", True), ("the job", False)])
def test_rqs_work_horse_delivers_its_records(programs: Programs, by: str, fails: bool) -> None:
    """A stand-in for RQ, whose worker forks for each job; the child leaves by `os._exit`.

    RQ imports a job's module in the work horse, and many call `install` in such a module.
    """
    ended = programs.start(f"""
        class Worker:
            def fork_work_horse(self, job):
                child = os.fork()
                if child == 0:
                    self.main_work_horse(job)
                end_of(child)

            def main_work_horse(self, job):
                try:
                    job()
                except:
                    os._exit(1)
                os._exit(0)

        def install():
            logship.install(level="INFO")

        def job():
            install()
            log("in the work horse", times=20)
            if {fails}:
                raise ValueError

        sys.modules["rq.worker"] = types.ModuleType("rq.worker")
        if {by == "the worker"}:
            install()
        for _ in range(3):
            Worker().fork_work_horse(job)
        install()
        log("in the worker")
    """).end(returncode=0)
    assert ended.progress == (f"child {int(fails)}",) * 3
    ended.verdict.assert_delivered_once(61)


@pytest.mark.parametrize(
    ("in_parent", "in_child", "method"),
    [("install()", "pass", "fork"), ("pass", "install()", "fork"), ("pass", "install()", "spawn")],
)
def test_a_multiprocessing_childs_exit_is_bounded_without_a_sidecar(
    programs: Programs, black_hole: Gate, in_parent: str, in_child: str, method: str
) -> None:
    """`child_drain_seconds`, then report and spill; the parent's budget is another.

    Hypercorn's workers install it by themselves. Since 3.13 logship's exit hook may run before the
    finalizers then.
    """
    ended = programs.start(
        f"""
        def install():
            logship.install(level="INFO", child_drain_seconds=0.5, exit_stall_seconds=40.0)

        def child():
            {in_child}
            log("in the child", times=20)

        if __name__ == "__main__":
            {in_parent}
            process = multiprocessing.get_context("{method}").Process(target=child)
            process.start()
            process.join()
            progress(f"exitcode {{process.exitcode}}")
        """,
        endpoint=black_hole.endpoint,
    ).end(returncode=0, seconds_max=20.0)
    assert ended.progress == ("exitcode 0",)
    ended.verdict.assert_nothing_lost(spilled=20)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_child_terminated_dies_by_sigterm_and_its_records_arrive(
    programs: Programs, method: str
) -> None:
    """A spawned child runs `install()` again at import; a forked one inherits it."""
    ended = programs.start(f"""
        logship.install(level="INFO")

        def child(connection):
            log("in the child", times=20)
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
    """).end(returncode=0)
    assert "exitcode -15" in ended.progress
    assert ended.reports == []  # everything was acked, long before any deadline
    ended.verdict.assert_delivered_once(21)


def test_a_multiprocessing_child_does_not_go_on_after_sigterm(programs: Programs) -> None:
    """All of a forked child runs inside of the call that started it."""
    ended = programs.start("""
        logship.install(level="INFO")

        def child():
            log("in the child")
            os.kill(os.getpid(), signal.SIGTERM)
            progress("went on")

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
    """).end(returncode=0)
    assert ended.progress == ()
    ended.verdict.assert_delivered_once(1)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_multiprocessing_child_that_installs_by_itself_delivers_its_records(
    programs: Programs, method: str
) -> None:
    """Its parent imports logship and ships nothing."""
    ended = programs.start(f"""
        def child():
            logship.install(level="INFO")
            log("in the child", times=50)

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            context.set_forkserver_preload(["logship"])
            process = context.Process(target=child)
            process.start()
            process.join()
            progress(f"exitcode {{process.exitcode}}")
    """).end(returncode=0)
    assert "exitcode 0" in ended.progress
    ended.verdict.assert_delivered_once(50)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_child_terminated_while_it_ends_by_itself_delivers_its_records(
    programs: Programs, method: str
) -> None:
    """As the workers of `with Pool()`: what is raised in a finalizer skips those after it."""
    program = programs.start(f"""
        import multiprocessing, multiprocessing.util
        logship.install(level="INFO")

        def end():
            progress("ending")
            wait_for("end")

        def child():
            multiprocessing.util.Finalize(None, end, exitpriority=10)
            log("in the child", times=20)

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
    ended = program.finish("end")
    # Since 3.13 a spawned child's finalizers run after our exit hook: it has ended by itself.
    statuses = (-15,) if method == "fork" else (-15, 0)
    assert ended.progress[-1] in [f"exitcode {status}" for status in statuses]
    ended.verdict.assert_delivered_once(20)


@pytest.mark.parametrize("which", ["the process", "a child"])
def test_a_timer_that_raises_at_the_end_leaves_no_record_behind(
    programs: Programs, black_hole: Gate, which: str
) -> None:
    """It interrupts each call of the exit hook. The first one spills what it has not shipped."""
    ended = programs.start(
        f"""
        client = logship.install(level="INFO", child_drain_seconds=30.0, exit_stall_seconds=30.0)

        def alarm(signum, frame):
            raise TimeoutError

        def task():
            signal.signal(signal.SIGALRM, alarm)
            log("{which}", times=20)
            once_it_ends(client, signal.setitimer, signal.ITIMER_REAL, 0.2, 0.5)

        if __name__ == "__main__" and "{which}" == "a child":
            child = multiprocessing.get_context("fork").Process(target=task)
            child.start()
            child.join()
        elif __name__ == "__main__":
            task()
        """,
        endpoint=black_hole.endpoint,
    ).end(returncode=0)
    assert ended.verdict.spilled.total() == 20
    ended.verdict.assert_nothing_lost()


def test_a_handler_that_raises_as_the_end_of_a_child_begins_does_not_skip_it(
    programs: Programs,
) -> None:
    ended = programs.start("""
        from logship._hooks.exits import at_exit

        def alarm(signum, frame):
            raise TimeoutError

        def strike(frame, event, argument):
            if frame.f_code is at_exit.__code__:
                sys.settrace(None)
                progress("struck")
                signal.raise_signal(signal.SIGALRM)

        def task():
            signal.signal(signal.SIGALRM, alarm)
            log("in the child", times=20)
            sys.settrace(strike)

        if __name__ == "__main__":
            logship.install(level="INFO")
            child = multiprocessing.get_context("fork").Process(target=task)
            child.start()
            child.join()
    """).end(returncode=0)
    assert ended.progress == ("struck",)
    ended.verdict.assert_delivered_once(20)
