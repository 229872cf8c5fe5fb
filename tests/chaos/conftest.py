"""Clients with quick retries."""

from __future__ import annotations

from tests.interop.conftest import connect, ledger, make_client

__all__ = ["connect", "ledger", "make_client"]
