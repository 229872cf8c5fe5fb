"""Shows that an event loop's thread is never made to wait, and what the asyncio client promises.

In tests of calls that must not wait, `block_seconds_max` is an hour: a call that waits all the same
hangs until the test fails, and no clock has to be read.
"""

from __future__ import annotations

import random
import signal

import pytest

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
    programs: Programs, black_hole: Gate, library: str, run: str
) -> None:
    pytest.importorskip(library)
    program = programs.start(
        f"""
        import {library}
        import logship
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
    program.finish("end").verdict.assert_nothing_lost(500)


def test_a_thread_that_waits_for_space_does_not_stop_the_loop(
    programs: Programs, black_hole: Gate
) -> None:
    """`logging.Handler.handle` holds a lock around emit: the loop's thread would wait for it."""
    program = programs.start(
        """
        buffer = logship.install(level="INFO").shipper.buffer

        def work():
            log("x" * 400, times=300)
            progress("the thread is done")

        async def main():
            thread = threading.Thread(target=work)
            thread.start()
            while not buffer._section.chunks.waiters._callbacks:  # until the thread waits
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
    program.end(returncode=0).verdict.assert_nothing_lost(400)


def test_an_asyncio_application_with_its_own_client(programs: Programs) -> None:
    """In development mode with warnings as errors: nothing of ours is left unclosed."""
    ended = programs.start(
        """
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
    ).end(returncode=0)
    assert ended.stderr == ""
    assert ended.stdout == "done\n"
    verdict = ended.verdict
    verdict.assert_delivered_once()
    assert {line["tag"] for line in verdict.lines} == {"web", "by-hand"}


def test_a_cancelled_application_still_closes_its_client(programs: Programs) -> None:
    ended = programs.start(
        """
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
    ).end(returncode=0)
    assert ended.stdout == "cancelled\n"
    assert ended.stderr == ""
    ended.verdict.assert_all_delivered()


@pytest.mark.parametrize("number", range(2))
def test_sigint_ends_every_task_of_asyncio_run(programs: Programs, number: int) -> None:
    """Its own handler cancels the main task, as it does without us."""
    program = programs.start("""
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
    ended = program.end(returncode=-signal.SIGINT)
    assert ended.stdout == "ended\n" * 5
    ended.verdict.assert_all_delivered()
