"""The servers of the contract suite: one for each test, or one for all where starting is slow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._settings import Settings
from tests.contract.certificates import Certificates, make_certificates
from tests.contract.shipping import Ledger
from tests.contract.targets import Target
from tests.support.servers import ServerProcess

Made = Callable[..., BackgroundClient]
Connected = Callable[..., BackgroundClient]
ConnectedTo = Callable[..., BackgroundClient]


class Said:
    """The warnings on stderr so far; reading them does not make them forgotten."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._text = ""

    def lines(self, word: str) -> list[str]:
        """Return logship's own lines that hold `word`."""
        self._text += self._capfd.readouterr().err
        own = [line for line in self._text.splitlines() if line.startswith("logship: ")]
        return [line for line in own if word in line]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[dict[str, ServerProcess]]:
    """Those that run already, by their target's name."""
    servers: dict[str, ServerProcess] = {}
    yield servers
    for each in servers.values():
        each.close()


@pytest.fixture
def server(
    target: Target,
    certificates: Certificates,
    shared_servers: dict[str, ServerProcess],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    if not target.is_shared:
        with target.server(tmp_path / "server", certificates) as own:
            yield own
        return
    if target.name not in shared_servers:
        directory = tmp_path_factory.mktemp(target.name)
        shared_servers[target.name] = target.server(directory, certificates)
    shared = shared_servers[target.name]
    if shared.lines_file.exists():  # the records of earlier tests
        os.truncate(shared.lines_file, 0)
    yield shared


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def make_client() -> Iterator[Made]:
    """Make clients; those that the test did not close are closed."""
    made: list[BackgroundClient] = []

    def make(settings: Settings, **options: Any) -> BackgroundClient:
        made.append(BackgroundClient(settings, **options))
        return made[-1]

    yield make
    for client in made:
        if client.report is None:
            client.close(timeout=0.5)


@pytest.fixture
def connect_to(certificates: Certificates, make_client: Made) -> ConnectedTo:
    """Make clients of a target's server."""

    def make(target: Target, server: ServerProcess, **settings: object) -> BackgroundClient:
        chosen = target.settings(server, certificates, **settings)
        return make_client(chosen, **server.client_options)

    return make


@pytest.fixture
def connect(target: Target, connect_to: ConnectedTo) -> Connected:
    return partial(connect_to, target)


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    return Said(capfd)
