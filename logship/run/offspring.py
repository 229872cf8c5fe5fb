"""All processes below us: reaped, their deaths told, and what their clients leave shipped.

`run` is the supervisor of logship clients inside its command, whichever process they are in: a
server's workers as well as the command itself. So it looks after three things together: whose
spools there are, who dies how, and the recovery that a death calls for.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping

from logship.delivery.drain import DrainPlan
from logship.metrics.process import HERE
from logship.process import stopfile
from logship.process.clock import StopClock
from logship.recover import RecoveryReport
from logship.run.clients import Recovery, environment_for
from logship.run.death_watcher import Witness
from logship.run.inheritance import Inheritance, remove_or_tell
from logship.run.private_directory import PrivateDirectory
from logship.run.processes import become_subreaper, reap
from logship.run.shipping import Shipping
from logship.run.statuses import Death, OomWatch
from logship.settings import Settings

_LOOK_SECONDS = 0.2


class Offspring:
    """The processes below us.

    Args:
        settings: Of our client.
        clock: Our stop clock.
        shipping: Through which a person is told.
        wake: Wakes the main loop; from any thread.
        directory: Ours, or None where none could be made.

    Attributes:
        is_being_killed: Whether we are killing them, so that violent deaths are no news.
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
        self._settings = settings
        self._clock = clock
        self._shipping = shipping
        self._wake = wake
        self._oom = OomWatch()
        self._directory = directory
        self._recovery: Recovery | None = None
        self._inheritance = Inheritance(settings, clock, shipping, wake)
        self._witness = None
        if self._directory is not None:
            self._witness = Witness(self._directory.spool, self._has_shipped_from)
        self._is_ending = False
        self._look_due_seconds = 0.0
        self._unseen = 0
        self._unseen_until_seconds = 0.0
        become_subreaper()

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the command's environment, made from ours."""
        return environment_for(environ, self._directory, self._settings)

    def announce_stop(self, deadline_seconds: float) -> None:
        """Tell clients when they must be done, monotonic seconds."""
        if self._directory is not None:
            with contextlib.suppress(OSError):  # a full disk: clients go by their own settings
                stopfile.announce(self._directory.stop_file, deadline_seconds)

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when a process with a spool ends; empty where there is none."""
        return [] if self._witness is None else self._witness.descriptors

    @property
    def due_seconds(self) -> float:
        """When to call `see_to` if nothing else happens, monotonic."""
        return self._look_due_seconds

    def see_to(self, ready: set[int]) -> list[Death]:
        """Reap the processes that have ended, tell of it, and have shipped what they left.

        Args:
            ready: Descriptors that are readable.

        Returns:
            Our own children that have ended, and orphans that were given to us.
        """
        reaped = list(reap())
        known = {death.pid: death for death in reaped}
        if time.monotonic() >= self._look_due_seconds or reaped:
            self._look_for_spools()
        witnessed = [] if self._witness is None else self._witness.deaths(ready, known)
        unseen = 0 if self._witness is None else self._witness.take_unseen()
        for death, has_left in witnessed:
            known.pop(death.pid, None)
            self._tell(death, has_left=has_left)
        if self._recovery is not None and (witnessed or reaped or unseen):
            self._recovery.look_now()
        self._attribute(list(known.values()), unseen)
        return reaped

    # -- the end -----------------------------------------------------------------------------------

    def finish(self, plan: DrainPlan) -> None:
        """Ship what is left on spools, by this plan; no process is waited for any more."""
        self._look_for_spools()
        self._is_ending = True
        if self._recovery is not None:
            self._recovery.finish(plan)
        self._inheritance.finish(plan)

    @property
    def is_over(self) -> bool:
        """Whether that is done."""
        return self._inheritance.is_over and (self._recovery is None or self._recovery.is_over)

    @property
    def report(self) -> RecoveryReport | None:
        """What became of what was on spools; None where there never was one."""
        return None if self._recovery is None else self._recovery.report

    def remove_directories(self) -> None:
        """Remove the spools; if something is left on one, say what to do with that."""
        HERE.end_pages()
        if self._directory is not None:
            remove_or_tell(self._directory, self._shipping.say)
        self._inheritance.remove_directories()

    # -- inside ------------------------------------------------------------------------------------

    def _look_for_spools(self) -> None:
        """Find out whose spools there are; the first one begins recovery."""
        self._look_due_seconds = time.monotonic() + _LOOK_SECONDS
        if self._witness is None or self._directory is None:
            return
        self._witness.look()
        if self._witness.has_seen_any and self._recovery is None and not self._is_ending:
            last_resort = self._shipping.client.last_resort
            self._recovery = Recovery(
                self._settings,
                self._directory.spool,
                clock=self._clock,
                last_resort=last_resort,
                wake=self._wake,
            )

    def _has_shipped_from(self, name: str) -> bool:
        return self._recovery is not None and self._recovery.has_shipped_from(name)

    def _attribute(self, reaped: list[Death], unseen: int) -> None:
        """Tell of processes that lived too briefly to be seen with their spools.

        One that has ended just now is the owner of the one spool whose owner was never seen. Its
        lock comes free a moment before it can be reaped.
        """
        now = time.monotonic()
        if unseen:
            self._unseen += unseen
            self._unseen_until_seconds = now + _LOOK_SECONDS
        is_that_one = self._unseen == len(reaped) == 1 and self._may_be_the_owner(reaped[0])
        for death in reaped:
            self._tell(death, has_left=is_that_one)
        if is_that_one:
            self._unseen = 0
        elif self._unseen and (now >= self._unseen_until_seconds or self._is_ending):
            by = "; the kernel has killed for want of memory" if self._oom.has_killed() else ""
            self._shipping.say(
                f"spools whose owners nobody saw die: {self._unseen}{by}; what they left is shipped"
            )
            self._unseen = 0

    def _may_be_the_owner(self, death: Death) -> bool:
        """Tell whether a death could be that of a spool's owner that was never seen.

        Where the kernel has killed a process for want of memory, that is it: a server that ends
        because its worker was killed did not leave the worker's spool.
        """
        return death.code == -signal.SIGKILL or not self._oom.has_untold()

    def _tell(self, death: Death, *, has_left: bool) -> None:
        """Tell of a death that is worth it: a violent one, or one that left us something to do."""
        if not has_left and (self.is_being_killed or not death.is_violent):
            return
        by = ""
        if death.code == -signal.SIGKILL and self._oom.has_killed():
            by = " by the kernel, because this container is out of memory"
        consequence = "; what it left on its spool is being shipped" if has_left else ""
        self._shipping.say(f"{death.text}{by}{consequence}")
