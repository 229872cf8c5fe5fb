"""Results as one HTML page that needs nothing else: the sections of the docs, and plots inline."""

from __future__ import annotations

from collections.abc import Iterator

from markdown_it import MarkdownIt

from benchmarks.performance.charts import STYLE
from benchmarks.performance.docs_page import section_of, targets_of
from benchmarks.performance.measures import SHOWN
from benchmarks.performance.plots import plots_of
from benchmarks.performance.results import Results
from benchmarks.performance.words import summary_of

_STYLE = (
    STYLE
    + """
body { margin: 0 auto; max-width: 920px; padding: 24px; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; } h2 { margin-top: 48px; border-bottom: 1px solid var(--rule); }
figure { margin: 24px 0; } figcaption { font-weight: 600; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 13.5px; }
td, th { padding: 4px 10px; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
"""
)

_EXPLAINED = (
    "Figures are medians. Behind a median, and as a whisker, are the quartiles, or least and "
    "greatest of fewer than five turns. Ratios are of two runs in the same turn."
)


def page_of(results: Results) -> str:
    """Return the whole page; measures that are missing are said to be."""
    head = "\n\n".join(["# logship: measured", *summary_of(results), _EXPLAINED])
    return _DOCUMENT.format(style=_STYLE, body="\n".join([_html(head), *_sections(results)]))


def _sections(results: Results) -> Iterator[str]:
    for name in SHOWN:
        measured = results.get(name)
        yield f'<section id="{name}">{_html(section_of(name, measured))}'
        for plot in [] if measured is None else plots_of(name, measured):
            yield f"<figure><figcaption>{_inline(plot.title)}</figcaption>{plot.svg}</figure>"
        yield "</section>"
    yield f'<section id="targets">{_html(targets_of(results))}</section>'


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

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def _html(markdown: str) -> str:
    return str(_MARKDOWN.render(markdown))


def _inline(markdown: str) -> str:
    return str(_MARKDOWN.renderInline(markdown))
