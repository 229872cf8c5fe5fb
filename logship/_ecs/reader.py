"""Reads the task metadata of ECS, on a separate thread.

The task metadata endpoint (version 4) is a plain HTTP server on a link-local address that every
container of a task can reach. No other thread waits for it. If it does not answer in time, or its
answer is not as documented, the task stays unknown. That is not an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from logship._hooks.threads import OwnThread
from logship._settings import TASK_METADATA_VARIABLE

if TYPE_CHECKING:
    from logship._ecs.task import Task

TIMEOUT_SECONDS = 1.0
"""For each step of an answer. The endpoint is on the same host and takes milliseconds."""

TASK_SECONDS_MAX = 5.0
"""For all attempts. The endpoint may refuse a task that has just started with a quarter of a CPU.
Records that wait for the answer are in the buffer, and delay no caller."""

_RETRY_SECONDS = 0.25


def read_task(environ: Mapping[str, str]) -> Task | None:
    """Return the task, or None outside of ECS or if the metadata cannot be read.

    Args:
        environ: As `os.environ`.
    """
    from logship._ecs.httpjson import get_json  # noqa: PLC0415 - only a program in a task pays for HTTP
    from logship._ecs.task import task_of  # noqa: PLC0415 - as above

    base = environ.get(TASK_METADATA_VARIABLE, "")
    if not base:
        return None
    own = get_json(base, TIMEOUT_SECONDS)
    task = get_json(f"{base}/task", TIMEOUT_SECONDS) if isinstance(own, dict) else None
    if not isinstance(own, dict) or not isinstance(task, dict):
        return None
    return task_of(own, task)


class TaskReader:
    """Reads the metadata on a separate thread.

    Args:
        environ: As `os.environ`.

    Attributes:
        task: The task; None until it is known, and forever if it cannot be known.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._waiting: dict[int, list[Callable[[], object]]] = {}  # by the process that reads
        self._ended: set[int] = set()  # in these processes
        self.task: Task | None = None

    @property
    def is_over(self) -> bool:
        """Whether `task` will not change any more: it is known, or no request is under way."""
        if self.task is not None or not self._environ.get(TASK_METADATA_VARIABLE):
            return True
        return os.getpid() in self._ended

    def start(self) -> None:
        """Begin to read, unless it has begun or this is not ECS; from any thread.

        A forked child uses the answer that its parent has read. If the parent was still reading at
        the fork, the child reads again, because it does not have the parent's thread.
        """
        process = os.getpid()
        if self.is_over or process in self._waiting:
            return
        # Imported here and not in the thread: in a child that is forked during the import, the
        # module would stay locked for good.
        import tenacity  # noqa: F401, PLC0415 - only a program in a task pays for these

        import logship._ecs.httpjson  # noqa: PLC0415 - as above
        import logship._ecs.task  # noqa: F401, PLC0415 - as above

        waiting: list[Callable[[], object]] = []
        if self._waiting.setdefault(process, waiting) is not waiting:
            return  # another thread was faster
        try:
            OwnThread(partial(self._read, process), "ecs").start()
        except RuntimeError:  # at interpreter exit: no thread can begin
            self._ended.add(process)

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` in any thread when reading is over; twice, if it is just ending."""
        if not self.is_over:
            # None in a child that a signal handler has forked behind `start`.
            self._waiting.get(os.getpid(), []).append(callback)
        if self.is_over:
            callback()

    def _read(self, process: int) -> None:
        try:
            import tenacity  # noqa: PLC0415 - loaded by `start`

            until_known = tenacity.Retrying(
                retry=tenacity.retry_if_result(lambda task: task is None),
                wait=tenacity.wait_fixed(_RETRY_SECONDS),
                stop=tenacity.stop_after_delay(TASK_SECONDS_MAX - _RETRY_SECONDS),
                retry_error_callback=lambda _: None,
            )
            self.task = until_known(read_task, self._environ)
        finally:
            self._ended.add(process)
            waiting, self._waiting[process] = self._waiting[process], []  # a client may be gone
            for callback in waiting:
                callback()


_readers: dict[str, TaskReader] = {}


def task_reader(environ: Mapping[str, str]) -> TaskReader:
    """Return the one reader of this process, so that the metadata are read once.

    Args:
        environ: As `os.environ`.
    """
    return _readers.setdefault(environ.get(TASK_METADATA_VARIABLE, ""), TaskReader(environ))
