"""Plain servers that the tests of one worker share, and clients that are closed in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._settings import Settings
from tests.contract.conftest import Made, certificates, ledger, make_client
from tests.contract.targets import QUICK
from tests.support.servers import (
    FluentBit,
    Fluentd,
    NodeServer,
    ServerProcess,
    why_no_fluent_bit,
    why_no_fluentd,
    why_no_node,
)

__all__ = ["certificates", "ledger", "make_client"]

Connect = Callable[..., BackgroundClient]

KINDS: dict[str, tuple[type[ServerProcess], Callable[[], str]]] = {
    "fluentd": (Fluentd, why_no_fluentd),
    "fluent-bit": (FluentBit, why_no_fluent_bit),
    "node": (NodeServer, why_no_node),
}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ServerProcess]]:
    """Give the worker's server of a kind; it is started when it is first asked for."""
    servers: dict[str, ServerProcess] = {}

    def give(kind: str) -> ServerProcess:
        start, why_missing = KINDS[kind]
        if why := why_missing():
            pytest.skip(why)
        if kind not in servers:
            servers[kind] = start(tmp_path_factory.mktemp(kind))
        return servers[kind]

    yield give
    for each in servers.values():
        each.close()


@pytest.fixture
def fluentd(shared: Callable[[str], ServerProcess]) -> ServerProcess:
    return shared("fluentd")


@pytest.fixture
def fluent_bit(shared: Callable[[str], ServerProcess]) -> ServerProcess:
    return shared("fluent-bit")


@pytest.fixture(params=list(KINDS))
def each_server(
    request: pytest.FixtureRequest, shared: Callable[[str], ServerProcess]
) -> ServerProcess:
    """Each of the servers that are not ours."""
    return shared(request.param)


def needs(why_missing: Callable[[], str]) -> pytest.MarkDecorator:
    """Skip the tests of a module where their server is not found, saying so."""
    return pytest.mark.skipif(bool(why_missing()), reason=why_missing())


@pytest.fixture
def connect(make_client: Made) -> Connect:
    """Make clients with quick retries of an endpoint; what is left open is closed."""

    def make(endpoints: str, **settings: Any) -> BackgroundClient:
        return make_client(Settings(**{**QUICK, "endpoints": endpoints, **settings}))

    return make
