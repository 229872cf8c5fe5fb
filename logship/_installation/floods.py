"""Which log calls are kept back because there are too many: by level, by logger, by template.

The decision comes before anything is formatted or packed. What is kept back is counted, and its
stream declares it, so that all other records can still be proved.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable

from logship._reasons import RATE_LIMITED, SAMPLED
from logship._settings import Settings

TEMPLATES_MAX = 10_000
"""How many templates are counted in one interval; further ones have no limit of their own."""

_chance_of_the_kernel = random.SystemRandom().random

Key = tuple[str, int | None]
"""A logger, and the hash of a template or None for all of its records."""


class FloodControl:
    """Counts log calls, and keeps back those that are too many.

    A limit may be exceeded by a few records where threads log at the same moment.

    Args:
        settings: Of the client.
        monotonic: Seconds.
        chance: Returns a number from 0 to 1. The default asks the kernel: an application that seeds
            `random` does not change what is kept back, and nothing changes what it draws.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = _chance_of_the_kernel,
    ) -> None:
        self._shares = {_level_name(name): share for name, share in settings.sample}
        self._logger_max = settings.logger_records_max
        self._template_max = settings.template_records_max
        self._interval_seconds = settings.flood_seconds
        self._monotonic = monotonic
        self._chance = chance
        self._ends_seconds = 0.0
        self._counts: Counter[Key] = Counter()
        self._kept_back: Counter[Key] = Counter()
        self._kept_back_before: Counter[Key] = Counter()

    def reason(self, record: logging.LogRecord) -> str | None:
        """Return why a record is kept back; None where it is not."""
        share = self._shares.get(record.levelname)
        if share is not None and self._chance() >= share:
            return SAMPLED
        if self._monotonic() >= self._ends_seconds:
            self._begin_interval()
        for key, most in self._limits(record):
            self._counts[key] += 1
            if self._counts[key] > most:
                self._kept_back[key] += 1
                return RATE_LIMITED
        return None

    def kept_back_before(self, record: logging.LogRecord) -> int:
        """Return how many records like this one were kept back in the interval before.

        The next record like it gets 0.
        """
        return sum(self._kept_back_before.pop(key, 0) for key, _ in self._limits(record))

    def _begin_interval(self) -> None:
        self._ends_seconds = self._monotonic() + self._interval_seconds
        self._kept_back_before = self._kept_back
        self._kept_back, self._counts = Counter(), Counter()

    def _limits(self, record: logging.LogRecord) -> list[tuple[Key, int]]:
        """Return what counts a record, with its limit."""
        limits: list[tuple[Key, int]] = []
        if self._template_max is not None:
            template = record.msg if type(record.msg) is str else type(record.msg)
            key = record.name, hash(template)  # the text may be long, and is not kept
            if key in self._counts or len(self._counts) < TEMPLATES_MAX:
                limits.append((key, self._template_max))
        if self._logger_max is not None:
            limits.append(((record.name, None), self._logger_max))
        return limits


def _level_name(name: str) -> str:
    """Return the name that records have of a level: WARN is WARNING's other one."""
    level = logging.getLevelNamesMapping().get(name.upper())
    return name.upper() if level is None else logging.getLevelName(level)
