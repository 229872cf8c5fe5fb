"""A name with several addresses, of which the first ones answer nothing: the others are reached.

The name is looked up in a table of the test; every address is one of this machine's loopback.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logship._client.client import Client
from logship._delivery.transport import SocketTransport
from logship._settings import Endpoint, Settings
from logship.errors import ConnectError
from tests.contract.certificates import make_certificates
from tests.support.servers import EmbeddedReceiver, Security
from tests.unit.clients import Events, full_hole

NAME = "sidecar.example"
CONNECT_SECONDS = 20.0
"""Long: what waits for one address until the timeout is seen to be late."""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A table of names, which is asked before the system's resolver."""
    table: dict[str, list[str]] = {}
    of_system = socket.getaddrinfo

    def look_up(host: str, port: int, *how: Any, **named: Any) -> Any:
        if host not in table:  # a thread of another test
            return of_system(host, port, *how, **named)
        kinds = [socket.AF_INET6 if ":" in each else socket.AF_INET for each in table[host]]
        return [
            (kind, socket.SOCK_STREAM, 6, "", (each, port))
            for kind, each in zip(kinds, table[host], strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


@contextlib.contextmanager
def silent_hole(host: str, port: int) -> Iterator[None]:
    """An address that takes connections and never says a word."""
    with socket.create_server((host, port), backlog=100):
        yield


@pytest.mark.parametrize("secured", ["plain", "tls", "key"])
@pytest.mark.parametrize("hole", [full_hole, silent_hole])
async def test_an_address_behind_a_black_hole_is_reached(
    tmp_path: Path, names: dict[str, list[str]], hole: Any, secured: str
) -> None:
    if secured == "plain" and hole is silent_hole:
        pytest.skip("whether a server without TLS or key answers is known only from its acks")
    names[NAME] = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
    certificates = make_certificates(tmp_path)
    with EmbeddedReceiver(
        tmp_path / "server",
        tls=certificates.wrong_name if secured == "tls" else None,
        security=Security("key") if secured == "key" else None,
    ) as server:
        options: dict[str, Any] = {
            "endpoints": f"{'tls' if secured == 'tls' else 'tcp'}://{NAME}:{server.port.number}",
            "tls_ca": str(certificates.ca) if secured == "tls" else None,
            "shared_key": "key" if secured == "key" else None,
            "connect_timeout_seconds": CONNECT_SECONDS,
        }
        with hole("127.0.0.2", server.port.number), hole("127.0.0.3", server.port.number):
            async with Client(Settings(**options)) as client:
                await client.send({"message": "hello"})
                report = await client.flush(timeout=CONNECT_SECONDS)
            assert report.all_acked


async def connect(port: int, timeout_seconds: float = 2.0) -> None:
    transport = SocketTransport(Settings(connect_timeout_seconds=timeout_seconds))
    try:
        (await transport.connect(Endpoint("tcp", NAME, port, ""), Events())).abort()
    finally:
        transport.close()


async def test_many_black_holes_share_the_one_timeout(names: dict[str, list[str]]) -> None:
    """More of them than there are delays of 0.25 s in the timeout."""
    holes = [f"127.0.1.{each}" for each in range(1, 21)]
    names[NAME] = [*holes, "127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        port = server.getsockname()[1]
        for each in holes:
            stack.enter_context(full_hole(each, port))
        await connect(port, 4.0)


async def test_families_take_turns(names: dict[str, list[str]]) -> None:
    """Where IPv6 leads nowhere, its addresses do not all come first."""
    names[NAME] = [*(f"fd00::{each}" for each in range(1, 9)), "127.0.0.1", "127.0.0.2"]
    transport = SocketTransport(Settings(connect_timeout_seconds=2.0))
    try:
        found = await transport._resolver.resolve(NAME, 1)
    finally:
        transport.close()
    assert [address[0] for _, address in found][:4] == [
        "fd00::1",
        "127.0.0.1",
        "fd00::2",
        "127.0.0.2",
    ]


async def test_where_all_are_black_holes_the_timeout_holds(names: dict[str, list[str]]) -> None:
    names[NAME] = ["127.0.1.1", "127.0.1.2"]
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        port = server.getsockname()[1]
        for each in names[NAME]:
            stack.enter_context(full_hole(each, port))
        with pytest.raises(ConnectError, match=r"no answer in 0\.3 s"):
            await connect(port, 0.3)


async def test_each_reason_why_an_address_is_not_reached_is_told_once(
    names: dict[str, list[str]],
) -> None:
    """Where a name has an address of a family that leads nowhere, this is not the only reason."""
    names[NAME] = ["127.0.0.1", "255.255.255.255", "127.0.0.2"]
    with socket.socket() as refuses:
        refuses.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError) as caught:
            await connect(refuses.getsockname()[1])
    first, _, second = str(caught.value).partition("; ")
    assert first.endswith(": Connection refused")
    assert second
    assert "Connection refused" not in second
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
