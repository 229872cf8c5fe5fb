"""TLS: a server that is not the right one gets nothing, and nothing is lost by it.

Each wrong certificate is tried against each server that speaks TLS: the error is clear and said
once, the buffer is kept and delivered when the server has the right certificate, and what went
over the wire before holds not one record.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from logship import Client
from logship._delivery.credentials import tls_context
from logship._receiver.access import Access, AccessOptions
from logship._settings import Settings
from logship.errors import SettingsError
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
from tests.contract.targets import RECEIVE, TLS_TARGETS, Target
from tests.support.servers import Fluentd, ServerProcess
from tests.support.waiting import wait_until

each_target = pytest.mark.parametrize("target", TLS_TARGETS, ids=str)

REASONS = {
    "expired": "certificate has expired",
    "wrong_name": "not valid for '127.0.0.1'",
    "wrong_ca": "unable to get local issuer certificate",
}
"""What the warning says, in the words of the TLS library: certificate, and what is wrong."""


@each_target
@pytest.mark.parametrize("wrong", list(REASONS))
def test_a_wrong_certificate_is_a_clear_error_and_the_buffer_is_kept(
    target: Target,
    wrong: str,
    certificates: Certificates,
    server: ServerProcess,
    connect: Connected,
    tmp_path: Path,
    said: Said,
) -> None:
    """The wrong server first, then the right one behind the same port."""
    if wrong != "wrong_name" and isinstance(server, Fluentd):
        pytest.skip("it takes long to start, and the client does not know who shows a certificate")
    ledger, bad = Ledger(), getattr(certificates, wrong)
    with (
        target.server(tmp_path / "wrong", certificates, tls=bad) as impostor,
        ChaosProxy(impostor.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        endpoint = proxy.endpoint.replace("tcp", "tls")
        client = connect(server, endpoints=endpoint)
        ledger.emit(client, 20)
        wait_until(lambda: proxy.connections >= 3, "three attempts")
        seen, warnings = bytes(proxy.client_bytes), said.lines("certificate")
        proxy.target_port = server.port.number
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))
    assert len(warnings) == 1, warnings
    assert f"cannot connect to {endpoint}: its certificate is not valid" in warnings[0]
    assert ".;" not in warnings[0]
    assert REASONS[wrong] in warnings[0]
    assert b"marker" not in seen
    assert b"PING" not in seen


@each_target
def test_records_are_not_readable_on_the_wire(
    target: Target, server: ServerProcess, connect: Connected
) -> None:
    with ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy:
        client = connect(server, endpoints=proxy.endpoint.replace("tcp", "tls"))
        assert_records_arrive(client, server, 20)
    assert len(proxy.client_bytes) > 1000
    assert b"marker" not in proxy.client_bytes
    assert b"PING" not in proxy.client_bytes


@each_target
def test_a_client_certificate_is_shown_to_a_server_that_wants_one(
    target: Target, certificates: Certificates, connect: Connected, tmp_path: Path, said: Said
) -> None:
    tls = certificates.asking_clients()
    with target.server(tmp_path / "server", certificates, tls=tls) as server:
        for cert in (None, str(certificates.stranger)):
            before = len(said.lines(server.endpoint))
            refused, client = Ledger(), connect(server, tls_cert=cert, last_resort="none")
            refused.emit(client, 5)
            wait_until(lambda n=before: len(said.lines(server.endpoint)) > n, "a warning")  # type: ignore[misc]
            client.close(timeout=0.1)
            assert server.arrived(refused.tag) == []
        client = connect(server, tls_cert=str(certificates.client))
        assert_records_arrive(client, server, 20)


@each_target
def test_the_servers_name_can_differ_from_the_endpoints_host(
    target: Target, server: ServerProcess, connect: Connected
) -> None:
    endpoint = server.endpoint.replace("127.0.0.1", "localhost")
    client = connect(server, endpoints=endpoint, tls_server_name="127.0.0.1")
    assert_records_arrive(client, server, 20)


def test_plain_text_is_never_spoken_to_a_server_that_does_not_speak_tls(
    ledger: Ledger, certificates: Certificates, tmp_path: Path, connect_to: ConnectedTo, said: Said
) -> None:
    """A tls:// endpoint at a plain port: no connection, and no record in clear."""
    with (
        RECEIVE.server(tmp_path / "server", certificates) as server,
        ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        tls = {"endpoints": proxy.endpoint.replace("tcp", "tls"), "tls_ca": str(certificates.ca)}
        client = connect_to(RECEIVE, server, last_resort="none", **tls)
        ledger.emit(client, 20)
        wait_until(lambda: proxy.connections >= 3, "three attempts")
        client.close(timeout=0.1)
        assert server.arrived(ledger.tag) == []
    assert b"marker" not in proxy.client_bytes
    assert len(said.lines("cannot connect")) == 1


@pytest.mark.parametrize("wrong", ["missing", "no certificate"])
def test_a_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "ca.pem"
    if wrong == "no certificate":
        path.write_text("no certificate")
    settings = Settings(endpoints="tls://127.0.0.1:1", tls_ca=str(path))
    with pytest.raises(SettingsError, match=rf"tls_ca \(LOGSHIP_TLS_CA\): cannot use {path}"):
        tls_context(settings)


def test_a_key_log_that_cannot_be_written_is_not_taken_for_another_file(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python opens it for each TLS context."""
    key_log = tmp_path / "none" / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(key_log))
    for ca in (None, str(certificates.ca)):
        with pytest.raises(SettingsError, match=rf"^SSLKEYLOGFILE: cannot use {key_log}: No such"):
            Client(endpoints="tls://127.0.0.1:1", tls_ca=ca)
    tls = certificates.good
    with pytest.raises(SettingsError, match=rf"^SSLKEYLOGFILE: cannot use {key_log}: No such"):
        Access(AccessOptions(tls_cert=str(tls.certificate), tls_key=str(tls.key)))


def test_verification_cannot_be_switched_off() -> None:
    context = tls_context(Settings(endpoints="tls://127.0.0.1:1"))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
