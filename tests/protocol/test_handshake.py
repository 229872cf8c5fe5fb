"""The two roles of the handshake against each other, and against peers that speak otherwise."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from logship._protocol.handshake import ClientHandshake, ServerHandshake
from logship.errors import HandshakeError

NONCE, AUTH = b"\xff" * 16, b"\x80" * 16
LONG_BYTES = 70_000


def a_client(**options: Any) -> ClientHandshake:
    defaults = {"hostname": "client", "shared_key": "key", "salt": "salt"}
    return ClientHandshake(**{**defaults, **options})


def a_server(**options: Any) -> ServerHandshake:
    defaults = {"hostname": "server", "shared_key": "key", "nonce": NONCE, "auth": AUTH}
    return ServerHandshake(**{**defaults, **options})


def shake(client: ClientHandshake, server: ServerHandshake, step: int = 1 << 20) -> bytes:
    """Let both speak until both are done; return what the server was sent behind the handshake.

    Args:
        client: One side.
        server: The other.
        step: So many bytes arrive at a time.
    """
    to_client, behind = server.helo(), b""
    while not client.done:
        to_server = b""
        for at in range(0, len(to_client), step):
            to_server += client.feed(to_client[at : at + step])
        to_client = b""
        for at in range(0, len(to_server), step):
            answer, rest = server.feed(to_server[at : at + step])
            to_client, behind = to_client + answer, behind + rest
    assert server.done
    return behind


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("users", [{}, {"app": "secret", "other": ""}])
def test_each_side_proves_the_key_however_the_bytes_are_split(
    step: int, users: dict[str, str]
) -> None:
    client = a_client(username="app", password="secret")
    assert shake(client, a_server(users=users), step) == b""


def test_what_comes_behind_the_handshake_is_a_message() -> None:
    client, server = a_client(), a_server()
    ping = client.feed(server.helo())
    assert server.feed(ping[:-1]) == (b"", b"")
    pong, behind = server.feed(ping[-1:] + b"first message")
    assert behind == b"first message"
    assert client.feed(pong) == b""
    assert client.done


@pytest.mark.parametrize(
    ("client", "users", "reason"),
    [
        ({"shared_key": "another"}, {}, "shared_key mismatch"),
        ({"username": "app", "password": "wrong"}, {"app": "secret"}, "username/password mismatch"),
        ({"username": "who", "password": ""}, {"app": "secret"}, "username/password mismatch"),
        ({}, {"app": "secret"}, "username/password mismatch"),
    ],
)
def test_a_refused_client_is_told_why(
    client: dict[str, str], users: dict[str, str], reason: str
) -> None:
    asking, server = a_client(**client), a_server(users=users)
    with pytest.raises(HandshakeError, match=f"the client was refused: {reason}") as refused:
        server.feed(asking.feed(server.helo()))
    assert not server.done
    with pytest.raises(HandshakeError, match=f'the sidecar refused: "{reason}"'):
        asking.feed(refused.value.answer)
    assert not asking.done


def test_a_server_that_does_not_know_the_key_is_found_out() -> None:
    client, server = a_client(), a_server()
    client.feed(server.helo())
    _, _, _, hostname, digest = msgpack.unpackb(
        a_server(shared_key="another").feed(a_client(shared_key="another").feed(server.helo()))[0]
    )
    with pytest.raises(HandshakeError, match="does not know the shared key"):
        client.feed(msgpack.packb(["PONG", True, "", hostname, digest]))
    assert not client.done


def test_a_pong_that_could_be_the_clients_own_ping_is_refused() -> None:
    client, server = a_client(), a_server(hostname="client")
    pong, _ = server.feed(client.feed(server.helo()))
    with pytest.raises(HandshakeError, match="this client's own hostname, client"):
        client.feed(pong)


HELO = ["HELO", {"nonce": b"n" * 16, "auth": b""}]


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([["HELLO", {}]], "did not begin with HELO"),
        ([["HELO"]], "are not a handshake: a message begins with"),
        ([["HELO", []]], "did not begin with HELO"),
        ([["HELO", b"\x80"]], "did not begin with HELO"),
        ([["HELO", {("a",): 1}]], "are not a handshake: "),
        ([["HELO", {"nonce": 1}]], "not text"),
        ([{"ack": "id"}], "are not a handshake: a message begins with"),
        ([HELO, None], "are not a handshake: a message begins with"),
        ([HELO, ["PANG", True, "", "server", "digest"]], "did not answer PING with PONG"),
        ([HELO, ["PONG", True, ""]], "did not answer PING with PONG"),
        ([HELO, ["PONG", False, "", "", ""]], "refused: it gave no reason"),
        ([HELO, ["PONG", False, None, None, None]], "refused: it gave no reason"),
        ([HELO, ["PONG", False, b"caf\xe9", "", ""]], r'refused: "caf\\\\xe9"'),
        ([HELO, ["PONG", 1, "not so", "", ""]], 'refused: "not so"'),
        ([HELO, ["PONG", True, "", 5, ""]], "not text"),
    ],
)
def test_a_client_refuses_what_is_not_said_so(messages: list[Any], fault: str) -> None:
    client = a_client()
    with pytest.raises(HandshakeError, match=fault):
        client.feed(b"".join(map(msgpack.packb, messages)))
    assert not client.done


def test_a_server_that_goes_on_talking_is_refused() -> None:
    client, server = a_client(), a_server()
    pong, _ = server.feed(client.feed(server.helo()))
    with pytest.raises(HandshakeError, match="more bytes than a handshake may have"):
        client.feed(pong + pong)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (msgpack.packb(["tag", 1, {}]), "sent records and no PING"),
        (msgpack.packb(["tag", [[1, {}]] * 3, {"size": 3}])[:5], "sent records and no PING"),
        (b"\x94\xa3tag", "sent records and no PING"),
        (b'["tag",1,{}', "sent records and no PING"),
        (msgpack.packb(["PONG", "", "", "", "", ""]), "sent data before PING"),
        (msgpack.packb(["PING", "", "", "", "", 1]), "not text"),
        (b"\xc1", "are not a handshake: "),
        (b"\xc0", "are not a handshake: a message begins with"),
        (b"\x91\xa4PING", "are not a handshake: a message begins with"),
        (b"\xc4\x01x", "are not a handshake: a message begins with"),
        (b"\x16\x03\x01", "are not a handshake: a message begins with"),
        (b"GET / HTTP/1.1", "not an array of 2 to 6 items"),
        (b"\x96\xc6\x00\x02\x00\x00" + bytes(LONG_BYTES), "longer than 65536 bytes"),
    ],
)
def test_a_server_refuses_what_is_not_said_so(data: bytes, fault: str) -> None:
    server = a_server()
    with pytest.raises(HandshakeError, match=fault) as refused:
        server.feed(data)
    assert refused.value.answer == b""
    assert not server.done


def test_half_a_message_waits_for_the_rest() -> None:
    server = a_server()
    assert server.feed(b"\x96\xa4PI") == (b"", b"")
    assert server.feed(b"") == (b"", b"")
    assert not server.done
