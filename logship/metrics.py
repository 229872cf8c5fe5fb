"""The metrics of logship's clients, for the registry of an application.

This module imports prometheus_client, which costs an application's start more than all the rest of
logship. No other module imports this one.
"""

from __future__ import annotations

from pathlib import Path

from logship._metrics.pages import Pages
from logship._metrics.process import HERE, Process
from logship._metrics.prometheus import TotalCollector

__all__ = ["LogshipCollector"]


class LogshipCollector(TotalCollector):
    """The numbers of logship's clients: `REGISTRY.register(LogshipCollector())`.

    If `metrics_dir` or `metrics_port` is set, they are the sums of all processes of the container,
    and any of the processes can be asked. Otherwise they are the numbers of this process.

    Args:
        directory: Read the pages in this directory instead, which other processes write.
        process: The process whose numbers they are.

    Raises:
        PagesError: `directory` cannot be used.
    """

    def __init__(self, directory: Path | None = None, *, process: Process = HERE) -> None:
        super().__init__(process.total if directory is None else Pages(directory).total)
