"""Clients that are closed whatever a test finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._settings import Settings
from tests.contract.conftest import ledger

__all__ = ["ledger"]

Made = Callable[..., BackgroundClient]


@pytest.fixture
def make_client() -> Iterator[Made]:
    """Make clients with quick retries and small chunks; what is left open is closed."""
    made: list[BackgroundClient] = []

    def make(endpoints: str, **settings: Any) -> BackgroundClient:
        quick = {
            "endpoints": endpoints,
            "backoff_seconds_base": 0.02,
            "backoff_seconds_max": 0.1,
            "connect_timeout_seconds": 1.0,
            "ack_timeout_seconds": 1.0,
            "chunk_bytes_max": 8 * 1024,
            "linger_seconds": 0.05,
        }
        client = BackgroundClient(Settings(**{**quick, **settings}))
        made.append(client)
        return client

    yield make
    for client in made:
        if client.report is None:
            client.close(timeout=0.5)
