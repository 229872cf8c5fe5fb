"""The quirks of Node's FluentServer, and that logship copes with each.

Not shown here: that it acks before it hands records over, which a SIGKILL would have to hit
within microseconds; zstd, which it acks and decodes as if it were plain.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.certificates import Certificates
from tests.contract.shipping import assert_records_arrive
from tests.interop.conftest import Connect, needs
from tests.interop.raw import Ping, RawConnection
from tests.interop.test_fluentd import negotiated
from tests.support.servers import NodeServer, Security, ServerProcess, why_no_node

pytestmark = needs(why_no_node)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A FluentServer with a shared key and without users."""
    with NodeServer(tmp_path_factory.mktemp("keyed"), security=Security("the key")) as server:
        yield server


@pytest.mark.parametrize("as_binary", [False, True])
def test_node_takes_ping_fields_as_str_only(
    keyed: ServerProcess, connect: Connect, as_binary: bool
) -> None:
    with RawConnection(keyed) as connection:
        connection.send(Ping("the key", as_binary).answer_to(connection.answer()))
        pong = connection.answer()
    assert (pong is None) == as_binary
    assert_records_arrive(connect(keyed.endpoint, shared_key="the key"), keyed, 20)


def test_node_answers_a_wrong_key_with_a_reason(keyed: ServerProcess) -> None:
    with RawConnection(keyed) as connection:
        connection.send(Ping("another").answer_to(connection.answer()))
        pong = connection.answer()
    assert pong[:2] == [b"PONG", False]
    assert pong[2]


def test_node_tls_negotiates_1_3_and_our_client_speaks_it(
    certificates: Certificates, connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with NodeServer(tmp_path_factory.mktemp("tls"), tls=certificates.good) as server:
        assert negotiated(server, certificates) == "TLSv1.3"
        assert_records_arrive(connect(server.endpoint, tls_ca=str(certificates.ca)), server, 20)
