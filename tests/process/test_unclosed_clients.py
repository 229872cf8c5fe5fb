"""Shows that a client which nothing closes loses no record, also where nothing refers to it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from tests.support.programs import Programs, json_lines
from tests.support.programs_gate import Gate
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
            asyncio.ensure_future(client.close(timeout=3))
        asyncio.run_coroutine_threadsafe(main(), loop).result()
    """,
}


THREADED = ("at once", "by a function", "by a thread", "in a cycle")


@pytest.mark.parametrize(
    "hows", [THREADED, tuple(CLIENTS.keys() - THREADED)], ids=["threads", "loops"]
)
def test_clients_that_are_dropped_spill_where_there_is_no_sidecar(
    programs: Programs, gate: Gate, hows: tuple[str, ...]
) -> None:
    ended = programs.start(
        LOG,
        *(CLIENTS[how] for how in sorted(hows)),
        endpoint=gate.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "0.5"},
    ).end(returncode=0)
    verdict = ended.verdict
    assert len(ended.ledger) == verdict.spilled.total() == 100 * len(hows)
    verdict.assert_nothing_lost()


def test_clients_that_are_dropped_deliver_where_there_is_a_sidecar(
    programs: Programs, gate: Gate
) -> None:
    """Also where their own event loops have ended. A loop that cancels a close has it spill."""
    gate.open()
    cancelled = "with a close that its loop cancels", "with a close that is not awaited to its end"
    ways = [source for how, source in CLIENTS.items() if how not in cancelled]
    ended = programs.start(LOG, *ways, endpoint=gate.endpoint).end(returncode=0)
    assert len(ended.ledger) == 100 * len(ways)
    verdict = ended.verdict
    assert not verdict.spilled
    verdict.assert_nothing_lost()


@pytest.mark.parametrize("kind", ["BackgroundClient", "Client"])
def test_a_client_delivers_also_what_a_child_of_multiprocessing_logged(
    programs: Programs, gate: Gate, kind: str
) -> None:
    """Such a child skips the exit hooks of its parent."""
    gate.open()
    ended = programs.start(
        LOG,
        f"""
        import multiprocessing
        client = logship.{kind}()
        log(client)
        child = multiprocessing.get_context("fork").Process(target=log, args=(client,))
        child.start()
        child.join()
        """,
        endpoint=gate.endpoint,
    ).end(returncode=0)
    verdict = ended.verdict
    assert len(ended.ledger) == 200
    assert not verdict.spilled
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


def test_clients_that_are_not_closed_wait_together_for_a_sidecar(programs: Programs) -> None:
    reserved = ReservedPort()
    ended = programs.start(
        """
        for _ in range(12):  # three seconds each would be taken for a hang
            emit_marker(logship.BackgroundClient())
        """,
        endpoint=f"tcp://127.0.0.1:{reserved.number}",
    ).end(returncode=0, seconds_max=30.0)
    reserved.close()
    assert ended.verdict.spilled.total() == 12


KINDS = ("BackgroundClient", "Client")


@pytest.fixture
def never_accepts() -> Iterator[str]:
    """An endpoint beside `gate` that connects, and takes nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("dead", KINDS)
@pytest.mark.parametrize("alive", [*KINDS, "install"])
def test_a_client_delivers_at_the_exit_beside_others_whose_sidecar_is_dead(
    programs: Programs, gate: Gate, never_accepts: str, dead: str, alive: str
) -> None:
    """All clients end at the same time, so that none has to spill because another one waited."""
    gate.open()
    ended = programs.start(
        LOG,
        f"""
        log(logship.{dead}(endpoints="{never_accepts}"))
        log(logship.{alive}(linger_seconds=60))
        log(logship.{dead}(endpoints="{never_accepts}"))
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "1"},
    ).end(returncode=0)
    assert ended.verdict.spilled.total() == 200
    ended.verdict.assert_nothing_lost()


