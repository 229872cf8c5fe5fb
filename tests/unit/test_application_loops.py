"""The asyncio client on a loop that the application owns: it cancels, closes and forgets."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType, ModuleType
from typing import Any

import pytest

from logship._buffer.counters import DrainReport
from logship._client import port, pump
from logship._client.client import Client
from logship._client.port import SocketPort
from logship._delivery import delivery
from logship._delivery.drain import DrainPlan
from logship.testing import MemoryTransport, Sidecar, SocketSidecar
from tests.support.waiting import wait_until
from tests.unit.clients import Stderr, a_client, messages, until
from tests.unit.interruptions import Interruption, every_point


@pytest.fixture
def client(sidecar: Sidecar, stderr: Stderr) -> Client:
    return a_client(sidecar, stderr)


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Collect only what comes from now on, not what all tests before have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class HeldTransport(MemoryTransport):
    """Its first attempt to connect does not end by itself."""

    attempts = 0

    async def connect(self, *arguments: Any) -> Any:
        self.attempts += 1
        if self.attempts == 1:
            await self.hold()
        return await super().connect(*arguments)

    async def hold(self) -> None:
        await asyncio.Event().wait()


class InterruptedTransport(HeldTransport):
    """Its first attempt to connect is interrupted."""

    async def hold(self) -> None:
        interrupted_by_ctrl_c()


def interrupted_by_a_handler() -> None:
    def handle(signum: int, frame: FrameType | None) -> None:
        raise Interruption

    handle(signal.SIGALRM, sys._getframe())


def interrupted_by_ctrl_c() -> None:
    raise KeyboardInterrupt


async def held_client(sidecar: Sidecar, stderr: Stderr) -> tuple[Client, HeldTransport]:
    """Return a client in the middle of its first attempt to connect."""
    transport = HeldTransport(sidecar)
    client = a_client(transport, stderr)
    client.start()
    await until(lambda: transport.attempts, "an attempt")
    return client, transport


async def cancel_others() -> None:
    """Cancel all other tasks of the loop, as programs do before they end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.wait(others)


@pytest.mark.parametrize("has_begun", [True, False], ids=["begun", "before its first step"])
async def test_an_attempt_that_the_application_cancels_is_made_again(
    client: Client, sidecar: Sidecar, stderr: Stderr, has_begun: bool
) -> None:
    if has_begun:
        client, _ = await held_client(sidecar, stderr)
    client.start()
    await cancel_others()
    client.emit({"message": "after that"})
    assert (await client.flush(20)).all_acked
    assert messages(sidecar) == ["after that"]
    assert "the attempt was cancelled" in stderr.warnings()[0]
    await client.close()


async def test_an_attempt_that_the_end_cancels_is_not_made_again(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    client, transport = await held_client(sidecar, stderr)
    await client.close(timeout=0.0)
    await until(lambda: len(asyncio.all_tasks()) == 1, "the attempt has ended")
    assert transport.attempts == 1
    assert stderr.warnings() == []


async def test_a_close_after_the_application_has_cancelled_one_returns_the_report(
    client: Client, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    client.start()
    client.emit({"message": "hello"})
    first = asyncio.ensure_future(client.close())
    await until(lambda: sidecar.held_acks, "the chunk is on its way")
    await cancel_others()
    assert first.cancelled()
    report = await client.close()
    assert (report.accepted, report.spilled) == (1, 1)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
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
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert stderr.lines() == []


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


async def test_a_close_after_one_that_a_handler_ended_returns_its_report(
    client: Client, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:

    def interrupted(*_: object) -> Any:
        monkeypatch.undo()
        interrupted_by_a_handler()

    monkeypatch.setattr(DrainPlan, "step", interrupted)
    client.emit({"message": "hello"})
    with pytest.raises(Interruption):
        await client.close(20)
    assert (await client.close(20)).spilled == 1
    assert len(stderr.json("spilled")) == 2  # and the end record
    assert [each["unacked"] for each in stderr.json("drain report")] == [0]


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


@pytest.mark.parametrize("interrupt", [interrupted_by_a_handler, interrupted_by_ctrl_c])
@pytest.mark.parametrize("module", [pump, delivery])
def test_shipping_goes_on_after_an_exception_anywhere_in_a_decision(
    stderr: Stderr, module: ModuleType, interrupt: Callable[[], None]
) -> None:
    """The application catches it, and runs its loop again."""
    scenes: list[tuple[Sidecar, Client, asyncio.AbstractEventLoop]] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        sidecar, loop = Sidecar(), asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        client = a_client(sidecar, stderr)
        scenes[:] = [(sidecar, client, loop)]

        async def ship() -> None:
            client.emit({"message": "one"})
            await client.flush(20)
            sidecar.hang_up()
            client.emit({"message": "two"})
            await client.flush(20)

        return lambda: loop.run_until_complete(ship()), interrupt

    for run in every_point(prepare, step=29, room=str(module.__file__)):
        with contextlib.suppress(Interruption, KeyboardInterrupt):
            run()
        ((sidecar, client, loop),) = scenes
        client.emit({"message": "three"})
        loop.call_soon(loop.stop)
        loop.run_forever()
        report = loop.run_until_complete(client.close(60))
        assert report.all_acked
        assert report.seconds < 20.0, "no ack timeout was waited for"
        assert set(messages(sidecar)) >= {"one", "three"}
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def test_a_chunk_whose_sending_a_handler_interrupts_is_sent_again(
    client: Client, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Any:
        monkeypatch.undo()
        interrupted_by_a_handler()

    monkeypatch.setattr(port, "frame_parts", interrupted)
    client.emit({"message": "hello"})
    assert (await client.close(20)).all_acked
    warnings = "".join(stderr.warnings())
    assert "an exception of a signal handler" in warnings
    assert "set aside" not in warnings


async def test_a_restart_that_a_handler_interrupts_is_made_again(
    client: Client, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect = SocketPort.disconnect

    def interrupted(own: SocketPort) -> None:
        monkeypatch.setattr(SocketPort, "disconnect", disconnect)
        interrupted_by_a_handler()

    def fails(*_: object) -> Any:
        monkeypatch.setattr(SocketPort, "disconnect", interrupted)
        raise ValueError("a bug")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    client.start()
    with monkeypatch.context() as patch:
        patch.setattr(client.shipper.delivery, "chunks_ready", fails)
        client.emit({"message": "hello"})
        await until(stderr.warnings, "the bug is told")
    assert (await client.close(20)).all_acked
    assert not client.shipper.broken


def test_ctrl_c_in_an_attempt_to_connect_is_not_the_last_attempt(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    transport = InterruptedTransport(sidecar)
    client = a_client(transport, stderr)
    client.emit({"message": "hello"})
    loop = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(client.flush(20))
    assert loop.run_until_complete(client.close(20)).all_acked
    loop.close()


def test_ctrl_c_in_a_turn_passes_to_the_application(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: pump.Pump) -> None:
        monkeypatch.undo()
        interrupted_by_ctrl_c()

    monkeypatch.setattr(pump.Pump, "turn", interrupted)
    client.emit({"message": "hello"})
    with asyncio.Runner() as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(client.flush(20))
        assert runner.run(client.close(20)).all_acked


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
