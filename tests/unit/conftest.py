"""What the tests of clients get: a sidecar in memory, and a file in the place of standard error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logship.testing import Sidecar
from tests.unit.clients import Stderr


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[Stderr]:
    file = Stderr(tmp_path / "stderr")
    yield file
    file.close()


@pytest.fixture
def sidecar() -> Sidecar:
    return Sidecar()
