"""The forward protocol's handshake, both roles: a shared key, proved by each to the other. PURE.

    server: ["HELO", {"nonce": …, "auth": …, "keepalive": true}]
    client: ["PING", hostname, salt, digest(salt, hostname, nonce, key),
             user, digest(auth, user, password)]
    server: ["PONG", ok, reason, hostname, digest(salt, hostname, nonce, key)]

`digest` is the hexadecimal SHA-512 of its arguments, one behind the other. The client verifies the
PONG's digest too, so a server that does not know the key is found out before anything is sent to
it. Quirks that shaped this: Fluentd sends nonce and auth as bin, Fluent Bit sends raw random bytes
typed as str, so nothing here is decoded before it is known to be text; Fluent Bit and Node take
PING fields as str only; Fluentd's `auth` is not empty even where it asks for no user; Fluent Bit
answers a wrong key by closing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack

from logship._protocol.framing import Framer, Item
from logship._quoting import quoted
from logship.errors import HandshakeError, ProtocolError

_MESSAGE_BYTES_MAX = 64 * 1024
_MESSAGE_ITEMS = range(2, 7)
_TRUE = b"\xc3"

_RECORDS_BEGIN = (b"\x92", b"\x93", b"\x94", b"[", b"{")
"""How a message with records begins, in msgpack and in JSON; PING is an array of six."""


class ClientHandshake:
    """The client's side, for one connection.

    Args:
        hostname: The client's own name.
        shared_key: What both sides know.
        salt: Random text; ASCII, because Fluent Bit takes no other.
        username: For servers that ask for a user; empty where there is none.
        password: Of that user.
    """

    def __init__(
        self,
        *,
        hostname: str,
        shared_key: str,
        salt: str,
        username: str = "",
        password: str = "",
    ) -> None:
        self.done = False
        self._hostname = hostname
        self._key = shared_key.encode()
        self._salt = salt
        self._username = username
        self._password = password
        self._nonce: bytes | None = None
        self._framer = _framer()

    def feed(self, data: bytes) -> bytes:
        """Take the server's next bytes; return what to send. `done` tells when it is over.

        Raises:
            HandshakeError: The server refused, does not know the key, or speaks otherwise.
        """
        answer = b""
        for message in _messages(self._framer, data):
            if self.done:
                raise HandshakeError("the sidecar sent more bytes than a handshake may have")
            if self._nonce is None:
                answer += self._ping(message)
            else:
                self._verify_pong(message)
        return answer

    def _ping(self, message: list[Item]) -> bytes:
        has_options = message[0].data == b"HELO" and not message[1].is_text
        options = _decoded(message[1].data) if has_options else None
        if not isinstance(options, dict):
            raise HandshakeError("the sidecar did not begin with HELO; does it have a shared key?")
        self._nonce = _bytes(options.get(b"nonce", b""))
        auth = _bytes(options.get(b"auth", b""))
        password_digest = ""
        if self._username:
            password_digest = _digest(auth, self._username.encode(), self._password.encode())
        return _packed(
            "PING",
            self._hostname,
            self._salt,
            _digest(self._salt.encode(), self._hostname.encode(), self._nonce, self._key),
            self._username,
            password_digest,
        )

    def _verify_pong(self, message: list[Item]) -> None:
        if len(message) < 5 or message[0].data != b"PONG":
            raise HandshakeError("the sidecar did not answer PING with PONG")
        _, accepted, reason, *proof = message[:5]
        if accepted.data != _TRUE:
            has_reason = reason.is_text and reason.data
            why = quoted(reason.data) if has_reason else "it gave no reason"
            raise HandshakeError(f"the sidecar refused: {why}")
        assert self._nonce is not None
        name, digest = _texts(proof)
        expected = _digest(self._salt.encode(), name, self._nonce, self._key)
        if not hmac.compare_digest(expected.encode(), digest):
            raise HandshakeError("the sidecar does not know the shared key, so nothing was sent")
        if name == self._hostname.encode():
            raise HandshakeError(f"the sidecar has this client's own hostname, {self._hostname}")
        self.done = True


class ServerHandshake:
    """The server's side, for one connection.

    Args:
        hostname: The server's own name.
        shared_key: What both sides know.
        nonce: 16 random bytes.
        auth: 16 random bytes.
        users: Passwords by user; empty where no user is asked for.
    """

    def __init__(
        self,
        *,
        hostname: str,
        shared_key: str,
        nonce: bytes,
        auth: bytes,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self.done = False
        self._hostname = hostname
        self._key = shared_key.encode()
        self._nonce = nonce
        self._auth = auth
        self._users = users or {}
        self._framer = _framer()
        self._has_heard = False

    def helo(self) -> bytes:
        """Return the message that begins the handshake."""
        auth = self._auth if self._users else b""
        return _packed("HELO", {"nonce": self._nonce, "auth": auth, "keepalive": True})

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take the client's next bytes.

        Returns:
            What to send, and what came behind the handshake: messages already.

        Raises:
            HandshakeError: The client is refused. `answer` of the error is to be sent before the
                connection is closed; it is empty for a client that sent no PING.
        """
        if not self._has_heard and data.startswith(_RECORDS_BEGIN):
            raise HandshakeError(
                "the client sent records and no PING: it has no shared key; give it the "
                "receiver's (shared_key, LOGSHIP_SHARED_KEY)"
            )
        self._has_heard = self._has_heard or bool(data)
        for message in _messages(self._framer, data):
            answer = self._pong(message)
            self.done = True
            return answer, self._framer.rest()
        return b"", b""

    def _pong(self, message: list[Item]) -> bytes:
        if len(message) != 6 or message[0].data != b"PING":
            raise HandshakeError("the client sent data before PING; it has no shared key set")
        hostname, salt, digest, username, password_digest = _texts(message[1:])
        if not hmac.compare_digest(
            _digest(salt, hostname, self._nonce, self._key).encode(), digest
        ):
            self._refuse("shared_key mismatch")
        if self._users and not self._knows(username, password_digest):
            self._refuse("username/password mismatch")
        own = self._hostname.encode()
        return _packed("PONG", True, "", self._hostname, _digest(salt, own, self._nonce, self._key))

    def _knows(self, username: bytes, password_digest: bytes) -> bool:
        name = username.decode("utf-8", "backslashreplace")
        password = self._users.get(name, "")
        expected = _digest(self._auth, username, password.encode()).encode()
        matches = hmac.compare_digest(expected, password_digest)
        return matches and name in self._users

    def _refuse(self, reason: str) -> None:
        error = HandshakeError(f"the client was refused: {reason}")
        error.answer = _packed("PONG", False, reason, "", "")
        raise error


def _framer() -> Framer:
    return Framer(_MESSAGE_BYTES_MAX, _MESSAGE_ITEMS, takes_heartbeats=False)


def _messages(framer: Framer, data: bytes) -> Iterator[list[Item]]:
    """Yield messages; text stays bytes, because what is typed as text may be none."""
    try:
        yield from framer.feed(data)
    except ProtocolError as error:
        raise HandshakeError(f"the peer's bytes are not a handshake: {error}") from error


def _decoded(packed: bytes) -> Any:
    try:
        return msgpack.unpackb(packed, raw=True)
    except Exception as error:
        raise HandshakeError(f"the peer's bytes are not a handshake: {error}") from error


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def _packed(*fields: Any) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise HandshakeError("a field of the peer's handshake message is not text")
    return value


def _texts(items: list[Item]) -> list[bytes]:
    return [_bytes(item.data if item.is_text else None) for item in items]
