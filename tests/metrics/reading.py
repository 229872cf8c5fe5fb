"""Reads what is exported without an endpoint: of processes that are gone, by their pages."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from logship.metrics import LogshipCollector
from tests.metrics.scraping import Samples, parsed


def metrics_in(pages: Path) -> Samples:
    """Return what the pages say."""
    return samples_of(LogshipCollector(pages))


def samples_of(collector: Collector) -> Samples:
    """Return what a collector exports."""
    registry = CollectorRegistry()
    registry.register(collector)
    return parsed(generate_latest(registry).decode())
