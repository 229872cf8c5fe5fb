"""What `run` does for logship clients inside its command: a spool, the stop clock, and recovery.

A client with a spool loses nothing even by SIGKILL, if somebody ships what it left. Under `run`
there is somebody, so every client gets a spool without a volume or a second container: in a
directory of the container that lives as long as `run` does. Where the environment names a spool
already, that one is the operator's, and so is its recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from logship.buffer.leftovers import RecoveryCounters
from logship.buffer.lives import LIFE_NAME, QUARANTINE, SUPERVISED, filesystem_of
from logship.drain import DrainPlan
from logship.lastresort import LastResort
from logship.process import stopfile
from logship.process.clock import StopClock
from logship.recovery import Recoverer, RecoveryReport
from logship.settings import MIB, Settings, variable_name
from logship.threads import OwnThread

SPOOL_VARIABLE = variable_name("spool_dir")
SPOOL_BYTES_VARIABLE = variable_name("spool_bytes_max")

_IN_MEMORY = ("tmpfs", "ramfs")
_SPOOL_BYTES_MIN = 16 * MIB
_PREFIX = "logship-run-"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the name in it is nobody's to guess
_OPEN_TO_THOSE_WHO_KNOW_IT = 0o711
_OPEN_AS_TMP = 0o1777


class PrivateDirectory:
    """A directory of this process's, with the spool and the stop file in it.

    Clients that belong to another user than we do must reach it too, if we are root. Then others
    may enter it, but not list it, and its name is not to be guessed; in the spool, as in /tmp,
    each user owns only what is his.

    Raises:
        OSError: There is no place where a directory could be made.
    """

    def __init__(self) -> None:
        self.path = _made()
        self.spool = self.path / "spool"
        self.stop_file = self.path / "stop"
        self.spool.mkdir(mode=0o700)
        (self.path / SUPERVISED).touch()
        if os.geteuid() == 0:
            self.path.chmod(_OPEN_TO_THOSE_WHO_KNOW_IT)
            self.spool.chmod(_OPEN_AS_TMP)

    def remove(self) -> bool:
        """Remove it, unless something is left on the spool; tell whether it is gone."""
        self.stop_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            names = [each.name for each in self.spool.iterdir()]
            if not [each for each in names if LIFE_NAME.fullmatch(each) or each == QUARANTINE]:
                shutil.rmtree(self.path, ignore_errors=True)
        return not self.path.exists()


def environment_for(
    environ: Mapping[str, str], directory: PrivateDirectory | None, buffer_bytes_max: int
) -> dict[str, str]:
    """Return the command's environment: what we were given, and what clients in it should know.

    Args:
        environ: What we were given.
        directory: Ours, or None where none could be made.
        buffer_bytes_max: What a client may hold in memory, for a spool that is memory.
    """
    given = dict(environ)
    if directory is None:
        return given
    given[stopfile.VARIABLE] = str(directory.stop_file)
    if not given.get(SPOOL_VARIABLE):
        given[SPOOL_VARIABLE] = str(directory.spool)
        if filesystem_of(directory.spool) in _IN_MEMORY and not given.get(SPOOL_BYTES_VARIABLE):
            given[SPOOL_BYTES_VARIABLE] = str(max(_SPOOL_BYTES_MIN, buffer_bytes_max))
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
