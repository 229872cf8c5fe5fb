"""The pytest plugin: two fixtures, and no waiting for applications whose tests have no sidecar.

Every run of pytest imports it where logship is installed, so it imports the client late.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from logship._installation import parts

if TYPE_CHECKING:
    from logship.testing import ShippedRecords, SocketSidecar


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before the first conftest: it may import an application that calls `install`.

    A test, or another program, may run pytest within itself, and go on after this run.
    """
    early_config.add_cleanup(functools.partial(setattr, parts, "parts_for", parts.parts_for))
    parts.parts_for = _parts_without_sidecar


def _parts_without_sidecar(given: Mapping[str, Any]) -> parts.Parts:
    from logship.testing._installing import parts_without_sidecar  # noqa: PLC0415 - see above

    return parts_without_sidecar(given)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Give the root logger its level back after all fixtures.

    A `caplog` that was set up before a fixture of logship ends after it, and restores the level
    that it found in the test, which was the fixture's.
    """
    before, in_test = item.stash.get(_LEVELS, (0, 0))
    root = logging.getLogger()
    if root.level == in_test != before:
        root.setLevel(before)


_LEVELS = pytest.StashKey[tuple[int, int]]()
"""The level of the root logger before the first fixture of logship, and after it."""

_OF_ITS_SIDECAR = (
    *("shared_key", "username", "password"),
    *("tls_ca", "tls_cert", "tls_key", "tls_server_name"),
)
"""Settings of an application that do not fit the sidecar of a test."""


def _forget(monkeypatch: pytest.MonkeyPatch, *settings: str) -> None:
    """Unset the variables of these settings during a test."""
    for name in settings:
        monkeypatch.delenv(f"LOGSHIP_{name.upper()}", raising=False)
        monkeypatch.delenv(f"LOGSHIP_{name.upper()}_FILE", raising=False)


@pytest.fixture
def logship_records(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ShippedRecords]:
    """Return the records that the application ships in this test through `logship.install()`.

    Only records of this process count, and no socket is used. After the test, logship undoes all
    that `install()` changed in the process.
    """
    from logship.testing._installing import recorded_installation  # noqa: PLC0415 - see above

    _forget(monkeypatch, "disabled", "spool_dir")
    before = logging.getLogger().level
    with recorded_installation() as records:
        request.node.stash.setdefault(_LEVELS, (before, logging.getLogger().level))
        yield records


@pytest.fixture
def logship_sidecar(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SocketSidecar]:
    """Return a sidecar on a port, which `LOGSHIP_ENDPOINTS` names during this test.

    So `logship.install()` in this process ships to it, and so do programs that the test starts.
    Keys, certificates and the spool that the environment or the application's own installation name
    do not count during this test.
    """
    from logship.testing._installing import own_installation  # noqa: PLC0415 - see above
    from logship.testing._listening import SocketSidecar  # noqa: PLC0415 - see above

    replaced = dict.fromkeys((*_OF_ITS_SIDECAR, "spool_dir"))
    _forget(monkeypatch, "disabled", *replaced)
    with SocketSidecar() as sidecar:
        monkeypatch.setenv("LOGSHIP_ENDPOINTS", sidecar.endpoint)
        before = logging.getLogger().level
        with own_installation(lambda given: {}, endpoints=sidecar.endpoint, **replaced):
            request.node.stash.setdefault(_LEVELS, (before, logging.getLogger().level))
            yield sidecar
