"""`python -m benchmarks report RESULTS.json`: an HTML page with plots, and a page of the docs."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.errors import BenchmarkError
from benchmarks.performance.docs_page import PAGE, write_docs
from benchmarks.performance.page import page_of
from benchmarks.performance.results import read_results


@click.command()
@click.argument(
    "files", type=click.Path(path_type=Path), metavar="RESULTS.json...", nargs=-1, required=True
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one page with plots that needs no other file and no network.",
)
@click.option("--docs", is_flag=True, help=f"Write the measured part of {PAGE}.")
def report(files: tuple[Path, ...], html_file: Path | None, docs: bool) -> None:
    """Show results of `all --json` to people.

    Of several files the last one that has a measure counts for it.
    """
    if not html_file and not docs:
        raise click.UsageError("say what to write: --html FILE, --docs, or both")
    results = read_results(files)
    if html_file:
        write_file(html_file, page_of(results))
        click.echo(f"The report: {html_file}")
    if docs:
        write_docs(PAGE, results)
        click.echo(f"The measured part of {PAGE} is new.")


def write_file(path: Path, text: str) -> None:
    """Write a file for people, in a directory that need not be there.

    Raises:
        BenchmarkError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(f"cannot write {path}: {error.strerror}") from error
