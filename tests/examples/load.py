"""Load for the examples, from outside: visitors of a web server, orders in a queue.

It begins before a server listens and goes on until the server is gone, so that SIGTERM always
comes in the middle. What was answered is a second witness: its record must have arrived.
"""

from __future__ import annotations

import http.client
import itertools
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

VISITORS = 2
ANSWER_SECONDS_MAX = 20.0


class Load(ABC):
    """Threads that order, each with numbers of its own; a context manager that ends them."""

    pause_seconds = 0.01
    """Between two orders of one thread; leaves the processor to the server as it starts."""

    def __init__(self) -> None:
        self.answered: set[int] = set()
        self._numbers = itertools.count(1)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(VISITORS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @abstractmethod
    def order(self, number: int) -> bool:
        """Place an order; tell whether it was answered."""

    def _work(self) -> None:
        while not self._ended.wait(self.pause_seconds):
            number = next(self._numbers)
            if self.order(number):
                self.answered.add(number)


class NoLoad(Load):
    """For programs that have work of their own."""

    def order(self, number: int) -> bool:
        """Do nothing, once."""
        del number
        self._ended.wait()
        return False


class Visitors(Load):
    """Clients of a web server."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def order(self, number: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request("GET", f"/orders/{number}")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False  # not yet, no more, or a worker's end
        finally:
            connection.close()


class Queue(Load):
    """Senders of tasks, which get no answer.

    Celery's broker in a folder may read a task that is half written, so each is written elsewhere
    and then renamed.
    """

    pause_seconds = 0.05

    def __init__(self, directory: Path) -> None:
        super().__init__()
        import celery

        self._outbox, self._queue = directory / "outbox", directory / "queue"
        self._outbox.mkdir()
        self._queue.mkdir()
        self._lock = threading.Lock()
        self._app = celery.Celery("orders", broker="filesystem://", set_as_current=False)
        self._app.conf.broker_transport_options = {
            "data_folder_in": str(self._queue),
            "data_folder_out": str(self._outbox),
            "control_folder": str(directory / "queue-control"),
        }

    def order(self, number: int) -> bool:
        with self._lock:
            self._app.send_task("celery_app.place", args=[number], ignore_result=True)
            for task in self._outbox.iterdir():
                task.rename(self._queue / task.name)
        return False
