"""What every test shares: nothing of the developer's own environment reaches logship."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away settings that the environment of whoever runs the tests may hold."""
    for name in list(os.environ):
        if name.startswith("LOGSHIP_") and not name.startswith("LOGSHIP_TEST_"):
            monkeypatch.delenv(name)
    for name in ("FLUENT_HOST", "FLUENT_PORT"):
        monkeypatch.delenv(name, raising=False)
