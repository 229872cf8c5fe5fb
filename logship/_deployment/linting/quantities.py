"""Sizes and durations as each platform's deployment files write them.

For a value that is none a function raises `LintError`, unless its name says what it returns then.
"""

from __future__ import annotations

import re
from typing import Any

from logship._deployment.linting.model import LintError

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?)\s*([a-zA-Z]*)")
_EXPONENT = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?[eE][+-]?[0-9]{1,2}")
_TIME = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?)(h|ms|us|m|s)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]+)?")
"""Eighteen digits are more than any platform takes, and few enough for all that is done to them."""
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "": 1.0}
_POWERS = "kmgtpe"


def kubernetes_bytes(value: Any) -> int:
    """Return the bytes of a Kubernetes quantity: `512Mi`, `1G`, `1e9`, `1000000`; `m` is milli."""
    text = str(value).strip()
    if _EXPONENT.fullmatch(text):
        return int(float(text))
    number, unit = _size(text)
    if unit == "m":
        return int(number / 1000)
    binary = unit.endswith("i")
    power = _power(unit.removesuffix("i"), value)
    return int(number * (1024 if binary else 1000) ** power)


def compose_bytes(value: Any) -> int:
    """Return the bytes of a compose size, `512m`, `1gb` or `1GiB`, which are powers of 1,024."""
    number, unit = _size(value)
    return int(number * 1024 ** _power(unit.lower().removesuffix("b").removesuffix("i"), value))


def bytes_or_none(text: str) -> int | None:
    """Return the bytes of a size as for compose, None where it is none."""
    try:
        return compose_bytes(text)
    except LintError:
        return None


def _size(value: Any) -> tuple[float, str]:
    found = _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise LintError(f"{value!r:.60} is not a size")
    return float(found[1]), found[2]


def _power(unit: str, value: Any) -> int:
    if not unit:
        return 0
    power = _POWERS.find(unit.lower()) + 1
    if len(unit) != 1 or not power:
        raise LintError(f"{value!r:.60} is not a size")
    return power


def seconds(value: Any) -> float:
    """Return the seconds of a duration: `1m30s`, `90s`, `90`."""
    text = str(value).strip()
    parts = list(_TIME.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise LintError(f"{value!r:.60} is not a duration")
    return sum(float(part[1]) * _SECONDS[part[2] or ""] for part in parts)


def whole(value: Any, what: str) -> int:
    """Return a whole number that JSON may hold as text."""
    text = str(value).strip()
    if not _WHOLE.fullmatch(text):
        raise LintError(f"{what}: {value!r:.60} is not a whole number")
    return int(text)


def number_or_none(text: str | None) -> float | None:
    """Return the number that a text is, None where it is none."""
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def count_or_none(text: str | None) -> int | None:
    """Return the whole number that a text is, None where it is none, or has a sign."""
    return (
        int(text) if text is not None and text[:1] not in "+-" and _WHOLE.fullmatch(text) else None
    )
