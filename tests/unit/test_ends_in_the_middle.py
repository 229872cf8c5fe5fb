"""Ends that come in the middle of something else: of a call, of another end, of a child's start."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.accumulator import Accumulator
from logship._buffer.entrance import Outcome
from logship._client import background
from logship._client.background import BackgroundClient
from logship._client.closing import Closing
from logship._client.intake import Intake
from logship._client.shipper import Shipper
from logship._delivery.drain import DrainPlan
from logship._hooks.threads import OwnThread
from logship._installation.handler import Handler
from logship._stderr.last_resort import LastResort
from logship.testing import Sidecar
from tests.support.raising import raising
from tests.support.threads import Later
from tests.support.waiting import wait_until
from tests.unit.clients import Stderr, a_background_client, messages
from tests.unit.interruptions import every_point
from tests.unit.pipes import Pipe


def test_a_close_in_the_middle_of_the_buffer_returns_and_a_later_one_delivers(
    client: BackgroundClient, sidecar: Sidecar, stderr: Stderr
) -> None:
    """As in a signal handler that interrupted a logging call."""
    assert client.emit({"message": "one"})
    report = client.shipper.buffer.exclusively(client.close)
    assert (report.reason, report.accepted) == ("close", 1)
    assert not client.emit({"message": "late"})
    assert client.close().all_acked
    assert messages(sidecar) == ["one"]
    assert not stderr.json("refused")


def test_an_exception_anywhere_in_a_close_leaves_the_rest_to_the_next_one(stderr: Stderr) -> None:
    """As after Ctrl-C: the limit of the first call does not hold for the second one."""
    sidecars: list[Sidecar] = []
    clients: list[BackgroundClient] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        sidecars[:] = [Sidecar()]
        clients[:] = [a_background_client(sidecars[0], stderr)]
        sidecars[0].acks = False
        assert clients[0].emit({"message": "one"})
        return lambda: clients[0].close(timeout=0.0), raising(KeyboardInterrupt)

    for run in every_point(prepare, room=background.__file__):
        with contextlib.suppress(KeyboardInterrupt):
            run()
        (client,), (sidecar,) = clients, sidecars
        had_report = client.report is not None
        sidecar.acks = True
        sidecar.hang_up()
        assert client.close(timeout=20).all_acked or had_report
        assert client._thread is not None
        client._thread.join(20)
        assert not client._thread.is_alive()


def on_the_shippers_thread(client: BackgroundClient, call: Callable[[], Any]) -> Any:
    """Return what a call returns that a destructor makes there."""
    results: list[Any] = []

    def make_it() -> None:
        results.append(call())

    assert client._thread is not None
    assert client._thread._loop is not None
    client._thread._loop.call_soon_threadsafe(make_it)
    wait_until(lambda: bool(results), "the call returns")
    return results[0]


def test_a_close_on_the_shippers_thread_returns_and_a_later_one_delivers(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    assert client.emit({"message": "one"})
    on_the_shippers_thread(client, client.close)
    assert client.close().all_acked
    assert messages(sidecar) == ["one"]


def test_a_flush_on_the_shippers_thread_does_not_wait_for_itself(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.acks = False
    assert client.emit({"message": "one"})
    assert not on_the_shippers_thread(client, client.flush).all_acked
    sidecar.acks = True
    sidecar.hang_up()
    assert client.flush(20).all_acked


def test_a_flush_before_a_record_has_its_number_does_not_call_it_acked(
    client: BackgroundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a signal handler that interrupted the call which gives numbers."""
    append = Accumulator.append
    reports: list[Any] = []

    def interrupted(self: Accumulator, *arguments: Any) -> int:
        if client.shipper.buffer.is_held_here and not reports:
            reports.append(client.flush())
        return append(self, *arguments)

    monkeypatch.setattr(Accumulator, "append", interrupted)
    assert client.emit({"message": "one"})
    assert client.flush(20).all_acked
    assert [(each.all_acked, each.unacked) for each in reports] == [(False, 1)]


