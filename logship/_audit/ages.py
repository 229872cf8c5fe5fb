"""Since when numbers are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logship._audit.ranges import Ranges


class Ages:
    """The missing numbers of each stream, by the time at which they were first found missing.

    The overdue numbers of a stream share the time of the oldest one. So a gap that grows for days
    takes no more memory than any other.
    """

    def __init__(self) -> None:
        self._streams: dict[str, dict[float, Ranges]] = {}

    def update(
        self, missing: Mapping[str, Ranges], now_seconds: float, overdue_since_seconds: float
    ) -> None:
        """Note what is missing now; what was missing before keeps its time.

        Args:
            missing: The numbers, by the name of their stream.
            now_seconds: The time of those that were not missing before.
            overdue_since_seconds: What has been missing since then, or for longer, is overdue.
        """
        self._streams = {
            name: _aged(self._streams.get(name, {}), numbers, now_seconds, overdue_since_seconds)
            for name, numbers in missing.items()
            if numbers
        }

    def overdue(self, since_seconds: float) -> dict[str, int]:
        """Return how many numbers of each stream have been missing since then, or for longer."""
        counts = {
            name: sum(numbers.count for since, numbers in aged.items() if since <= since_seconds)
            for name, aged in self._streams.items()
        }
        return {name: count for name, count in counts.items() if count}

    def oldest(self, default: float) -> float:
        """Return since when the longest missing number is missing; `default` if none is."""
        return min((since for aged in self._streams.values() for since in aged), default=default)

    def first(self, name: str) -> int:
        """Return a stream's lowest missing number."""
        return min(first for numbers in self._streams[name].values() for first, _ in numbers)

    def stored(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            name: [[since, [*numbers]] for since, numbers in aged.items()]
            for name, aged in self._streams.items()
        }

    @classmethod
    def restored(cls, streams: dict[str, Any]) -> Ages:
        """Return what `stored` was called of."""
        ages = cls()
        ages._streams = {
            name: {since: Ranges(pairs) for since, pairs in aged} for name, aged in streams.items()
        }
        return ages


def _aged(
    before: dict[float, Ranges], missing: Ranges, now_seconds: float, overdue_since_seconds: float
) -> dict[float, Ranges]:
    """Divide the missing numbers by their time, oldest first; put the overdue ones under the first.

    If a time lies ahead, the clock was set back.
    """
    aged: dict[float, Ranges] = {}
    new = missing - Ranges.union(before.values())
    for noted_seconds, numbers in [*before.items(), (now_seconds, new)]:
        if still := numbers & missing:
            since = min(noted_seconds, now_seconds)
            if since <= overdue_since_seconds:
                since = next(iter(aged), since)
            aged[since] = aged.get(since, Ranges()) | still
    return aged
