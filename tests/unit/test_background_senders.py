"""Senders to the client on its own thread: they wait for space, but not where nothing would end it.

Where a test joins a thread it does so within a deadline, so that a hang is a failure.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable

import pytest

from logship._client.background import BackgroundClient
from logship.errors import BufferFull, ClientClosed
from logship.testing import Sidecar
from tests.support.raising import raising
from tests.support.threads import Later
from tests.support.waiting import wait_until
from tests.unit.clients import BUFFER_BYTES, Stderr, a_background_client, fill, messages, some

LARGE = {"message": "y" * 2000}


def waits_for_space(client: BackgroundClient, count: int = 1) -> Callable[[], bool]:
    return lambda: len(client.shipper.buffer._section.chunks.waiters._callbacks) >= count


# -- waiting for space -----------------------------------------------------------------------------


def test_senders_that_wait_are_told_when_the_client_closes(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    fill(client)
    senders = [Later(lambda: client.send(LARGE)) for _ in range(4)]
    wait_until(waits_for_space(client, 4), "all four wait")
    client.close(timeout=0.2)
    assert [type(sender.join()) for sender in senders] == [ClientClosed] * 4


def test_what_was_given_up_does_not_arrive_all_the_same(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    """A caller that learns that there was no space sends the record again."""
    sidecar.acks = False
    accepted: list[str] = []
    given_up = 0
    for number in range(3000):
        try:
            client.send({"message": f"{number} {'x' * 1000}"}, timeout=0)
        except BufferFull:
            given_up += 1
            sidecar.release_acks()  # space comes free on the loop while we try again
        else:
            accepted.append(f"{number} {'x' * 1000}")
    assert given_up > 20
    sidecar.acks = True
    sidecar.hang_up()
    assert client.flush(20).all_acked
    assert set(messages(sidecar)) == set(accepted)
    assert client.shipper.buffer.counters.accepted == len(accepted)


async def test_send_does_not_wait_on_an_event_loops_thread(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    await asyncio.to_thread(fill, client)
    with pytest.raises(BufferFull, match="event loop"):
        client.send(LARGE)


def one_by_one(client: BackgroundClient, records: list[dict[str, str]]) -> None:
    for each in records:
        client.send(each)


def many_at_once(client: BackgroundClient, records: list[dict[str, str]]) -> None:
    client.send_many(iter(records))


def with_an_endless_timeout(client: BackgroundClient, records: list[dict[str, str]]) -> None:
    for each in records:
        client.send(each, timeout=math.inf)


@pytest.mark.parametrize("send", [one_by_one, many_at_once, with_an_endless_timeout])
def test_records_that_are_sent_wait_for_space(
    client: BackgroundClient, sidecar: Sidecar, send: Callable[..., None]
) -> None:
    sidecar.acks = False
    sender = Later(lambda: send(client, some(0, 500, 1000)))
    wait_until(waits_for_space(client), "it waits")
    assert not sender.is_done
    sidecar.acks = True
    sidecar.release_acks()
    assert sender.join() is None
    assert client.flush(20).all_acked
    assert messages(sidecar) == [each["message"] for each in some(0, 500, 1000)]


def test_many_at_once_with_a_timeout_say_how_many_were_accepted(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    with pytest.raises(BufferFull, match=r"within 0\.02 s") as full:
        client.send_many(some(0, 500, 1000), timeout=0.02)
    accepted = full.value.records_accepted
    assert 0 < accepted < 500
    assert not client.shipper.buffer._section.chunks.waiters._callbacks, "nothing is left behind"
    sidecar.acks = True
    sidecar.release_acks()
    client.send_many(some(0, 500, 1000)[accepted:])
    assert client.flush(20).all_acked
    assert messages(sidecar) == [each["message"] for each in some(0, 500, 1000)]


def test_a_record_that_is_cut_and_waits_for_space_is_counted_once(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    fill(client)
    waiting = Later(lambda: client.send({"message": "y" * 2 * BUFFER_BYTES}))
    wait_until(waits_for_space(client), "it waits")
    sidecar.acks = True
    sidecar.hang_up()
    assert waiting.join() is None
    assert client.flush(timeout=20).all_acked
    assert client.shipper.buffer.counters.truncated == 1


def turns_given(
    client: BackgroundClient, monkeypatch: pytest.MonkeyPatch, records: int, at_once: int = 1
) -> int:
    turns: list[float] = []
    monkeypatch.setattr("logship._client.background.time.sleep", turns.append)
    record = {"message": "x" * 50}
    for _ in range(0, records, at_once):
        if at_once == 1:
            client.send(record)
        else:
            client.send_many([record] * at_once)
    return len(turns)


@pytest.mark.parametrize("at_once", [1, 10])
def test_a_sender_lets_the_shipper_have_the_interpreter_once_a_chunk(
    client: BackgroundClient, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    turns = turns_given(client, monkeypatch, 40, at_once)
    assert 0 < turns <= client.shipper.buffer.chunks_opened


async def test_a_sender_on_an_event_loops_thread_goes_straight_on(
    client: BackgroundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turns_given(client, monkeypatch, 40) == 0


# -- when there is no thread -----------------------------------------------------------------------


def test_without_a_thread_records_are_spilled_at_the_end(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    client = a_background_client(sidecar, stderr)
    monkeypatch.undo()
    assert client.emit({"message": "hi"})
    assert not client.flush(20).all_acked
    fill(client)
    with pytest.raises(BufferFull, match="no thread"):
        client.send(LARGE)
    report = client.close(timeout=20)
    assert report.spilled == report.accepted > 1
    assert "can't start new thread" in stderr.warnings()[0]


def test_a_time_limit_passes_through_the_start_of_the_thread(
    sidecar: Sidecar,
    stderr: Stderr,
    monkeypatch: pytest.MonkeyPatch,
    time_limit: Callable[[], None],
) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: time_limit())
    with pytest.raises(TimeoutError):
        a_background_client(sidecar, stderr)


def test_with_a_lasting_bug_in_the_shipper_close_lets_senders_go(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    fill(client)
    sender = Later(lambda: client.send(LARGE))
    wait_until(waits_for_space(client), "it waits")
    wait_until(lambda: bool(sidecar.held_acks), "chunks are on their way")

    client.shipper.delivery.acked = raising(ZeroDivisionError("a bug"))  # type: ignore[method-assign]
    sidecar.release_acks()
    wait_until(lambda: client.shipper.delivery.counters.shipper_restarts > 0, "it failed")
    report = client.close(timeout=2)
    assert isinstance(sender.join(), ClientClosed)
    assert report.spilled == report.accepted


def test_a_disabled_client_starts_nothing(sidecar: Sidecar, stderr: Stderr) -> None:
    before = threading.active_count()
    client = a_background_client(sidecar, stderr, disabled=True)
    assert not client.emit({"message": "hi"})
    client.send({"message": "hi"})
    assert client.flush().all_acked
    assert client.close().accepted == 0
    assert client.report is not None
    assert threading.active_count() == before
