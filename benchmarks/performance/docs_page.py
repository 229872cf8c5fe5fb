"""The measured part of `docs/performance.md`: all between two markers, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.performance.goals import HEADINGS, verdicts
from benchmarks.performance.measures import MEASURES, SHOWN
from benchmarks.performance.results import Measured, Results
from benchmarks.performance.tables import as_markdown, grid_of
from benchmarks.performance.words import conditions_line, summary_of

PAGE = Path("docs/performance.md")
"""From the root of the repository."""
BEGIN = "<!-- measured: written by `python -m benchmarks report RESULTS.json --docs` -->"
END = "<!-- end of what is measured -->"


def write_docs(page: Path, results: Results) -> None:
    """Replace what stands between the markers.

    Raises:
        BenchmarkError: The page is not there, or has not both markers, in this order, once.
    """
    try:
        text = page.read_text()
    except OSError as error:
        raise BenchmarkError(
            f"cannot read {page}: {error.strerror}; run from the root of the repository"
        ) from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise BenchmarkError(f"{page} must have these lines once, in this order: {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown_of(results)}\n\n{END}{after}")


def markdown_of(results: Results) -> str:
    """Return the measured part: a summary, a table for each measure, and the targets."""
    sections = [section_of(name, results.get(name)) for name in SHOWN]
    return "\n\n".join([*summary_of(results), *sections, targets_of(results)])


def targets_of(results: Results) -> str:
    """Return the section with the targets."""
    words = {"not met": "**not met**"}
    rows = [[*each.cells, words.get(each.word, each.word)] for each in verdicts(results)]
    return f"## Targets of the project\n\n{as_markdown(HEADINGS, rows, names=1)}"


def section_of(name: str, measured: Measured | None) -> str:
    """Return the section of a measure: its table, notes and conditions."""
    measure = MEASURES[name]
    if measured is None:
        return f"## {measure.title}\n\nNot measured: `python -m benchmarks all --only {name}`."
    grid = grid_of(measure, measured)
    notes = "\n".join(f"- {note}" for note in measured.notes) or "No notes."
    table = as_markdown(grid.headings, grid.rows, grid.names)
    return "\n\n".join([f"## {measure.title}", table, notes, f"{conditions_line(measured)}."])
