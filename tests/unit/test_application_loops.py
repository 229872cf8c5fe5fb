"""The asyncio client on loops that the application owns: it changes, closes and forgets them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from logship._buffer.counters import DrainReport
from logship._client.client import Client
from logship._client.port import SocketPort
from logship.testing import MemoryTransport, Sidecar, SocketSidecar
from tests.support.waiting import wait_until
from tests.unit.clients import HeldTransport, Stderr, a_client, messages, until


@pytest.fixture
def client(sidecar: Sidecar, stderr: Stderr) -> Client:
    return a_client(sidecar, stderr)


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Collect only what comes from now on, not what all tests before have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.collect()  # what the test has left, while its own filters of warnings hold
    gc.unfreeze()


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.usefixtures("quick_collections")
def test_a_client_goes_on_in_the_next_loop(stderr: Stderr) -> None:
    """`asyncio.run` twice, and the client is closed in the second one."""
    with SocketSidecar() as sidecar:
        client = a_client(sidecar, stderr)

        async def deliver(text: str) -> bool:
            client.emit({"message": text})
            return (await client.flush(20)).all_acked

        assert asyncio.run(deliver("first"))
        client.emit({"message": "between"})
        assert asyncio.run(deliver("second"))
        assert asyncio.run(client.close()).all_acked
        assert messages(sidecar) == ["first", "between", "second"]
        gc.collect()  # asyncio complains of a connection that was left open
    assert stderr.lines() == []


def test_a_client_goes_on_in_another_loop_while_the_one_before_is_not_closed(
    client: Client, sidecar: Sidecar, stderr: Stderr
) -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]
    for text in "one", "two", "three":
        client.emit({"message": text})
        loops.reverse()
        assert loops[0].run_until_complete(client.flush(20)).all_acked
    assert loops[1].run_until_complete(client.close(20)).all_acked
    assert messages(sidecar) == ["one", "two", "three"]
    for loop in loops:
        loop.close()
    assert stderr.lines() == []


def test_nothing_is_left_on_the_loop_that_closed_a_client(port: int) -> None:
    """The program may close the loop now. The client was in the middle of an attempt to connect."""

    async def start_and_close() -> None:
        client = Client(endpoints=f"tcp://127.0.0.1:{port}", last_resort="none")
        client.start()
        await asyncio.sleep(0)
        await client.close(0.0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start_and_close())
    assert not asyncio.all_tasks(loop)
    loop.close()


def test_a_client_goes_on_where_it_logs_after_its_loop_was_closed(
    client: Client, sidecar: Sidecar
) -> None:
    """A flush in a loop of its own takes the client from the loop of the program."""
    client.emit({"message": "first"})
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(client.flush(20)).all_acked
    assert asyncio.run(client.flush(20)).all_acked
    client.emit({"message": "between"})

    async def log() -> None:
        client.emit({"message": "second"})
        await until(lambda: len(messages(sidecar)) == 3, "the records are delivered")

    loop.run_until_complete(log())
    assert loop.run_until_complete(client.close(20)).all_acked
    assert messages(sidecar) == ["first", "between", "second"]
    loop.close()


def test_an_attempt_that_its_loop_never_began_leaves_no_warning(
    client: Client, sidecar: Sidecar
) -> None:
    async def log() -> None:
        client.emit({"message": "first"})

    loop = asyncio.new_event_loop()
    loop.run_until_complete(log())
    loop.close()
    assert asyncio.run(client.close(20)).all_acked
    gc.collect()
    assert messages(sidecar) == ["first"]


async def flush(client: Client) -> None:
    assert (await client.flush(20)).all_acked


async def send(client: Client) -> None:
    while client.emit({"message": "x" * 1000}):
        pass
    await client.send({"message": "x" * 1000})


@pytest.mark.parametrize("waits", [flush, send])
async def test_a_call_goes_on_that_waits_when_the_loop_that_ships_ends(
    sidecar: Sidecar, stderr: Stderr, waits: Callable[[Client], Coroutine[Any, Any, None]]
) -> None:
    sidecar.acks = False
    client = a_client(sidecar, stderr)
    is_over = threading.Event()

    async def ship() -> None:
        client.emit({"message": "hello"})
        await until(is_over.is_set, "the program of this loop is over")

    program = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(ship())))
    await until(lambda: sidecar.held_acks, "the other loop ships")
    call = asyncio.ensure_future(waits(client))
    await asyncio.sleep(0)
    is_over.set()
    await program
    sidecar.acks = True
    await asyncio.wait_for(call, 10)
    assert not (await client.close(20)).unacked


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_client_leaves_a_loop_that_has_stopped(
    sidecar: Sidecar, stderr: Stderr, is_closed: bool
) -> None:
    """Such as one that only prepared the program; and a record may come before it is closed."""
    client = a_client(sidecar, stderr)
    texts = ["one", "between", "two"]

    async def log(text: str, count: int) -> None:
        client.emit({"message": text})
        await until(lambda: messages(sidecar) == texts[:count], "all are delivered")

    preparing = asyncio.new_event_loop()
    preparing.run_until_complete(log("one", 1))
    client.emit({"message": "between"})
    if is_closed:
        preparing.close()
    asyncio.run(log("two", 3))
    preparing.close()
    assert asyncio.run(client.close(20)).all_acked


class MeetingLoop(asyncio.SelectorEventLoop):
    """Once it is closed, threads that ask whether it runs ask at the same time."""

    barrier: threading.Barrier | None = None

    def is_running(self) -> bool:
        if self.barrier is not None:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.barrier.wait(0.5)
        return super().is_running()


class AbandonedTransport(MemoryTransport):
    """Counts how often a client goes on in another loop."""

    times = 0

    def abandon(self) -> None:
        self.times += 1


async def test_of_two_loops_that_take_up_shipping_at_once_one_does(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    transport = AbandonedTransport(sidecar)
    client = a_client(transport, stderr)
    await asyncio.to_thread(client.emit, {"message": "hello"})  # no loop runs there
    loop = MeetingLoop()
    assert (await asyncio.to_thread(loop.run_until_complete, client.flush(20))).all_acked
    loop.close()
    loop.barrier = threading.Barrier(2)
    have_started = threading.Barrier(2)

    async def take_up() -> None:
        client.start()
        have_started.wait(20)

    await asyncio.gather(*[asyncio.to_thread(asyncio.run, take_up()) for _ in range(2)])
    loop.barrier = None
    assert transport.times == 1
    assert (await client.close(20)).all_acked


def test_a_close_whose_loop_was_closed_is_finished_by_the_next(
    client: Client, sidecar: Sidecar, stderr: Stderr
) -> None:
    sidecar.acks = False
    client.emit({"message": "hello"})
    loop = asyncio.new_event_loop()
    with pytest.raises(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(client.close(0.5), 0.05))
    loop.close()
    wait_until(lambda: not client.shipper.closing.seconds_left(), "the close is late")
    sidecar.acks = True
    assert asyncio.run(client.close(20)).all_acked
    assert not any("error of its own" in each for each in stderr.warnings())
    gc.collect()  # the task of the first call
    assert stderr.json("drain report") == []


async def a_close_that_waits(
    sidecar: Sidecar, stderr: Stderr, seconds_max: float
) -> tuple[Client, asyncio.Future[DrainReport]]:
    """Return a client, and a call of `close` that waits for an ack."""
    sidecar.acks = False
    client = a_client(sidecar, stderr)
    client.emit({"message": "hello"})
    call = asyncio.ensure_future(client.close(seconds_max))
    await until(lambda: sidecar.held_acks, "the chunk is on its way")
    return client, call


async def test_a_close_that_ends_sooner_holds_for_one_that_waits(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    client, first = await a_close_that_waits(sidecar, stderr, 1000)
    report = await client.close(0.1)
    assert (report.acked, report.seconds < 500) == (0, True)
    assert await first == report


async def test_a_close_that_ends_sooner_holds_for_one_in_another_loop(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    client, first = await a_close_that_waits(sidecar, stderr, 0.3)
    second = asyncio.to_thread(lambda: asyncio.run(client.close(1000)))
    report, same = await asyncio.gather(first, second)
    assert same == report
    assert (report.acked, report.seconds < 500) == (0, True)


async def test_of_two_loops_that_close_at_once_each_waits_for_its_own_task(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = a_client(sidecar, stderr)
    client.emit({"message": "hello"})
    have_tasks = threading.Barrier(2)

    def set_attribute(own: Client, name: str, value: object) -> None:
        object.__setattr__(own, name, value)
        if name == "_closing":
            have_tasks.wait(20)

    monkeypatch.setattr(Client, "__setattr__", set_attribute, raising=False)
    calls = [asyncio.to_thread(lambda: asyncio.run(client.close(20))) for _ in range(2)]
    report, same = await asyncio.gather(*calls)
    assert same == report
    assert report.all_acked


async def test_a_close_in_another_loop_ends_the_connection_where_it_is(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def disconnect(own: SocketPort) -> None:
        threads.append(threading.current_thread())

    monkeypatch.setattr(SocketPort, "disconnect", disconnect)
    client = a_client(sidecar, stderr)
    client.emit({"message": "hello"})
    assert (await client.flush(20)).all_acked
    assert (await asyncio.to_thread(lambda: asyncio.run(client.close(20)))).all_acked
    await until(lambda: threads, "the connection is ended")
    assert threads == [threading.current_thread()]


def test_a_client_whose_loop_was_closed_in_an_attempt_goes_on_in_the_next(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    """Without `asyncio.run`, nothing cancels what a loop leaves."""
    transport = HeldTransport(sidecar)
    client = a_client(transport, stderr)
    client.emit({"message": "waits"})
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.flush(0.05))
    assert transport.attempts == 1
    loop.close()
    assert asyncio.run(client.close()).all_acked
    assert messages(sidecar) == ["waits"]
    assert client.shipper.delivery.counters.shipper_restarts == 0  # it was no error


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("quick_collections")
def test_a_loop_that_is_closed_in_any_turn_of_an_attempt_is_no_error(stderr: Stderr) -> None:
    with SocketSidecar() as sidecar:
        client = a_client(sidecar, stderr)

        async def begin(turns: int) -> None:
            client.start()
            client.emit({"message": str(turns)})
            for _ in range(turns):
                await asyncio.sleep(0)

        for turns in range(8):
            with contextlib.closing(asyncio.new_event_loop()) as loop:
                loop.run_until_complete(begin(turns))
            del loop
            gc.collect()  # what is left of the attempt
        assert asyncio.run(client.close(20)).all_acked
        assert set(messages(sidecar)) == set(map(str, range(8)))
    gc.collect()
    assert client.shipper.delivery.counters.shipper_restarts == 0


def test_a_client_ships_on_a_loop_that_is_none_of_asyncios(stderr: Stderr) -> None:
    uvloop = pytest.importorskip("uvloop")
    texts = [f"{number} {'x' * 10_000}" for number in range(100)]

    async def ship(endpoint: str) -> None:
        async with a_client(endpoint, stderr, buffer_bytes_max=2**21) as client:
            for text in texts:
                await client.send({"message": text})
            assert (await client.flush(20)).all_acked

    with SocketSidecar() as sidecar, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ship(sidecar.endpoint))
        assert messages(sidecar) == texts
    assert stderr.lines() == []


class InRequest:
    """What a web framework keeps in a context variable."""


async def test_a_connection_keeps_no_object_of_the_request_that_began_it(stderr: Stderr) -> None:
    variable: contextvars.ContextVar[InRequest] = contextvars.ContextVar("request")
    with SocketSidecar() as sidecar:
        client = a_client(sidecar, stderr)

        async def handle() -> weakref.ref[InRequest]:
            request = InRequest()
            variable.set(request)
            client.emit({"message": "hello"})
            assert (await client.flush(20)).all_acked
            return weakref.ref(request)

        request = await asyncio.create_task(handle())

        def is_gone() -> bool:
            gc.collect()
            return request() is None

        await until(is_gone, "the request is gone")
        await client.close()
