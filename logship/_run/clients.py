"""Services of `run` for logship clients inside its command: a spool, the stop clock, and recovery.

A client with a spool loses no record by SIGKILL, if another process ships the spooled records.
Under `run` that process is `run`. So every client gets a spool without a volume or a second
container: it is in a directory of the container that exists while `run` does. If the environment
already names a spool, the operator owns it and recovers it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from logship._client.schedule import new_loop
from logship._delivery.drain import DrainPlan
from logship._hooks.threads import OwnThread
from logship._metrics.outlet import environ_for_children, pages_directory
from logship._process.clock import margin_seconds
from logship._recover import Recoverer, RecoveryReport
from logship._run.deadlines import Deadlines
from logship._run.private_directory import OPEN_AS_TMP, PrivateDirectory
from logship._settings import (
    SPOOL_BYTES_MIN,
    STOP_FILE_VARIABLE,
    STOP_TIMEOUT_SECONDS_MIN,
    Settings,
    variable_name,
)
from logship._spool.files import OPEN_DIRECTORY, closing
from logship._spool.progress import RecoveryCounters
from logship._spool.volumes import filesystem_of
from logship._stderr.last_resort import LastResort

SPOOL_VARIABLE = variable_name("spool_dir")
SPOOL_BYTES_VARIABLE = variable_name("spool_bytes_max")
STOP_TIMEOUT_VARIABLE = variable_name("stop_timeout_seconds")

_IN_MEMORY = ("tmpfs", "ramfs")


def settings_with_pages(settings: Settings, directory: PrivateDirectory | None) -> Settings:
    """Return the settings with this directory for the metrics pages, unless another one is set.

    If that other one is missing, it is made, so that clients of other users can use it.
    """
    chosen = settings.metrics_dir or settings.spool_dir
    if settings.metrics_port is not None and chosen is None and directory is not None:
        return dataclasses.replace(settings, metrics_dir=str(directory.metrics))
    pages = pages_directory(settings)
    if pages is not None and os.geteuid() == 0:
        _make_for_all_users(pages)
    return settings


def _make_for_all_users(pages: Path) -> None:
    """Make a directory in which, as in /tmp, each user owns only their own files."""
    with contextlib.suppress(OSError):  # it is there already; or the first page says why not
        pages.mkdir(mode=0o700)
        with closing(os.open(pages, OPEN_DIRECTORY)) as descriptor:
            os.fchmod(descriptor, OPEN_AS_TMP)


def environment_for(
    environ: Mapping[str, str], directory: PrivateDirectory | None, settings: Settings
) -> dict[str, str]:
    """Return the command's environment: that of `run`, and variables for clients in the command.

    Secrets in it are moved into files of the directory. The memory bound of `run` also bounds a
    spool in memory. Without a directory clients cannot be told when they will be killed, so their
    stop timeout ends before that in any case.
    """
    given = {**environ, **environ_for_children(settings)}
    if directory is None:
        given[STOP_TIMEOUT_VARIABLE] = f"{_stop_timeout_seconds(settings):.3f}"
        return given
    _hide_secrets(given, directory)
    given[STOP_FILE_VARIABLE] = str(directory.stop_file)
    if not given.get(SPOOL_VARIABLE):
        given[SPOOL_VARIABLE] = str(directory.spool)
        if filesystem_of(directory.spool) in _IN_MEMORY and not given.get(SPOOL_BYTES_VARIABLE):
            given[SPOOL_BYTES_VARIABLE] = str(max(SPOOL_BYTES_MIN, settings.buffer_bytes_max))
    return given


def _stop_timeout_seconds(settings: Settings) -> float:
    """Return the stop timeout of clients that is over before `run` can kill the command."""
    timeout_seconds = settings.stop_timeout_seconds
    end_seconds = timeout_seconds - margin_seconds(timeout_seconds)
    earliest = Deadlines.share_out(0.0, end_seconds, spill_seconds=math.inf)
    return max(STOP_TIMEOUT_SECONDS_MIN, earliest.clients_seconds)


def _hide_secrets(environ: dict[str, str], directory: PrivateDirectory) -> None:
    """Have clients read secrets from files: environments end up in dumps and error reports."""
    for name in ("shared_key", "password"):
        variable = variable_name(name)
        if environ.get(variable):
            with contextlib.suppress(OSError):  # a full disk: what was given must do
                environ[f"{variable}_FILE"] = str(directory.keep_secret(environ[variable]))
                del environ[variable]


class RecoveryThread:
    """Ships the records of dead clients, on a separate thread, from its start until `finish`.

    Where no thread can be started, the next call that needs one tries again.

    Args:
        last_resort: Takes warnings.
        wake: Called at its end, from its thread.

    Attributes:
        recoverer: As given.
        report: The result, once it is over.
    """

    def __init__(
        self, recoverer: Recoverer, last_resort: LastResort, wake: Callable[[], None]
    ) -> None:
        self.report = RecoveryReport(RecoveryCounters(), 0.0, complete=False)
        self._wake = wake
        self._last_resort = last_resort
        self.recoverer = recoverer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: OwnThread | None = None
        self._begin()

    @property
    def is_over(self) -> bool:
        """Whether it has ended. Its loop is closed before it wakes the main loop."""
        return self._thread is None or self._loop is None or self._loop.is_closed()

    def look_now(self) -> None:
        """Look for dead clients at once: a process has died."""
        self._call(self.recoverer.look_now)

    def finish(self, plan: DrainPlan) -> None:
        """Make a last pass by this plan, and end."""
        self._call(lambda: self.recoverer.finish(plan))

    def _begin(self) -> None:
        try:
            loop = self._loop = self._loop or new_loop()
            thread = OwnThread(partial(self._run, loop), "recovery")
            thread.start()
        except (OSError, RuntimeError) as error:  # no descriptors; no threads
            self._last_resort.warn("recovery", f"the records of dead clients have to wait: {error}")
        else:
            self._thread = thread

    def _call(self, what: Callable[[], None]) -> None:
        if self._thread is None:
            self._begin()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: recovery has ended
                self._loop.call_soon_threadsafe(what)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                self.report = runner.run(self.recoverer.run())
        finally:
            self._wake()
