"""The lifecycle tests' sidecar and programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Sidecar, no_core_files, sidecar
from tests.run.conftest import end_what_is_left
from tests.support.programs import Programs

__all__ = ["no_core_files", "sidecar"]


@pytest.fixture
def programs(sidecar: Sidecar, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path, sidecar.endpoint, sidecar.output)
    yield programs
    programs.kill_all()
    end_what_is_left(tmp_path)
