"""The asyncio client against a sidecar in memory that answers badly, late, in pieces or never."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from logship._buffer.chunk import Chunk
from logship._client.client import Client
from logship._client.shipper import STOP_LINGER_SECONDS
from logship.errors import BufferFull, ClientClosed
from logship.testing import MemoryTransport, Sidecar
from tests.unit.clients import BUFFER_BYTES, Stderr, a_client, fill, messages, some, until


@pytest.fixture
def client(sidecar: Sidecar, stderr: Stderr) -> Client:
    return a_client(sidecar, stderr)


def emit_many(client: Client, count: int) -> list[str]:
    """Emit records that can be told apart; return their messages."""
    records = some(0, count)
    assert all(map(client.emit, records))
    return [each["message"] for each in records]


# -- delivery --------------------------------------------------------------------------------------


async def test_everything_arrives_once_in_order_and_the_report_says_so(
    client: Client, sidecar: Sidecar, stderr: Stderr
) -> None:
    async with client:
        texts = emit_many(client, 200)
    assert messages(sidecar) == texts
    report = await client.close()
    assert report.all_acked
    assert (report.accepted, report.acked) == (200, 200)
    assert stderr.lines() == []
    assert isinstance(client.shipper._port.transport, MemoryTransport)
    assert client.shipper._port.transport.closed


async def test_a_client_ships_from_its_first_record_on(client: Client, sidecar: Sidecar) -> None:
    """Without `start`, and without a call that waits for acks."""
    assert client.emit({"message": "hello"})
    await until(lambda: messages(sidecar) == ["hello"], "the record is delivered")
    await client.close()


async def test_a_drain_that_begins_before_the_start_is_not_forgotten(client: Client) -> None:
    """On a busy machine a shipper's thread can come to its first step after everything else."""
    looked: list[str] = []
    client.shipper.on_progress(lambda: looked.append("at the plan"))
    client.shipper.hurry(client.shipper.plan(5.0))
    assert looked == []
    client.start()
    assert looked == ["at the plan"]
    await client.close()


async def test_a_good_ack_before_garbage_counts(client: Client, sidecar: Sidecar) -> None:
    sidecar.acks = False
    async with client:
        emit_many(client, 1)
        client.shipper.buffer.seal_all()
        await until(lambda: sidecar.held_acks, "the chunk is on its way")
        (ack,) = sidecar.held_acks
        sidecar.say(ack + b"\xc1")
        await until(lambda: not client.shipper.buffer.unsettled(), "the chunk is released")
        assert sidecar.messages == 1
        sidecar.acks = True


async def test_a_connection_that_takes_nothing_for_a_while(
    client: Client, sidecar: Sidecar
) -> None:
    async with client:
        await until(lambda: sidecar.connected, "it is connected")
        sidecar.stop_reading()
        await until(lambda: not client.shipper.delivery.writable, "the client knows")
        emit_many(client, 100)
        client.shipper.buffer.seal_all()
        assert not (await client.flush(0.05)).all_acked
        assert not sidecar.delivered
        sidecar.read_on()
        assert (await client.flush(20)).all_acked


# -- flush -----------------------------------------------------------------------------------------


