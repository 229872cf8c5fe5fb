"""The program of a storm: `python -m tests.storms.program PLAN`, where PLAN is a JSON file.

Four threads log, the main thread logs and is interrupted, and all that the plan names disturbs
them. At the end the client is closed and the ledger is written.
"""

from __future__ import annotations

import asyncio
import atexit
import bdb
import contextlib
import faulthandler
import gc
import itertools
import json
import logging
import os
import random
import sys
import threading
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import logship
from logship._client.background import BackgroundClient
from logship._client.client import Client
from logship._hooks import exits
from logship._settings import Settings
from logship.errors import BufferFull, ClientClosed
from tests.storms.ledger import Ledger, Outcome, Source
from tests.storms.weather import INTERRUPTIONS, Alarm, Garbage, Monitors, a_tool

TAGS = ("storm", "storm.a", "storm.b", None)
SOURCES_OF_A_PROCESS = 10_000
LOGGING_DROPS_NESTED_CALLS = hasattr(logging.Logger, "_is_disabled")
"""Newer versions of `logging` ignore a call that interrupts another one of its own thread."""
BEGUN = "begun"
"""The file that says that all threads log."""

_BATCH = 20
_CHILD_CALLS = 150
_CLOSE_SECONDS = 120.0
_REFUSED_MAX = 2000
"""So many calls of one thread are made after the end of intake."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        kind: `client` for a `BackgroundClient`, `logging` for `install` and `logging`, `asyncio`
            for a `Client` on an event loop in the main thread.
        records: About so many calls in all.
        seed: Of every choice.
        directory: For the ledgers.
        settings: Of the client.
        threads: Besides the main one.
        alarm, garbage, tools, forks, closes: What there is of each.
        exits: Whether the exit hook closes the client, while the alarm rings on.
    """

    kind: str
    records: int
    seed: int
    directory: str
    settings: dict[str, Any]
    threads: int = 4
    alarm: bool = True
    garbage: bool = True
    tools: bool = True
    forks: bool = False
    closes: bool = False
    exits: bool = False


