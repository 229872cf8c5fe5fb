"""What numbers say when they are compared with those of some seconds ago. PURE."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from logship._metrics.client_measures import DROP_REASONS
from logship._metrics.sums import Numbers, slot

WINDOW_READINGS: Final = 4
"""Rates are those between the newest and the oldest of this many readings."""

STALE_SECONDS: Final = 5.0
"""A process writes its page once a second. One whose page is so old is stopped or gets no CPU."""


class Reading(NamedTuple):
    """The numbers of a process, or of all together.

    Attributes:
        seconds: When they were written, seconds since 1970.
        command: Its command line; empty if it is not known.
    """

    seconds: float
    numbers: Numbers
    pid: int | None = None
    command: str = ""


class Snapshot(NamedTuple):
    """All that can be read at one moment.

    Attributes:
        total: Of all processes, at that moment. Counters include those of ended processes.
        processes: Of each process, by an id; None if the source has only the total.
    """

    total: Reading
    processes: dict[str, Reading] | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of a process, or of all together. None is what is not known.

    Attributes:
        connected: How many of its clients have a connection.
        accepted_per_second, acked_per_second: Records, over the last readings.
        buffer_fullest_ratio: How full the fullest buffer is, from 0 to 1.
        seconds_until_full: Until the first buffer is full, if it grows as now; None if none grows.
        seconds_since_ack: Since the last ack that was seen.
        waiting, spooled: Records that are not acked, and those of them on the spool.
    """

    pid: int | None
    command: str
    clients: int
    connected: int
    accepted_per_second: float | None
    acked_per_second: float | None
    buffer_bytes: int
    buffer_bytes_max: int
    buffer_fullest_ratio: float
    seconds_until_full: float | None
    inflight_chunks: int
    seconds_since_ack: float | None
    watched_seconds: float
    waiting: int
    spooled: int
    dropped: int
    spilled: int


class View(NamedTuple):
    """What is shown at one moment.

    Attributes:
        seconds: The moment, seconds since 1970.
        processes: The figures of each; None if the source has only the total.
        ended: How many processes have ended, among them those that were killed.
        killed: How many were killed before their drain was over.
    """

    seconds: float
    processes: list[Figures] | None
    total: Figures
    ended: int
    killed: int


class History:
    """Remembers the last readings of each process."""

    def __init__(self) -> None:
        self._tracks: defaultdict[str, _Track] = defaultdict(_Track)

    def view(self, snapshot: Snapshot) -> View:
        """Take a snapshot, and return what it says beside the earlier ones."""
        now_seconds, numbers, *_ = snapshot.total
        total = self._tracks[""].figures(now_seconds, snapshot.total)
        processes = None
        if snapshot.processes is not None:
            for key in self._tracks.keys() - {"", *snapshot.processes}:
                del self._tracks[key]
            processes = [
                self._tracks[key].figures(now_seconds, reading)
                for key, reading in snapshot.processes.items()
            ]
            processes.sort(key=lambda each: (each.pid is None, each.pid))
            total = _of_all(total, processes)
        drained = _value(numbers, "processes_ended_total", "drained")
        killed = _value(numbers, "processes_ended_total", "killed")
        return View(now_seconds, processes, total, int(drained + killed), int(killed))


class _Track:
    """The last readings of one process, or of all together."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque(maxlen=WINDOW_READINGS)
        self._began_seconds: float | None = None
        self._acked_seconds: float | None = None

    def figures(self, now_seconds: float, reading: Reading) -> Figures:
        """Take a reading, and return what it says beside the earlier ones."""
        self._take(reading)
        if self._began_seconds is None:
            self._began_seconds = now_seconds
        is_stale = now_seconds - reading.seconds > STALE_SECONDS
        numbers, since = reading.numbers, self._acked_seconds
        size, size_max = _value(numbers, "buffer_bytes"), _value(numbers, "buffer_bytes_max")
        growth = None if is_stale else self._per_second("buffer_bytes")
        return Figures(
            pid=reading.pid,
            command=reading.command,
            clients=int(_value(numbers, "clients")),
            connected=int(_value(numbers, "connected")),
            accepted_per_second=None if is_stale else self._per_second("records_accepted_total"),
            acked_per_second=None if is_stale else self._per_second("records_acked_total"),
            buffer_bytes=int(size),
            buffer_bytes_max=int(size_max),
            buffer_fullest_ratio=_value(numbers, "buffer_fullest_ratio"),
            seconds_until_full=(size_max - size) / growth if growth and growth > 0 else None,
            inflight_chunks=int(_value(numbers, "inflight_chunks")),
            seconds_since_ack=None if since is None else max(0.0, now_seconds - since),
            watched_seconds=now_seconds - self._began_seconds,
            waiting=int(_value(numbers, "records_waiting")),
            spooled=int(_value(numbers, "records_spooled")),
            dropped=int(sum(_value(numbers, "records_dropped_total", r) for r in DROP_REASONS)),
            spilled=int(_value(numbers, "records_spilled_total")),
        )

    def _take(self, reading: Reading) -> None:
        last = self._readings[-1] if self._readings else None
        if last is not None and reading.seconds == last.seconds:
            return  # not written since
        self._readings.append(reading)
        acked = _value(reading.numbers, "records_acked_total")
        if last is not None and acked > _value(last.numbers, "records_acked_total"):
            self._acked_seconds = reading.seconds

    def _per_second(self, name: str) -> float | None:
        first, last = self._readings[0], self._readings[-1]
        change = _value(last.numbers, name) - _value(first.numbers, name)
        if last.seconds <= first.seconds or change < 0:  # the clock or the counters began anew
            return None
        return change / (last.seconds - first.seconds)


def _of_all(total: Figures, processes: list[Figures]) -> Figures:
    """Return the total with what the processes know better: each has its own time and buffer."""

    def known(name: str) -> list[float]:
        values = (getattr(each, name) for each in processes)
        return [value for value in values if value is not None]

    return replace(
        total,
        accepted_per_second=sum(known("accepted_per_second"), 0.0),
        acked_per_second=sum(known("acked_per_second"), 0.0),
        seconds_until_full=min(known("seconds_until_full"), default=None),
        seconds_since_ack=min(known("seconds_since_ack"), default=None),
    )


def _value(numbers: Numbers, name: str, label: str = "") -> float:
    return numbers[slot(name, label)]
