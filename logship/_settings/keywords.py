"""The settings as keyword arguments, for editors and type checkers.

No program imports this when it runs: to make a `TypedDict` takes time, and only type checkers read
it. `tests/typing/` compares it with `Settings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from logship._settings.endpoints import Endpoint
from logship._settings.fields import (
    Compress,
    Fsync,
    LastResort,
    Overflow,
    Redact,
    Report,
    TimeFormat,
)
from logship._settings.secrecy import Secret

Bytes = int | str
"""A number, or a text with a unit, such as `64MiB`."""

Seconds = float | str
"""A number, or a text with a unit, such as `500ms`."""


class SettingsKeywords(TypedDict, total=False):
    """What `Settings`, `install` and the clients take; see `Settings` for what each means."""

    endpoints: str | Sequence[str | Endpoint]
    tag: str
    firelens_tag: bool
    message_key: str
    buffer_bytes_max: Bytes
    chunk_bytes_max: Bytes
    linger_seconds: Seconds
    inflight_chunks_max: int
    overflow: Overflow
    block_seconds_max: Seconds
    last_resort: LastResort
    spill_bytes_per_second_max: Bytes
    redact: Redact | str | None
    fields: str | Mapping[str, Any] | Sequence[tuple[str, Any]]
    identity: str | Sequence[str]
    rename: str | Mapping[str, str] | Sequence[tuple[str, str]]
    severity_key: str | None
    time_key: str | None
    time_format: TimeFormat
    sample: str | Mapping[str, float] | Sequence[tuple[str, float]]
    logger_records_max: int | None
    template_records_max: int | None
    flood_seconds: Seconds
    levels_file: str | None
    loggers: str | Sequence[str]
    ack_timeout_seconds: Seconds
    connect_timeout_seconds: Seconds
    backoff_seconds_base: Seconds
    backoff_seconds_max: Seconds
    stop_timeout_seconds: Seconds
    stop_signals: str | Iterable[str | int] | None
    exit_drain_seconds: Seconds
    exit_stall_seconds: Seconds
    exit_drain_seconds_max: Seconds
    child_drain_seconds: Seconds
    spool_dir: str | None
    spool_bytes_max: Bytes
    spool_fsync: Fsync
    compress: Compress
    shared_key: str | Secret | None
    username: str | None
    password: str | Secret | None
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_server_name: str | None
    stamp: bool
    stamp_key: str
    high_water_seconds: Seconds
    report: Report
    metrics_port: int | None
    metrics_host: str
    metrics_dir: str | None
    ecs_fields: bool
    disabled: bool
