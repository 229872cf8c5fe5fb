"""What a measure is, and the two that no table of clients or receivers holds. PURE."""

from __future__ import annotations

import functools
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """How a measure of several processes adds up."""

    COUNTER = "counter"  # the sum, of the dead too
    HISTOGRAM = "histogram"  # the same, for each bucket
    GAUGE = "gauge"  # the sum over the living
    LARGEST = "gauge, largest"  # the largest of the living
    LONGEST = "gauge, longest"  # the largest, of the dead too
    SHORTEST = "gauge, shortest"  # the smallest of the living that is not 0


class Measure(NamedTuple):
    """One exported metric.

    Attributes:
        kind: How it adds up.
        name: Without the prefix `logship_`; a counter's ends in `_total`.
        meaning: What it counts.
        remedy: What to do when it moves.
        label: The name of its label, or nothing.
        values: Every value that label can have.
    """

    kind: Kind
    name: str
    meaning: str
    remedy: str
    label: str = ""
    values: tuple[str, ...] = ("",)

    @property
    def help(self) -> str:
        """The text that is exported with it."""
        return f"{self.meaning} {self.remedy}"

    @property
    def type(self) -> str:
        """The type in the exposition formats."""
        return self.kind.value.partition(",")[0]


counter = functools.partial(Measure, Kind.COUNTER)
gauge = functools.partial(Measure, Kind.GAUGE)

PAGES_REFUSED = gauge(
    "metrics_pages_refused",
    "Files among the processes' pages that could not be read, so that a process is not counted.",
    "Another version of logship runs in the same container, or another program writes there.",
)
"""Known only to a reader of the pages."""

BUILD = gauge(
    "build_info",
    "Always 1; its labels `version` and `python` say what runs.",
    "Nothing to do: it shows a rollout.",
)
"""Exported by clients and receivers."""
