"""What every application under test does: log, and write down afterwards what it logged.

The ledger is the independent judge's source, so this module imports nothing of logship: a marker
is appended to it with one `os.write` *after* the logging call returned. Whatever the ledger names
must therefore be acked, spilled or named in the drain report.
"""

import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = [
    "DIRECTORY",
    "emit_marker",
    "end_of",
    "forever",
    "log",
    "new_marker",
    "once_it_ends",
    "print_marker",
    "progress",
    "ready",
    "wait_for",
    "write_down",
]

RUN = os.environ["TEST_RUN"]
DIRECTORY = Path(os.environ["TEST_DIRECTORY"])

LIFE = os.urandom(2).hex()
"""Differs from that of a program which became this one by exec: the two have one process number."""

_numbers = itertools.count(1)
"""`next` of it is one bytecode: a signal handler or a second thread cannot get the same number."""


def _open(name: str) -> int:
    # In a program that was started with stderr closed this may be descriptor 2: a trap on purpose,
    # for a library that believes 2 to be stderr would write into the ledger.
    return os.open(DIRECTORY / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


LEDGER = _open("ledger")
PROGRESS = _open("progress")


def log(
    text: str = "",
    *,
    times: int = 1,
    level: int = logging.INFO,
    logger: str = "application",
) -> str:
    """Log records with a unique marker each; write a marker into the ledger when it is logged."""
    marker = ""
    for _ in range(times):
        marker = new_marker()
        logging.getLogger(logger).log(level, "%s %s", marker, text)
        write_down(marker)
    return marker


def emit_marker(client: Any, **fields: str) -> None:
    """Ship one record as `log` does, by hand."""
    marker = new_marker()
    assert client.emit({"message": marker, **fields})
    write_down(marker)


def print_marker(text: str = "") -> None:
    """Print one line as `log` logs a record."""
    marker = new_marker()
    sys.stdout.write(f"{marker} {text}".rstrip() + "\n")
    sys.stdout.flush()
    write_down(marker)


def new_marker() -> str:
    """Return a word that is unique among all programs, processes and threads of the tests."""
    return f"{RUN}-{os.getpid()}-{LIFE}{next(_numbers)}"


def write_down(marker: str) -> None:
    """Append `marker` to the ledger: the call that logged it has returned."""
    os.write(LEDGER, f"{marker}\n".encode())


def progress(word: str) -> None:
    """Tell the test how far the program is."""
    os.write(PROGRESS, f"{word}\n".encode())


def ready() -> None:
    """Tell the test that the program may be signalled, and which process that is."""
    progress(f"ready {os.getpid()}")


def wait_for(word: str) -> None:
    """Wait until the test lets the program go on."""
    while not (DIRECTORY / f"go-{word}").exists():
        time.sleep(0.005)


def forever() -> None:
    """Run until the program is ended; interruptible at any time."""
    while True:
        time.sleep(0.02)


def once_it_ends(client: Any, tell: Callable[..., None], *words: str) -> None:
    """Call `tell`, from another thread, as soon as the end of the client is on."""

    def watch() -> None:
        while not client.intake_closed:
            time.sleep(0.005)
        tell(*words)

    threading.Thread(target=watch, daemon=True).start()


def end_of(pid: int) -> None:
    """Wait for a forked child, and note its status: its end goes into the files of its parent."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    progress(f"child {status}")
