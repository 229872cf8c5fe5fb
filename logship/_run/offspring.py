"""All processes below `run`: reaping, messages about deaths, and recovery.

`run` is the supervisor of logship clients in all processes of its command, also in a server's
workers. So this module does three things together: it finds the owners of spools, learns how
processes die, and starts recovery after a death. It also ships what clients of earlier `run`s have
left, because nothing else would look there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from logship._delivery.drain import DrainPlan
from logship._metrics.process import HERE
from logship._process import stopfile
from logship._process.clock import StopClock
from logship._recover import Recoverer, RecoveryReport
from logship._run.clients import RecoveryThread
from logship._run.death_watcher import DeathWatcher
from logship._run.private_directory import PrivateDirectory
from logship._run.shipping import Shipping
from logship._run.statuses import Death, OomWatch
from logship._settings import Settings
from logship._spool.orphans import unknown_owner
from logship._spool.quarantine import QUARANTINE

DIRECTORIES_MAX = 4
"""How many directories of earlier `run`s one `run` takes over; each costs a thread and a
connection."""

_LOOK_SECONDS = 0.2
_TOLD_MAX = 1000
"""How many deaths are kept in mind that were told before any parent had reaped the process."""
_PIDS_MAX = 10
"""How many processes one message names."""


class Offspring:
    """The processes below `run`; its `directory` is None if none could be made.

    Attributes:
        is_being_killed: Whether `run` is killing them. Then violent deaths are not reported.
        due_seconds: When to call `see_to` if nothing else happens, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        clock: StopClock,
        shipping: Shipping,
        wake: Callable[[], None],
        directory: PrivateDirectory | None,
    ) -> None:
        self.is_being_killed = False
        self.due_seconds: float = 0.0
        self._settings = settings
        self._clock = clock
        self._shipping = shipping
        self._wake = wake
        self._oom = OomWatch()
        self._directory = directory
        self._recovery: RecoveryThread | None = None
        self._recoveries: dict[PrivateDirectory, RecoveryThread] = {}
        self._take_over()
        # Where there is no directory, no process has a spool to be found.
        spool = Path(os.devnull) if directory is None else directory.spool
        self._death_watcher = DeathWatcher(spool, self._has_shipped_from)
        self._is_ending = False
        self._told: deque[int] = deque(maxlen=_TOLD_MAX)
        self._unseen: list[int] = []
        self._unseen_until_seconds = 0.0

    def announce_stop(self, deadline_seconds: float) -> None:
        """Tell clients their deadline, monotonic seconds."""
        if self._directory is not None:
            try:
                stopfile.announce(self._directory.stop_file, deadline_seconds)
            except OSError as error:
                self._shipping.say(
                    f"logship clients inside the command cannot be told their deadline ({error}); "
                    "they keep to their own stop timeout, and may be killed before it"
                )

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that become readable when a process with a spool ends; may be empty."""
        return self._death_watcher.descriptors

    def see_to(self, ready: set[int], reaped: list[Death]) -> None:
        """Report the ends of processes, and start recovery of their records.

        The children of `run` that it has reaped include orphans.
        """
        ready = ready & set(self.descriptors)  # a new one may get the number of a pipe that ended
        known = {death.pid: death for death in reaped if not self._take_told(death.pid)}
        if time.monotonic() >= self.due_seconds or reaped:
            self._look_for_spools()
        deaths = self._death_watcher.deaths(ready, known)
        unseen = self._death_watcher.take_unseen()
        for death, has_left in deaths:
            if known.pop(death.pid, None) is None:
                self._told.append(death.pid)
            self._tell(death, has_left=has_left)
        if self._recovery is not None and (deaths or reaped or unseen):
            self._recovery.look_now()
        self._attribute(list(known.values()), unseen)

    def _take_told(self, pid: int) -> bool:
        """Forget that this death was told before it was reaped; return whether it was."""
        with contextlib.suppress(ValueError):
            self._told.remove(pid)
            return True
        return False

    # -- the end -----------------------------------------------------------------------------------

    def finish(self, plan: DrainPlan) -> None:
        """Ship the records that are left on spools, by this plan, without waiting for processes."""
        self._look_for_spools()
        self._is_ending = True
        for each in self._recoveries.values():
            each.finish(plan)

    @property
    def is_over(self) -> bool:
        """Whether that is done."""
        return all(each.is_over for each in self._recoveries.values())

    @property
    def report(self) -> RecoveryReport | None:
        """The report about the spools; None if there never was a spool."""
        return None if self._recovery is None else self._recovery.report

    def remove_directories(self) -> None:
        """Remove the spools; if something is left on one, say what to do with that."""
        HERE.end_pages()
        for directory in dict.fromkeys((self._directory, *self._recoveries)):
            if directory is not None:
                self._remove(directory)

    # -- inside ------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Begin to ship what is left in the directories of earlier `run`s with these endpoints.

        It changes neither our exit code nor our receipt, which tell of our own command.
        """
        for directory in PrivateDirectory.take_over_abandoned(self._settings.endpoints):
            if not directory.has_processes() or len(self._recoveries) == DIRECTORIES_MAX:
                self._remove(directory)
                continue
            self._shipping.say(
                "an earlier `logship run` did not ship everything; "
                f"what it left in {directory.path} is shipped"
            )
            self._recoveries[directory] = self._begin_recovery(directory.spool, unknown_owner)

    def _begin_recovery(self, spool: Path, owner_of: Callable[[str], str]) -> RecoveryThread:
        last_resort = self._shipping.client.last_resort
        recoverer = Recoverer(
            self._settings,
            spool,
            last_resort=last_resort,
            clock=self._clock,
            is_last=True,
            owner_of=owner_of,
        )
        return RecoveryThread(recoverer, last_resort, self._wake)

    def _remove(self, directory: PrivateDirectory) -> None:
        """Remove a directory; if something is left on its spool, say what to do with that."""
        if directory.remove():
            return
        if directory.has_processes():
            self._shipping.say(
                f"something is left on the spool {directory.spool}; "
                f"ship it with: logship recover --spool {directory.spool}"
            )
        elif directory.has_records():
            self._shipping.say(
                f"what could not be shipped is kept for a person: {directory.spool / QUARANTINE}"
            )

    def _look_for_spools(self) -> None:
        """Find the owners of spools; the first spool starts recovery."""
        self.due_seconds = time.monotonic() + _LOOK_SECONDS
        is_first = self._death_watcher.look() and self._recovery is None
        if is_first and self._directory is not None and not self._is_ending:
            begun = self._begin_recovery(self._directory.spool, self._death_watcher.owner_of)
            self._recovery = self._recoveries[self._directory] = begun

    def _has_shipped_from(self, name: str) -> bool:
        return self._recovery is not None and self._recovery.recoverer.has_shipped_from(name)

    def _attribute(self, reaped: list[Death], unseen: list[int]) -> None:
        """Report processes that ended before they were seen with their spools.

        A lock becomes free a moment before its owner can be reaped.
        """
        now = time.monotonic()
        if unseen:
            self._unseen += unseen
            self._unseen_until_seconds = now + _LOOK_SECONDS
        for death in reaped:
            self._tell(death, has_left=death.pid in self._unseen)
            self._unseen = [each for each in self._unseen if each != death.pid]
        if self._unseen and (now >= self._unseen_until_seconds or self._is_ending):
            pids = ", ".join(str(each) for each in self._unseen[:_PIDS_MAX] if each)
            of = f" (of process {pids})" if pids else ""
            by = "; the kernel has killed for lack of memory" if self._oom.has_killed() else ""
            self._shipping.say(
                f"spools of dead processes that `run` never saw: {len(self._unseen)}{of}{by}; "
                "their records are shipped"
            )
            self._unseen = []

    def _tell(self, death: Death, *, has_left: bool) -> None:
        """Report a death if it was violent or left records to ship."""
        if not has_left and (self.is_being_killed or not death.is_violent):
            return
        by = ""
        if death.code == -signal.SIGKILL and self._oom.has_killed():
            by = " by the kernel, because this container is out of memory"
        consequence = "; what it left on its spool is being shipped" if has_left else ""
        self._shipping.say(f"{death.text}{by}{consequence}")
