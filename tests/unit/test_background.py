"""The client on its own thread: every method from many threads at once, and no call hangs.

Where a test joins a thread it does so within a deadline, so that a hang is a failure.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._delivery.drain import DrainPlan, Step
from logship._hooks.threads import OwnThread, is_own
from logship.errors import ClientClosed
from logship.testing import MemoryTransport, Sidecar
from tests.support.raising import raising
from tests.support.threads import Later, in_threads
from tests.support.waiting import wait_until
from tests.unit.clients import Stderr, a_background_client, messages, quick_settings

# -- closing ---------------------------------------------------------------------------------------


def test_close_of_many_threads_at_once_gives_one_report(client: BackgroundClient) -> None:
    client.emit({"message": "hi"})
    reports = in_threads(8, lambda _: client.close())
    assert all(report is reports[0] for report in reports)
    assert reports[0].all_acked
    assert client.close() is reports[0]
    assert client.report is reports[0]


def test_a_shorter_deadline_of_another_thread_holds(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    """The watchdog's clock runs while the application's own `close` waits without one."""
    sidecar.acks = False
    client.emit({"message": "hi"})
    patient = Later(lambda: client.close(timeout=1000))
    wait_until(lambda: client.intake_closed, "it is closing")
    report = client.close(timeout=0.2)
    assert patient.join() is report
    assert (report.accepted, report.acked) == (1, 0)


def test_every_thread_is_started_by_the_one_that_makes_the_client(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that logs and ends: from then on no thread can be started, also by the shipper."""
    starters: dict[str, threading.Thread] = {}
    start = OwnThread.start

    def noting(self: OwnThread) -> None:
        starters[self.name] = threading.current_thread()
        start(self)

    monkeypatch.setattr(OwnThread, "start", noting)
    client = a_background_client("tcp://localhost:24224", stderr)
    client.close(timeout=0.0)  # waits for the shipper's thread, which comes to its first step
    assert {"logship-shipper", "logship-resolver"} <= set(starters)
    assert set(starters.values()) == {threading.current_thread()}


@pytest.mark.parametrize("acks", [True, False])
def test_flush_while_another_thread_closes_never_hangs(
    sidecar: Sidecar, stderr: Stderr, acks: bool
) -> None:
    for _ in range(5):
        sidecar.acks = acks
        client = a_background_client(sidecar, stderr)
        client.emit({"message": "hi"})
        results = close_and_flush(client, timeout=20.0 if acks else 0.1)
        assert not [result for result in results if isinstance(result, Exception)]
        assert client.flush(20).all_acked is acks


def close_and_flush(client: BackgroundClient, timeout: float) -> list[Any]:
    close = functools.partial(client.close, timeout=timeout)
    calls: list[Callable[[], Any]] = [close, client.flush, client.flush] * 2
    return in_threads(len(calls), lambda n: calls[n]())


