"""Clients with quick retries, as the tests of real servers have them."""

from __future__ import annotations

from tests.interop.conftest import connect

__all__ = ["connect"]
