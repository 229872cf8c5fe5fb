"""How Sphinx builds the site: `make docs`. Decision 038 says why Sphinx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# The sources begin at the root of the repository: a link that works on the forge works here too.
ROOT = Path(__file__).parents[1]

project = "logship"
copyright = "The logship team"
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/*/*.md",
    "examples/README.md",
    "sidecar/README.md",
    "sidecar/ecs/README.md",
    "sidecar/kubernetes/README.md",
    "benchmarks/README.md",
    "benchmarks/compose/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".venv", "out", "dist", "build", "**/.*"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
default_role = "code"  # docstrings have `names` as Markdown has them
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpicky = False

html_theme = "furo"
html_title = "logship"
html_copy_source = False
html_show_sphinx = False
# The front page of the site is docs/index.html; this leads there.
templates_path = ["_templates"]
html_additional_pages = {"index": "to_docs.html"}

# A link to a folder, which only the forge can show.
_FOLDER = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)\s]*/\)")
_ITEM = re.compile(r"^- \[(?P<name>[^\]]*)\]\((?P<path>[^)#]+)\.md\)")


def with_toctrees(text: str) -> str:
    """Return the front page with a table of contents for each of its lists.

    The lists are the order of the site, for readers of the forge too.
    """
    parts = re.split(r"^## (?P<heading>.*)\n", text, flags=re.MULTILINE)
    yielded = [parts[0]]
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        found = [_ITEM.match(line) for line in body.splitlines()]
        pages = "\n".join(f"{item['name']} <{item['path']}>" for item in found if item)
        toctree = f"```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{pages}\n```\n"
        yielded.append(f"## {heading}\n{body}\n{toctree}\n")
    return "".join(yielded)


def _read(_app: Any, page: str, source: list[str]) -> None:
    source[0] = _FOLDER.sub(r"\1", source[0])
    if page == root_doc:
        source[0] = with_toctrees(source[0])
    if page == "docs/decisions/README":
        source[0] += "\n```{toctree}\n:glob:\n:titlesonly:\n\n[0-9]*\n```\n"


def setup(app: Any) -> None:
    """Register the reader of the pages."""
    app.connect("source-read", _read)
