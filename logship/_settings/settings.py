"""One frozen value that holds every choice a user can make."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any, Unpack

from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship._settings.conflicts import conflicts
from logship._settings.defaults import (
    MIB,
    buffer_bytes_for,
    chunk_bytes_for,
    memory_limit_bytes,
    program_name,
    stop_timeout_for,
)
from logship._settings.endpoints import Endpoint, Endpoints
from logship._settings.environment import is_firelens_task, values_from
from logship._settings.fields import (
    Bytes,
    Choice,
    Compress,
    Fsync,
    HostName,
    LastResort,
    Overflow,
    PathOfKey,
    Redact,
    Redaction,
    Report,
    Seconds,
    SecretText,
    Switch,
    Text,
    TimeFormat,
    WholeNumber,
    checked,
    setting,
)
from logship._settings.lists import DEFAULT_STOP_SIGNALS, Names, Pairs, Shares, StopSignals, Words
from logship._settings.secrecy import Secret, read_secret
from logship._spelling import nearest
from logship.errors import SettingsError

if TYPE_CHECKING:
    from logship._settings.keywords import SettingsKeywords

BUFFER_BYTES_MIN = 64 * 1024
"""The least that `buffer_bytes_max` may be."""

SPOOL_BYTES_MIN = 16 * MIB
"""The least that `spool_bytes_max` may be."""

STOP_TIMEOUT_SECONDS_MIN = 0.5
"""The least that `stop_timeout_seconds` may be."""

RECORD_BYTES_MAX = 5_000_000
"""A longer record is truncated: Fluent Bit closes the connection above 6,144,000 bytes a frame."""

_FOR_THE_BUFFER: Any = object()
"""Stands for the default chunk size until the buffer's size is known."""


