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
from collections.abc import Mapping
from typing import Any

import msgpack

from logship._quoting import quoted
from logship.errors import HandshakeError

_MESSAGE_BYTES_MAX = 64 * 1024
_WALKER_BYTES = 4096

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
        self._messages = _Messages()

    def feed(self, data: bytes) -> bytes:
        """Take the server's next bytes; return what to send. `done` tells when it is over.

        Raises:
            HandshakeError: The server refused, does not know the key, or speaks otherwise.
        """
        answer = b""
        for message in self._messages.feed(data):
            if self.done:
                raise HandshakeError("the sidecar sent more bytes than a handshake may have")
            if self._nonce is None:
                answer += self._ping(message)
            else:
                self._verify_pong(message)
        return answer

    def _ping(self, message: list[Any]) -> bytes:
        if message[:1] != [b"HELO"] or len(message) < 2 or not isinstance(message[1], dict):
            raise HandshakeError("the sidecar did not begin with HELO; does it have a shared key?")
        options: Mapping[Any, Any] = message[1]
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

    def _verify_pong(self, message: list[Any]) -> None:
        if len(message) < 5 or message[0] != b"PONG":
            raise HandshakeError("the sidecar did not answer PING with PONG")
        _, accepted, reason, hostname, digest = message[:5]
        if accepted is not True:
            why = quoted(_bytes(reason)) if reason else "it gave no reason"
            raise HandshakeError(f"the sidecar refused: {why}")
        assert self._nonce is not None
        name = _bytes(hostname)
        expected = _digest(self._salt.encode(), name, self._nonce, self._key)
        if not hmac.compare_digest(expected.encode(), _bytes(digest)):
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
        self._messages = _Messages()
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
        for message in self._messages.feed(data, most=1):
            answer = self._pong(message)
            self.done = True
            return answer, self._messages.rest()
        return b"", b""

    def _pong(self, message: list[Any]) -> bytes:
        if len(message) != 6 or message[0] != b"PING":
            raise HandshakeError("the client sent data before PING; it has no shared key set")
        hostname, salt, digest, username, password_digest = map(_bytes, message[1:])
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


class _Messages:
    """Cuts bytes into messages; text stays bytes, because what is typed as text may be none."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._cut = 0
        self._walker = msgpack.Unpacker(max_buffer_size=0, read_size=_WALKER_BYTES)

    def feed(self, data: bytes, most: int | None = None) -> list[list[Any]]:
        self._data += data
        self._walker.feed(data)
        messages: list[list[Any]] = []
        while self._data and (most is None or len(messages) < most):
            message = self._next()
            if message is None:
                break
            messages.append(message)
        return messages

    def rest(self) -> bytes:
        """Return what came behind the last message."""
        rest, self._data = bytes(self._data), bytearray()
        return rest

    def _next(self) -> list[Any] | None:
        """Return the next message, decoded when it is whole: each byte is looked at once."""
        try:
            self._walker.skip()
            end = self._walker.tell() - self._cut
        except msgpack.OutOfData:
            end = None
        except Exception as error:
            raise HandshakeError(f"the peer's bytes are not a handshake: {error}") from error
        if (end or len(self._data)) > _MESSAGE_BYTES_MAX:
            raise HandshakeError("the peer's handshake message is too long")
        if end is None:
            return None
        try:
            message = msgpack.unpackb(bytes(self._data[:end]), raw=True)
        except Exception as error:
            raise HandshakeError(f"the peer's bytes are not a handshake: {error}") from error
        del self._data[:end]
        self._cut += end
        if not isinstance(message, list):
            raise HandshakeError("the peer's bytes are not a handshake message")
        return message


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def _packed(*fields: Any) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise HandshakeError("a field of the peer's handshake message is not text")
    return value
