"""Text that must not be shown, and the files that it is mounted in."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import Any, Self, TypeGuard

from logship import _system
from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship.errors import SettingsError

SECRET_BYTES_MAX = 64 * 1024
"""The size of a file with a secret."""

_PIPE_SECONDS_MAX = 10.0
"""How long a pipe may take: a command may ask a server for the secret. A pipe without a writer must
not keep a program from its start."""


def is_secret(value: Any) -> TypeGuard[str]:
    """Tell whether `value` can be a secret: a text that is not empty and is valid Unicode."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_secret(path: str) -> str:
    """Return the secret in a file or a pipe, without the line ends around it.

    A relative path of a file that is not there is not shown: it may be the secret itself.

    Raises:
        SettingsError: The file cannot be read, is empty, too long or not UTF-8.
    """
    shown = visible(path, QUOTED_CHARACTERS_MAX)
    try:
        data = _bytes_of(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        named = shown if os.path.isabs(path) else "the file, whose relative path is not shown"
        raise SettingsError(f"cannot read {named}: {reason}") from None
    if len(data) > SECRET_BYTES_MAX:
        raise SettingsError(f"{shown} has more than {SECRET_BYTES_MAX} bytes")
    try:
        text = data.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{shown} is not UTF-8 text") from None  # its text shows the bytes
    if not text:
        raise SettingsError(f"{shown} is empty")
    return text


def _bytes_of(path: str) -> bytes:
    """Return what is in a file, or what a pipe such as `<(command)` brings until its end.

    Raises:
        OSError: It cannot be read, or a pipe has not ended in time.
    """
    until_seconds, data = time.monotonic() + _PIPE_SECONDS_MAX, b""
    flags = os.O_RDONLY | _system.O_BINARY | _system.O_CLOEXEC | _system.O_NONBLOCK
    with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags)) as file:
        while len(data) <= SECRET_BYTES_MAX:
            is_ready = not _system.IS_POSIX or _system.wait_readable(
                file.fileno(), until_seconds - time.monotonic()
            )
            if not is_ready:
                raise TimeoutError(errno.ETIMEDOUT, f"no end within {_PIPE_SECONDS_MAX:g} s")
            piece = file.read(SECRET_BYTES_MAX + 1 - len(data))
            if piece == b"":
                break
            data += piece or b""  # None where another process was faster
    return data


class Secret:
    """A text that no `repr`, error, log or pickle shows; only `reveal` returns it."""

    __slots__ = ("_identity", "_text")

    def __init__(self, text: str) -> None:
        self._identity = self._text = text

    def __repr__(self) -> str:
        """Return stars."""
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        """Return whether both hold the same text."""
        return type(other) is type(self) and other._identity == self._identity

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((type(self), self._identity))

    def __copy__(self) -> Self:
        """Return the secret itself, which does not change."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the secret itself."""
        del memo
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "a secret cannot be pickled: the pickle would show it; have the other process read it "
            "from its file, as LOGSHIP_SHARED_KEY_FILE does"
        )

    def reveal(self) -> str:
        """Return the text."""
        return self._text


class SecretFile(Secret):
    """A secret in a file. `reveal` reads it again, so that it can be replaced.

    While the file cannot be read or is empty, the text that was read last stays in force. A pipe
    can be read only once.

    Raises:
        SettingsError: The file cannot be read, is empty, too long or not UTF-8.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        super().__init__(read_secret(path))
        self._identity = self._path = path

    def __repr__(self) -> str:
        """Return the file's path."""
        return f"SecretFile({self._path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the path alone."""
        return SecretFile, (self._path,)

    def reveal(self) -> str:
        """Return the text that the file holds now."""
        if os.path.isfile(self._path):
            with contextlib.suppress(SettingsError):
                self._text = read_secret(self._path)
        return self._text


def refuse_key_log(error: Exception) -> None:
    """Name SSLKEYLOGFILE where an error is about its file: Python opens it for each TLS context.

    Raises:
        SettingsError: The error is about that file.
    """
    path = getattr(error, "filename", None)
    if path is not None and path == os.environ.get("SSLKEYLOGFILE"):
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"SSLKEYLOGFILE: cannot use {path}: {reason}") from None