def test_a_flush_says_that_records_went_to_stderr(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    sidecar.reachable = False
    sidecar.hang_up()
    for _ in range(3):
        assert client.emit({"message": "m"})
    flushing = Later(lambda: client.flush(20))
    wait_until(lambda: spilled_and_given_up(client), "all of it is on stderr")
    sidecar.reachable = True
    assert client.emit({"message": "later"})
    assert not flushing.join().all_acked


def spilled_and_given_up(client: BackgroundClient) -> bool:
    buffer, spill = client.shipper.buffer, client.shipper.spill
    assert spill is not None
    spill.step(time.monotonic() + 1.0)
    buffer.spilling.drop_spilled()
    return buffer.counters.spilled == 3


def test_a_report_whose_wait_for_stderr_was_interrupted_is_printed(sidecar: Sidecar) -> None:
    pipe = Pipe()
    pipe.fill()
    resort = InterruptedWait(descriptor=pipe.writing)
    client = a_background_client(sidecar, resort, report=True)
    assert client.emit({"message": "one"})
    with pytest.raises(KeyboardInterrupt):
        client.close()
    pipe.read()
    client.write_refused({"message": "late"}, None, None)
    printed = pipe.read()
    client.close()
    printed += pipe.read()
    pipe.close()
    assert b'"drain report"' in printed
    assert b'"late"' in printed


class InterruptedWait(LastResort):
    """Standard error whose first wait of the report a signal handler interrupts."""

    _was_interrupted = False

    def go_first(self, line: bytes) -> bool:
        is_written = super().go_first(line)
        if not self._was_interrupted:
            self._was_interrupted = True
            raise KeyboardInterrupt
        return is_written


@pytest.mark.parametrize("outcome", [Outcome.FULL, Outcome.REFUSED])
def test_a_record_stands_on_stderr_once_if_the_end_comes_behind_its_answer(
    client: BackgroundClient, stderr: Stderr, outcome: Outcome
) -> None:
    """A full buffer has counted it already; a refused one is written by one of the two alone."""
    intake = client.intake
    put = intake.put

    def put_and_close(*arguments: Any) -> Outcome:
        del arguments
        if outcome is Outcome.REFUSED:
            client.shipper.buffer.note("refused", 1)
        else:
            client.close()
        return outcome

    intake.put = put_and_close
    intake.admit_after = lambda outcome, *_: close_and(client, outcome)
    logger = logging.Logger("app")
    logger.addHandler(Handler(client))
    logger.info("one")
    intake.put = put
    assert len(stderr.json("refused")) == (outcome is Outcome.REFUSED)


def close_and(client: BackgroundClient, outcome: Outcome) -> Outcome:
    client.close()
    return outcome


def test_a_thread_is_not_stopped_for_ever_inside_what_the_end_needs(
    client: BackgroundClient, sidecar: Sidecar
) -> None:
    """A signal handler or a destructor logs in the middle of the buffer while the process dies."""
    buffer, inside, ending = client.shipper.buffer, threading.Event(), threading.Event()
    logger = logging.Logger("app")
    logger.addHandler(Handler(client))

    def log_inside() -> None:
        inside.set()
        assert ending.wait(20)
        logger.info("from a destructor")

    def log() -> None:
        buffer.exclusively(log_inside)

    def end() -> None:
        client.last_resort.stop_others()
        buffer._section.closing = True
        ending.set()
        client.close(5)

    assert client.emit({"message": "one"})
    threading.Thread(target=log, daemon=True).start()
    assert inside.wait(20)
    ender = OwnThread(end, "ender")
    ender.start()
    ender.join(20)
    assert not ender.is_alive()
    assert messages(sidecar)[0] == "one"


def test_a_handler_that_logs_while_a_child_begins_anew_loses_nothing(
    client: BackgroundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:
        os._exit(logs_in_the_middle(client, monkeypatch))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def logs_in_the_middle(client: BackgroundClient, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many records the report of this child says it has accepted."""
    hook = Shipper.after_fork_in_child

    def hook_and_signal(shipper: Shipper) -> None:
        hook(shipper)
        monkeypatch.setattr(Shipper, "after_fork_in_child", hook)
        client.emit({"message": "from a handler"})

    monkeypatch.setattr(Shipper, "after_fork_in_child", hook_and_signal)
    client.emit({"message": "first"})
    return client.close(timeout=0.2).accepted


def test_a_handler_that_forks_while_a_child_begins_anew_shares_no_spool(
    sidecar: Sidecar, stderr: Stderr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = a_background_client(sidecar, stderr, spool_dir=str(tmp_path))
    child = os.fork()
    if child == 0:
        os._exit(forks_in_the_middle(client, tmp_path, monkeypatch))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    client.close(timeout=20)


def forks_in_the_middle(
    client: BackgroundClient, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Return how many process directories a grandchild sees, its own among them."""
    new_intake = Shipper.new_intake
    grandchildren: list[int] = []

    def fork_first(shipper: Shipper) -> Intake:
        monkeypatch.setattr(Shipper, "new_intake", new_intake)
        grandchildren.append(os.fork())
        return new_intake(shipper)

    monkeypatch.setattr(Shipper, "new_intake", fork_first)
    is_accepted = client.emit({"message": "first"})
    if grandchildren == [0]:
        os._exit(is_accepted and sum(each.is_dir() for each in spool.iterdir()))
    return os.waitstatus_to_exitcode(os.waitpid(grandchildren[0], 0)[1])


# -- several threads that end one client -----------------------------------------------------------


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
