"""The shipper's thread where its event loop cannot be made, or fails."""

from __future__ import annotations

import asyncio
import errno
import os
import selectors
import signal
from types import FrameType
from typing import Any

import pytest

from logship._hooks.threads import is_own
from logship.testing import Sidecar
from tests.support.threads import Later
from tests.support.waiting import wait_until
from tests.unit.clients import Stderr, a_background_client


def failing(number: int) -> Any:
    """Return a function that raises the error of this number."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_calls_that_wait_for_a_loop_are_let_go_when_it_fails(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `os.closerange`: the selector's descriptor is closed, or is another file's."""
    sidecar.acks = False
    client = a_background_client(sidecar, stderr)
    client.emit({"message": "hi"})
    waiting = Later(client.flush)
    wait_until(lambda: bool(sidecar.held_acks), "the chunk is on its way")
    select = selectors.DefaultSelector.select
    fail = failing(errno.EINVAL)
    monkeypatch.setattr(
        selectors.DefaultSelector, "select", lambda *args: fail() if is_own() else select(*args)
    )
    client.shipper.stop_lingering()  # wakes the loop
    assert not waiting.join().all_acked
    assert client.emit({"message": "later"})
    assert not client.flush(20).all_acked
    report = client.close()
    assert (report.accepted, report.spilled) == (2, 2)
    assert report.seconds < client.settings.exit_stall_seconds
    assert "Invalid argument" in stderr.warnings()[0]


def test_a_time_limit_passes_through_a_wake_up(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may raise what a closed loop raises."""

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise RuntimeError("the application's own time limit")

    monkeypatch.setattr(
        asyncio.SelectorEventLoop,
        "call_soon_threadsafe",
        lambda *_, **__: signal.raise_signal(signal.SIGUSR1),
    )
    before = signal.signal(signal.SIGUSR1, end)
    client = a_background_client(sidecar, stderr)
    try:
        with pytest.raises(RuntimeError, match="time limit"):
            client.flush(timeout=0.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
        monkeypatch.undo()
        client.close()
