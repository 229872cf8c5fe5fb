"""One frozen value that holds every choice a user can make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, get_args

from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship._settings.choices import (
    Compress,
    Fsync,
    LastResort,
    Overflow,
    Redact,
    Report,
    TimeFormat,
)
from logship._settings.conflicts import conflicts
from logship._settings.defaults import (
    MIB,
    chunk_bytes_for,
    default_buffer_bytes,
    default_stop_timeout_seconds,
    program_name,
)
from logship._settings.endpoints import Endpoint, Endpoints
from logship._settings.environment import is_firelens_task, values_from
from logship._settings.fields import (
    Bytes,
    Choice,
    OptionalText,
    OptionalWholeNumber,
    PathOfKey,
    Redaction,
    Seconds,
    SecretText,
    Switch,
    Text,
    WholeNumber,
    checked,
    setting,
)
from logship._settings.lists import Names, NamesOfLoggers, Pairs, Shares, Words
from logship._settings.secrecy import Secret, read_secret
from logship._settings.stop_signals import DEFAULT_STOP_SIGNALS, StopSignals
from logship._spelling import nearest
from logship.errors import SettingsError

if TYPE_CHECKING:
    from logship._settings.keywords import SettingsKeywords

RECORD_BYTES_MAX = 5_000_000
"""A longer record is truncated: Fluent Bit closes the connection above 6,144,000 bytes a frame."""

_FOR_THE_BUFFER: Any = object()
"""Stands for the default chunk size until the buffer's size is known."""


