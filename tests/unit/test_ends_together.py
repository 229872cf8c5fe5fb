"""Several threads that end one client: each does what is left, and none undoes what is done."""

from __future__ import annotations

from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._client.closing import Closing
from logship._delivery.drain import DrainPlan
from logship.testing import Sidecar
from tests.support.threads import Later
from tests.unit.clients import Stderr


def test_a_second_thread_that_stops_the_shippers_thread_breaks_nothing(
    client: BackgroundClient, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the end of the loop asked for, and only the first request finds it running."""
    shipper, thread = client.shipper, client._thread
    shut = shipper.shut

    def shut_and_stop() -> None:
        shut()
        assert thread is not None
        thread.stop(0.0)

    monkeypatch.setattr(shipper, "shut", shut_and_stop)
    client.emit({"message": "hi"})
    assert client.close(timeout=20).all_acked
    assert not shipper.broken
    assert not stderr.warnings()


def test_a_thread_that_comes_when_the_end_is_over_gets_its_report(
    client: BackgroundClient, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread ends the client while this one is about to take part."""
    join = Closing.join
    reports: list[Any] = []

    def join_when_closed(closing: Closing, plan: DrainPlan, reason: str) -> None:
        monkeypatch.undo()
        reports.append(Later(lambda: client.close(timeout=20)).join())
        join(closing, plan, reason)

    monkeypatch.setattr(Closing, "join", join_when_closed)
    client.emit({"message": "hi"})
    assert client.close(timeout=20) is reports[0]
    assert reports[0].all_acked
    assert not client.shipper.broken
    assert not stderr.warnings()


def test_a_thread_that_leaves_takes_only_its_own_limit_along(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    """A stop clock may run: no later call puts the deadline of its thread off."""
    sidecar.acks = False
    client.emit({"message": "hi"})
    closing = client.shipper.closing
    closing.join(client.shipper.plan(20), "close")
    closing.join(client.shipper.plan(10), "SIGTERM")
    first = client.shipper.plan(0.0)
    closing.join(first, "close")
    assert closing.seconds_left() == 0.0
    closing.leave(first)
    closing.join(client.shipper.plan(1000), "exit")
    assert 0.0 < closing.seconds_left() <= 10.0
