"""Every error that logship raises; all have one base class.

The type tells the cause: a `SettingsError` is a mistake in the program's configuration, a
`ProtocolError` means that a peer sent wrong bytes, and a `BufferFull` means that the sidecar does
not keep up. Any other exception that logship raises is a bug in logship.
"""


class LogshipError(Exception):
    """The base class of all errors that logship raises on purpose."""


class SettingsError(LogshipError):
    """Settings cannot be used. The message names each wrong one, its value and the allowed values.

    Args:
        mistakes: A text for each mistake.

    Attributes:
        mistakes: The same.
    """

    def __init__(self, *mistakes: str) -> None:
        self.mistakes = mistakes
        text = " | ".join(mistakes)
        super().__init__(
            text if len(mistakes) == 1 else f"{len(mistakes)} settings are wrong: {text}"
        )


class ClientClosed(LogshipError):  # noqa: N818 - the public contract's name; it is a state, not a failure
    """A record was sent through a client that takes no more, because it is closing or closed.

    Attributes:
        records_accepted: How many of the records given to `send_many`, counted from the first, were
            accepted; 0 from `send`.
    """

    records_accepted: int = 0

    def __init__(self, text: str = "this client is closed and takes no more records") -> None:
        super().__init__(text)


class BufferFull(LogshipError):  # noqa: N818 - the public contract's name
    """The buffer had no space within the time that the sender may wait.

    Attributes:
        records_accepted: As of `ClientClosed`.
    """

    records_accepted: int = 0


class ProtocolError(LogshipError):
    """A peer sent bytes that the forward protocol does not allow. The connection is closed."""


class HandshakeError(ProtocolError):
    """The handshake failed: a key or password is wrong, or the peer does not follow the protocol.

    Attributes:
        answer: What a server sends to the client that it refuses.
    """

    answer: bytes = b""


class ConnectError(LogshipError):
    """The client could not connect to a sidecar; the message names the endpoint and the reason."""


class UnsupportedRuntime(LogshipError):  # noqa: N818 - it names the runtime, not a failure
    """logship cannot work in this program; the message says why, and what to change."""
