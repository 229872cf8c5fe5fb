"""Results as one HTML page that needs nothing else: a style of its own, plots inline, no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from benchmarks.performance.charts import STYLE, Plot
from benchmarks.performance.goals import HEADINGS, verdicts
from benchmarks.performance.measures import MEASURES, SHOWN
from benchmarks.performance.plots import plots_of
from benchmarks.performance.results import Measured, Results
from benchmarks.performance.tables import Grid, grid_of
from benchmarks.performance.words import conditions_line, summary_of, versions_line

_STYLE = (
    STYLE
    + """
body { margin: 0 auto; max-width: 920px; padding: 24px; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; } h2 { margin-top: 48px; border-bottom: 1px solid var(--rule); }
figure { margin: 24px 0; } figcaption { font-weight: 600; }
.conditions, .missing { color: var(--faint); font-size: 13px; margin: 4px 0; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 13.5px; }
td, th { padding: 4px 10px; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; } .number { text-align: right; white-space: nowrap; }
.word { white-space: nowrap; }
.met { color: var(--good); font-weight: 600; } .not { color: var(--bad); font-weight: 600; }
summary { cursor: pointer; }
"""
)


def page_of(results: Results) -> str:
    """Return the whole page; measures that are missing are said to be."""
    body = [
        "<h1>logship: measured</h1>",
        *(f"<p>{escape(sentence)}</p>" for sentence in summary_of(results)),
        "<p>Figures are medians. Behind a median, and as a whisker, are the quartiles, or least "
        "and greatest of fewer than five turns. Ratios are of two runs in the same turn.</p>",
    ]
    for name in SHOWN:
        measure = MEASURES[name]
        body.append(f'<section id="{name}"><h2>{escape(measure.title)}</h2>')
        if name in results:
            body += _section(name, results[name])
        else:
            body.append(
                '<p class="missing">Not measured: '
                f"<code>python -m benchmarks all --only {name}</code></p>"
            )
        body.append("</section>")
    body += _targets(results)
    return _DOCUMENT.format(style=_STYLE, body="\n".join(body))


_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>logship: measured</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _targets(results: Results) -> Iterator[str]:
    yield '<section id="targets"><h2>Targets of the project</h2><div class="table"><table>'
    text, *numbers, word = HEADINGS
    heads = "".join(f'<th class="number">{number}</th>' for number in numbers)
    yield f"<tr><th>{text}</th>{heads}<th>{word}</th></tr>"
    kinds = {"met": "met", "goal met": "met", "not met": "not"}
    for each in verdicts(results):
        text, *numbers = each.cells
        cells = "".join(f'<td class="number">{escape(number)}</td>' for number in numbers)
        word = f'<td class="word {kinds.get(each.word, "missing")}">{each.word}</td>'
        yield f"<tr><td>{_marked_up(text)}</td>{cells}{word}</tr>"
    yield "</table></div></section>"


def _section(name: str, measured: Measured) -> Iterator[str]:
    for plot in plots_of(name, measured):
        yield _figure(plot, conditions_line(measured))
    for note in measured.notes:
        yield f"<p>{_marked_up(note)}</p>"
    yield f'<p class="conditions">{escape(versions_line(measured))}</p>'
    yield f"<details><summary>All figures</summary>{_table(grid_of(MEASURES[name], measured))}"
    yield "</details>"


def _figure(plot: Plot, conditions: str) -> str:
    return (
        f"<figure><figcaption>{_marked_up(plot.title)}</figcaption>{plot.svg}"
        f'<p class="conditions">{escape(conditions)}</p></figure>'
    )


def _table(grid: Grid) -> str:
    kinds = [
        ' class="number"' if number >= grid.names else "" for number in range(len(grid.headings))
    ]

    def row(cells: list[str], tag: str) -> str:
        pairs = zip(cells, kinds, strict=True)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in pairs)

    rows = [row(grid.headings, "th"), *(row(cells, "td") for cells in grid.rows)]
    return f'<div class="table"><table>{"".join(f"<tr>{each}</tr>" for each in rows)}</table></div>'


def _marked_up(text: str) -> str:
    """Return text with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{each}</code>" if n % 2 else each for n, each in enumerate(parts))
