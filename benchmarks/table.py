"""Rows of figures for people (a rich table) and for programs (JSON)."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.scenario import Outcome, Scenario

PLAIN_WIDTH = 200
"""Columns where there is no terminal: a row stays on one line."""


@dataclass(frozen=True)
class Row:
    """One scenario and its runs."""

    scenario: Scenario
    outcomes: tuple[Outcome, ...]

    def values(self, figure: str) -> list[float]:
        """Return one figure of each run."""
        return [ALL_FIGURES[figure](outcome) for outcome in self.outcomes]

    @property
    def figures(self) -> list[str]:
        """Titles of the figures that mean something here."""
        spooled = any(outcome.recovery is not None for outcome in self.outcomes)
        late = any(outcome.verdict.late for outcome in self.outcomes)
        left_out = {*([] if spooled else [LEFT]), *([] if late else [LATE])}
        return [figure for figure in ALL_FIGURES if figure not in left_out]


LATE = "late"
"""Column title: see `Verdict.late`."""

LEFT = "left"
"""Column title: what is left on a spool, and recoveries that did not end well."""


def _left(outcome: Outcome) -> float:
    """Count what is left on the spool; a recovery that did not say that all is well is one too."""
    recovery = outcome.recovery
    return 0 if recovery is None else len(recovery.left) + (recovery.exit_code != 0)


ALL_FIGURES: dict[str, Callable[[Any], float]] = {
    "lines/s": lambda outcome: outcome.rate_attained,
    "written": lambda outcome: outcome.verdict.written,
    "delivered": lambda outcome: outcome.verdict.delivered,
    "spilled": lambda outcome: outcome.verdict.spilled,
    LATE: lambda outcome: outcome.verdict.late,
    "dropped": lambda outcome: outcome.verdict.dropped,
    "LOST": lambda outcome: outcome.verdict.lost,
    "duplicated": lambda outcome: outcome.verdict.duplicated,
    "stop s": lambda outcome: outcome.stop_seconds,
    LEFT: _left,
}
"""Column title and figure of an `Outcome`; all but `LEFT` also of a run in containers."""

Statistic = Callable[[list[float]], float]

STATISTICS: dict[str, Statistic] = {"min": min, "median": statistics.median, "max": max}


def _app(scenario: Scenario) -> str:
    habit = "" if scenario.on_sigterm is None else f", {scenario.on_sigterm}"
    return scenario.app + habit


LABELS: dict[str, Callable[[Scenario], str]] = {
    "fault": lambda scenario: scenario.fault,
    "shipper": lambda scenario: scenario.shipper,
    "app": _app,
    "server": lambda scenario: scenario.server,
    "rate": lambda scenario: f"{scenario.rate:,g}",
    "timeout": lambda scenario: f"{scenario.stop_timeout:g}",
    "tail": lambda scenario: f"{scenario.tail:,}",
}
"""Column title and what a scenario is known by."""


# --- for people ----------------------------------------------------------------------------------


def open_console() -> Console:
    """Return the console of stdout; wide where it is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


def as_table(rows: Sequence[Row], title: str, figures: Iterable[str] | None = None) -> Table:
    """Return a table of `rows`: what differs between them in columns, what they share in the title.

    Args:
        rows: A row that was run several times becomes three: min, median and max.
        title: Stands above; what the rows share is added unless `figures` are chosen.
        figures: Column titles out of `ALL_FIGURES`, in the order wished; None: all that mean
            something.
    """
    known_by = _differing(rows)
    if figures is None:
        title = f"{title} ({_shared(rows[0].scenario, known_by)})"
        wanted = {figure for row in rows for figure in row.figures}
        figures = [figure for figure in ALL_FIGURES if figure in wanted]
    figures = list(figures)
    table = ruled_table(title)
    for label in [*known_by, *_statistics_column(rows)]:
        table.add_column(label, overflow="fold")
    for figure in [*figures, "exit"]:
        table.add_column(figure, justify="right", no_wrap=True)
    for row in rows:
        names = [LABELS[label](row.scenario) for label in known_by]
        for name, statistic in _statistics(row):
            cells = [cell(figure, statistic(row.values(figure))) for figure in figures]
            table.add_row(*names, *([name] if name else []), *cells, _exits(row))
    return table