def test_a_client_ships_while_the_loop_of_another_one_is_busy(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    is_armed, entered, go_on = threading.Event(), threading.Event(), threading.Event()

    def monotonic() -> float:
        if is_armed.is_set() and is_own():
            entered.set()
            go_on.wait(20)
        return time.monotonic()

    busy = BackgroundClient(
        quick_settings(),
        transport=MemoryTransport(Sidecar()),
        parts={"last_resort": stderr.last_resort(), "monotonic": monotonic},
    )
    busy.flush(5)
    other = a_background_client(sidecar, stderr)
    other.flush(5)
    is_armed.set()
    busy.emit({"message": "wakes its shipper"})
    assert entered.wait(20)
    try:
        other.emit({"message": "here"})
        wait_until(lambda: messages(sidecar) == ["here"], "the other client ships", 10)
    finally:
        is_armed.clear()
        go_on.set()
        other.close(1)
        busy.close(1)


def test_after_close(client: BackgroundClient) -> None:
    client.close()
    assert client.emit({"message": "late"}) is False
    with pytest.raises(ClientClosed):
        client.send({"message": "late"})
    assert client.flush(20).all_acked
    assert client.intake_closed


def test_a_report_is_corrected_once_for_what_was_refused_since(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    client = a_background_client(sidecar, stderr)
    client.emit({"message": "accepted"})
    assert client.close(timeout=10).says_all_is_well
    client.correct_report()
    assert stderr.json("report correction") == []
    for count in (1, 2):
        client.write_refused({"message": "late"}, None, None)
        client.correct_report()
        client.correct_report()
        *_, correction = stderr.json("report correction")
        assert len(stderr.json("report correction")) == count
        assert (correction["refused_lines"], correction["accepted"]) == (count, 1)


def test_a_thread_that_hangs_in_close_does_not_hold_up_another_one(
    client: BackgroundClient, sidecar: Sidecar, stderr: Stderr
) -> None:
    """A signal handler of the application that does not return may hold it."""
    sidecar.acks = False
    client.emit({"message": "hi"})
    hangs, end = threading.Event(), threading.Event()

    def hang(step: Callable[[], object], _: object) -> None:
        step()
        hangs.set()
        assert end.wait(60)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logship._client.background.drive", hang)
        hanging = Later(client.close)
        assert hangs.wait(20)
    report = Later(lambda: client.close(timeout=2.0)).join()
    assert not hanging.is_done
    assert (report.accepted, report.spilled, report.unacked) == (1, 1, 0)
    assert len(stderr.json("drain report")) == 1
    end.set()
    assert hanging.join() is report


def test_a_thread_that_hangs_in_a_step_of_the_end_does_not_hold_up_another_one(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    client.emit({"message": "hi"})
    hangs, end = threading.Event(), threading.Event()

    def hang(*_: Any) -> Step:
        hangs.set()
        assert end.wait(60)
        return Step.OVER

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrainPlan, "step", hang)
        hanging = Later(client.close)
        assert hangs.wait(20)
        report = Later(lambda: client.close(timeout=0.1)).join()
        assert (report.accepted, report.unacked) == (1, 1)
        end.set()
        hanging.join()


def test_a_handler_that_closes_in_the_middle_of_close_does_not_wait_for_itself(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    client.emit({"message": "hi"})
    inner: list[Any] = []
    step = DrainPlan.step

    class Interrupted(DrainPlan):
        def step(self, *arguments: Any) -> Any:
            if not inner:
                inner.append(None)
                inner[0] = client.close()
                sidecar.release_acks()
            return step(self, *arguments)

    plan = client.shipper.plan(20)
    interrupted = Interrupted(
        started_seconds=plan.started_seconds,
        deadline_seconds=plan.deadline_seconds,
        stall_seconds=plan.stall_seconds,
    )
    wait_until(lambda: bool(sidecar.held_acks), "the chunk is on its way")
    sidecar.acks = True
    report = Later(lambda: client.drain(interrupted, "test")).join()
    assert report.all_acked
    assert inner[0].accepted == 1


def test_flush_from_a_handler_that_interrupted_the_buffer_does_not_wait_for_itself(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    client.emit({"message": "hi"})
    assert not client.shipper.buffer.exclusively(client.flush).all_acked


def test_a_client_is_busy_where_a_handler_interrupts_the_start_of_a_thread(
    client: BackgroundClient,
) -> None:
    """The main thread must not be stopped there: the shipper's thread could not end."""
    seen = []

    class Interrupted(threading.Thread):
        def __hash__(self) -> int:  # called in the lock of `threading`, among others
            seen.append(client.is_busy_here)
            return super().__hash__()

    thread = Interrupted()
    assert not client.is_busy_here
    thread.start()
    thread.join()
    assert any(seen)
    assert not client.is_busy_here


# -- when its event loop fails ---------------------------------------------------------------------


def test_calls_that_wait_for_a_loop_are_let_go_when_it_fails(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `os.closerange`: the selector's descriptor is closed, or is another file's."""
    sidecar.acks = False
    client = a_background_client(
        sidecar, stderr, exit_stall_seconds=1000.0, exit_drain_seconds_max=1000.0
    )
    client.emit({"message": "hi"})
    waiting = Later(client.flush)
    wait_until(lambda: bool(sidecar.held_acks), "the chunk is on its way")
    select = selectors.DefaultSelector.select
    fail = raising(OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
    monkeypatch.setattr(
        selectors.DefaultSelector, "select", lambda *args: fail() if is_own() else select(*args)
    )
    client.shipper.stop_lingering()  # wakes the loop
    assert not waiting.join().all_acked
    assert client.emit({"message": "later"})
    assert not client.flush(20).all_acked
    report = Later(client.close).join()
    assert (report.accepted, report.spilled) == (2, 2)
    assert "Invalid argument" in stderr.warnings()[0]


def test_a_time_limit_passes_through_a_wake_up(
    sidecar: Sidecar, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may raise what a closed loop raises."""

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise RuntimeError("the application's own time limit")

    client = a_background_client(sidecar, stderr)
    client.emit({"message": "its loop runs"})
    assert client.flush().all_acked
    monkeypatch.setattr(
        asyncio.SelectorEventLoop,
        "call_soon_threadsafe",
        lambda *_, **__: signal.raise_signal(signal.SIGUSR1),
    )
    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(RuntimeError, match="time limit"):
            client.flush(timeout=0.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
        monkeypatch.undo()
        client.close()
