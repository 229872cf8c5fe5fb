"""An application of the soak: `application.py NAME RATE DIRECTORY [prints] [signals] [jumps]`.

It logs RATE records a second until it is ended. Each is written into the ledger after `emit` took
it, or after it was printed. What happened besides is written into a file of events.

A clock that jumps is a `time.time_ns` that is replaced before logship is imported: the machine's
own clock is not for a test to set, and a time namespace of Linux has no wall clock.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tests.storms.weather import INTERRUPTIONS, Alarm

ALARM_SECONDS = 0.005
FORK_SECONDS = 6.0
JUMP_SECONDS = 4.0
CHILD_RECORDS = 20
CHILD_CLOSE_SECONDS = 30.0
PAD = "x" * 120
HOUR_NS = 3600 * 10**9
JUMPS_NS = (0, HOUR_NS, -HOUR_NS, 24 * HOUR_NS, -(10**18), -2 * 10**18)
"""How far the clock is from the true time; the last one is before 1970."""


class Ledger:
    """One source's file, with a line for the number of each record that was taken.

    Args:
        directory: Of all ledgers.
        name: Of the source.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._ledger = os.open(directory / f"{name}.ledger", flags, 0o600)
        self._events = os.open(directory / f"{name}.events", flags, 0o600)
        self._numbers = itertools.count()

    def next_text(self) -> tuple[int, str]:
        """Return a number that no other record has, and a text with it."""
        number = next(self._numbers)
        return number, f"{self.name} {number} {PAD}"

    def note(self, number: int) -> None:
        os.write(self._ledger, b"%d\n" % number)

    def note_event(self, event: str) -> None:
        os.write(self._events, f"{event}\n".encode())


class Clock:
    """The wall clock of this process, which jumps."""

    def __init__(self) -> None:
        now, now_ns = time.time, time.time_ns
        self.offset_ns = 0
        time.time_ns = lambda: now_ns() + self.offset_ns
        time.time = lambda: now() + self.offset_ns / 1e9


class Application:
    """It logs, is interrupted, and forks."""

    def __init__(self, name: str, directory: Path, client: Any) -> None:
        self._directory = directory
        self._client = client
        self._ledger = Ledger(directory, name)
        self._children = itertools.count(1)
        self.random = random.Random(name)
        self.alarm = Alarm(lambda _: self.emit(), self.random.randrange(1 << 30), lambda: None)

    def emit(self) -> None:
        number, text = self._ledger.next_text()
        if self._client.emit({"message": text}):
            self._ledger.note(number)

    def print(self) -> None:
        """Print a record, for `logship run` to ship."""
        number, text = self._ledger.next_text()
        os.write(1, f"{text}\n".encode())
        self._ledger.note(number)

    def emit_interrupted(self) -> None:
        """Log, while a signal handler may raise."""
        try:
            self.alarm.armed = True
            self.emit()
            self.alarm.armed = False
        except INTERRUPTIONS:
            self._ledger.note_event("raised")

    def note_event(self, event: str) -> None:
        self._ledger.note_event(event)

    def fork(self) -> None:
        """Have a child log through the same client, close it and end."""
        name = f"{self._ledger.name}.{next(self._children)}"
        self._ledger.note_event("fork")
        if os.fork():
            return
        try:
            self._ledger = Ledger(self._directory, name)
            for _ in range(CHILD_RECORDS):
                self.emit()
            self._client.close(CHILD_CLOSE_SECONDS)
        finally:
            os._exit(0)


def main() -> None:
    name, rate, directory, *flags = sys.argv[1:]
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    clock = Clock() if "jumps" in flags else None
    import logship

    application = Application(name, Path(directory), logship.install(console=False))
    if "signals" in flags:
        application.alarm.start()
        signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS, ALARM_SECONDS)
    log = application.emit_interrupted if "signals" in flags else application.emit
    begun = time.monotonic()
    next_fork, next_jump = begun + FORK_SECONDS, begun + JUMP_SECONDS
    for number in itertools.count(1):
        log()
        if "prints" in flags:
            application.print()
        now = time.monotonic()
        if clock is not None and now >= next_jump:
            next_jump = now + JUMP_SECONDS
            clock.offset_ns = application.random.choice(JUMPS_NS)
            application.note_event("jump")
        if "forks" in flags and now >= next_fork:
            next_fork = now + FORK_SECONDS
            application.fork()
        if number % 20 == 0:
            time.sleep(max(0.0, begun + number / int(rate) - now))


if __name__ == "__main__":
    main()
