"""One sidecar for all golden tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receiver_process import ReceiverProcess


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    with ReceiverProcess.start(tmp_path_factory.mktemp("receiver") / "out") as running:
        yield running
