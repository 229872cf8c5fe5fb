"""A forked child of the asyncio client begins anew, in the parent's loop or in another one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import stat
from collections.abc import Callable, Iterator

import pytest

from logship._buffer.counters import FlushReport
from logship._client.client import Client
from logship._client.schedule import LoopSchedule
from logship.testing import SocketSidecar
from tests.unit.clients import Stderr, a_client, full_hole, messages, until

pytestmark = pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")


@pytest.fixture(autouse=True)
def _collects_what_a_test_leaves() -> Iterator[None]:
    """Else a later test collects it, and the filter above no longer holds."""
    yield
    gc.collect()


@pytest.fixture
def sidecar() -> Iterator[SocketSidecar]:
    with SocketSidecar() as started:
        yield started


def a_started_client(
    sidecar: SocketSidecar, stderr: Stderr
) -> tuple[Client, asyncio.AbstractEventLoop]:
    """Return a client that has sent a record, and its loop, which has stopped."""
    client = a_client(sidecar, stderr, ack_timeout_seconds=1.0)
    client.emit({"message": "of the parent"})

    async def send() -> None:
        client.start()
        if sidecar.acks:
            await client.flush(20)
        else:
            await until(lambda: sidecar.held_acks, "the chunk is on its way")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(send())
    return client, loop


def is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def status_of_child(run: Callable[[], int]) -> int:
    """Return the exit status of a forked child that runs this; 255 where it raises."""
    child = os.fork()
    if child == 0:
        status = 255
        try:
            status = run()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("ends_loop", [True, False])
def test_a_forked_child_begins_anew(
    sidecar: SocketSidecar, stderr: Stderr, ends_loop: bool
) -> None:
    """The parent has a chunk on its way, which the parent alone sends again."""
    sidecar.acks = False
    client, loop = a_started_client(sidecar, stderr)
    if ends_loop:
        loop.close()
    sidecar.acks = True

    def in_child() -> int:
        client.emit({"message": "of the child"})
        report = asyncio.run(client.close(20))
        return 10 * report.accepted + report.acked

    assert status_of_child(in_child) == 11
    assert messages(sidecar)[1:] == ["of the child"]
    assert asyncio.run(client.close(20)).all_acked
    assert messages(sidecar)[2:] == ["of the parent"]
    loop.close()
    gc.collect()  # asyncio complains of a connection that was left open


@pytest.mark.parametrize("in_loop_of_parent", [True, False])
def test_a_child_that_only_emits_ships_on_the_loop_that_runs(
    sidecar: SocketSidecar, stderr: Stderr, in_loop_of_parent: bool
) -> None:
    client, loop = a_started_client(sidecar, stderr)

    async def serve() -> None:
        client.emit({"message": "in the loop"})
        await until(lambda: not client.shipper.buffer.records_waiting, "all is acked")

    def in_child() -> int:
        client.emit({"message": "before the loop"})
        runs = loop if in_loop_of_parent else asyncio.new_event_loop()
        runs.run_until_complete(serve())
        return client.shipper.buffer.report("test", 0.0).acked

    assert status_of_child(in_child) == 2
    assert messages(sidecar)[1:] == ["before the loop", "in the loop"]
    client.emit({"message": "of the parent once more"})
    assert loop.run_until_complete(client.close(20)).all_acked
    assert stderr.warnings() == []  # the parent's selector still knows its connection
    loop.close()


def test_a_child_that_runs_the_parents_loop_sends_nothing_of_the_parents(
    sidecar: SocketSidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ack is due while the child runs: the parent's timer rings in the child too."""
    rings: list[object] = []
    real = LoopSchedule.guarded

    def guarded(own: LoopSchedule, callback: Callable[[], None]) -> None:
        real(own, callback)
        rings.append(callback)

    monkeypatch.setattr(LoopSchedule, "guarded", guarded)
    sidecar.acks = False
    client, loop = a_started_client(sidecar, stderr)
    sidecar.acks = True

    async def serve() -> FlushReport:
        await until(lambda: rings, "the timer rings")
        client.emit({"message": "of the child"})
        return await client.flush(20)

    def in_child() -> int:
        rings.clear()
        return int(loop.run_until_complete(serve()).all_acked)

    assert status_of_child(in_child) == 1
    assert messages(sidecar) == ["of the parent", "of the child"]
    assert loop.run_until_complete(client.close(20)).all_acked
    loop.close()


def test_a_flush_of_the_parents_ends_in_a_child(sidecar: SocketSidecar, stderr: Stderr) -> None:
    sidecar.acks = False
    client, loop = a_started_client(sidecar, stderr)
    flushing = loop.create_task(client.flush())
    loop.run_until_complete(asyncio.sleep(0))

    def in_child() -> int:
        client.emit({"message": "of the child"})
        return int(loop.run_until_complete(asyncio.wait_for(flushing, 20)).all_acked)

    assert status_of_child(in_child) == 0
    sidecar.acks = True
    sidecar.hang_up()
    assert loop.run_until_complete(flushing).all_acked
    assert loop.run_until_complete(client.close(20)).all_acked
    loop.close()


def test_a_child_lets_go_of_an_attempt_and_leaves_it_to_the_parent(stderr: Stderr) -> None:
    """The child's own attempt gets the number of the socket that it has closed."""
    before: set[int] = set()
    accepted: list[socket.socket] = []

    def sockets() -> set[int]:
        opened = map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
        return {each for each in opened if is_socket(each)} - before

    def is_connected() -> bool:
        with contextlib.suppress(BlockingIOError):
            accepted.append(hole.accept()[0])
        return client.shipper.delivery.counters.connected > 0

    async def begin(condition: Callable[[], object]) -> None:
        client.start()
        await until(condition, "the attempt has come so far")

    def in_child() -> int:
        left = len(sockets())
        loop.run_until_complete(until(lambda: len(asyncio.all_tasks()) == 1, "the attempt ends"))
        loop.run_until_complete(begin(is_connected))
        return left

    loop = asyncio.new_event_loop()
    with full_hole("127.0.0.1", 0) as hole:
        endpoint = f"tcp://127.0.0.1:{hole.getsockname()[1]}"
        client = a_client(endpoint, stderr, connect_timeout_seconds=3600.0)
        before = sockets()
        loop.run_until_complete(begin(sockets))
        assert status_of_child(in_child) == 0
        loop.run_until_complete(begin(is_connected))
        loop.run_until_complete(client.close(1))
    loop.close()
    for each in accepted:
        each.close()