def test_a_client_delivers_at_the_exit_whose_thread_has_just_begun(
    programs: Programs, gate: Gate, never_accepts: str
) -> None:
    """Its event loop begins when the exit hook waits already for the end of another client."""
    gate.open()
    ended = programs.start(
        LOG,
        f"""
        from logship._client.thread import ShipperThread
        ship = ShipperThread._ship
        def ship_late(thread):
            while not thread._shipper.closing._plans:
                time.sleep(0.001)
            ship(thread)
        ShipperThread._ship = ship_late
        log(logship.Client(endpoints="{never_accepts}"))
        log(logship.BackgroundClient(linger_seconds=60))
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "1"},
    ).end(returncode=0)
    assert ended.verdict.spilled.total() == 100
    ended.verdict.assert_nothing_lost()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("signum", "clock", "returncode"),
    [
        ("SIGINT", "running", 130),
        ("SIGTERM", "running", -signal.SIGTERM),
        ("SIGTERM", "over", -signal.SIGTERM),
    ],
)
def test_a_signal_behind_the_end_of_the_installed_client_leaves_no_other_behind(
    programs: Programs, black_hole: Gate, kind: str, signum: str, clock: str, returncode: int
) -> None:
    """The clock has begun already, so the watchdog has ended the installed client by itself."""
    ended = programs.start(
        LOG,
        f"""
        from logship._hooks import registry
        installed = logship.install(level="INFO")
        client = logship.{kind}()
        log(client)
        logship.stopping()
        installed.close()
        watchdog = next(each for each in threading.enumerate() if each.name == "logship-watchdog")
        def stack():
            return traceback.format_stack(sys._current_frames()[watchdog.ident])
        while " in _end\\n" not in "".join(stack()):
            time.sleep(0.001)
        while {clock == "over"} and registry.stop_deadline_seconds() > time.monotonic():
            time.sleep(0.01)
        once_it_ends(client, os.kill, os.getpid(), signal.{signum})
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1" if clock == "over" else "30"},
    ).end(returncode=returncode)
    assert ended.verdict.spilled.total() == 100
    ended.verdict.assert_nothing_lost()


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_in_the_exit_hook_leaves_no_record_behind(
    programs: Programs, black_hole: Gate, kind: str
) -> None:
    """It is a `KeyboardInterrupt` without `install`; then the client waits for acks no more."""
    program = programs.start(
        LOG,
        f"""
        client = logship.{kind}()
        log(client)
        once_it_ends(client, ready)
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "30"},
    )
    program.until_ready()
    program.signal(signal.SIGINT)
    program.until_true(lambda: "drain report" in program.stderr, "a report", seconds_max=15.0)
    ended = program.end(returncode=0)
    assert ended.verdict.spilled.total() == 100
    ended.verdict.assert_nothing_lost()


ENDS = {
    "by a with block": """
        with logship.BackgroundClient() as client:
            emit_marker(client)
            ready()
            forever()
    """,
    "by a with block of a loop": """
        async def main():
            async with logship.Client() as client:
                emit_marker(client)
                ready()
                forever()
        asyncio.run(main())
    """,
    "by the exit hook": """
        for client in early, logship.BackgroundClient():
            emit_marker(client)
        ready()
        forever()
    """,
}


@pytest.mark.parametrize("how", ENDS)
def test_the_stop_clock_holds_for_all_clients(programs: Programs, gate: Gate, how: str) -> None:
    gate.silence()
    program = programs.start(
        """
        early = logship.BackgroundClient()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
        logship.install(level="INFO")
        """,
        ENDS[how],
        endpoint=gate.endpoint,
        environ={
            "LOGSHIP_STOP_TIMEOUT_SECONDS": "2",
            "LOGSHIP_EXIT_STALL_SECONDS": "3600",
            "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "3600",
        },
    )
    ended = program.stopped(returncode=3)
    assert ended.verdict.spilled.total() == len(ended.ledger) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_clock_has_all_clients_write_early_what_takes_long(
    programs: Programs, black_hole: Gate, kind: str
) -> None:
    """Several clients write at the same time, so that each of them needs longer than alone."""
    program = programs.start(
        f"""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
        logship.install(level="INFO")
        for client in logship.{kind}(), logship.{kind}():
            for _ in range(1_000):
                emit_marker(client, text="x" * 5_000)
        ready()
        forever()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "4"},
    )
    ended = program.stopped(returncode=3)
    begun = [line for line in json_lines(ended.stderr) if line.get("logship") == "spill begins"]
    assert sorted(line["accepted"] for line in begun)[-2:] == [1_000, 1_000]
    assert all(line["seconds"] < 2.0 for line in begun if line["accepted"])
    ended.verdict.assert_nothing_lost()


