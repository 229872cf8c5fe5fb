"""Reads the pages of processes that are gone, as any program with the package can."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from logship.metrics import LogshipCollector
from tests.metrics.scraping import Samples, parsed


def metrics_in(pages: Path) -> Samples:
    """Return what the pages say."""
    registry = CollectorRegistry()
    registry.register(LogshipCollector(pages))
    return parsed(generate_latest(registry).decode())