async def test_flush_waits_for_what_was_accepted_before_it_and_for_nothing_else(
    client: Client, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    async with client:
        emit_many(client, 1)
        flushing = asyncio.ensure_future(client.flush(20))
        await until(lambda: sidecar.held_acks, "the chunk is on its way")
        emit_many(client, 1)
        sidecar.release_acks()
        report = await flushing
        assert report.all_acked
        assert report.unacked == 1
        sidecar.acks = True
        sidecar.release_acks()
        await until(
            lambda: client.shipper.buffer.departure.has_sealed() or sidecar.messages > 1,
            "the second came",
        )
        sidecar.hang_up()


async def test_flush_of_nothing_is_done_at_once(client: Client) -> None:
    async with client:
        assert (await client.flush(0)).all_acked


async def test_no_flush_outlasts_the_client(client: Client, sidecar: Sidecar) -> None:
    sidecar.acks = False
    client.start()
    emit_many(client, 7)
    early = asyncio.ensure_future(client.flush())
    await asyncio.sleep(0)
    await client.close(0.01)
    async with asyncio.timeout(20):
        assert not (await early).all_acked
        assert not (await client.flush()).all_acked


async def test_a_record_dropped_while_flushing_is_not_acked(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    sidecar.reachable = False
    client = a_client(sidecar, stderr, overflow="drop_oldest")
    async with client:
        emit_many(client, 5)
        flushing = asyncio.ensure_future(client.flush(20))
        await asyncio.sleep(0)
        while client.shipper.buffer.drop_oldest():
            pass
        sidecar.reachable = True
        client.emit({"message": "another"})
        assert not (await flushing).all_acked


# -- send and close --------------------------------------------------------------------------------


async def test_send_waits_for_space_as_long_as_it_takes(client: Client, sidecar: Sidecar) -> None:
    sidecar.acks = False
    async with client:
        count = fill(client)
        large = {"message": "y" * 2000}
        sends = [asyncio.ensure_future(client.send(large)) for _ in range(5)]
        await until(
            lambda: len(client.shipper.buffer._section.chunks.waiters._callbacks) == 5,
            "all of them wait",
        )
        assert not any(send.done() for send in sends)
        sidecar.acks = True
        sidecar.release_acks()
        await asyncio.gather(*sends)
        assert (await client.flush(20)).all_acked
    assert len(messages(sidecar)) == count + 5


async def test_a_cancelled_send_leaves_nothing_behind(client: Client, sidecar: Sidecar) -> None:
    sidecar.reachable = False
    async with client:
        count = fill(client)
        send = asyncio.ensure_future(client.send({"message": "y" * 2000}))
        await until(lambda: client.shipper.buffer._section.chunks.waiters._callbacks, "it waits")
        send.cancel()
        await asyncio.gather(send, return_exceptions=True)
        assert not client.shipper.buffer._section.chunks.waiters._callbacks
        sidecar.reachable = True
    assert len(messages(sidecar)) == count


@pytest.mark.parametrize("given", [list, tuple, iter])
async def test_many_at_once_arrive_in_order(client: Client, sidecar: Sidecar, given: Any) -> None:
    records = some(0, 1000)
    async with client:
        await client.send_many(given(records), tag="several", time_ns=5_000_000_007)
        await client.send_many([])
    assert messages(sidecar) == [each["message"] for each in records]
    arrived = [each for each in sidecar.delivered if "logship_end" not in each.record]
    assert {(each.tag, each.time_ns) for each in arrived} == {("several", 5_000_000_007)}


async def test_many_at_once_let_the_loop_have_its_turn(client: Client) -> None:
    """Not more often than a chunk is filled, and not less often than a block of them is sent."""
    async with client:
        await client.send_many(some(0, 1))
        turns: list[int] = []
        sending = asyncio.ensure_future(client.send_many(some(1, 2000, 10)))
        while not sending.done():
            turns.append(client.shipper.buffer.counters.accepted)
            await asyncio.sleep(0)
        assert len(turns) > 5
        assert (await client.flush(20)).all_acked


async def test_many_at_once_are_told_how_many_were_accepted(
    client: Client, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    async with client:
        sending = asyncio.ensure_future(client.send_many(some(0, 1000, 1000)))
        await until(lambda: client.shipper.buffer._section.chunks.waiters._callbacks, "it waits")
        accepted = client.shipper.buffer.counters.accepted
        assert 0 < accepted < 1000
        await client.close(timeout=0.1)
        with pytest.raises(ClientClosed) as closed:
            await sending
        assert closed.value.records_accepted == accepted
    with pytest.raises(ClientClosed) as closed:
        await client.send_many(some(0, 3))
    assert closed.value.records_accepted == 0


async def test_many_at_once_to_a_broken_client(client: Client, sidecar: Sidecar) -> None:
    sidecar.acks = False
    async with client:
        client.shipper.break_down("a test")
        with pytest.raises(BufferFull) as full:
            await client.send_many(some(0, 1000, 1000))
        assert full.value.records_accepted == client.shipper.buffer.counters.accepted > 0


async def test_one_of_many_that_is_too_long_is_cut_and_counted_once(
    client: Client, sidecar: Sidecar
) -> None:
    """Also where what is left of them is sent again."""
    long = {"message": "y" * 2 * BUFFER_BYTES}
    sidecar.acks = False
    async with client:
        fill(client)
        assert client.intake.put_now([(None, long)]) == 0
        assert client.shipper.buffer.report("", 0.0).truncated == 0
        sidecar.acks = True
        sidecar.hang_up()
        await client.send_many([{"message": "a"}, long, {"message": "b"}])
        assert client.shipper.buffer.report("", 0.0).truncated == 1
        assert (await client.flush(20)).all_acked
    first, cut, last = sidecar.delivered[-4:-1]
    assert (first.record["message"], last.record["message"]) == ("a", "b")
    assert cut.record["logship_truncated"] is True


async def test_what_an_iterator_gives_is_taken_as_it_comes(
    client: Client, sidecar: Sidecar
) -> None:
    """It may be slow, it may give one object again and again, and it may fail."""
    seen: list[int] = []
    record: dict[str, Any] = {}

    def coming() -> Iterator[dict[str, Any]]:
        for number in range(300):
            seen.append(client.shipper.buffer.counters.accepted)
            record["message"] = str(number)
            yield record
        raise LookupError("no more")

    async with client:
        with pytest.raises(LookupError):
            await client.send_many(coming())
    assert seen == [*range(300)]
    assert messages(sidecar) == [str(number) for number in range(300)]


async def test_many_at_once_are_redacted(sidecar: Sidecar, stderr: Stderr) -> None:
    """Each of them once, though not all are packed at once, and one is cut."""
    seen: list[str] = []

    def redact(record: Any) -> Any:
        seen.append(record["message"])
        return {**record, "secret": "withheld"}

    records = [*some(0, 10, BUFFER_BYTES // 3), *some(10, 3), *some(13, 1, 2 * BUFFER_BYTES)]
    client = a_client(sidecar, stderr, redact=redact)
    async with client:
        await client.send_many(records)
    assert seen == [each["message"] for each in records]
    assert messages(sidecar)[:-1] == seen[:-1]
    arrived = [each.record for each in sidecar.delivered if "message" in each.record][:14]
    assert [each["secret"] for each in arrived] == ["withheld"] * 14


async def test_after_close_send_raises_and_emit_says_no(client: Client) -> None:
    async with client:
        pass
    with pytest.raises(ClientClosed):
        await client.send({"message": "late"})
    assert client.emit({"message": "late"}) is False
    assert client.intake_closed


async def test_closing_twice_or_at_once_gives_the_same_report(client: Client) -> None:
    client.start()
    emit_many(client, 5)
    reports = await asyncio.gather(*(client.close() for _ in range(5)))
    assert all(report is reports[0] for report in reports)
    assert await client.close(reason="again") is reports[0]


async def test_a_stopping_client_looks_often_for_a_sidecar_that_is_away(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    """And knows that it is away before an ack is overdue; a broken shipper is as good as none."""
    sidecar.reachable = False
    client = a_client(sidecar, stderr, backoff_seconds_base=900, backoff_seconds_max=1000)
    client.start()
    await until(lambda: client.shipper.delivery.counters.connect_failures > 0, "a failed attempt")
    assert client.shipper.progress().silent_seconds == float("inf")
    client.shipper.delivery._attempts.due_seconds += 1000.0  # however short it was
    client.shipper.stop_lingering()
    sidecar.reachable = True
    await until(lambda: sidecar.connected > 0, "a connection")
    assert client.shipper.progress().silent_seconds == 0.0
    client.shipper.break_down("a test")
    assert client.shipper.progress().silent_seconds == float("inf")
    client.shipper.shut()


@pytest.mark.parametrize("seconds", [None, 0.5])
async def test_a_client_that_ends_before_its_attempt_to_connect_says_what_that_waits_for(
    stderr: Stderr, seconds: float | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        client = a_client(endpoint, stderr, shared_key="k", exit_stall_seconds=0.3)
        client.emit({"message": "hello"})
        client.start()
        port = client.shipper._port
        await until(lambda: "it takes connections" in port.unanswered, "the connection is taken")
        await client.close(timeout=seconds)
    says = f"{endpoint} has not answered (it takes connections; does it have a shared key?)"
    assert says in stderr.warnings()[0]


@pytest.mark.parametrize("linger_seconds", [60.0, 0.0])
async def test_a_stopping_client_hardly_lingers(
    linger_seconds: float, sidecar: Sidecar, stderr: Stderr
) -> None:
    """Not chunk by record either: see `STOP_LINGER_SECONDS`."""
    client = a_client(sidecar, stderr, linger_seconds=linger_seconds)
    client.start()
    client.emit({"message": "before"})
    client.shipper.stop_lingering()
    assert client.shipper.buffer.departure.linger_seconds == min(
        linger_seconds, STOP_LINGER_SECONDS
    )
    await until(lambda: messages(sidecar) == ["before"], "the open chunk")
    client.emit({"message": "meanwhile"})
    await until(lambda: messages(sidecar) == ["before", "meanwhile"], "the next one")
    client.shipper.shut()


async def test_close_spills_and_names_what_was_not_acked(sidecar: Sidecar, stderr: Stderr) -> None:
    sidecar.acks = False
    client = a_client(sidecar, stderr, exit_stall_seconds=0.3)
    client.start()
    texts = emit_many(client, 30)
    report = await client.close()
    assert (report.accepted, report.acked, report.spilled, report.unacked) == (30, 0, 30, 0)
    assert report.streams[0].spilled == [(1, 31)]
    spilled = [line["record"] for line in stderr.json("spilled")]
    assert [r["message"] for r in spilled if "logship_end" not in r] == texts
    assert len(stderr.json("spill begins")) == 1
    (printed,) = stderr.json("drain report")
    assert printed["spilled"] == 30
    assert stderr.lines()[-1].startswith('{"logship": "drain report"')


# -- records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [5, b"bytes", 1.5, ("a", 1), "\udcff"])
async def test_a_tag_that_is_none_does_not_stop_the_shipping(
    client: Client, sidecar: Sidecar, tag: Any
) -> None:
    """One careless call must not cost all records that come after it."""
    async with client:
        assert client.emit({"message": "odd"}, tag)
        await client.send({"message": "odd too"}, tag)
        client.emit({"message": "usual"})
        assert (await client.flush(20)).all_acked
    assert sorted(messages(sidecar)) == ["odd", "odd too", "usual"]


async def test_a_disabled_client_does_nothing(sidecar: Sidecar, stderr: Stderr) -> None:
    async with a_client(sidecar, stderr, disabled=True) as client:
        assert not client.emit({"message": "hi"})
        await client.send({"message": "hi"})
        await client.send_many([{"message": "hi"}])
    report = await client.close()
    assert (report.accepted, report.refused) == (0, 0)
    assert sidecar.connects == 0


# -- a bug of our own ------------------------------------------------------------------------------


def break_once(client: Client, method: str) -> None:
    """Make the next call of one of the delivery's methods raise."""

    def broken(*_: Any) -> Any:
        delattr(client.shipper.delivery, method)
        raise ZeroDivisionError("a bug")

    setattr(client.shipper.delivery, method, broken)


async def test_after_a_bug_in_a_callback_shipping_begins_again(
    client: Client, sidecar: Sidecar, stderr: Stderr
) -> None:
    sidecar.acks = False
    async with client:
        count = fill(client)
        await until(lambda: sidecar.held_acks, "chunks are on their way")
        flushing = asyncio.ensure_future(client.flush(20))
        sending = asyncio.ensure_future(client.send({"message": "y" * 2000}))
        await asyncio.sleep(0)

        break_once(client, "acked")
        sidecar.acks = True
        sidecar.release_acks()
        assert (await flushing).all_acked
        await sending
        assert not client.shipper.broken
        assert client.shipper.delivery.counters.shipper_restarts == 1
        report = await client.close(timeout=20)
        assert (report.accepted, report.acked) == (count + 1, count + 1)
    bug = next(each for each in stderr.warnings() if "ZeroDivisionError" in each)
    assert "please report" in bug


async def test_a_connect_that_raises_what_it_should_not_is_tried_again(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    class OddTransport(MemoryTransport):
        failures = 3

        async def connect(self, *arguments: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise ZeroDivisionError("a bug in a transport")
            return await super().connect(*arguments)

    async with a_client(OddTransport(sidecar), stderr) as client:
        emit_many(client, 3)
        assert (await client.flush(20)).all_acked
    assert "ZeroDivisionError" in stderr.warnings()[0]


# -- errors of its own -----------------------------------------------------------------------------


async def test_a_chunk_that_cannot_be_sent_is_set_aside_and_named(
    client: Client, sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = client.shipper._port._frame

    def damaged(chunk: Chunk) -> Any:
        if chunk.first == 1:
            raise ValueError("its entries are damaged")
        return frame(chunk)

    monkeypatch.setattr(client.shipper._port, "_frame", damaged)
    async with client:
        client.emit({"message": "lost with its chunk"})
        assert not (await client.flush()).all_acked
        client.emit({"message": "goes on"})
        assert (await client.flush(20)).all_acked
        report = await client.close()
    assert messages(sidecar) == ["goes on"]
    assert (report.acked, report.dropped) == (1, 1)
    assert report.streams[0].dropped == [(1, 1, "quarantined")]
    assert client.shipper.delivery.counters.chunks_quarantined == 0, "no server refused it"
    assert any("numbers 1 to 1" in line for line in stderr.warnings())
