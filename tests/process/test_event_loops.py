"""Shows that an event loop's thread is never made to wait, and what the asyncio client promises.

In tests of calls that must not wait, `block_seconds_max` is an hour: a call that waits all the same
hangs until the test fails, and no clock has to be read.
"""

from __future__ import annotations

import random
import signal

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Programs, let_pass
from tests.support.programs_gate import Gate

SEED = 20261125

SMALL_BUFFER_LONG_WAIT = {
    "LOGSHIP_BUFFER_BYTES_MAX": "65536",
    "LOGSHIP_CHUNK_BYTES_MAX": "4096",
    "LOGSHIP_BLOCK_SECONDS_MAX": "3600",
    "LOGSHIP_SPILL_BYTES_PER_SECOND_MAX": "100000000",
}


@pytest.mark.parametrize(
    ("library", "run"), [("asyncio", "asyncio.run(main())"), ("trio", "trio.run(main)")]
)
def test_logging_on_an_event_loops_thread_never_waits_for_space(
    programs: Programs, sidecar: Sidecar, black_hole: Gate, library: str, run: str
) -> None:
    pytest.importorskip(library)
    program = programs.start(
        f"""
        import {library}
        import logship
        from application import log, progress, wait_for
        logship.install(level="INFO")

        async def main():
            ticks = 0
            for _ in range(500):
                log("x" * 400)
                await {library}.sleep(0)
                ticks += 1
            progress(f"ticks {{ticks}}")
            wait_for("end")

        {run}
        """,
        endpoint=black_hole.endpoint,
        environ=SMALL_BUFFER_LONG_WAIT,
    )
    program.until("ticks 500")
    black_hole.open()
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 0
    assert len(ended.ledger) == 500
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_a_thread_that_waits_for_space_does_not_stop_the_loop(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    """`logging.Handler.handle` holds a lock around emit: the loop's thread would wait for it."""
    program = programs.start(
        """
        import asyncio, threading
        import logship
        from application import log, progress
        buffer = logship.install(level="INFO").shipper.buffer

        def work():
            for _ in range(300):
                log("x" * 400)
            progress("the thread is done")

        async def main():
            thread = threading.Thread(target=work)
            thread.start()
            while not buffer._section.waiters:  # until the thread waits
                await asyncio.sleep(0.005)
            for _ in range(100):
                log("on the loop")
                await asyncio.sleep(0)
            progress("the loop is done")
            await asyncio.to_thread(thread.join)

        asyncio.run(main())
        """,
        endpoint=black_hole.endpoint,
        environ=SMALL_BUFFER_LONG_WAIT,
    )
    program.until("the loop is done")
    assert "the thread is done" not in program.progress
    black_hole.open()
    program.until("the thread is done")
    ended = program.end()
    assert ended.returncode == 0
    assert len(ended.ledger) == 400
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_a_thread_waits_until_space_is_freed(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    program = programs.start(
        """
        import logship
        from application import log
        logship.install(level="INFO")
        for _ in range(1000):
            log("x" * 400)
        """,
        endpoint=black_hole.endpoint,
        environ=SMALL_BUFFER_LONG_WAIT,
    )
    program.until_true(lambda: black_hole.connections_taken > 0, "a connection")
    program.until_logged(50)
    black_hole.open()
    ended = program.end()
    assert ended.returncode == 0
    assert ended.spilled == []
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_thread_waits_once_per_outage(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    """300 records do not fit: if each waited its 2 s, the program would take ten minutes."""
    program = programs.start(
        """
        import logship
        from application import log, progress, wait_for
        logship.install(level="INFO")
        for _ in range(450):
            log("x" * 400)
        progress("logged")
        wait_for("end")
        """,
        endpoint=black_hole.endpoint,
        environ={**SMALL_BUFFER_LONG_WAIT, "LOGSHIP_BLOCK_SECONDS_MAX": "2"},
    )
    program.until("logged")
    black_hole.open()
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 0
    verdict = sidecar.output.verdict(ended)
    assert len(verdict.spilled) > 200
    verdict.assert_nothing_lost()


def test_an_asyncio_application_with_its_own_client(programs: Programs, sidecar: Sidecar) -> None:
    """In development mode with warnings as errors: nothing of ours is left unclosed."""
    ended = programs.start(
        """
        import asyncio, logging, os
        import logship
        from application import new_marker, write_down
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # no word about a slow machine

        async def main():
            settings = logship.Settings.from_env(os.environ, tag="by-hand")
            async with logship.Client(settings) as client:
                for number in range(100):
                    marker = new_marker()
                    if number % 2:
                        await client.send({"message": marker}, tag="web")
                    else:
                        assert client.emit({"message": marker})
                    write_down(marker)
                assert (await client.flush(timeout=30)).all_acked
                report = await client.close(timeout=30)
            assert report.accepted == report.acked == 100
            print("done")

        asyncio.run(main())
        """,
        python=("-X", "dev", "-W", "error"),
    ).end()
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert ended.stdout == "done\n"
    verdict = sidecar.output.verdict(ended)
    verdict.assert_delivered_once()
    assert {line["tag"] for line in verdict.lines} == {"web", "by-hand"}


def test_leaving_the_client_drains_it(programs: Programs, sidecar: Sidecar) -> None:
    ended = programs.start(
        """
        import asyncio, os
        import logship
        from application import new_marker, write_down

        async def main():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                for _ in range(100):
                    marker = new_marker()
                    await client.send({"message": marker})
                    write_down(marker)

        asyncio.run(main())
        """
    ).end()
    assert ended.returncode == 0, ended.stderr
    sidecar.output.verdict(ended).assert_all_delivered()


def test_close_with_a_timeout_reports_what_was_not_acked(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    ended = programs.start(
        """
        import asyncio, os
        import logship
        from application import new_marker, write_down

        async def main():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                for _ in range(20):
                    marker = new_marker()
                    await client.send({"message": marker})
                    write_down(marker)
                assert not (await client.flush(timeout=0.2)).all_acked
                report = await client.close(timeout=0.5)
                assert report.accepted == 20 and report.acked == 0
                assert report.spilled + report.unacked == 20
                assert (await client.close(timeout=5)).accepted == 20

        asyncio.run(main())
        """,
        endpoint=black_hole.endpoint,
    ).end()
    assert ended.returncode == 0, ended.stderr
    assert len(ended.reports) == 1
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_send_waits_for_space_and_may_be_cancelled(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    """A send that was cancelled while it waited is not accepted; the client goes on."""
    program = programs.start(
        """
        import asyncio, os
        import logship
        from application import new_marker, progress, wait_for, write_down

        async def main():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                async def send():
                    marker = new_marker()
                    await client.send({"message": marker, "padding": "x" * 1000})
                    write_down(marker)

                tasks = [asyncio.create_task(send()) for _ in range(200)]
                await asyncio.wait(tasks, timeout=1)
                waiting = [task for task in tasks if not task.done()]
                assert waiting and len(waiting) < 200
                cancelled = waiting[::2]
                for task in cancelled:
                    task.cancel()
                await asyncio.gather(*cancelled, return_exceptions=True)
                assert all(task.cancelled() for task in cancelled)
                progress("cancelled")
                await asyncio.to_thread(wait_for, "open")
                await asyncio.gather(*(task for task in waiting if task not in cancelled))
                report = await client.close(timeout=30)
                assert report.accepted == report.acked == 200 - len(cancelled)

        asyncio.run(main())
        """,
        endpoint=black_hole.endpoint,
        environ=SMALL_BUFFER_LONG_WAIT,
    )
    program.until("cancelled")
    black_hole.open()
    program.let_go("open")
    ended = program.end()
    assert ended.returncode == 0, ended.stderr
    sidecar.output.verdict(ended).assert_delivered_once()


def test_close_wakes_those_who_wait_for_space(
    programs: Programs, sidecar: Sidecar, black_hole: Gate
) -> None:
    ended = programs.start(
        """
        import asyncio, os
        import logship

        async def main():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                record = {"message": "x" * 1000}
                tasks = [asyncio.create_task(client.send(record)) for _ in range(200)]
                await asyncio.wait(tasks, timeout=1)
                waiting = [task for task in tasks if not task.done()]
                await client.close(timeout=0.5)
                ends = await asyncio.gather(*waiting, return_exceptions=True)
                assert ends and all(isinstance(end, logship.ClientClosed) for end in ends)

        asyncio.run(main())
        """,
        endpoint=black_hole.endpoint,
        environ=SMALL_BUFFER_LONG_WAIT,
    ).end()
    assert ended.returncode == 0, ended.stderr
    sidecar.output.verdict(ended).assert_nothing_lost()


def test_a_cancelled_application_still_closes_its_client(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start(
        """
        import asyncio, logging, os
        import logship
        from application import DIRECTORY, new_marker, write_down
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # no word about a slow machine

        def ledger_length():
            path = DIRECTORY / "ledger"
            return path.read_text().count("\\n") if path.exists() else 0

        async def serve():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                while True:
                    marker = new_marker()
                    await client.send({"message": marker})
                    write_down(marker)
                    await asyncio.sleep(0.001)

        async def main():
            task = asyncio.create_task(serve())
            while ledger_length() < 100:
                await asyncio.sleep(0.005)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")

        asyncio.run(main())
        """,
        python=("-X", "dev"),
    ).end()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "cancelled\n"
    assert ended.stderr == ""
    sidecar.output.verdict(ended).assert_all_delivered()


def test_after_close_send_raises_emit_is_false_and_the_handler_writes_to_stderr(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start(
        """
        import asyncio, logging, os
        import logship
        from application import log

        async def main():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                pass
            assert client.emit({"message": "late"}) is False
            try:
                await client.send({"message": "late"})
            except logship.ClientClosed as error:
                print(error)

        asyncio.run(main())
        background = logship.install(level="INFO")
        log("before")
        background.close(timeout=30)
        assert background.emit({"message": "late"}) is False
        try:
            background.send({"message": "late"})
        except logship.ClientClosed as error:
            print(error)
        log("after close")
        """
    ).end()
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 2
    verdict = sidecar.output.verdict(ended)
    verdict.assert_nothing_lost()
    assert ended.ledger[0] in verdict.delivered
    assert ended.ledger[1] in verdict.refused


def test_emit_from_other_threads_while_the_loop_is_blocked(
    programs: Programs, sidecar: Sidecar
) -> None:
    """Emit is thread-safe and needs no turn of the client's loop."""
    ended = programs.start(
        """
        import asyncio, os, threading
        import logship
        from application import new_marker, write_down

        async def main():
            async with logship.Client(logship.Settings.from_env(os.environ)) as client:
                def work():
                    for _ in range(100):
                        marker = new_marker()
                        assert client.emit({"message": marker})
                        write_down(marker)
                threads = [threading.Thread(target=work) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()  # on the loop's thread: it does not turn meanwhile

        asyncio.run(main())
        """
    ).end()
    assert ended.returncode == 0, ended.stderr
    assert len(ended.ledger) == 400
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize("number", range(5))
def test_sigint_ends_every_task_of_asyncio_run(
    programs: Programs, sidecar: Sidecar, number: int
) -> None:
    """Its own handler cancels the main task, as it does without us."""
    program = programs.start("""
        import asyncio
        import logship
        from application import log
        logship.install(level="INFO")

        async def work():
            try:
                while True:
                    for _ in range(20):
                        await asyncio.sleep(0)
                    log("at work")
            finally:
                log("a task's last words")
                print("ended")

        async def main():
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(work())

        asyncio.run(main())
    """)
    dice = random.Random(f"{SEED} {number}")
    program.until_logged(dice.randrange(1, 400))
    let_pass(dice.uniform(0, 0.01))
    program.process.send_signal(signal.SIGINT)
    ended = program.end()
    assert ended.returncode == -signal.SIGINT, ended.stderr
    assert ended.stdout == "ended\n" * 5
    sidecar.output.verdict(ended).assert_all_delivered()
