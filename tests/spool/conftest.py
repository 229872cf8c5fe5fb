"""A spool with real processes, for each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spool.programs import Spools, spools_in


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    with spools_in(tmp_path) as spools:
        yield spools
