"""What is under way: bars on a terminal, and lines where there is none, as in a CI job's log."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

FIRST_LINE_SECONDS = 0.5
LINE_SECONDS = 2.0
UNCHANGED_SECONDS = 20.0
"""A line that says the same again comes after so long, as a sign of life."""


@contextlib.contextmanager
def open_progress(console: Console) -> Iterator[Progress]:
    """Show the tasks of a `Progress` while they are under way.

    Args:
        console: A terminal gets bars that vanish when done; another output gets lines.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[step]}", style="dim"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    lines = contextlib.nullcontext() if console.is_terminal else _lines_of(progress, console)
    with progress, lines:
        yield progress


@contextlib.contextmanager
def _lines_of(progress: Progress, console: Console) -> Iterator[None]:
    done = threading.Event()
    thread = threading.Thread(target=_write_lines, args=(progress, console, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _write_lines(progress: Progress, console: Console, done: threading.Event) -> None:
    """Write what is under way at once, and then every two seconds if it has changed."""
    began = written = time.monotonic()
    last, wait_seconds = "", FIRST_LINE_SECONDS
    while not done.wait(wait_seconds):
        wait_seconds = LINE_SECONDS
        now, text = time.monotonic(), _under_way(progress)
        if text != last or now - written > UNCHANGED_SECONDS:
            console.print(f"{now - began:5.0f} s  {text}", highlight=False, markup=False)
            last, written = text, now


def _under_way(progress: Progress) -> str:
    tasks = [(task.description, task.fields["step"]) for task in progress.tasks]
    return "; ".join(f"{title}: {step}" if step else title for title, step in tasks)
