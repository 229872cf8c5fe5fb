"""Settings that are right by themselves, and wrong together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from logship._settings.fields import NotAllowed, full_name, refusal
from logship.errors import SettingsError

Values = Mapping[str, Any]

_KEYS = ("message_key", "severity_key", "time_key")
_OTHER_KEYS = (
    *("level", "logger", "thread", "exception", "stack", "logging_error", "arguments"),
    *("trace_id", "span_id", "records_kept_back", "source"),
)
"""Fields that logging calls and lines get, see docs/record.md."""


def conflicts(values: Values) -> Iterator[SettingsError]:
    """Yield what is wrong with settings together.

    What depends on a setting that is wrong by itself, and so has no value here, is not judged.
    """
    for check in _CHECKS:
        with contextlib.suppress(KeyError):
            yield from check(values)


def _order(smaller: str, greater: str, values: Values) -> Iterator[SettingsError]:
    if values[smaller] > values[greater]:
        yield refusal(
            smaller, values[smaller], NotAllowed(f"at most {greater} ({values[greater]})")
        )


def _stamp_key(values: Values) -> Iterator[SettingsError]:
    """Refuse a stamp under a name by which audits know other records, or that records have."""
    key = values["stamp_key"]
    is_own = key.startswith("logship_") and key != "logship_id"
    if values["stamp"] and (is_own or key in _OTHER_KEYS):
        allowed = "logship_id, or a name without logship_ that no other field of a record has"
        yield refusal("stamp_key", key, NotAllowed(allowed))


def _stamped_key(name: str, values: Values) -> Iterator[SettingsError]:
    """Refuse a field that would take the place of the stamp."""
    keys = [key for key, _ in values[name]] if name == "fields" else [values[name]]
    if values["stamp"] and values["stamp_key"] in keys:
        yield refusal(name, values["stamp_key"], NotAllowed("a name other than stamp_key's"))


def _own_key(name: str, values: Values) -> Iterator[SettingsError]:
    """Refuse a field that would take the place of another one, or be replaced by it."""
    others = [values[each] for each in _KEYS[: _KEYS.index(name)]]
    if values[name] is not None and values[name] in (*others, *_OTHER_KEYS):
        yield refusal(name, values[name], NotAllowed("a name that no other field of a record has"))


def _user(values: Values) -> Iterator[SettingsError]:
    """Refuse a part without the rest, which would not protect."""
    if (values["username"] is None) != (values["password"] is None):
        names = f"{full_name('username')}, {full_name('password')}"
        yield SettingsError(f"{names}: give both or none")
    if values["username"] is not None and values["shared_key"] is None:
        needed = NotAllowed(
            "shared_key too: the protocol knows no user without a key", is_secret=True
        )
        yield refusal("username", values["username"], needed)


def _tls_key(values: Values) -> Iterator[SettingsError]:
    if values["tls_key"] is not None and values["tls_cert"] is None:
        needed = NotAllowed("tls_cert too, the certificate that it belongs to", is_secret=True)
        yield refusal("tls_key", values["tls_key"], needed)


def _tls(name: str, values: Values) -> Iterator[SettingsError]:
    uses_tls = any(endpoint.scheme == "tls" for endpoint in values["endpoints"])
    if values[name] is not None and not uses_tls:
        needed = NotAllowed(
            "a tls:// endpoint with it: no endpoint is tls://, so it would protect nothing",
            is_secret=name == "tls_key",
        )
        yield refusal(name, values[name], needed)


_CHECKS: tuple[Callable[[Values], Iterator[SettingsError]], ...] = (
    partial(_order, "backoff_seconds_base", "backoff_seconds_max"),
    partial(_order, "chunk_bytes_max", "buffer_bytes_max"),
    _stamp_key,
    *(partial(_stamped_key, name) for name in ("fields", *_KEYS)),
    *(partial(_own_key, name) for name in _KEYS),
    _user,
    _tls_key,
    *(partial(_tls, name) for name in ("tls_ca", "tls_cert", "tls_key", "tls_server_name")),
)
