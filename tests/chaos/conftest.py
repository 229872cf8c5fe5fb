"""Clients with quick retries and small chunks."""

from __future__ import annotations

from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._settings import Settings
from tests.contract.conftest import Made, ledger, make_client
from tests.interop.conftest import Connect

__all__ = ["ledger", "make_client"]

QUICK = {
    "backoff_seconds_base": 0.02,
    "backoff_seconds_max": 0.1,
    "connect_timeout_seconds": 1.0,
    "ack_timeout_seconds": 1.0,
    "chunk_bytes_max": 8 * 1024,
    "linger_seconds": 0.05,
}


@pytest.fixture
def connect(make_client: Made) -> Connect:
    """Make clients of an endpoint; what is left open is closed."""

    def make(endpoints: str, **settings: Any) -> BackgroundClient:
        return make_client(Settings(**{**QUICK, "endpoints": endpoints, **settings}))

    return make
