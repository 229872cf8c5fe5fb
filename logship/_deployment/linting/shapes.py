"""Reads mappings, lists, sizes and durations from an untrusted document.

A file of the wrong shape must cause one clear error, not an `AttributeError` in a rule: each of
these functions raises `LintError` for a value of another kind, unless its name says what it returns
then. The error shows nothing but numbers, because a value may be a password in the wrong place.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from logship._deployment.linting.marks import LintError, line_of

COMMAND_CHARACTERS_MAX: Final = 16 * 1024
"""Of a command written as one text. To split a word costs its length squared."""

UNKNOWN = "${…}"
"""Stands for what a reader does not know; as a mapping and as a list it is empty."""

_KINDS = {str: "a text", list: "a list", dict: "a mapping", int: "a number", float: "a number"}

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?)\s*([a-zA-Z]*)")
_TIME = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?)(h|ms|us|m|s)?")
_COUNT = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]+)?")
"""Eighteen digits are more than any platform takes, and few enough for all that is done to them."""
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "": 1.0}
_PREFIXES = ("", *"kmgtpe")


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a mapping, empty for null."""
    if value in (None, UNKNOWN):
        return {}
    if not isinstance(value, dict):
        raise LintError(f"{what} is {_kind(value)}, not a mapping")
    return value


def under(parent: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return the mapping under keys of mappings, empty where there is none."""
    for key in keys:
        parent = mapping(parent.get(key), key)
    return parent


def listing(value: Any, what: str) -> list[Any]:
    """Return a list, empty for null."""
    if value in (None, UNKNOWN):
        return []
    if not isinstance(value, list):
        raise LintError(f"{what} is {_kind(value)}, not a list")
    return value


def mappings(value: Any, what: str) -> list[dict[str, Any]]:
    """Return a list of mappings."""
    return [mapping(each, f"an item of {what}") for each in listing(value, what)]


def words(value: Any, what: str) -> tuple[str, ...]:
    """Return a command, a list of words or one text that is split as a shell would."""
    if isinstance(value, str):
        if len(value) > COMMAND_CHARACTERS_MAX:
            raise LintError(f"{what} is longer than {COMMAND_CHARACTERS_MAX // 1024} KiB")
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise LintError(f"{what}: {error}") from None
    return tuple(str(each) for each in listing(value, what))


def texts(value: Any, what: str) -> dict[str, str]:
    """Return a mapping of texts."""
    return {str(name): text_of(each) for name, each in mapping(value, what).items()}


def _kind(value: Any) -> str:
    kinds = (name for kind, name in _KINDS.items() if isinstance(value, kind))
    return "bool" if isinstance(value, bool) else next(kinds, type(value).__name__)


def text_of(value: Any) -> str:
    """Return a value as the platform passes it on: YAML's `true` is `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_on(value: Any) -> bool:
    """Return whether a switch is on, which a template may have as a text."""
    return text_of(value) == "true"


def declared_ports(value: Any) -> tuple[int, ...]:
    """Return the `containerPort` of each item that has one."""
    ports = [str(each.get("containerPort")) for each in mappings(value, "the list of ports")]
    return tuple(port for each in ports if (port := count_or_none(each)) is not None)


def links(value: Any) -> dict[str, str]:
    """Return the container of each link, by the name that the link gives it."""
    parts = (str(each).partition(":") for each in listing(value, "links"))
    return {alias or name: name for name, _, alias in parts}


def variables(value: Any, what: str) -> dict[str, str | None]:
    """Return the value of each item's variable; None if it comes from elsewhere."""
    found: dict[str, str | None] = {}
    for each in mappings(value, what):
        given = "" if each.get("value") is None else str(each["value"])
        found[str(each.get("name"))] = None if "valueFrom" in each else given
    return found


def variable_lines(value: Any) -> dict[str, int]:
    """Return the line of each item's variable, as `$NAME`."""
    found = {f"${each.get('name')}": line_of(each) for each in mappings(value, "variables")}
    return {name: line for name, line in found.items() if line}


def kubernetes_bytes(value: Any) -> int:
    """Return the bytes of a Kubernetes quantity: `512Mi`, `1G`, `1e9`, `1000000`; `m` is milli."""
    number, unit = _size(value)
    if unit == "m":
        return int(number / 1000)
    binary = unit.endswith("i")
    return int(number * (1024 if binary else 1000) ** _power(unit.removesuffix("i"), value))


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
    if unit.lower() not in _PREFIXES:
        raise LintError(f"{value!r:.60} is not a size")
    return _PREFIXES.index(unit.lower())


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
    if not _COUNT.fullmatch(text.removeprefix("-")):
        raise LintError(f"{what}: {value!r:.60} is not a whole number")
    return int(text)


def number_or_none(text: str | None) -> float | None:
    """Return the number that a text is, None where it is none."""
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def count_or_none(text: str | None) -> int | None:
    """Return the whole number that a text is, None where it is none, or has a sign."""
    return int(text) if text is not None and _COUNT.fullmatch(text) else None
