"""The tag that FireLens routes, which is known only when the metadata endpoint answers."""

from __future__ import annotations

from collections.abc import Callable

from logship._ecs.reader import TASK_SECONDS_MAX, TaskReader
from logship._ecs.task import Task

_DRAIN_SHARE = 0.15
"""The share of a drain's budget for which the tag is awaited. It is less than the share without an
ack after which a drain begins to spill."""


class AwaitedTag:
    """The tag that FireLens routes, awaited until it is known or the time for it is over.

    Args:
        reader: Of the metadata.
        is_wanted: Whether the client needs the tag.

    Attributes:
        is_over: Whether the tag is not awaited any more. The client sets it after it has sent the
            records that waited.
        deadline_seconds: When it will be over at the latest, monotonic; None before `begin`.
    """

    def __init__(self, reader: TaskReader, *, is_wanted: bool) -> None:
        self._reader = reader
        self.is_over = not is_wanted or reader.task is not None
        self.deadline_seconds: float | None = None

    @property
    def task(self) -> Task | None:
        """The task, as far as it is known."""
        return self._reader.task

    def begin(self, now_seconds: float, callback: Callable[[], object]) -> None:
        """Begin to wait; a second call changes nothing.

        Args:
            now_seconds: Monotonic.
            callback: Called, by any thread, when it may be over.
        """
        if self.is_over or self.deadline_seconds is not None:
            return
        self.deadline_seconds = now_seconds + TASK_SECONDS_MAX
        self._reader.start()
        self._reader.when_over(callback)

    def limit(self, now_seconds: float, budget_seconds: float) -> None:
        """Wait only for a part of the time that is left for the drain. From any thread."""
        if self.deadline_seconds is not None:
            end = now_seconds + max(0.0, budget_seconds) * _DRAIN_SHARE
            self.deadline_seconds = min(self.deadline_seconds, end)

    def is_due(self, now_seconds: float) -> bool:
        """Return whether the wait is over although `is_over` does not say so yet."""
        if self.is_over or self.deadline_seconds is None:
            return False
        return self._reader.is_over or now_seconds >= self.deadline_seconds