HELD = {
    "a background client": """
        client = logship.BackgroundClient()
        log(client)
        os.kill(os.getpid(), signal.SIGTERM)
        forever()
    """,
    "a client on the loop that is stopped": """
        async def main():
            async with logship.Client() as client:
                log(client)
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.get_running_loop().create_future()
        asyncio.run(main())
    """,
    "a client that the exit hook closes": """
        client = logship.Client(exit_stall_seconds=60)
        log(client)
        once_it_ends(client, os.kill, os.getpid(), signal.SIGTERM)
    """,
    "a client of another thread, while this one is in the middle of logging": """
        client = logship.BackgroundClient()
        log(client)
        def stop():
            client.flush(timeout=0.2)
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=stop).start()
        while True:
            emit_marker(client)
    """,
    "clients in a forked child": """
        client = logship.BackgroundClient()
        if child := os.fork():
            end_of(child)
            os.kill(os.getpid(), signal.SIGTERM)
        log(client)
        os.kill(os.getpid(), signal.SIGTERM)
        forever()
    """,
}


@pytest.mark.parametrize("how", HELD)
def test_a_signal_that_ends_the_process_leaves_no_client_behind(
    programs: Programs, black_hole: Gate, how: str
) -> None:
    """Beside `install`, whose client has logged nothing here, there are other clients."""
    ended = programs.start(
        LOG,
        'logship.install(level="INFO")',
        HELD[how],
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    ).end(returncode=-signal.SIGTERM)
    verdict = ended.verdict
    assert len(ended.ledger) >= 100
    verdict.assert_nothing_lost()


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_is_made_while_a_signal_ends_the_process_takes_no_records(
    programs: Programs, black_hole: Gate, kind: str
) -> None:
    """The watchdog ends the clients that there are, and waits for the sidecar of the first one."""
    ended = programs.start(
        f"""
        installed = logship.install(level="INFO")
        emit_marker(installed)
        def log_late():
            while not installed.intake_closed:
                time.sleep(0.001)
            client = logship.{kind}()
            logger = logging.Logger("late")
            logger.addHandler(logship.Handler(client))
            marker = new_marker()
            logger.info(marker)
            write_down(marker)
            while True:
                emit_marker(client)
        threading.Thread(target=log_late).start()
        os.kill(os.getpid(), signal.SIGTERM)
        forever()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "1"},
    ).end(returncode=-signal.SIGTERM)
    assert len(ended.ledger) == 2
    assert len(ended.refused) == 1
    ended.verdict.assert_nothing_lost()


def test_a_signal_that_ends_the_process_has_other_clients_deliver(
    programs: Programs, gate: Gate
) -> None:
    gate.open()
    ended = programs.start(
        LOG,
        """
        logship.install(level="INFO")
        logging.getLogger().info("of the installed client")
        client = logship.BackgroundClient(linger_seconds=60)
        """,
        HELD["a background client"],
        endpoint=gate.endpoint,
    ).end(returncode=-signal.SIGTERM)
    assert not ended.verdict.spilled
    ended.verdict.assert_delivered_once(100)


FIVE_CLIENTS = """
    import application
    logship.install(level="INFO")
    application.log(times=100)
    clients = [logship.BackgroundClient() for _ in range(3)] + [logship.Client()]
    for client in clients:
        log(client)
"""


def test_all_clients_write_to_stderr_what_no_sidecar_takes(
    programs: Programs, black_hole: Gate
) -> None:
    """Each of them has until the deadline, so none may wait for another one's end."""
    ended = programs.start(
        LOG,
        FIVE_CLIENTS,
        """
        os.kill(os.getpid(), signal.SIGTERM)
        forever()
        """,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "3"},
    ).end(returncode=-signal.SIGTERM)
    assert ended.verdict.spilled.total() == 500
    ended.verdict.assert_nothing_lost()


def test_an_interrupt_in_the_exit_hook_leaves_no_client_behind(
    programs: Programs, black_hole: Gate
) -> None:
    """Ctrl-C ends the wait of all clients for a sidecar that acks nothing."""
    program = programs.start(
        LOG,
        FIVE_CLIENTS,
        "once_it_ends(clients[-1], ready)",
        endpoint=black_hole.endpoint,
        environ={
            "LOGSHIP_EXIT_STALL_SECONDS": "3600",
            "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "3600",
        },
    )
    ended = program.stopped(signal.SIGINT, returncode=128 + signal.SIGINT)
    assert ended.verdict.spilled.total() == 500
    ended.verdict.assert_nothing_lost()
