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

PLAIN_WIDTH = 200
"""Columns where there is no terminal: a row stays on one line."""


@dataclass(frozen=True)
class Row:
    """One scenario and its runs; `compose` has a kind of its own."""

    scenario: Any
    outcomes: tuple[Any, ...]

    @property
    def names(self) -> dict[str, str]:
        """What the scenario is known by, with the titles of the columns."""
        habit = "" if self.scenario.on_sigterm is None else f", {self.scenario.on_sigterm}"
        return {
            "fault": self.scenario.fault,
            "shipper": self.scenario.shipper,
            "app": self.scenario.app + habit,
            "server": self.scenario.server,
            "rate": f"{self.scenario.rate:,g}",
            "timeout": f"{self.scenario.stop_timeout:g}",
            "tail": f"{self.scenario.tail:,}",
        }

    @property
    def head(self) -> dict[str, Any]:
        """What it is known by in JSON."""
        habit = {"on_sigterm": self.scenario.sigterm_habit}
        return {"scenario": asdict(self.scenario) | habit}

    def more_of(self, outcome: Any) -> dict[str, Any]:
        """Return what JSON says of a run beside its figures."""
        recovery = outcome.recovery
        told = None if recovery is None else asdict(recovery)
        return {"seed": outcome.scenario.seed, "recovery": told}

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


def _left(outcome: Any) -> float:
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
"""Column title and figure of an `Outcome`, or of a run in containers."""

Statistic = Callable[[list[float]], float]

STATISTICS: dict[str, Statistic] = {"min": min, "median": statistics.median, "max": max}


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
        shared = rows[0].names.items()
        told = ", ".join(f"{name} {value}" for name, value in shared if name not in known_by)
        title = f"{title} ({told})"
        wanted = {figure for row in rows for figure in row.figures}
        figures = [figure for figure in ALL_FIGURES if figure in wanted]
    figures = list(figures)
    table = ruled_table(title)
    for label in [*known_by, *_statistics_column(rows)]:
        table.add_column(label, overflow="fold")
    for figure in [*figures, "exit"]:
        table.add_column(figure, justify="right", no_wrap=True)
    for row in rows:
        names = [row.names[label] for label in known_by]
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
    return [name for name in rows[0].names if len({row.names[name] for row in rows}) > 1]


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


def _exit(outcome: Any) -> str:
    codes = {-9: "SIGKILL", 137: "SIGKILL", -15: "SIGTERM", 143: "SIGTERM"}  # and as Docker has it
    return codes.get(outcome.exit_code, str(outcome.exit_code))


# --- for programs --------------------------------------------------------------------------------


def write_json(path: Path, conditions: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write conditions and rows, each with all its runs and their min, median and max.

    A run is a line: there may be a thousand, and some results are committed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(map(_as_lines, rows))
    path.write_text(f'{{"conditions": {_json(conditions)},\n"rows": [\n{lines}\n]}}\n')


def _as_lines(row: Row) -> str:
    summary = {figure: _spread(row.values(figure)) for figure in row.figures}
    head = {**row.head, "summary": summary}.items()
    known_by = ",\n".join(f"{_json(name)}: {_json(value)}" for name, value in head)
    runs = ",\n".join(_json(_run_as_json(each) | row.more_of(each)) for each in row.outcomes)
    return f'{{{known_by},\n"runs": [\n{runs}\n]}}'


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(statistic(values), 3) for name, statistic in STATISTICS.items()}


def _run_as_json(outcome: Any) -> dict[str, Any]:
    """Return the figures of a run, and what else a reader may ask for."""
    recovery = outcome.recovery
    figures = [figure for figure in ALL_FIGURES if figure != LEFT or recovery is not None]
    return {figure: round(ALL_FIGURES[figure](outcome), 3) for figure in figures} | {
        "damaged": outcome.verdict.damaged,
        "unwritten": outcome.verdict.unwritten,
        "lost_examples": outcome.verdict.lost_examples,
        "exit_code": outcome.exit_code,
        "killed": outcome.killed,
        "report": outcome.report,
        "directory": outcome.directory.name,
    }
