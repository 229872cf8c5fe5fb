"""Where pages lie, by the settings: who is counted together, and who is not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from logship._metrics.outlet import environ_for_children, pages_directory
from logship._settings import Settings
from tests.support.raising import raising

OWN = str(Path(tempfile.gettempdir()) / f"logship-metrics-{os.geteuid()}-9100")


@pytest.mark.parametrize(
    ("settings", "directory"),
    [
        ({"metrics_port": 9100}, OWN),
        ({"metrics_port": 0}, None),
        ({"metrics_port": 9100, "spool_dir": "/spool"}, "/spool/metrics"),
        ({"metrics_port": 0, "spool_dir": "/spool"}, "/spool/metrics"),
        ({"metrics_port": 9100, "spool_dir": "/spool", "metrics_dir": "/m"}, "/m"),
        ({"metrics_dir": "/m"}, "/m"),
    ],
)
def test_where_pages_lie(settings: dict[str, Any], directory: str | None) -> None:
    chosen = Settings(**settings)
    assert pages_directory(chosen) == (None if directory is None else Path(directory))
    expected = (
        {} if directory is None else {"LOGSHIP_METRICS_DIR": directory, "LOGSHIP_METRICS_PORT": ""}
    )
    assert environ_for_children(chosen) == expected


def test_without_a_place_for_temporary_files_each_process_is_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = FileNotFoundError(2, "No usable temporary directory found")
    monkeypatch.setattr(tempfile, "gettempdir", raising(missing))
    chosen = Settings(metrics_port=9100)
    assert pages_directory(chosen) is None
    assert environ_for_children(chosen) == {}


@pytest.mark.parametrize("settings", [{}, {"spool_dir": "/spool"}, {"metrics_host": "0.0.0.0"}])
def test_a_connection_that_asks_for_nothing_gets_nothing(settings: dict[str, Any]) -> None:
    assert not Settings(**settings).wants_metrics
    assert pages_directory(Settings(**settings)) is None
    assert environ_for_children(Settings(**settings)) == {}
