"""Where a buffer could lose or double a record without a word: one test for each such place."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from logship._buffer import entrance, section
from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._installation.handler import Handler
from logship.testing import Sidecar
from tests.support.waiting import wait_until
from tests.unit.accounts import a_buffer, body
from tests.unit.clients import (
    Stderr,
    a_background_client,
    a_client,
    messages,
)
from tests.unit.interruptions import Interruption
from tests.unit.test_buffer_rare import Middle, numbers_in


@contextmanager
def held_elsewhere(buffer: Buffer, until: Callable[[], object]) -> Iterator[None]:
    """Have another thread in the critical section until `until` returns."""
    entered = threading.Event()

    def hold() -> None:
        entered.set()
        until()

    holder = threading.Thread(target=lambda: buffer.exclusively(hold), daemon=True)
    holder.start()
    assert entered.wait(20)
    yield
    holder.join(20)


def test_without_memory_the_bound_holds() -> None:
    memory = Middle()
    buffer = a_buffer(random_bytes=memory)
    outcomes = [buffer.offer("t", body(number, 1000)) for number in range(50)]
    memory.has_memory = False
    outcomes += [buffer.offer("t", body(number, 1000)) for number in range(50, 300)]
    memory.has_memory = True
    accepted = [n for n, outcome in enumerate(outcomes) if outcome is Outcome.ACCEPTED]
    assert outcomes[-1] is Outcome.FULL
    assert numbers_in(buffer) == accepted
    assert buffer.bytes_held <= 100_000


def test_what_a_handler_raises_passes_after_it_has_unregistered_itself(stderr: Stderr) -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGUSR1, before)
        raise Interruption

    def redact(record: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return record

    before = signal.signal(signal.SIGUSR1, on_signal)
    client = a_client(Sidecar(), stderr, redact=redact)
    with pytest.raises(Interruption):
        client.emit({"message": "here"})


def test_a_call_while_intake_ends_does_not_wait_for_a_holder_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The holder runs a `__del__` that wants a lock which the call's own thread holds."""
    monkeypatch.setattr(section, "DECISION_PATIENCE_SECONDS", 0.01)
    buffer = a_buffer()
    application_lock = threading.Lock()
    application_lock.acquire()
    got: list[bool] = []
    with held_elsewhere(buffer, lambda: got.append(application_lock.acquire(timeout=20.0))):
        threading.Thread(target=buffer.close_intake, daemon=True).start()
        wait_until(lambda: buffer.intake_closed, "intake ends")
        buffer.offer("t", body(1))
        application_lock.release()
    assert got == [True]


def test_a_record_beyond_the_promises_is_on_stderr(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "PROMISES_MAX", 4)
    sidecar, go_on = Sidecar(), threading.Event()
    client = a_background_client(sidecar, stderr, block_seconds_max=0.0)
    logger = logging.Logger("storm")
    logger.addHandler(Handler(client))
    large = "x" * 1000  # so that each call looks at the bound
    with held_elsewhere(client.shipper.buffer, lambda: go_on.wait(20)):
        for number in range(8):
            logger.info("%d %s", number, large)
        go_on.set()
    client.close(5)
    told = {line["record"]["message"] for line in stderr.json("refused")}
    assert len({*messages(sidecar), *told}) == 8