class Storm:
    """All of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ledger = Ledger(0)
        self.random = random.Random(plan.seed)
        if plan.exits:
            atexit.register(self._finish)
            exits.register()  # the hook runs before what is registered earlier
        self.client = self._make_client()
        self.logger = logging.getLogger("storm")
        self._stopped = threading.Event()
        self._locals = threading.local()
        self._children: list[int] = []
        self._child_numbers = itertools.count(1)
        self._is_child = self._is_main_over = False
        calls = plan.records // (plan.threads + 1)
        self._own = [self.ledger.source(2 * calls) for _ in range(plan.threads + 1)]
        self._quota = calls
        handlers = [self.ledger.source(4 * plan.records) for _ in range(3)]
        self.alarm = Alarm(
            lambda depth: handlers[depth].make(self._log_once), plan.seed + 1, self._fork_sometimes
        )
        self.garbage = Garbage(self._last_words)
        self.monitors = Monitors(plan.seed + 2)

    # -- calls -----------------------------------------------------------------------------------

    def _make_client(self) -> BackgroundClient | Client:
        settings = self.plan.settings
        if self.plan.kind == "logging":
            return logship.install(level="INFO", console=False, **settings)
        made = Settings.from_env(os.environ, **settings)
        return Client(made) if self.plan.kind == "asyncio" else BackgroundClient(made)

    def _log_once(self, code: int) -> Outcome:
        """Log from a signal handler or from `__del__`, which must not wait."""
        if self.plan.kind == "logging" and not LOGGING_DROPS_NESTED_CALLS:
            self.logger.info("handled", extra={"code": code})
            return Outcome.LOGGED
        return self._emit(code)

    def _emit(self, code: int) -> Outcome:
        record = {"message": "a line of a program", "code": code, "took": code * 0.5}
        is_in = self.client.emit(record, TAGS[code % len(TAGS)])
        return Outcome.ACCEPTED if is_in else Outcome.REFUSED

    def _send(self, code: int) -> Outcome:
        assert isinstance(self.client, BackgroundClient)
        try:
            self.client.send({"message": "sent", "code": code}, TAGS[code % len(TAGS)])
        except (ClientClosed, BufferFull):
            return Outcome.REFUSED
        return Outcome.ACCEPTED

    def _log(self, code: int) -> Outcome:
        self.logger.info("line %d of %s", code, "a program", extra={"code": code})
        return Outcome.LOGGED

    def _send_many(self, source: Source) -> None:
        assert isinstance(self.client, BackgroundClient)
        calls = [each for each in (source.next_call() for _ in range(_BATCH)) if each is not None]
        records = [{"message": "one of many", "code": source.code(each)} for each in calls]
        try:
            self.client.send_many(records, TAGS[1])
            accepted = len(calls)
        except (ClientClosed, BufferFull) as error:
            accepted = error.records_accepted
        for place, call in enumerate(calls):
            source.outcomes[call] = Outcome.ACCEPTED if place < accepted else Outcome.REFUSED

    def _some_calls(self, source: Source, choice: random.Random) -> None:
        """Make one call, or a few at once."""
        if self.plan.kind == "logging":
            source.make(self._log)
        elif self.plan.kind == "asyncio":
            source.make(self._emit)
        else:
            draw = choice.random()
            if draw < 0.75:
                source.make(self._emit)
            elif draw < 0.99:
                source.make(self._send)
            else:
                self._send_many(source)

    def _last_words(self) -> None:
        """What every `__del__` says; each thread has a source of its own for that."""
        if self._stopped.is_set():
            return
        source = getattr(self._locals, "source", None)
        if source is None:
            source = self.ledger.source(self.plan.records, is_ordered=False)
            self._locals.source = source
        source.make(self._log_once)

    # -- threads ---------------------------------------------------------------------------------

    def _turn(self, source: Source, choice: random.Random) -> None:
        """Make calls, observed by a tool now and then, and leave garbage."""
        plan = self.plan
        if plan.tools and choice.random() < 0.001:
            with a_tool(choice):
                for _ in range(4):
                    self._some_calls(source, choice)
        self._some_calls(source, choice)
        if plan.garbage and choice.random() < 0.03:
            self.garbage.drop()

    def _work(self, source: Source, seed: int) -> None:
        """Be one of the threads."""
        choice = random.Random(seed)
        calls = refused = 0
        while calls < self._quota and refused < _REFUSED_MAX:
            with contextlib.suppress(*INTERRUPTIONS):  # a debugger's own
                self._turn(source, choice)
            calls += 1
            refused += self.client.intake_closed

    def _main(self, source: Source) -> None:
        """Be the main thread, which the alarm interrupts."""
        alarm, choice = self.alarm, self.random
        calls = refused = 0
        while calls < self._quota and refused < _REFUSED_MAX:
            calls += 1
            refused += self.client.intake_closed
            try:
                alarm.armed = self.plan.alarm
                self._turn(source, choice)
                alarm.armed = False
            except INTERRUPTIONS:
                continue
            if self.plan.forks and choice.random() < 0.0001:
                self._fork()
        self._is_main_over = True

    # -- forks -----------------------------------------------------------------------------------

    def _fork_sometimes(self) -> None:
        if self.plan.forks and not self._is_child:
            self._fork()

    def _fork(self) -> None:
        """Have a child log through the same client, close it and end.

        No garbage is collected until the child has a ledger of its own. Otherwise a `__del__` would
        note its call in a copy of the parent's ledger, under a number that the parent uses too.
        """
        armed, self.alarm.armed = self.alarm.armed, False
        number = next(self._child_numbers)
        gc.disable()
        try:
            child = os.fork()
            if child == 0:
                self._be_child(number)
        finally:
            gc.enable()
        self._children.append(child)
        self.alarm.armed = armed

    def _be_child(self, number: int) -> None:
        status = 70
        faulthandler.dump_traceback_later(_CLOSE_SECONDS / 2)  # it hangs, and shows where
        try:
            sys.settrace(None)
            sys.setprofile(None)
            self._is_child = True
            self._locals = threading.local()
            self.ledger = Ledger(number * SOURCES_OF_A_PROCESS)
            gc.enable()
            source = self.ledger.source(_CHILD_CALLS + 2 * _BATCH)
            for _ in range(_CHILD_CALLS):
                if LOGGING_DROPS_NESTED_CALLS:  # the fork may have come in the middle of one
                    source.make(self._emit)
                else:
                    self._some_calls(source, self.random)
            assert isinstance(self.client, BackgroundClient)
            self.client.close(_CLOSE_SECONDS)
            self._stopped.set()
            self.ledger.write(Path(self.plan.directory) / f"child-{number}.ledger")
            status = 0
        except BaseException:  # noqa: BLE001 - a child must not go on
            traceback.print_exc()
        finally:
            os._exit(status)

    def _wait_for_children(self) -> None:
        for child in self._children:
            _, status = os.waitpid(child, 0)
            if status:
                sys.exit(f"a child ended with {status}")

    # -- all of it -------------------------------------------------------------------------------

    def run(self) -> None:
        if self.plan.kind == "asyncio":
            asyncio.run(self._run_on_loop())
        else:
            assert isinstance(self.client, BackgroundClient)
            with self._threads():
                while not self._is_main_over:
                    with contextlib.suppress(bdb.BdbQuit):  # it may come again behind an `except`
                        self._main(self._own[0])
            if self.plan.exits:
                self.alarm.start()
                return
            self.client.close(_CLOSE_SECONDS)
        self._finish()

    def _finish(self) -> None:
        """Write what was done, once the client is closed."""
        self.alarm.stop()
        self._wait_for_children()
        self._stopped.set()
        self.ledger.write(Path(self.plan.directory) / "main.ledger")
        told = {"raised": self.alarm.raised, "children": len(self._children)}
        sys.stdout.write(json.dumps(told))

    async def _run_on_loop(self) -> None:
        assert isinstance(self.client, Client)
        self.client.start()
        with self._threads():
            choice, source = self.random, self._own[0]
            for call in range(self._quota):
                if self.client.intake_closed:
                    break
                try:
                    self.alarm.armed = self.plan.alarm
                    self._turn(source, choice)
                    self.alarm.armed = False
                except INTERRUPTIONS:
                    pass
                if call % 50 == 0:
                    await asyncio.sleep(0)
            await asyncio.to_thread(self._join)
        await self.client.close(_CLOSE_SECONDS)

    @contextlib.contextmanager
    def _threads(self) -> Any:
        plan = self.plan
        self._workers = [
            threading.Thread(target=self._work, args=(source, plan.seed + 10 + place))
            for place, source in enumerate(self._own[1:])
        ]
        if plan.closes and plan.kind != "asyncio":
            self._workers.append(threading.Thread(target=self._close_in_the_middle))
        for each in self._workers:
            each.start()
        (Path(plan.directory) / BEGUN).touch()
        if plan.tools:
            self.monitors.start()
        if plan.alarm:
            self.alarm.start()
        yield
        self._join()
        self.alarm.stop()
        if plan.tools:
            self.monitors.stop()

    def _join(self) -> None:
        for each in self._workers:
            each.join()

    def _close_in_the_middle(self) -> None:
        """End intake when about half of the records are made."""
        assert isinstance(self.client, BackgroundClient)
        while self.client.shipper.buffer.counters.accepted < self.plan.records // 2:
            threading.Event().wait(0.001)
        self.client.close(_CLOSE_SECONDS)


def main() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
    Storm(Plan(**json.loads(Path(sys.argv[1]).read_text()))).run()


if __name__ == "__main__":
    main()
