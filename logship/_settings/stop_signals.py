"""Which signals ask a program to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any

from logship._settings.fields import Converter, NotAllowed
from logship._signal_names import NEVER_STOPS, signal_number, signals_named

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
