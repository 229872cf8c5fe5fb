"""Shows that a client which nothing closes loses no record, also where nothing refers to it."""

from __future__ import annotations

import pytest

from tests.support.programs import Programs
from tests.support.servers import ReservedPort

LOG = """
    def log(client):
        for _ in range(100):
            emit_marker(client)
"""

CLIENTS = {
    "at once": "log(logship.BackgroundClient())",
    "by a function": """
        def main():
            client = logship.BackgroundClient()
            log(client)
        main()
    """,
    "by a thread": """
        thread = threading.Thread(target=lambda: log(logship.BackgroundClient()))
        thread.start()
        thread.join()
    """,
    "in a cycle": """
        client = logship.BackgroundClient()
        client.itself = client
        log(client)
        del client
        gc.collect()
    """,
    "on a loop, not entered": "log(logship.Client())",
    "entered and not closed": """
        async def main():
            client = await logship.Client().__aenter__()
            log(client)
        asyncio.run(main())
    """,
    "with a close that its loop cancels": """
        async def main():
            client = await logship.Client().__aenter__()
            log(client)
            asyncio.ensure_future(client.close(timeout=30))
            await asyncio.sleep(0)
        asyncio.run(main())
    """,
    "with a close that is not awaited to its end": """
        async def main():
            client = await logship.Client().__aenter__()
            log(client)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.close(timeout=30)
        asyncio.run(main())
    """,
    "with a close in a loop that is stopped": """
        loop = asyncio.new_event_loop()
        async def main():
            client = await logship.Client().__aenter__()
            log(client)
            loop.call_soon(loop.stop)
            await client.close(timeout=30)
        try:
            loop.run_until_complete(main())
        except RuntimeError:
            loop.close()
    """,
    "with a close in a thread that the main thread does not wait for": """
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        async def main():
            client = await logship.Client().__aenter__()
            log(client)
            asyncio.ensure_future(client.close(timeout=30))
        asyncio.run_coroutine_threadsafe(main(), loop).result()
    """,
}


@pytest.mark.parametrize("how", CLIENTS)
def test_a_client_that_is_dropped_spills_where_there_is_no_sidecar(
    programs: Programs, how: str
) -> None:
    reserved = ReservedPort()
    endpoint = f"tcp://127.0.0.1:{reserved.number}"
    ended = programs.start(
        LOG, CLIENTS[how], endpoint=endpoint, environ={"LOGSHIP_EXIT_STALL_SECONDS": "0.5"}
    ).end(returncode=0)
    reserved.close()
    verdict = ended.verdict
    assert verdict.spilled.total() == 100
    verdict.assert_nothing_lost()


def test_an_empty_client_accepts_nothing_after_the_end(programs: Programs) -> None:
    ended = programs.start("""
        from application import progress
        atexit.register(lambda: progress(f"accepted: {client.emit({})}"))
        import logship
        async def main():
            global client
            client = logship.Client()
            client.start()
        asyncio.run(main())
    """).end(returncode=0)
    assert ended.progress == ("accepted: False",)


def test_a_record_after_the_end_is_told_of_also_without_a_last_resort(programs: Programs) -> None:
    ended = programs.start("""
        atexit.register(log)
        import logship
        logship.install(level="INFO", last_resort="none")
        log()
    """).end(returncode=0)
    assert "logship: records that are logged after the end are lost" in ended.stderr