def ruled_table(title: str) -> Table:
    """Return an empty table in the one style, which fits a terminal of 80 columns."""
    table = Table(title=title, title_justify="left", title_style="bold", box=_RULED_HEAD)
    table.show_edge, table.padding = False, (0, 0)
    return table


_RULED_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def _differing(rows: Sequence[Row]) -> list[str]:
    return [name for name, of in LABELS.items() if len({of(row.scenario) for row in rows}) > 1]


def _shared(scenario: Scenario, known_by: Sequence[str]) -> str:
    shared = [f"{name} {of(scenario)}" for name, of in LABELS.items() if name not in known_by]
    return ", ".join(shared)


def _statistics(row: Row) -> Iterable[tuple[str, Statistic]]:
    return STATISTICS.items() if len(row.outcomes) > 1 else [("", max)]


def _statistics_column(rows: Sequence[Row]) -> list[str]:
    """Name the column that says min, median or max; all rows are run equally often."""
    runs = len(rows[0].outcomes)
    return [f"{runs} runs"] if runs > 1 else []


def cell(figure: str, value: float) -> Text:
    """Return a figure as a person reads it."""
    style = ("bold red" if value else "bold green") if figure in {"LOST", LEFT} else ""
    return Text(f"{value:,.1f}" if figure in {"stop s", "lines/s"} else f"{value:,.0f}", style)


def _exits(row: Row) -> str:
    return ", ".join(sorted({_exit(outcome) for outcome in row.outcomes}))


def _exit(outcome: Outcome) -> str:
    return {0: "0", -9: "SIGKILL", -15: "SIGTERM"}.get(outcome.exit_code, str(outcome.exit_code))


# --- for programs --------------------------------------------------------------------------------


def write_json(path: Path, conditions: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write conditions and rows, each with all its runs and their min, median and max.

    A run is a line: there may be a thousand, and some results are committed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(_as_lines(_as_json(row)) for row in rows)
    path.write_text(f'{{"conditions": {_json(conditions)},\n"rows": [\n{lines}\n]}}\n')


def _as_lines(row: dict[str, Any]) -> str:
    known_by = f'"scenario": {_json(row["scenario"])},\n"summary": {_json(row["summary"])}'
    runs = ",\n".join(map(_json, row["runs"]))
    return f'{{{known_by},\n"runs": [\n{runs}\n]}}'


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _as_json(row: Row) -> dict[str, Any]:
    return {
        "scenario": asdict(row.scenario) | {"on_sigterm": row.scenario.sigterm_habit},
        "summary": {figure: _spread(row.values(figure)) for figure in row.figures},
        "runs": [_outcome_as_json(outcome) for outcome in row.outcomes],
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(statistic(values), 3) for name, statistic in STATISTICS.items()}


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    recovery = outcome.recovery
    figures = [figure for figure in ALL_FIGURES if figure != LEFT or recovery is not None]
    return run_as_json(outcome, figures) | {
        "seed": outcome.scenario.seed,
        "recovery": None if recovery is None else asdict(recovery),
    }


def run_as_json(outcome: Any, figures: Iterable[str]) -> dict[str, Any]:
    """Return these figures of a run, and what else a reader may ask for."""
    return {figure: round(ALL_FIGURES[figure](outcome), 3) for figure in figures} | {
        "damaged": outcome.verdict.damaged,
        "unwritten": outcome.verdict.unwritten,
        "lost_examples": outcome.verdict.lost_examples,
        "exit_code": outcome.exit_code,
        "killed": outcome.killed,
        "report": outcome.report,
        "directory": outcome.directory.name,
    }
