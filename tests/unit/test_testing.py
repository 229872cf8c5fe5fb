"""The public test tools do what their documentation says."""

from __future__ import annotations

import asyncio

import pytest

from logship._settings import Endpoint
from logship.testing import ManualClock, MemoryTransport, Sidecar
from tests.unit.clients import Events, until


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    clock.advance(2.5)
    assert clock() == 7.5
    with pytest.raises(ValueError, match="not be negative"):
        clock.advance(-1)


async def test_what_is_no_message_ends_the_connection_as_a_real_server_would() -> None:
    sidecar, events = Sidecar(), Events()
    connection = await MemoryTransport(sidecar).connect(Endpoint("tcp", "h", 1, ""), events)
    connection.send([b"\xc1"])
    await until(lambda: events.told, "the connection ends")
    assert sidecar.connected == 0
    assert len(events.told) == 1


async def test_an_aborted_connection_says_nothing_more() -> None:
    sidecar, events = Sidecar(), Events()
    connection = await MemoryTransport(sidecar).connect(Endpoint("tcp", "h", 1, ""), events)
    connection.send([b"\xc1"])
    sidecar.say(b"hello")
    sidecar.stop_reading()
    sidecar.hang_up()
    connection.abort()
    for _ in range(5):
        await asyncio.sleep(0)
    assert events.told == []
    assert sidecar.connected == 0
