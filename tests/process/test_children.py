"""Children of multiprocessing: stopped by SIGTERM, and ending by themselves."""

from __future__ import annotations

import pytest

from tests.support.programs import Programs, let_pass


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_child_terminated_dies_by_sigterm_and_its_records_arrive(
    programs: Programs, method: str
) -> None:
    """Spawn and forkserver children run `install()` again at import; fork's inherit it."""
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


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
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