# A dataclass compiles the methods that it generates at each start of a program. For fifty fields
# that takes long.
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Settings:
    """All settings of a client. Frozen; equal settings mean the same client.

    Attributes:
        endpoints: Sidecars in order of preference.
        tag: The tag of records that have none of their own.
        firelens_tag: Whether the tag that FireLens routes for this container takes the place of
            `tag`. The tag comes from the task metadata, and chunks wait until it is known.
        message_key: The field for a log call's text. The filter patterns of FireLens look only at
            `log`.
        buffer_bytes_max: Bytes of entries that may wait for their ack.
        chunk_bytes_max: A chunk is sealed when it has grown to this many bytes.
        linger_seconds: How long an open chunk waits for more entries.
        inflight_chunks_max: The most chunks that are sent and not yet acked. They cannot make room
            for others, so they should take no more than half of the buffer.
        overflow: What happens to a record when the buffer is full.
        block_seconds_max: With `overflow="block"`, how long `emit` and logging calls wait for
            space, once in each outage. `send` has no limit of its own.
        last_resort: Where records go that the buffer cannot take: `stderr`, or nowhere.
        spill_bytes_per_second_max: The most bytes a second that logship writes to stderr while the
            program runs.
        redact: Names of rules that remove secrets from records (see docs/redaction.md), or a
            function that gets a record and returns the one to ship. If the function raises or
            returns None, the record is withheld, counted and declared.
        fields: Fields of every record, as pairs or a mapping. A record's own field wins.
        identity: Sources of more fields for every record, under OpenTelemetry's names: `otel` is
            its variables `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, `ecs` the task
            metadata, `kubernetes` the pod's variables, `host` the host and the process.
        rename: Names of fields, and their new names.
        severity_key: The field for the number of a log call's level, as OpenTelemetry counts.
        time_key: The field for a record's time.
        time_format: The form of the field `time_key`: text in ISO 8601, in UTC, or seconds since
            the epoch.
        sample: Levels, and the share of their log calls that is shipped, from 0 to 1.
        logger_records_max: How many calls of one logger are shipped in an interval; None for no
            limit.
        template_records_max: How many calls of one logger with one template, `record.msg`, are
            shipped in an interval; None for no limit.
        flood_seconds: The length of the interval of `logger_records_max` and
            `template_records_max`.
        loggers: Names of loggers that do not propagate to the root logger, and whose records are
            shipped all the same. A name includes the logger's children; `*` includes all such
            loggers.
        levels_file: A file with levels of loggers, one `LOGGER=LEVEL` a line. logship watches it
            for changes.
        ack_timeout_seconds: A connection with chunks in flight is given up if no ack arrives for
            this time. Fluentd with a full buffer and `overflow_action block` may be silent for a
            minute and still work, so give 90 s or more.
        connect_timeout_seconds: The limit of one attempt to connect, including the name's
            resolution.
        backoff_seconds_base: The upper bound of the first wait after a refused connection. After
            an attempt without an answer the bound is `backoff_seconds_max`.
        backoff_seconds_max: The longest wait between two attempts.
        stop_timeout_seconds: The time that the orchestrator leaves between the stop signal and
            SIGKILL.
        stop_signals: Signals that ask this program to stop, by name or number. None stands for
            SIGTERM and SIGINT, and also for SIGQUIT and SIGHUP if they have their default
            disposition.
        exit_drain_seconds: The longest drain of the exit hook if an extension handles a stop
            signal in C.
        exit_stall_seconds: A program that ends by itself stops draining if no ack arrives for this
            time.
        exit_drain_seconds_max: The longest drain of a program that ends by itself.
        child_drain_seconds: The longest drain of a multiprocessing child at its exit.
        spool_dir: A directory in which records outlive the process. A missing directory is
            created, but its parent must exist. The next process with this directory ships to its
            own endpoints what a dead one left there, so programs with other endpoints need another
            directory.
        spool_bytes_max: Bytes of all files that one process keeps on the spool.
        spool_fsync: With `interval` records also survive a crash of the machine, except those of
            the last second. On a disk that hangs, the program then waits for the disk.
        compress: How chunks are compressed. The default is off, because gzip of small chunks costs
            more than it saves on a loopback connection.
        shared_key: A secret that client and sidecar share. Each proves to the other that it knows
            the key, before any record is sent.
        username: The user, for sidecars that ask for one.
        password: The password of `username`.
        tls_ca: File of the certificates to trust instead of the system's; for `tls://` endpoints.
        tls_cert: File of the client's own certificate.
        tls_key: File of the key of the client's certificate, if `tls_cert` does not contain it.
        tls_server_name: The name that the sidecar's certificate must have, if it is not the
            endpoint's host.
        stamp: Whether records carry the number that proves completeness.
        stamp_key: The field that carries the stamp.
        high_water_seconds: How often a record with the tag `logship.highwater` states the highest
            number of each stream that grew, so that a lost tail can be found; 0 means never.
        report: Whether the drain report is printed even if all records were acked. `emf` also
            prints a line from which CloudWatch makes metrics.
        metrics_port: The port on which metrics are served; 0 is any free port, printed on stderr.
        metrics_host: The address on which metrics are served.
        metrics_dir: A directory in which all processes of a container keep their numbers, so that
            each of them can serve the sum. Where none is given, it is under `spool_dir`, or else in
            the temporary directory.
        ecs_fields: Whether in an ECS task one record of each stream names task and container.
        disabled: Whether every part of logship is a no-op. Then `logship run` becomes its command,
            and `logship pipe` writes its input to standard output.
    """

    endpoints: tuple[Endpoint, ...] = setting(
        Endpoints(), (Endpoint("tcp", "127.0.0.1", 24224, ""),)
    )
    tag: str = setting(Text(), factory=program_name)
    firelens_tag: bool = setting(Switch(), False)
    message_key: str = setting(Text(), "message")
    buffer_bytes_max: int = setting(
        Bytes(BUFFER_BYTES_MIN), factory=lambda: buffer_bytes_for(memory_limit_bytes())
    )
    chunk_bytes_max: int = setting(Bytes(1024, 1_000_000), _FOR_THE_BUFFER)
    linger_seconds: float = setting(Seconds(0.0, 60.0), 0.2)
    inflight_chunks_max: int = setting(WholeNumber(1, 1024), 8)
    overflow: Overflow = setting(Choice(Overflow), "block")
    block_seconds_max: float = setting(Seconds(0.0, 3600.0), 1.0)
    last_resort: LastResort = setting(Choice(LastResort), "stderr")
    spill_bytes_per_second_max: int = setting(Bytes(0), 64 * 1024)
    redact: Redact | str | None = setting(Redaction())
    fields: tuple[tuple[str, Any], ...] = setting(Pairs(), ())
    identity: tuple[str, ...] = setting(Words("otel", "ecs", "kubernetes", "host"), ())
    rename: tuple[tuple[str, str], ...] = setting(Names(), ())
    severity_key: str | None = setting(Text())
    time_key: str | None = setting(Text())
    time_format: TimeFormat = setting(Choice(TimeFormat), "iso")
    sample: tuple[tuple[str, float], ...] = setting(Shares(), ())
    logger_records_max: int | None = setting(WholeNumber(1))
    template_records_max: int | None = setting(WholeNumber(1))
    flood_seconds: float = setting(Seconds(0.1, 86_400.0), 60.0)
    levels_file: str | None = setting(Text())
    loggers: tuple[str, ...] = setting(Words(), ())
    ack_timeout_seconds: float = setting(Seconds(0.1, 86_400.0), 90.0)
    connect_timeout_seconds: float = setting(Seconds(0.1, 3600.0), 5.0)
    backoff_seconds_base: float = setting(Seconds(0.001, 3600.0), 0.2)
    backoff_seconds_max: float = setting(Seconds(0.001, 3600.0), 5.0)
    stop_timeout_seconds: float = setting(
        Seconds(STOP_TIMEOUT_SECONDS_MIN, 86_400.0), factory=lambda: stop_timeout_for(os.environ)
    )
    stop_signals: tuple[int, ...] | None = setting(StopSignals())
    exit_drain_seconds: float = setting(Seconds(0.0, 86_400.0), 5.0)
    exit_stall_seconds: float = setting(Seconds(0.1, 86_400.0), 15.0)
    exit_drain_seconds_max: float = setting(Seconds(0.0, 86_400.0), 120.0)
    child_drain_seconds: float = setting(Seconds(0.0, 86_400.0), 2.0)
    spool_dir: str | None = setting(Text())
    spool_bytes_max: int = setting(Bytes(SPOOL_BYTES_MIN), 256 * MIB)
    spool_fsync: Fsync = setting(Choice(Fsync), "never")
    compress: Compress = setting(Choice(Compress), "none")
    shared_key: Secret | None = setting(SecretText())
    username: str | None = setting(Text(from_file=read_secret))
    password: Secret | None = setting(SecretText())
    tls_ca: str | None = setting(Text())
    tls_cert: str | None = setting(Text())
    tls_key: str | None = setting(PathOfKey())
    tls_server_name: str | None = setting(HostName())
    stamp: bool = setting(Switch(), True)
    stamp_key: str = setting(Text(), "logship_id")
    high_water_seconds: float = setting(Seconds(0.0, 86_400.0), 0.0)
    report: Report = setting(Switch("emf"), False)
    metrics_port: int | None = setting(WholeNumber(0, 65535))
    metrics_host: str = setting(Text(), "127.0.0.1")
    metrics_dir: str | None = setting(Text())
    ecs_fields: bool = setting(Switch(), True)
    disabled: bool = setting(Switch(), False)

    def __init__(self, **settings: "Unpack[SettingsKeywords]") -> None:
        """Check every field, and then all of them together.

        Args:
            settings: Fields by name. The others have their defaults.

        Raises:
            SettingsError: There is no such setting, or a value has the wrong type, is out of bounds
                or does not go with another one. The error names every mistake.
        """
        given: dict[str, Any] = {**settings}
        fields = dataclasses.fields(self)
        names = [each.name for each in fields]
        mistakes = [_no_such(name, names) for name in given if name not in names]
        right: dict[str, Any] = {}
        for each in fields:
            value = given.get(each.name, each.default)
            if each.name not in given and each.default_factory is not MISSING:
                value = each.default_factory()
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

    def __eq__(self, other: object) -> bool:
        """Return whether both choose the same."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        """Return them as they are written."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

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
    def from_env(
        cls, environ: Mapping[str, str], **settings: "Unpack[SettingsKeywords]"
    ) -> "Settings":
        """Return the settings that `environ` and `settings` give; `settings` win.

        Args:
            environ: As `os.environ`. `LOGSHIP_<NAME>` sets a field. ECS injects `FLUENT_HOST` and
                `FLUENT_PORT` beside a FireLens sidecar. They set the endpoint if
                `LOGSHIP_ENDPOINTS` does not. If no tag is given in such a task, logship asks the
                task metadata for it. An empty variable counts as not set, except that of a secret,
                which is refused.
            settings: Fields by name, as to the constructor.

        Raises:
            SettingsError: A value cannot be used, or there is no such setting; the error names
                every mistake.
        """
        values = values_from(dataclasses.fields(cls), environ)
        has_tag = "tag" in values or "tag" in settings
        values.setdefault("firelens_tag", not has_tag and is_firelens_task(environ))
        values |= settings
        return cls(**values)


_ADDRESS_NAMES = ("host", "port")
"""What other clients, such as fluent-logger, call a sidecar's address."""


def _no_such(name: str, names: list[str]) -> str:
    meant = "endpoints" if name in _ADDRESS_NAMES else nearest(name, names)
    instead = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
    return f"{visible(name, QUOTED_CHARACTERS_MAX)}: no such setting; {instead}"
