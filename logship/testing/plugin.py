"""The pytest plugin: two fixtures, and no waiting for applications whose tests have no sidecar.

Every run of pytest imports it where logship is installed, so it imports the client late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from logship._installation import parts

if TYPE_CHECKING:
    from logship.testing import ShippedRecords, SocketSidecar


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Begin before the first conftest: it may import an application that calls `install`."""
    parts.parts_for = _parts_without_sidecar


def _parts_without_sidecar(given: Mapping[str, Any]) -> parts.Parts:
    from logship.testing._installing import parts_without_sidecar  # noqa: PLC0415 - see above

    return parts_without_sidecar(given)


@pytest.fixture
def logship_records(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShippedRecords]:
    """Return the records that the application ships in this test through `logship.install()`.

    Only records of this process count, and no socket is used. After the test, logship undoes all
    that `install()` changed in the process.
    """
    from logship.testing._installing import recorded_installation  # noqa: PLC0415 - see above

    monkeypatch.delenv("LOGSHIP_DISABLED", raising=False)
    with recorded_installation() as records:
        yield records


@pytest.fixture
def logship_sidecar(monkeypatch: pytest.MonkeyPatch) -> Iterator[SocketSidecar]:
    """Return a sidecar on a port, which `LOGSHIP_ENDPOINTS` names during this test.

    So `logship.install()` in this process ships to it, and so do programs that the test starts.
    """
    from logship.testing._installing import own_installation  # noqa: PLC0415 - see above
    from logship.testing._listening import SocketSidecar  # noqa: PLC0415 - see above

    monkeypatch.delenv("LOGSHIP_DISABLED", raising=False)
    with SocketSidecar() as sidecar:
        monkeypatch.setenv("LOGSHIP_ENDPOINTS", sidecar.endpoint)
        with own_installation(lambda given: {}, endpoints=sidecar.endpoint):
            yield sidecar
