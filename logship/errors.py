"""Every error that logship raises, with one root, so that a caller can tell them from its own.

Blame is in the type: a `SettingsError` is a mistake in the program's configuration, a
`ProtocolError` is bytes that a peer should not have sent, a `BufferFull` is a sidecar that does
not keep up. Anything else that escapes from this package is a bug in it.
"""


class LogshipError(Exception):
    """The root of all errors that logship raises on purpose."""


class SettingsError(LogshipError):
    """Settings cannot be used as they are; the text names each, its value and what is allowed.

    Args:
        mistakes: What is wrong, a text for each mistake.

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
        records_accepted: How many of the records that `send_many` was given had been accepted, the
            first ones; 0 from `send`.
    """

    records_accepted: int = 0

    def __init__(self, text: str = "this client is closed and takes no more records") -> None:
        super().__init__(text)


class BufferFull(LogshipError):  # noqa: N818 - the public contract's name
    """No space came free in the buffer within the time a sender was willing to wait.

    Attributes:
        records_accepted: As `ClientClosed` has it.
    """

    records_accepted: int = 0


class ProtocolError(LogshipError):
    """A peer sent bytes that the forward protocol does not allow; the connection cannot go on."""


class HandshakeError(ProtocolError):
    """The handshake failed: a wrong key or password, or a peer that speaks otherwise.

    Attributes:
        answer: What a server sends to the client that it refuses.
    """

    answer: bytes = b""


class ConnectError(LogshipError):
    """No connection to the sidecar could be made; the text says to where and why."""


class UnsupportedRuntime(LogshipError):  # noqa: N818 - it names the runtime, not a failure
    """The program runs in a way that logship cannot work in; the text names the way out."""
