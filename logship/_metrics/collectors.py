"""The collector that an application registers with Prometheus' client library."""

from __future__ import annotations

from pathlib import Path

from logship._metrics.pages import Pages
from logship._metrics.process import HERE, Process
from logship._metrics.prometheus import TotalCollector


class LogshipCollector(TotalCollector):
    """The numbers of logship's clients: `REGISTRY.register(LogshipCollector())`.

    Where `metrics_dir`, `spool_dir` with `metrics_port`, or `metrics_port` is set, they are those
    of all processes of the container, whichever of them is asked; otherwise of this process.

    Args:
        directory: Read the pages in this directory instead, which other processes keep.
        process: The process whose numbers they are.

    Raises:
        PagesError: `directory` cannot be used.
    """

    def __init__(self, directory: Path | None = None, *, process: Process = HERE) -> None:
        super().__init__(process.total if directory is None else Pages(directory).total)
