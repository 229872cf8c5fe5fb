"""Logs at a steady pace, as an application under load does, and notes what was accepted."""

from __future__ import annotations

import threading
import time
from typing import Self

from logship._client.background import BackgroundClient
from tests.contract.shipping import Ledger
from tests.support.programs import let_pass

TICK_SECONDS = 0.01


class PacedLogging:
    """A thread that logs `records_per_second` until it is told to stop; a context manager.

    Args:
        client: Takes the records.
        ledger: Gets the markers of those that were accepted.
        records_per_second: The pace; what a slow machine owes is caught up.
        text: A field of each record.
    """

    def __init__(
        self, client: BackgroundClient, ledger: Ledger, records_per_second: int, text: str
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._records_per_second = records_per_second
        self._text = text
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._log, name="paced-logging")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _log(self) -> None:
        started, logged = time.monotonic(), 0
        while not self._stopping.is_set():
            due = int((time.monotonic() - started) * self._records_per_second)
            self._ledger.emit(self._client, due - logged, text=self._text)
            logged = due
            let_pass(TICK_SECONDS)
