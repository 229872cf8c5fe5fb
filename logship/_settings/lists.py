"""Converters of settings that hold several values: `NAME=VALUE` pairs, words and signals."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from logship._settings.fields import Converter, NotAllowed, Text
from logship._signal_names import NEVER_STOPS, signal_number, signals_named

_INTEGER_MIN, _INTEGER_MAX = -(1 << 63), (1 << 64) - 1

_NAME = Text("names")


class Pairs(Converter):
    """Names with values: a mapping, pairs, or the text `NAME=VALUE` with commas between.

    The value is kept as a tuple of pairs, which cannot be changed.
    """

    text_form = "NAME=VALUE, with commas between"

    def check(self, value: Any) -> tuple[tuple[str, Any], ...]:
        """Return the pairs, each name once."""
        if isinstance(value, str):
            value = self._pairs_in(value)
        try:
            pairs = tuple(value.items() if isinstance(value, Mapping) else value)
            checked = {_NAME.check(name): self.check_value(each) for name, each in pairs}
        except (TypeError, ValueError):
            raise NotAllowed("a mapping of names to values") from None
        if len(checked) < len(pairs):
            raise NotAllowed("each name once")
        return tuple(checked.items())

    def _pairs_in(self, text: str) -> list[tuple[str, str]]:
        """Return the pairs of a text. A backslash before a comma makes it a part of a value."""
        pairs = []
        for item in text.replace("\\,", "\0").split(","):
            name, equals, value = item.replace("\0", ",").partition("=")
            if not equals:
                raise NotAllowed(self.text_form)
            pairs.append((name.strip(), value.strip()))
        return pairs

    def check_value(self, value: Any) -> Any:
        """Return a value: text, a number that every reader takes, True, False or None."""
        is_text = isinstance(value, str) and value == value.encode("utf-8", "replace").decode()
        is_whole = isinstance(value, int) and _INTEGER_MIN <= value <= _INTEGER_MAX
        is_finite = isinstance(value, float) and math.isfinite(value)
        if not (is_text or is_whole or is_finite or value is None):
            raise NotAllowed("text, finite numbers, True, False or None as values")
        return value


class Names(Pairs):
    """Names with other names, each once."""

    text_form = "OLD=NEW, with commas between"

    def check(self, value: Any) -> tuple[tuple[str, Any], ...]:
        """Return the pairs."""
        pairs = super().check(value)
        if len({new for _, new in pairs}) < len(pairs):
            raise NotAllowed("each new name once")
        return pairs

    def check_value(self, value: Any) -> str:
        """Return the other name."""
        return _NAME.check(value)


class Shares(Pairs):
    """Names with numbers from 0 to 1."""

    text_form = "LEVEL=SHARE, with commas between"

    def check_value(self, value: Any) -> float:
        """Return the number."""
        try:
            share = float(value)
        except (TypeError, ValueError, OverflowError):
            share = -1.0
        if not 0 <= share <= 1:
            raise NotAllowed("shares from 0 to 1")
        return share


class Words(Converter):
    """Some of these words, or names of loggers, with commas between in a variable."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._allowed = "names of loggers, with commas between, or * for all"
        if words:
            self._allowed = f"some of {', '.join(words)}, with commas between"

    def check(self, value: Any) -> tuple[str, ...]:
        """Return the words, each once."""
        given = map(str.strip, value.split(",")) if isinstance(value, str) else value
        try:
            names = tuple(dict.fromkeys(given))
        except TypeError:
            raise NotAllowed(self._allowed) from None
        if self._words and not set(names) <= set(self._words):
            raise NotAllowed(self._allowed)
        names = tuple(map(_NAME.check, names))
        if any("*" in each and each != "*" for each in names):  # such as `uvicorn.*`
            raise NotAllowed(self._allowed)
        return names


DEFAULT_STOP_SIGNALS: tuple[int, ...] = tuple(
    sorted(signals_named("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGBREAK"))
)

_NAMES = sorted(
    each.name[3:]
    for each in signal.Signals
    if each.name.startswith("SIG") and each not in NEVER_STOPS  # Windows has events in it as well
)
_ALLOWED = f"some of {', '.join(_NAMES)}, or real-time signals such as RTMIN+3, separated by commas"


class StopSignals(Converter):
    """Signals by name or number: a text with commas, or a sequence."""

    def check(self, value: Any) -> tuple[int, ...]:
        """Return the numbers of the signals, each once, in ascending order."""
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        if not isinstance(value, Iterable) or not (numbers := {_number(each) for each in value}):
            raise NotAllowed(_ALLOWED)
        return tuple(sorted(numbers))


def _number(given: Any) -> int:
    number = signal_number(str(given))
    if number is None or number in NEVER_STOPS:
        raise NotAllowed(_ALLOWED, str(given))
    return number
