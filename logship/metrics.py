"""The metrics of logship's clients, for the registry of an application.

This module imports prometheus_client, which costs an application's start more than all the rest of
logship. No other module imports this one.
"""

from __future__ import annotations

from logship._metrics.collectors import LogshipCollector

__all__ = ["LogshipCollector"]