def _default_endpoints() -> tuple[Endpoint, ...]:
    return (Endpoint("tcp", "127.0.0.1", 24224, ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every choice of a client. Frozen; equal settings mean the same client.

    Attributes:
        endpoints: Sidecars in order of preference.
        tag: The route of records that name none.
        firelens_tag: Whether the tag that FireLens routes for this container takes the place of
            `tag`. The task metadata say it, and chunks wait until it is known.
        message_key: The field that holds a log call's text; `log` where patterns of FireLens must
            match, which look only there.
        buffer_bytes_max: Bytes of entries that may wait for their ack.
        chunk_bytes_max: A chunk is sealed when it has grown to this many bytes; by default 512 KiB,
            or an eighth of the buffer where that is less.
        linger_seconds: How long an open chunk waits for more entries.
        inflight_chunks_max: Chunks sent and not yet acked.
        overflow: What happens to a record when the buffer is full.
        block_seconds_max: With `overflow="block"`, the one wait of an outage.
        last_resort: Where records go that the buffer cannot take: `stderr`, or nowhere.
        spill_bytes_per_second_max: The pace of that while the program runs.
        redact: Rules that take secrets out of records, by name (see docs/redaction.md), or a
            function of the record. Its result is shipped. A record is withheld, counted and
            declared, if the function raises or returns None.
        fields: Fields of every record, as pairs or a mapping. A record's own field wins.
        identity: Where more of them come from, by OpenTelemetry's names: `otel` is its variables
            `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, `ecs` the task metadata,
            `kubernetes` the pod's variables, `host` the host and the process.
        rename: Names of fields, and what they are called instead.
        severity_key: The field for the number of a log call's level, as OpenTelemetry counts; none
            by default.
        time_key: The field for a record's time; none by default.
        time_format: Its form: a text as of ISO 8601 in UTC, or seconds since the epoch.
        sample: Levels, and the share of their log calls that is shipped, from 0 to 1.
        logger_records_max: So many log calls of one logger are shipped in an interval; None is no
            limit.
        template_records_max: So many of one logger with one template, `record.msg`.
        flood_seconds: How long the interval of these limits is.
        loggers: Names of loggers whose records are shipped although they do not reach the root
            logger, and whose children are meant too; `*` is all.
        levels_file: A file of levels of loggers that is watched, each line `LOGGER=LEVEL`.
        ack_timeout_seconds: A connection with chunks in flight that acks nothing for so long is
            given up. Fluentd with a full buffer and `overflow_action block` may be silent for a
            minute and still work, so give 90 s or more.
        connect_timeout_seconds: For one attempt, including the name's resolution.
        backoff_seconds_base: The first wait's upper bound after a refused connection. After an
            attempt without an answer the bound is `backoff_seconds_max`.
        backoff_seconds_max: The longest wait between two attempts.
        stop_timeout_seconds: The time that the orchestrator leaves between the stop signal and
            SIGKILL.
        stop_signals: Signals that ask this program to stop, by name or number. None is SIGTERM and
            SIGINT, and SIGQUIT and SIGHUP where their default disposition is found.
        exit_drain_seconds: The exit hook's budget where an extension handles a stop signal in C.
        exit_stall_seconds: A program that ends by itself gives up after so long without an ack.
        exit_drain_seconds_max: Such a program gives up after so long in any case.
        child_drain_seconds: The budget of a multiprocessing child's exit.
        spool_dir: A directory in which records outlive the process; none by default. If it is
            missing, it is made; its parent must be there.
        spool_bytes_max: For all files that one process keeps there.
        spool_fsync: With `interval` records also outlive the machine, except the last second's.
        compress: How chunks are compressed. Off, because gzip of small chunks costs more than a
            loopback connection saves.
        shared_key: Client and sidecar prove to each other that they know it, before any record
            is sent.
        username: For sidecars that ask for a user.
        password: Of that user.
        tls_ca: File of certificates to trust instead of the system's; for `tls://` endpoints.
        tls_cert: File of the client's own certificate.
        tls_key: File of its key, where it is not in `tls_cert`.
        tls_server_name: The name that the sidecar's certificate must have, where it is not the
            endpoint's host.
        stamp: Whether records carry the number that proves completeness.
        stamp_key: The field that carries it.
        high_water_seconds: How often each stream that grew has its highest number stated in a
            record of the tag `logship.highwater`, so that a lost tail can be seen; 0 is never.
        report: Whether the drain report is printed even when everything was acked; with `emf`
            also as a line from which CloudWatch makes metrics.
        metrics_port: Where metrics are served; 0 is any free port, printed on stderr.
        metrics_host: The address they are served on.
        metrics_dir: A directory in which all processes of a container keep their numbers, so that
            each of them can serve the sum. By default it is under `spool_dir`, or else in the
            temporary directory.
        ecs_fields: Whether in an ECS task one record of each stream names task and container.
        disabled: Whether every part of logship is a no-op.
    """

    endpoints: tuple[Endpoint, ...] = setting(Endpoints(), factory=_default_endpoints)
    tag: str = setting(Text(), factory=program_name)
    firelens_tag: bool = setting(Switch(), False)
    message_key: str = setting(Text(), "message")
    buffer_bytes_max: int = setting(Bytes(64 * 1024), factory=default_buffer_bytes)
    chunk_bytes_max: int = setting(Bytes(1024, 1_000_000), _FOR_THE_BUFFER)
    linger_seconds: float = setting(Seconds(0.0, 60.0), 0.2)
    inflight_chunks_max: int = setting(WholeNumber(1, 1024), 8)
    overflow: Overflow = setting(Choice(get_args(Overflow)), "block")
    block_seconds_max: float = setting(Seconds(0.0, 3600.0), 1.0)
    last_resort: LastResort = setting(Choice(get_args(LastResort)), "stderr")
    spill_bytes_per_second_max: int = setting(Bytes(0), 64 * 1024)
    redact: Redact | str | None = setting(Redaction())
    fields: tuple[tuple[str, Any], ...] = setting(Pairs(), ())
    identity: tuple[str, ...] = setting(Words("otel", "ecs", "kubernetes", "host"), ())
    rename: tuple[tuple[str, str], ...] = setting(Names(), ())
    severity_key: str | None = setting(OptionalText())
    time_key: str | None = setting(OptionalText())
    time_format: TimeFormat = setting(Choice(get_args(TimeFormat)), "iso")
    sample: tuple[tuple[str, float], ...] = setting(Shares(), ())
    logger_records_max: int | None = setting(OptionalWholeNumber(1))
    template_records_max: int | None = setting(OptionalWholeNumber(1))
    flood_seconds: float = setting(Seconds(0.1, 86_400.0), 60.0)
    levels_file: str | None = setting(OptionalText())
    loggers: tuple[str, ...] = setting(NamesOfLoggers(), ())
    ack_timeout_seconds: float = setting(Seconds(0.1, 86_400.0), 90.0)
    connect_timeout_seconds: float = setting(Seconds(0.1, 3600.0), 5.0)
    backoff_seconds_base: float = setting(Seconds(0.001, 3600.0), 0.2)
    backoff_seconds_max: float = setting(Seconds(0.001, 3600.0), 5.0)
    stop_timeout_seconds: float = setting(
        Seconds(0.5, 86_400.0), factory=default_stop_timeout_seconds
    )
    stop_signals: tuple[int, ...] | None = setting(StopSignals())
    exit_drain_seconds: float = setting(Seconds(0.0, 86_400.0), 5.0)
    exit_stall_seconds: float = setting(Seconds(0.1, 86_400.0), 15.0)
    exit_drain_seconds_max: float = setting(Seconds(0.0, 86_400.0), 120.0)
    child_drain_seconds: float = setting(Seconds(0.0, 86_400.0), 2.0)
    spool_dir: str | None = setting(OptionalText())
    spool_bytes_max: int = setting(Bytes(16 * MIB), 256 * MIB)
    spool_fsync: Fsync = setting(Choice(get_args(Fsync)), "never")
    compress: Compress = setting(Choice(get_args(Compress)), "none")
    shared_key: Secret | None = setting(SecretText())
    username: str | None = setting(OptionalText(from_file=read_secret))
    password: Secret | None = setting(SecretText())
    tls_ca: str | None = setting(OptionalText())
    tls_cert: str | None = setting(OptionalText())
    tls_key: str | None = setting(PathOfKey())
    tls_server_name: str | None = setting(OptionalText())
    stamp: bool = setting(Switch(), True)
    stamp_key: str = setting(Text(), "logship_id")
    high_water_seconds: float = setting(Seconds(0.0, 86_400.0), 0.0)
    report: Report = setting(Switch("emf"), False)
    metrics_port: int | None = setting(OptionalWholeNumber(0, 65535))
    metrics_host: str = setting(Text(), "127.0.0.1")
    metrics_dir: str | None = setting(OptionalText())
    ecs_fields: bool = setting(Switch(), True)
    disabled: bool = setting(Switch(), False)

    def __post_init__(self) -> None:
        """Check every field, and then all of them together.

        Raises:
            SettingsError: Values have the wrong type, are out of bounds or do not go together.
        """
        right: dict[str, Any] = {}
        mistakes: list[str] = []
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value is _FOR_THE_BUFFER:
                value = chunk_bytes_for(right.get("buffer_bytes_max", 64 * MIB))
            try:
                right[each.name] = checked(each, value)
            except SettingsError as error:
                mistakes += error.mistakes
        mistakes += (text for each in conflicts(right) for text in each.mistakes)
        if mistakes:
            raise SettingsError(*mistakes)
        for name, value in right.items():
            object.__setattr__(self, name, value)

    @property
    def limits_floods(self) -> bool:
        """Whether some log calls may be kept back because there are many."""
        limits = self.logger_records_max, self.template_records_max
        return bool(self.sample) or limits != (None, None)

    @property
    def stop_signals_or_default(self) -> tuple[int, ...]:
        """All signals that may ask this program to stop."""
        return DEFAULT_STOP_SIGNALS if self.stop_signals is None else self.stop_signals

    @property
    def wants_metrics(self) -> bool:
        """Whether this process keeps a page of its numbers, or serves them."""
        return self.metrics_port is not None or self.metrics_dir is not None

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **settings: Unpack[SettingsKeywords]) -> Settings:
        """Return the settings that `environ` and `settings` make; the latter win.

        Args:
            environ: As `os.environ`. `LOGSHIP_<NAME>` sets a field. ECS injects `FLUENT_HOST` and
                `FLUENT_PORT` beside a FireLens sidecar. They set the endpoint where
                `LOGSHIP_ENDPOINTS` does not, and where no tag is given, it is then found out. An
                empty variable counts as not set, except that of a secret, which is refused.
            settings: Fields by name, as to the constructor.

        Raises:
            SettingsError: A value cannot be used, or there is no such setting; it names all.
        """
        values = values_from(dataclasses.fields(cls), environ)
        has_tag = "tag" in values or "tag" in settings
        values.setdefault("firelens_tag", not has_tag and is_firelens_task(environ))
        values |= settings
        return cls.of(**values)

    @classmethod
    def of(cls, **settings: Unpack[SettingsKeywords]) -> Settings:
        """Return the settings with these fields, and name those that do not exist.

        Raises:
            SettingsError: There is no such setting, or a value cannot be used; it names all.
        """
        values: dict[str, Any] = {**settings}
        names = [each.name for each in dataclasses.fields(cls)]
        unknown = [_no_such(name, names) for name in values if name not in names]
        if unknown:
            known = {name: value for name, value in values.items() if name in names}
            raise SettingsError(*unknown, *_mistakes_in(known))
        return cls(**values)


def _mistakes_in(values: dict[str, Any]) -> tuple[str, ...]:
    try:
        Settings(**values)
    except SettingsError as error:
        return error.mistakes
    return ()


def _no_such(name: str, names: list[str]) -> str:
    meant = nearest(name, names)
    instead = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
    return f"{visible(name, QUOTED_CHARACTERS_MAX)}: no such setting; {instead}"
