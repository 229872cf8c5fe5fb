"""The lifecycle tests' sidecar and programs."""

from __future__ import annotations

from tests.process.conftest import gate, programs, sidecar

__all__ = ["gate", "programs", "sidecar"]
