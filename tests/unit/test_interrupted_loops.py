"""Shows the asyncio client on a loop whose application cancels its tasks, or interrupts them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from logship._client import port, pump
from logship._client.client import Client
from logship._client.port import SocketPort
from logship._delivery import delivery
from logship._delivery.drain import DrainPlan
from logship.testing import Sidecar
from tests.unit.clients import HeldTransport, Stderr, a_client, messages, until
from tests.unit.interruptions import Interruption, every_point, interrupted_by_a_handler


@pytest.fixture
def client(sidecar: Sidecar, stderr: Stderr) -> Client:
    return a_client(sidecar, stderr)


class InterruptedTransport(HeldTransport):
    """Its first attempt to connect is interrupted."""

    async def hold(self) -> None:
        interrupted_by_ctrl_c()


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


@pytest.mark.parametrize("interrupt", [interrupted_by_a_handler, interrupted_by_ctrl_c])
@pytest.mark.parametrize("module", [pump, delivery])
def test_shipping_goes_on_after_an_exception_anywhere_in_a_decision(
    stderr: Stderr, module: ModuleType, interrupt: Callable[[], object]
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
