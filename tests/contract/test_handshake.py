"""The shared key, proved both ways, against every server that speaks the handshake.

What goes wrong is said once, clearly and without the secret; the buffer is kept and delivered to
a server that has the right key; and until a server has proved the key it gets not one record.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import ChaosProxy, no_fault
from tests.contract.certificates import Certificates
from tests.contract.conftest import Connected, ConnectedTo, Said
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_once_in_order,
    assert_records_arrive,
    wait_for_end,
)
from tests.contract.targets import KEYED_TARGETS, RECEIVE, Target
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until

each_target = pytest.mark.parametrize("target", KEYED_TARGETS, ids=str)

SECRET = "not the key of this server"
IMPOSTOR = next(each for each in KEYED_TARGETS if each.name == "fluent-bit-key")


@each_target
@pytest.mark.parametrize("wrong", ["shared_key", "password", "username"])
def test_what_is_wrong_is_said_once_and_nothing_is_sent(
    target: Target, wrong: str, server: ServerProcess, connect: Connected, said: Said
) -> None:
    if wrong != "shared_key" and not (target.security and target.security.users):
        pytest.skip(f"{target} asks for no user")
    ledger = Ledger()
    with ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy:
        wrong_setting: dict[str, Any] = {wrong: SECRET}
        client = connect(server, endpoints=proxy.endpoint, last_resort="none", **wrong_setting)
        ledger.emit(client, 20)
        wait_until(lambda: proxy.connections >= 4, "four attempts")
        client.close(timeout=0.1)
        assert server.arrived(ledger.tag) == []
    assert b"PING" in proxy.client_bytes
    assert b"marker" not in proxy.client_bytes
    warnings = said.lines(f"cannot connect to {proxy.endpoint}")
    assert len(warnings) == 1, warnings
    assert SECRET not in " ".join(said.lines(""))


@each_target
def test_the_buffer_is_kept_until_a_server_knows_the_key(
    target: Target,
    server: ServerProcess,
    certificates: Certificates,
    connect: Connected,
    tmp_path: Path,
    said: Said,
) -> None:
    """An impostor first, without the key, then the right server behind the same port."""
    assert target.security is not None
    ledger, other = Ledger(), replace(target.security, shared_key="another key")
    with (
        IMPOSTOR.server(tmp_path / "impostor", certificates, security=other) as impostor,
        ChaosProxy(impostor.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        client = connect(server, endpoints=proxy.endpoint)
        ledger.emit(client, 20)
        wait_until(lambda: proxy.connections >= 3, "three attempts")
        assert b"marker" not in proxy.client_bytes
        proxy.target_port = server.port.number
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))
    assert len(said.lines("cannot connect")) == 1


@each_target
def test_a_server_with_this_hosts_own_name_is_not_mistaken_for_ourselves(
    target: Target, certificates: Certificates, connect: Connected, tmp_path: Path
) -> None:
    """All containers of a task may have one name, and servers refuse a client with their own."""
    assert target.security is not None
    own_name = replace(target.security, hostname=socket.gethostname())
    with target.server(tmp_path / "server", certificates, security=own_name) as server:
        assert_records_arrive(connect(server), server, 5)


def test_a_server_without_a_key_gets_nothing_from_a_client_with_one(
    ledger: Ledger, certificates: Certificates, tmp_path: Path, connect_to: ConnectedTo, said: Said
) -> None:
    """It never says HELO, so the attempt ends with its time."""
    with RECEIVE.server(tmp_path / "server", certificates) as server:
        settings = {"shared_key": SECRET, "connect_timeout_seconds": 0.2, "last_resort": "none"}
        client = connect_to(RECEIVE, server, **settings)
        ledger.emit(client, 5)
        wait_until(lambda: bool(said.lines("does it have a shared key?")), "the warning")
        client.close(timeout=0.1)
        assert server.arrived(ledger.tag) == []


@each_target
def test_a_client_without_a_key_is_told_that_one_is_wanted(
    ledger: Ledger, target: Target, server: ServerProcess, connect: Connected, said: Said
) -> None:
    nothing = {"shared_key": None, "username": None, "password": None}
    client = connect(server, last_resort="none", **nothing)
    ledger.emit(client, 5)
    wait_until(lambda: bool(said.lines("requires a shared key")), "the warning")
    client.close(timeout=0.1)
    assert server.arrived(ledger.tag) == []
