"""The result of a check: its outcome, what was found, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any


class Outcome(enum.StrEnum):
    """The outcome of a check; only `fail` makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """One check's answer.

    Attributes:
        check: Its name.
        outcome: Its outcome.
        text: What was found, with figures.
        advice: What to do; empty if nothing is to be done.
    """

    check: str
    outcome: Outcome
    text: str
    advice: str = ""


def as_json(results: Iterable[Result]) -> dict[str, Any]:
    """Return the results for a program."""
    listed = list(results)
    return {
        "healthy": not has_failed(listed),
        "checks": [{**asdict(each), "outcome": each.outcome.value} for each in listed],
    }


def has_failed(results: Iterable[Result]) -> bool:
    """Return whether any check failed."""
    return any(each.outcome is Outcome.FAIL for each in results)


def as_lines(result: Result) -> Iterator[str]:
    """Yield a result for a person."""
    yield f"{result.outcome.value:<5} {result.check}: {result.text}"
    if result.advice:
        yield f"      → {result.advice}"
