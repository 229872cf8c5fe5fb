"""What a measure found, as values for tables and plots, and as JSON for later."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import BenchmarkError
from benchmarks.performance.figures import FIGURES
from benchmarks.performance.statistics import Spread, ratios, spread_of

FORMAT = "logship benchmarks 1"


class Key(NamedTuple):
    """What was measured of whom, under which circumstances."""

    figure: str
    subject: str
    case: str


@dataclass(frozen=True)
class Sample:
    """One value of one figure.

    Attributes:
        figure: A name out of `FIGURES`.
        subject: The measured program.
        case: Under what circumstances: a server, a fault; empty where there is only one.
        turn: Which turn; ratios are formed within one.
    """

    figure: str
    subject: str
    case: str
    turn: int
    value: float

    @property
    def key(self) -> Key:
        """The sample without turn and value."""
        return Key(self.figure, self.subject, self.case)


@dataclass
class Measured:
    """All that one measure found.

    Attributes:
        conditions: Machine, versions, options, as `conditions()` has them.
        notes: What a reader must know: who was skipped and why, what a word means here.
    """

    conditions: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, turn: int, subject: str, case: str, **values: float) -> None:
        """Add one value of each figure that is named."""
        self.samples += [
            Sample(figure, subject, case, turn, value) for figure, value in values.items()
        ]

    def all_keys(self) -> list[Key]:
        """Return all keys, in the order in which they first came."""
        return list(dict.fromkeys(sample.key for sample in self.samples))

    def by_turn(self, key: Key) -> dict[int, float]:
        """Return the value of each turn."""
        return {sample.turn: sample.value for sample in self.samples if sample.key == key}

    def spread(self, key: Key) -> Spread | None:
        """Return the spread of a figure; None where it was not measured."""
        values = list(self.by_turn(key).values())
        return spread_of(values) if values else None

    def ratio(self, key: Key, against: Key) -> Spread | None:
        """Return the spread of the turns' ratios; None where one of both was not measured."""
        found = ratios(self.by_turn(key), self.by_turn(against))
        return spread_of(found) if found else None


Results = dict[str, Measured]
"""Measures by name, in the order in which they ran."""


def write_results(path: Path, results: Results) -> None:
    """Write all measures as one JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "format": FORMAT,
        "measures": {name: _as_json(each) for name, each in results.items()},
    }
    path.write_text(json.dumps(document) + "\n")


def _as_json(measured: Measured) -> dict[str, Any]:
    return {
        "conditions": measured.conditions,
        "notes": measured.notes,
        "samples": [list(asdict(sample).values()) for sample in measured.samples],
    }


def read_results(paths: Iterable[Path]) -> Results:
    """Read documents that `write_results` wrote; a measure of a later one replaces an earlier one.

    Raises:
        BenchmarkError: One of them is something else, or of another version.
    """
    results: Results = {}
    for path in paths:
        results |= _read(path)
    named = {sample.figure for measured in results.values() for sample in measured.samples}
    if unknown := named - FIGURES.keys():
        raise BenchmarkError(
            f"the results have figures of another version of the benchmarks: {sorted(unknown)}; "
            "measure again"
        )
    return results


def _read(path: Path) -> Results:
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise ValueError(document["format"])
        return {name: _from_json(each) for name, each in document["measures"].items()}
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(
            f"{path} holds no results of `python -m benchmarks all` ({FORMAT})"
        ) from error


def _from_json(document: dict[str, Any]) -> Measured:
    return Measured(
        conditions=document["conditions"],
        notes=document["notes"],
        samples=[Sample(*each) for each in document["samples"]],
    )
