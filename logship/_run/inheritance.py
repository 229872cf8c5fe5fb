"""Ships what clients of earlier `run`s have left: nothing else would look there.

It changes neither our exit code nor our receipt, which tell of our own command.
"""

from __future__ import annotations

from collections.abc import Callable

from logship._delivery.drain import DrainPlan
from logship._process.clock import StopClock
from logship._run.clients import Recovery
from logship._run.private_directory import PrivateDirectory
from logship._run.shipping import Shipping
from logship._settings import Settings
from logship._spool.quarantine import QUARANTINE

DIRECTORIES_MAX = 4
"""How many directories one `run` takes over; each costs a thread and a connection."""


class Inheritance:
    """The directories of earlier `run`s with the same endpoints, and a recovery for each.

    Args:
        settings: Of our client.
        clock: Our stop clock.
        shipping: Through which a person is told.
        wake: Called at the end of each recovery, from its thread.
    """

    def __init__(
        self, settings: Settings, clock: StopClock, shipping: Shipping, wake: Callable[[], None]
    ) -> None:
        self._say = shipping.say
        self._parts: list[tuple[PrivateDirectory, Recovery]] = []
        for directory in PrivateDirectory.take_over_abandoned(settings.endpoints):
            if not directory.has_processes() or len(self._parts) == DIRECTORIES_MAX:
                remove_or_tell(directory, self._say)
                continue
            self._say(
                "an earlier `logship run` did not ship everything; "
                f"what it left in {directory.path} is shipped"
            )
            recovery = Recovery(
                settings,
                directory.spool,
                clock=clock,
                last_resort=shipping.client.last_resort,
                wake=wake,
            )
            self._parts.append((directory, recovery))

    @property
    def is_over(self) -> bool:
        """Whether all recoveries have ended."""
        return all(recovery.is_over for _, recovery in self._parts)

    def finish(self, plan: DrainPlan) -> None:
        """Make a last pass by this plan, and end."""
        for _, recovery in self._parts:
            recovery.finish(plan)

    def remove_directories(self) -> None:
        """Remove what is empty; say where something is left."""
        for directory, _ in self._parts:
            remove_or_tell(directory, self._say)


def remove_or_tell(directory: PrivateDirectory, say: Callable[[str], None]) -> None:
    """Remove a directory; if something is left on its spool, say what to do with that."""
    if directory.remove():
        return
    if directory.has_processes():
        say(
            f"something is left on the spool {directory.spool}; "
            f"ship it with: logship recover --spool {directory.spool}"
        )
    else:
        say(f"what could not be shipped is kept for a person: {directory.spool / QUARANTINE}")
