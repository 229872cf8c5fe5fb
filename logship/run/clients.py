"""What `run` does for logship clients inside its command: a spool, the stop clock, and recovery.

A client with a spool loses nothing even by SIGKILL, if another process ships what it left. Under
`run` that process is `run`, so every client gets a spool without a volume or a second container:
in a directory of the container that exists as long as `run` does. Where the environment names a
spool already, that one is the operator's, and so is its recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from logship.delivery.drain import DrainPlan
from logship.hooks.threads import OwnThread
from logship.metrics.outlet import environ_for_children
from logship.process import stopfile
from logship.process.clock import StopClock
from logship.recover import Recoverer, RecoveryReport
from logship.settings import MIB, Settings, variable_name
from logship.spool.directories import PROCESS_DIRECTORY_NAME
from logship.spool.progress import RecoveryCounters
from logship.spool.quarantine import QUARANTINE
from logship.spool.volumes import SUPERVISED, filesystem_of
from logship.stderr.last_resort import LastResort

SPOOL_VARIABLE = variable_name("spool_dir")
SPOOL_BYTES_VARIABLE = variable_name("spool_bytes_max")

_IN_MEMORY = ("tmpfs", "ramfs")
_SPOOL_BYTES_MIN = 16 * MIB
_PREFIX = "logship-run-"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the name in it cannot be guessed
_OPEN_TO_THOSE_WHO_KNOW_IT = 0o711
_OPEN_AS_TMP = 0o1777


class PrivateDirectory:
    """A directory of this process's, with the spool, the stop file and pages of numbers in it.

    Clients that belong to another user than we do must reach it too, if we are root. Then others
    may enter it, but not list it, and its name is not to be guessed; in the spool, as in /tmp,
    each user owns only their own directory.

    Raises:
        OSError: There is no place where a directory could be made.
    """

    def __init__(self) -> None:
        self.path = _made()
        self.spool = self.path / "spool"
        self.metrics = self.path / "metrics"
        self.stop_file = self.path / "stop"
        self.spool.mkdir(mode=0o700)
        self.metrics.mkdir(mode=0o700)
        (self.path / SUPERVISED).touch()
        if os.geteuid() == 0:
            self.path.chmod(_OPEN_TO_THOSE_WHO_KNOW_IT)
            self.spool.chmod(_OPEN_AS_TMP)
            self.metrics.chmod(_OPEN_AS_TMP)

    def remove(self) -> bool:
        """Remove it, unless something is left on the spool; tell whether it is gone."""
        self.stop_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            names = [each.name for each in self.spool.iterdir()]
            if not [
                each
                for each in names
                if PROCESS_DIRECTORY_NAME.fullmatch(each) or each == QUARANTINE
            ]:
                shutil.rmtree(self.path, ignore_errors=True)
        return not self.path.exists()


def private_directory() -> tuple[PrivateDirectory | None, str]:
    """Return a new directory, or None and what a person should be told."""
    try:
        return PrivateDirectory(), ""
    except OSError as error:
        return None, (
            f"no directory for temporary files can be made ({error}); logship clients inside "
            "the command have no spool, and what they have not shipped when they are killed "
            "is lost; set TMPDIR to a directory that can be written"
        )


def settings_with_pages(settings: Settings, directory: PrivateDirectory | None) -> Settings:
    """Return our settings, with our directory for the numbers of all, if no other one is chosen."""
    chosen = settings.metrics_dir or settings.spool_dir
    if settings.metrics_port is None or chosen is not None or directory is None:
        return settings
    return dataclasses.replace(settings, metrics_dir=str(directory.metrics))


def environment_for(
    environ: Mapping[str, str], directory: PrivateDirectory | None, settings: Settings
) -> dict[str, str]:
    """Return the command's environment: what we were given, and what clients in it should know.

    Args:
        environ: What we were given.
        directory: Ours, or None where none could be made.
        settings: Of our client. What it may hold in memory bounds a spool that is memory, and
            where it keeps its numbers they keep theirs.
    """
    given = {**environ, **environ_for_children(settings)}
    if directory is None:
        return given
    given[stopfile.VARIABLE] = str(directory.stop_file)
    if not given.get(SPOOL_VARIABLE):
        given[SPOOL_VARIABLE] = str(directory.spool)
        if filesystem_of(directory.spool) in _IN_MEMORY and not given.get(SPOOL_BYTES_VARIABLE):
            given[SPOOL_BYTES_VARIABLE] = str(max(_SPOOL_BYTES_MIN, settings.buffer_bytes_max))
    return given


class Recovery:
    """Ships what dead clients left, on a thread of its own, from its start until `finish`.

    Args:
        settings: Of our own client.
        spool: The directory.
        clock: Our stop clock.
        last_resort: Where goes what cannot be shipped.
        wake: Called at its end, from its thread.

    Attributes:
        report: What became of it all, once it is over.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Path,
        *,
        clock: StopClock,
        last_resort: LastResort,
        wake: Callable[[], None],
    ) -> None:
        self.report = RecoveryReport(RecoveryCounters(), 0.0, complete=False)
        self._wake = wake
        self._recoverer = Recoverer(
            settings, spool, watches=True, last_resort=last_resort, clock=clock
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runs = threading.Event()
        self._thread = OwnThread(self._run, "recovery")
        self._thread.start()
        self._runs.wait()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def has_shipped_from(self, name: str) -> bool:
        """Tell whether it found something to ship on the spool of this name."""
        return self._recoverer.has_shipped_from(name)

    def look_now(self) -> None:
        """Look for dead clients at once: a process has died."""
        self._call(self._recoverer.look_now)

    def finish(self, plan: DrainPlan) -> None:
        """Make a last pass by this plan, and end."""
        self._call(lambda: self._recoverer.finish(plan))

    def _call(self, what: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                self._loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        try:
            asyncio.run(self._recover())
        finally:
            self._runs.set()
            self._wake()

    async def _recover(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._runs.set()
        self.report = await self._recoverer.run()


def _made() -> Path:
    """Make a directory for temporary files, in shared memory where the filesystem is read-only."""
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError:
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_SHARED_MEMORY))
