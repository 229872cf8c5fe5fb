"""The result of a check: its outcome, what was found, and what to do."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from logship._spelling import many


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
    outcome: Outcome = field(default=Outcome.OK, kw_only=True)
    text: str
    advice: str = ""


warning = functools.partial(Result, outcome=Outcome.WARN)
failure = functools.partial(Result, outcome=Outcome.FAIL)
skipped = functools.partial(Result, outcome=Outcome.SKIP)


def as_json(results: list[Result]) -> dict[str, Any]:
    """Return the results for a program."""
    return {"healthy": not has_failed(results), "checks": [asdict(each) for each in results]}


def has_failed(results: list[Result]) -> bool:
    """Return whether any check failed."""
    return any(each.outcome is Outcome.FAIL for each in results)


def verdict(results: list[Result]) -> str:
    """Return what follows from all results, in one line for a person."""
    failed = [each.check for each in results if each.outcome is Outcome.FAIL]
    warned = [each.check for each in results if each.outcome is Outcome.WARN]
    names = ", ".join(dict.fromkeys(failed or warned))
    if failed:
        return f"{many(len(failed), 'check')} failed: {names}"
    if warned:
        return f"no check failed; {many(len(warned), 'warning')}: {names}"
    return "all checks passed"


def as_lines(result: Result) -> Iterator[str]:
    """Yield a result for a person."""
    yield f"{result.outcome:<5} {result.check}: {result.text}"
    if result.advice:
        yield f"      → {result.advice}"
