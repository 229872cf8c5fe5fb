"""One converter for each kind of field: what its variable's text means, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, field
from string import ascii_letters
from typing import Any, Literal, get_args

from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship._settings.secrecy import Secret, SecretFile, is_secret
from logship.errors import SettingsError

TEXT_BYTES_MAX = 255

Overflow = Literal["block", "drop_oldest", "drop_newest"]
LastResort = Literal["stderr", "none"]
Compress = Literal["none", "gzip", "zstd"]
TimeFormat = Literal["iso", "epoch"]
Fsync = Literal["never", "interval"]
Report = bool | Literal["emf"]
Redact = Callable[[Mapping[Any, Any]], Mapping[Any, Any] | None]

_PREFIXES = (("k", 1), ("m", 2), ("g", 3))


class NotAllowed(Exception):  # noqa: N818 - it says what the value is, and never leaves this package
    """A value cannot be used.

    Args:
        allowed: What to give instead.
        shown: What to show of the value; by default its `repr`.
        is_secret: Whether the value must not be shown at all.
    """

    def __init__(self, allowed: str, shown: str | None = None, *, is_secret: bool = False) -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.shown = shown
        self.is_secret = is_secret


class Converter:
    """Turns a field's text or value into its one form.

    Attributes:
        from_file: Returns the value that is in a file, where `LOGSHIP_<NAME>_FILE` may name one.
        empty_is_unset: Whether an empty environment variable counts as not set.
    """

    from_file: Callable[[str], Any] | None = None
    empty_is_unset = True

    def parse(self, text: str) -> Any:
        """Return the value that an environment variable's text means, still to be checked.

        Raises:
            NotAllowed: It means none.
        """
        return text

    def check(self, value: Any) -> Any:
        """Return `value` in its one form.

        Raises:
            NotAllowed: It cannot be used.
        """
        return value


class Text(Converter):
    """A printable text of 1 to 255 bytes; an error calls it `what`."""

    def __init__(
        self, what: str = "a text", *, from_file: Callable[[str], Any] | None = None
    ) -> None:
        self._what = what
        self.from_file = from_file

    def check(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "replace")) < 256:
            raise NotAllowed(f"{self._what} of 1 to {TEXT_BYTES_MAX} bytes")
        if not value.isprintable():
            raise NotAllowed("printable characters only")
        return value


def can_be_host(text: str) -> bool:
    """Tell whether a text can be looked up as a host, or stand in a certificate."""
    if text.isascii():  # the codec is a large import
        return all(0 < len(part) <= 63 for part in text.removesuffix(".").split("."))
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


class HostName(Text):
    """A name that a host can have, or an address."""

    def check(self, value: Any) -> str:
        """Return the name."""
        name = super().check(value)
        if not can_be_host(name):
            raise NotAllowed("a name or address, with 1 to 63 characters between its dots")
        return name


class PathOfKey(Text):
    """The path of a file with a key. No error shows it, because it may be the key itself."""

    def check(self, value: Any) -> str:
        """Return the path."""
        try:
            path = super().check(value)
        except NotAllowed as error:
            raise NotAllowed(f"the path of a file: {error.allowed}", is_secret=True) from None
        if "PRIVATE KEY" in path:
            raise NotAllowed("the path of a file", is_secret=True)
        return path


class SecretText(Converter):
    """A text that no error shows.

    An empty one is an error also in the environment: there it means a variable of a shell or a
    template that was never filled in, and would switch the protection off.
    """

    from_file = SecretFile
    empty_is_unset = False

    def check(self, value: Any) -> Secret:
        """Return the wrapped text."""
        secret = Secret(value) if isinstance(value, str) else value
        if not isinstance(secret, Secret) or not is_secret(secret.reveal()):
            raise NotAllowed("a text that is not empty, in UTF-8", is_secret=True)
        return secret


class Choice(Converter):
    """One of the words of a `Literal`."""

    def __init__(self, literal: Any) -> None:
        self._words: tuple[str, ...] = get_args(literal)

    def check(self, value: Any) -> str:
        """Return the word."""
        if value not in self._words:
            raise NotAllowed(" or ".join(self._words))
        return str(value)


class Switch(Converter):
    """True or False, in the environment 1, true, yes or on, and their opposites; or a word."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._meanings: dict[str, bool | str] = {
            **dict.fromkeys(("1", "true", "yes", "on"), True),
            **dict.fromkeys(("0", "false", "no", "off"), False),
            **{word: word for word in words},
        }

    def parse(self, text: str) -> bool | str:
        """Return what the word means."""
        word = text.strip().lower()
        if word not in self._meanings:
            raise NotAllowed(_alternatives("1", "0", *self._words))
        return self._meanings[word]

    def check(self, value: Any) -> Any:
        """Return the value."""
        if not isinstance(value, bool) and value not in self._words:
            raise NotAllowed(_alternatives("True", "False", *map(repr, self._words)))
        return value


