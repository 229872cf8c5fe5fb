"""Text that must not be shown, and the files that it is mounted in."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Self, TypeGuard

from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship.errors import SettingsError

SECRET_BYTES_MAX = 64 * 1024
"""The size of a file with a secret."""


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
    """Return the secret in a file, without the line ends around it.

    A relative path of a file that is not there is not shown: it may be the secret itself.

    Raises:
        SettingsError: The file cannot be read, is empty, too long or not UTF-8.
    """
    shown = visible(path, QUOTED_CHARACTERS_MAX)
    try:
        with open(path, "rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        named = shown if os.path.isabs(path) else "the file"
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


class Secret:
    """A text that no `repr`, error, log or pickle shows; only `reveal` returns it.

    Args:
        text: The secret.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        """Return stars."""
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        """Return whether both hold the same text."""
        return type(other) is type(self) and other._identity() == self._identity()

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((type(self), self._identity()))

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

    def _identity(self) -> str:
        return self._text


class SecretFile(Secret):
    """A secret in a file. `reveal` reads it again, so that it can be replaced.

    While the file cannot be read or is empty, the text that was read last stays in force. A pipe
    can be read only once.

    Args:
        path: The file.

    Raises:
        SettingsError: The file cannot be read, is empty, too long or not UTF-8.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        super().__init__(read_secret(path))
        self._path = path

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

    def _identity(self) -> str:
        return self._path
