"""Clients with quick retries, as the tests of real servers have them."""

from __future__ import annotations

from tests.interop.conftest import certificates, connect, ledger, make_client

__all__ = ["certificates", "connect", "ledger", "make_client"]
