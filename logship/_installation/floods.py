"""Which log calls are kept back because there are too many: by level, by logger, by template.

The decision comes before anything is formatted or packed. What is kept back is counted, and its
stream declares it, so that all other records can still be proved.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from itertools import count, repeat

from logship._reasons import RATE_LIMITED, SAMPLED
from logship._settings import Settings
from logship._spelling import nearest

TEMPLATES_MAX = 10_000
"""How many templates are counted in one interval; further ones have no limit of their own. So many
counts of what was kept back stay until a record asks for them; the oldest are forgotten."""

_chance_of_the_kernel = random.SystemRandom().random

Key = tuple[str, int | None]
"""A logger, and the hash of a template or None for all of its records."""

Counts = dict[Key, Iterator[int]]
"""By key, an iterator that returns how many calls it has counted, and counts one more."""

_NO_CALLS = repeat(0)


class _Interval:
    """The log calls of one interval. Several threads may count them at the same moment."""

    def __init__(self, ends_seconds: float) -> None:
        self.ends_seconds = ends_seconds
        self.calls: Counts = {}
        self.following: dict[None, _Interval] = {}  # the interval behind this one, once it begins


class FloodControl:
    """Counts log calls, and keeps back those that are too many.

    A limit may be exceeded by a few records where threads log as an interval begins.

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
        self._interval = _Interval(0.0)
        self._kept_back: Counts = {}

    def reason(self, record: logging.LogRecord) -> str | None:
        """Return why a record is kept back; None where it is not."""
        share = None
        if self._shares:  # by number: another handler's formatter may have coloured `levelname`
            share = self._shares.get(logging.getLevelName(record.levelno).upper())
        if share is not None and self._chance() >= share:
            return SAMPLED
        now, interval = self._monotonic(), self._interval
        if now >= interval.ends_seconds:
            new = _Interval(now + self._interval_seconds)
            self._interval = interval = interval.following.setdefault(None, new)
            if len(self._kept_back) > TEMPLATES_MAX:
                newest = [*self._kept_back.copy().items()][-TEMPLATES_MAX:]
                self._kept_back = dict(newest)
        for key, most in self._limits(record, interval):
            if next(interval.calls.setdefault(key, count())) >= most:
                next(self._kept_back.setdefault(key, count()))
                return RATE_LIMITED
        return None

    def kept_back_before(self, record: logging.LogRecord) -> int:
        """Return how many records like this one were kept back before it.

        The next record like it gets 0.
        """
        limits = self._limits(record, self._interval)
        return sum(next(self._kept_back.pop(key, _NO_CALLS)) for key, _ in limits)

    def _limits(self, record: logging.LogRecord, interval: _Interval) -> list[tuple[Key, int]]:
        """Return what counts a record, with its limit."""
        limits: list[tuple[Key, int]] = []
        if self._template_max is not None:
            template = record.msg if type(record.msg) is str else type(record.msg)
            key = record.name, hash(template)  # the text may be long, and is not kept
            if key in interval.calls or len(interval.calls) < TEMPLATES_MAX:
                limits.append((key, self._template_max))
        if self._logger_max is not None:
            limits.append(((record.name, None), self._logger_max))
        return limits


def misspelt_levels(settings: Settings) -> str:
    """Return a sentence about levels of `sample` that `logging` does not have, or an empty text.

    The program may add a level later, so only names like those that there are count as misspelt.
    """
    numbers = logging.getLevelNamesMapping()
    levels = [name for name, number in numbers.items() if number != logging.NOTSET]
    known = set(map(str.upper, numbers))
    unknown = [name for name, _ in settings.sample if name.upper() not in known]
    meant = {name: nearest(name.upper(), levels) for name in unknown}
    shown = ", ".join(f"{name} (did you mean {each}?)" for name, each in meant.items() if each)
    return shown and f"sample: logging has no level {shown}"


def _level_name(name: str) -> str:
    """Return the name, in capitals, that records have of a level: WARN is WARNING's other one."""
    level = logging.getLevelNamesMapping().get(name.upper())
    return name.upper() if level is None else logging.getLevelName(level).upper()