class Number(Converter):
    """A finite number within bounds."""

    kind: type[int] | type[float] = float
    kind_name = "a number"
    units: Mapping[str, float] = {}
    """What may follow a number that is given as text, in small letters, and its factor."""

    def __init__(self, least: float, most: float | None = None) -> None:
        self._least = least
        self._most = most

    def parse(self, text: str) -> Any:
        """Return the number."""
        text = text.strip()
        number = text.rstrip(ascii_letters)
        unit = text[len(number) :].lower()
        try:
            return self.kind(number) * {"": 1, **self.units}[unit]
        except (ValueError, KeyError):
            raise NotAllowed(self.kind_name) from None

    def check(self, value: Any) -> Any:
        """Return the number."""
        if self.units and isinstance(value, str):
            value = self.parse(value)
        try:
            is_number = isinstance(value, (int, self.kind)) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                raise NotAllowed(self.kind_name)
        except OverflowError:
            shown = f"a number of {value.bit_length()} bits"  # its digits would fill the screen
            raise NotAllowed("a smaller one", shown) from None
        number, least, most = self.kind(value), self._least, self._most
        if number < least or (most is not None and number > most):
            shown = self._shown(least)
            raise NotAllowed(
                f"at least {shown}" if most is None else f"{shown} to {self._shown(most)}"
            )
        return number

    def _shown(self, bound: float) -> str:
        """Return a bound as a person would write it."""
        return str(bound) if isinstance(bound, int) else f"{bound:.15g}"


class WholeNumber(Number):
    """A whole number within bounds."""

    kind = int
    kind_name = "a whole number"


class Seconds(Number):
    """A duration."""

    kind_name = "a number of seconds, or one with a unit: ms, s, m or h, as in 500ms"
    units: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

    def parse(self, text: str) -> Any:
        """Return the seconds."""
        return round(super().parse(text), 9)  # 700ms are 0.7, not 0.7000000000000001

    def _shown(self, bound: float) -> str:
        return f"{super()._shown(bound)}s"


class Bytes(WholeNumber):
    """A size."""

    kind_name = (
        "a whole number of bytes, or one with a unit: KiB, MiB, GiB for powers of 1024, k, M, G "
        "(or kB, MB, GB) for powers of 1000, as in 64MiB"
    )
    units: Mapping[str, float] = {
        **{f"{prefix}{end}": 1000**power for prefix, power in _PREFIXES for end in ("", "b")},
        **{f"{prefix}ib": 1024**power for prefix, power in _PREFIXES},
    }

    def _shown(self, bound: float) -> str:
        for unit, factor in (("MiB", 1024**2), ("KiB", 1024), ("MB", 1000**2)):
            if bound and bound % factor == 0:
                return f"{bound // factor}{unit}"
        return str(bound)


class Redaction(Converter):
    """A function of a record, or names of rules."""

    def check(self, value: Any) -> Any:
        """Return the function or the names."""
        if callable(value):
            return value
        if not isinstance(value, str):
            raise NotAllowed("a function of a record, names of rules, or None")
        from logship import _redaction  # noqa: PLC0415 - its patterns take milliseconds

        try:
            rules, fields = _redaction.rules_of(value)
        except _redaction.UnknownRule as unknown:
            known = ", ".join((_redaction.DEFAULT, *_redaction.RULES))
            allowed = f"{known} or {_redaction.FIELD}NAME, with commas between"
            raise NotAllowed(allowed, str(unknown)) from None
        if not rules and not fields:
            raise NotAllowed("the name of a rule")
        return value


def setting(
    converter: Converter, default: Any = None, *, factory: Callable[[], Any] | None = None
) -> Any:
    """Declare a field of the settings; `factory` makes its default, if it is given."""
    metadata = {"converter": converter}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def converter_of(each: Field[Any]) -> Converter:
    """Return the converter of a field."""
    converter = each.metadata["converter"]
    assert isinstance(converter, Converter)
    return converter


def parsed(each: Field[Any], text: str) -> Any:
    """Return the value that `text`, from an environment variable, means for a field.

    If it cannot be used, the value is the error, which `checked` raises.
    """
    converter = converter_of(each)
    try:
        return converter.check(converter.parse(text))
    except NotAllowed as error:
        return refusal(each.name, text, error)
    except SettingsError as error:
        return error


def checked(each: Field[Any], value: Any) -> Any:
    """Return a field's value in its one form; None is allowed where it is the default.

    Raises:
        SettingsError: It cannot be used; the text names the setting.
    """
    if isinstance(value, SettingsError):
        raise value
    if value is None and each.default is None:
        return None
    try:
        return converter_of(each).check(value)
    except NotAllowed as error:
        raise refusal(each.name, value, error) from None


def refusal(name: str, value: Any, error: NotAllowed) -> SettingsError:
    """Return the error that names the setting, the value and what is allowed."""
    return refusal_of(full_name(name), value, error)


def refusal_of(source: str, value: Any, error: NotAllowed) -> SettingsError:
    """Return such an error; `source` is what a person has set."""
    if error.is_secret:
        return SettingsError(f"{source}: give {error.allowed}")
    shown = value if error.shown is None else error.shown
    shown = visible(repr(shown), QUOTED_CHARACTERS_MAX)
    return SettingsError(f"{source}: {shown} is not allowed; give {error.allowed}")


def full_name(name: str) -> str:
    """Return both names of a setting, since either may have been used."""
    return f"{name} ({variable_name(name)})"


def variable_name(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return f"LOGSHIP_{name.upper()}"


def _alternatives(*words: str) -> str:
    """Return `a or b`, `a, b or c`."""
    return f"{', '.join(words[:-1])} or {words[-1]}"
