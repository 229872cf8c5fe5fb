"""Who must be done by when, once a container is told to stop. PURE.

One stop timeout has to be shared out. The command comes first, because what it does not get to
write cannot be shipped; but a command that uses up all of the time would take its own last lines
with it. So a part at the end is ours, fixed at the moment of the signal, and the command is killed
when it begins. Clients inside the command must know a time that is earlier still: what they could
not deliver by then lies on their spool, and we ship that too.
"""

from __future__ import annotations

from dataclasses import dataclass

RESERVE_SHARE = 0.25
RESERVE_SECONDS_MAX = 5.0
"""The part that is ours, where the buffer does not need more: a quarter, at most 5 s."""

RESERVE_SHARE_MAX = 0.5
"""And never more than half, however full the buffer is."""

_CLIENTS_SHARE = 0.1
_CLIENTS_SECONDS_MAX = 0.5


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The times of one stop; monotonic seconds.

    Attributes:
        started_seconds: When the signal came.
        clients_seconds: When clients inside the command must be done.
        kill_seconds: When the command is killed.
        end_seconds: When everything must be over, a little before SIGKILL.
    """

    started_seconds: float
    clients_seconds: float
    kill_seconds: float
    end_seconds: float

    @classmethod
    def share_out(
        cls, started_seconds: float, end_seconds: float, spill_seconds: float
    ) -> Deadlines:
        """Return the times of a stop.

        Args:
            started_seconds: When the signal came.
            end_seconds: When everything must be over.
            spill_seconds: What writing everything in the buffer to stderr would take: shipping
                it to a slow sidecar takes about as long again.
        """
        budget = end_seconds - started_seconds
        wanted = max(min(RESERVE_SECONDS_MAX, budget * RESERVE_SHARE), 2 * spill_seconds)
        kill = end_seconds - min(wanted, budget * RESERVE_SHARE_MAX)
        margin = min(_CLIENTS_SECONDS_MAX, (kill - started_seconds) * _CLIENTS_SHARE)
        return cls(started_seconds, kill - margin, kill, end_seconds)
