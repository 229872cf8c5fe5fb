"""What each stop signal does to each entrypoint under each disposition, as one table.

The disposition is that of the process that gets the signal, as a container's runtime sends it: to
the first one alone. `IGNORED` is inherited, as beneath `nohup`. `OWN` is a handler that the program
sets before it installs logship, or, at a server, when the server imports it; it calls the handler
that it replaces. In each cell, no record may be lost and each stream must have its end record.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)

DEFAULT = "default"
IGNORED = "ignored"
OWN = "own"


@dataclass(frozen=True)
class Outcome:
    """What becomes of an entrypoint.

    Attributes:
        status: How the process that got the signal ends; None for death by the signal.
        lives_on: Whether it goes on, and ends with that status only when the test lets it.
        reloads: Whether new processes take the place of the old ones.
        may_hang: Whether it may hang in a handler that is not logship's.
        no_cell: Why there is nothing to test.
    """

    status: int | None = None
    lives_on: bool = False
    reloads: bool = False
    may_hang: bool = False
    no_cell: str = ""


DIES = Outcome()
"""By the signal, as without logship. `run` and PID 1 show it by the status that a shell shows."""
IN_ORDER = Outcome(status=7)
"""The program notices, says its last words and exits."""
LIVES = Outcome(status=7, lives_on=True)
"""It goes on until the test lets it exit."""
SHUTS_DOWN = Outcome(status=0)
"""A server shuts down."""
ABORTS = Outcome(status=1)
"""Celery shuts down, and exits with the status of a failure."""
MAY_HANG = Outcome(status=0, may_hang=True)
"""Celery shuts down, or hangs in its own handler; then it is killed once its records arrived."""
RELOADS = Outcome(status=0, lives_on=True, reloads=True)
"""The server replaces its workers, or itself, and goes on until a SIGTERM."""
GOES_ON = Outcome(status=-signal.SIGTERM, lives_on=True)
"""uvicorn goes on until a SIGTERM, which it raises again once it has shut down."""

MASTER = Outcome(no_cell="gunicorn's master keeps it, and sends its workers another signal")
CELERY = Outcome(no_cell="Celery replaces the program's handlers, and its pool resets them")

TABLE = {
    # SIGTERM, SIGINT, SIGQUIT, SIGHUP
    ("script", DEFAULT): (DIES, DIES, DIES, DIES),
    ("script", IGNORED): (LIVES, LIVES, LIVES, LIVES),
    ("script", OWN): (IN_ORDER, IN_ORDER, IN_ORDER, IN_ORDER),
    ("asyncio", DEFAULT): (DIES, DIES, DIES, DIES),
    ("asyncio", IGNORED): (LIVES, LIVES, LIVES, LIVES),
    ("asyncio", OWN): (IN_ORDER, IN_ORDER, IN_ORDER, IN_ORDER),
    ("uvloop", DEFAULT): (DIES, DIES, DIES, DIES),
    ("uvloop", IGNORED): (LIVES, LIVES, LIVES, LIVES),
    ("uvloop", OWN): (IN_ORDER, IN_ORDER, IN_ORDER, IN_ORDER),
    ("gunicorn", DEFAULT): (SHUTS_DOWN, SHUTS_DOWN, SHUTS_DOWN, RELOADS),
    ("gunicorn", IGNORED): (SHUTS_DOWN, SHUTS_DOWN, SHUTS_DOWN, RELOADS),
    ("gunicorn", OWN): (SHUTS_DOWN, MASTER, SHUTS_DOWN, MASTER),
    ("uvicorn", DEFAULT): (DIES, SHUTS_DOWN, DIES, DIES),
    ("uvicorn", IGNORED): (SHUTS_DOWN, SHUTS_DOWN, GOES_ON, GOES_ON),
    ("uvicorn", OWN): (SHUTS_DOWN, SHUTS_DOWN, GOES_ON, GOES_ON),
    ("celery", DEFAULT): (SHUTS_DOWN, ABORTS, MAY_HANG, RELOADS),
    ("celery", IGNORED): (SHUTS_DOWN, ABORTS, MAY_HANG, RELOADS),
    ("celery", OWN): (CELERY, CELERY, CELERY, CELERY),
    ("run", DEFAULT): (DIES, DIES, DIES, DIES),
    ("run", IGNORED): (LIVES, LIVES, LIVES, LIVES),
    ("run", OWN): (IN_ORDER, IN_ORDER, IN_ORDER, IN_ORDER),
    ("pid1", DEFAULT): (DIES, DIES, DIES, DIES),
    ("pid1", IGNORED): (LIVES, LIVES, LIVES, LIVES),
    ("pid1", OWN): (IN_ORDER, IN_ORDER, IN_ORDER, IN_ORDER),
    ("run-pid1", DEFAULT): (DIES, DIES, DIES, DIES),
    ("run-pid1", IGNORED): (LIVES, LIVES, LIVES, LIVES),
    ("run-pid1", OWN): (IN_ORDER, IN_ORDER, IN_ORDER, IN_ORDER),
}

OF_THE_NORMAL_SUITE = {
    ("asyncio", DEFAULT, signal.SIGQUIT),
    ("uvloop", DEFAULT, signal.SIGHUP),
    ("gunicorn", DEFAULT, signal.SIGHUP),
    ("uvicorn", DEFAULT, signal.SIGINT),
    ("run-pid1", IGNORED, signal.SIGTERM),
    ("celery", DEFAULT, signal.SIGHUP),
}


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        entrypoint: How the program is started.
        disposition: Of the signal.
        signum: The signal.
        outcome: What it does.
    """

    entrypoint: str
    disposition: str
    signum: signal.Signals
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.entrypoint}-{self.signum.name}-{self.disposition}"

    @property
    def is_of_the_normal_suite(self) -> bool:
        """Whether it is part of the thin slice that runs by default."""
        return (self.entrypoint, self.disposition, self.signum) in OF_THE_NORMAL_SUITE


def cells() -> Iterator[Cell]:
    """Yield each cell of the table in which there is something to test."""
    for (entrypoint, disposition), outcomes in TABLE.items():
        for signum, outcome in zip(SIGNALS, outcomes, strict=True):
            if not outcome.no_cell:
                yield Cell(entrypoint, disposition, signum, outcome)
