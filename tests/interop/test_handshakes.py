"""How servers shake hands, by key and by TLS, and that logship copes with each.

Not shown here: that Node's server acks before it hands records over, which a SIGKILL would have to
hit within microseconds; and zstd, which it acks and decodes as if it were plain.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.certificates import Certificates
from tests.contract.shipping import assert_records_arrive
from tests.interop.conftest import KINDS, Connect
from tests.interop.raw import Ping, RawConnection, entries, packed_forward
from tests.support.servers import Fluentd, NodeServer, Security, ServerProcess

TLS_VERSIONS = {"fluentd": "TLSv1.2", "fluent-bit": "TLSv1.3", "node": "TLSv1.3"}
"""What each negotiates by default."""


@pytest.fixture(scope="module", params=KINDS)
def keyed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server with a shared key and without users."""
    start, why_missing = KINDS[request.param]
    if why := why_missing():
        pytest.skip(why)
    with start(tmp_path_factory.mktemp("keyed"), security=Security("the key")) as server:
        yield server


@pytest.mark.parametrize("as_binary", [False, True])
def test_which_ping_fields_are_taken(keyed: ServerProcess, as_binary: bool) -> None:
    """Fields as bin are taken by Fluentd alone."""
    with RawConnection(keyed) as connection:
        connection.send(Ping("the key", as_binary).answer_to(connection.answer()))
        pong = connection.answer()
    if as_binary and not isinstance(keyed, Fluentd):
        assert pong is None
    else:
        assert pong[:2] == [b"PONG", True]


def test_a_client_with_the_key_is_let_in(keyed: ServerProcess, connect: Connect) -> None:
    assert_records_arrive(connect(keyed.endpoint, shared_key="the key"), keyed, 20)


def test_what_a_wrong_key_is_answered_with(keyed: ServerProcess) -> None:
    """Fluent Bit closes without a word, the others say why."""
    with RawConnection(keyed) as connection:
        connection.send(Ping("another").answer_to(connection.answer()))
        pong = connection.answer()
        if isinstance(keyed, Fluentd):
            assert pong[:3] == [b"PONG", False, b"shared_key mismatch"]
            assert connection.answer() is None
        elif isinstance(keyed, NodeServer):
            assert pong[:2] == [b"PONG", False]
            assert pong[2]
        else:
            assert pong is None


@pytest.mark.parametrize("keyed", ["fluentd"], indirect=True)
def test_fluentds_auth_is_not_empty_even_without_user_authentication(keyed: ServerProcess) -> None:
    """It does not mean that credentials are required."""
    with RawConnection(keyed) as connection:
        options = connection.answer()[1]
    assert len(options[b"nonce"]) == 16
    assert len(options[b"auth"]) == 16
    assert options[b"keepalive"] is True


@pytest.mark.parametrize("keyed", ["fluentd"], indirect=True)
def test_fluentd_answers_data_without_a_ping_with_a_refusal(keyed: ServerProcess) -> None:
    """And logship, without a key, says from the HELO what is wanted; see tests/contract."""
    with RawConnection(keyed) as connection:
        connection.answer()
        connection.send(packed_forward("any", entries({"a": 1}), chunk="one", size=1))
        assert connection.answer()[:2] == [b"PONG", False]


@pytest.mark.parametrize("keyed", ["fluent-bit"], indirect=True)
def test_fluent_bits_helo_holds_raw_random_bytes_typed_as_str_and_no_keepalive(
    keyed: ServerProcess, connect: Connect
) -> None:
    """A client that decodes them as text fails for most nonces; ours connects each time."""
    with RawConnection(keyed) as connection:
        raw = connection.socket.recv(4096)
    assert b"\xa5nonce" in raw
    nonce_type = raw[raw.index(b"\xa5nonce") + 6]
    assert nonce_type in {0xA0 | 16, 0xD9}  # str, not bin
    assert b"keepalive" not in raw
    for _ in range(20):
        assert_records_arrive(connect(keyed.endpoint, shared_key="the key"), keyed, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_which_tls_is_negotiated_and_our_client_speaks_it(
    kind: str, certificates: Certificates, connect: Connect, tmp_path: Path
) -> None:
    start, why_missing = KINDS[kind]
    if why := why_missing():
        pytest.skip(why)
    with start(tmp_path / "server", tls=certificates.good) as server:
        assert negotiated(server, certificates) == TLS_VERSIONS[kind]
        assert_records_arrive(connect(server.endpoint, tls_ca=str(certificates.ca)), server, 20)


def negotiated(server: ServerProcess, certificates: Certificates) -> str | None:
    """Return the TLS version that the server and a client of this Python agree on."""
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with RawConnection(server) as connection:
        wrapped = context.wrap_socket(connection.socket, server_hostname="127.0.0.1")
        with wrapped:
            return wrapped.version()
