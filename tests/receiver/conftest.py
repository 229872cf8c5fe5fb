"""A receiver of its own for each test, because most of them end it in some way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.receiver_process import ReceiverProcess


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """Start a receiver on a TCP port that writes to `out.jsonl`."""
    with ReceiverProcess.start(tmp_path / "out.jsonl") as process:
        yield process
