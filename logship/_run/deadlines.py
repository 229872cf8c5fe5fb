"""The deadlines of the command, its clients and `run`, once a container is stopped. PURE.

One stop timeout has to be divided. The command comes first, because lines that it cannot write any
more cannot be shipped. But if the command used all of the time, its last lines would be lost. So
`run` keeps a part at the end. The part is fixed at the moment of the signal, and the command is
killed when it begins. Clients inside the command get an earlier deadline. Records that they have
not delivered by then are on their spool, and `run` ships them too.
"""

from __future__ import annotations

from dataclasses import dataclass

RESERVE_SHARE = 0.25
RESERVE_SECONDS_MAX = 5.0
"""The part of `run`, if the buffer does not need more: a quarter, at most 5 s."""

RESERVE_SHARE_MAX = 0.5
"""The part of `run` is never more than half, even with a full buffer."""

_CLIENTS_SHARE = 0.1
_CLIENTS_SECONDS_MAX = 0.5


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The times of one stop; monotonic seconds.

    Attributes:
        clients_seconds: When clients inside the command must be done.
        kill_seconds: When the command is killed.
        end_seconds: When everything must be over, a little before SIGKILL.
    """

    clients_seconds: float
    kill_seconds: float
    end_seconds: float

    @classmethod
    def share_out(
        cls, started_seconds: float, end_seconds: float, spill_seconds: float
    ) -> Deadlines:
        """Return the times of a stop, which began with the signal.

        To write the whole buffer to stderr takes `spill_seconds`. To ship it to a slow sidecar
        takes about as long again.
        """
        budget = end_seconds - started_seconds
        wanted = max(min(RESERVE_SECONDS_MAX, budget * RESERVE_SHARE), 2 * spill_seconds)
        kill = end_seconds - min(wanted, budget * RESERVE_SHARE_MAX)
        margin = min(_CLIENTS_SECONDS_MAX, (kill - started_seconds) * _CLIENTS_SHARE)
        return cls(kill - margin, kill, end_seconds)
