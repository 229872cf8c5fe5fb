"""One frozen value that holds every choice a user can make, checked before anything starts.

A program that ships logs must not find out at three in the morning that a number was misspelt: a
`Settings` object that exists is valid. Each field says its unit in its name; each has one
environment variable, `LOGSHIP_` and the field's name in capitals; a mistake is one
`SettingsError` that names the setting, the value and what is allowed. Secrets are wrapped so that
no `repr`, error or log can show them.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from logship.errors import SettingsError

Overflow = Literal["block", "drop_oldest", "drop_newest"]
LastResort = Literal["stderr", "none"]
Compress = Literal["none", "gzip", "zstd"]
Fsync = Literal["never", "interval"]
Report = bool | Literal["emf"]
Redact = Callable[[Mapping[Any, Any]], Mapping[Any, Any]]

RECORD_BYTES_MAX = 5_000_000
"""A longer record is truncated: Fluent Bit closes the connection above 6,144,000 bytes a frame."""

MIB = 1024 * 1024

TASK_METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
"""Where a container of an ECS task can ask for what there is to know of the task."""


class Endpoint(NamedTuple):
    """Where a sidecar listens.

    Attributes:
        scheme: `tcp`, `tls` or `unix`.
        host: A name or address; empty for a unix socket.
        port: 1 to 65535; 0 for a unix socket.
        path: The unix socket's file; empty otherwise.
    """

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """Return the endpoint as a user writes it, `tcp://host:port` or `unix:///path`."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Return the endpoint that `text` names.

        Raises:
            SettingsError: `text` is no endpoint; the error says what one looks like.
        """
        scheme, separator, rest = text.strip().partition("://")
        if separator and scheme == "unix" and rest.startswith("/"):
            return cls("unix", "", 0, rest)
        if separator and scheme in ("tcp", "tls"):
            host, port = _host_and_port(rest)
            if host and port:
                return cls(scheme, host, port, "")
        raise SettingsError(
            f"endpoints ({variable_name('endpoints')}): {text.strip()!r} is no endpoint; "
            "allowed: tcp://HOST:PORT, tls://HOST:PORT (port 1 to 65535) or unix:///PATH, "
            "separated by commas"
        )


class Secret:
    """A text that no `repr`, error or log shows; `reveal` gives it to who needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        """Return stars."""
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        """Tell whether both hold the same text."""
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((Secret, self._text))

    def reveal(self) -> str:
        """Return the text."""
        return self._text


def _host_and_port(text: str) -> tuple[str, int]:
    """Split `host:port` or `[v6 address]:port`; an empty host or port 0 where that fails."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return "", 0  # an IPv6 address without brackets: where would its port begin?
    number = int(port) if port.isascii() and port.isdigit() else 0
    return host, number if number <= 65535 else 0


def _default_buffer_bytes_max() -> int:
    return buffer_bytes_for(memory_limit_bytes())


def buffer_bytes_for(memory_limit: int | None) -> int:
    """Return the default buffer's size: memory limit / 16, between 4 MiB and 64 MiB.

    A Fargate task may run with 512 MB and be asked for less at RunTask, so the buffer must fit
    the container that it finds itself in.
    """
    if memory_limit is None:
        return 64 * MIB
    return max(4 * MIB, min(64 * MIB, memory_limit // 16))


def chunk_bytes_for(buffer_bytes_max: int) -> int:
    """Return the default chunk's size: 512 KiB, but a full window must fit into the buffer."""
    return min(512 * 1024, buffer_bytes_max // 8)


_FOR_THE_BUFFER: Any = object()
"""Stands for that, until it is known how large the buffer is."""


def memory_limit_bytes(cgroup: str | os.PathLike[str] = "/sys/fs/cgroup") -> int | None:
    """Return this container's memory limit (cgroup v2, then v1), or None where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = _text_of(os.path.join(cgroup, name)).strip()
        except OSError:
            continue
        # cgroup v1 writes a number near 2**63 where there is no limit.
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def _text_of(path: str) -> str:
    """Return what a file holds; `pathlib` is a large import for so little."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _default_endpoints() -> tuple[Endpoint, ...]:
    return (Endpoint("tcp", "127.0.0.1", 24224, ""),)


def program_name() -> str:
    """Return the name of the program that runs; `logship` where it has none."""
    path = sys.argv[0] if sys.argv else ""
    program = os.path.splitext(os.path.basename(path.rstrip("/")))[0]
    return program if program not in ("", "-c", "-m", "__main__") else "logship"


def _default_stop_timeout_seconds() -> float:
    return stop_timeout_for(os.environ)


def stop_timeout_for(environ: Mapping[str, str]) -> float:
    """Return the seconds between SIGTERM and SIGKILL to expect: 30 under ECS or Kubernetes, else 9.

    ECS and Kubernetes give 30 s unless told otherwise; Docker gives 10 s, of which one is left
    for the shell, the interpreter's exit and the engine's own delay.
    """
    signs = (TASK_METADATA_VARIABLE, "AWS_EXECUTION_ENV", "KUBERNETES_SERVICE_HOST")
    return 30.0 if any(sign in environ for sign in signs) else 9.0


def _setting(
    default: Any = None,
    *,
    factory: Callable[[], Any] | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare a field with the bounds that `Settings` checks when it is made."""
    bounds = {"least": least, "most": most}
    if factory is not None:
        return field(default_factory=factory, metadata=bounds)
    return field(default=default, metadata=bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every choice of a client. Frozen; equal settings mean the same client.

    Attributes:
        endpoints: Sidecars in order of preference.
        tag: The route of records that name none.
        firelens_tag: Whether the tag that FireLens routes for this container takes the place of
            `tag`; it is found out from the task metadata, and chunks wait until it is known.
        message_key: The field that holds a log call's text; `log` where FireLens' patterns,
            which look only there, must match.
        buffer_bytes_max: Bytes of entries that may wait, acked ones not counted.
        chunk_bytes_max: A chunk is sealed when it has grown to this many bytes; by default 512 KiB,
            or an eighth of the buffer where that is less.
        linger_seconds: How long an open chunk waits for more entries.
        inflight_chunks_max: Chunks sent and not yet acked.
        overflow: What happens to a record when the buffer is full.
        block_seconds_max: With `overflow="block"`, the one wait of an outage.
        last_resort: Where records go that the buffer cannot take: `stderr`, or nowhere.
        spill_bytes_per_second_max: The pace of that while the program runs.
        redact: Called with each record before it is packed; what it returns is shipped.
        ack_timeout_seconds: A connection with data outstanding that acks nothing for so long is
            given up. Fluentd with a full buffer and `overflow_action block` may be silent for a
            minute and is not dead: 90 s and more.
        connect_timeout_seconds: For one attempt, the name's resolution included.
        backoff_seconds_base: The first wait's upper bound after a failed connection.
        backoff_seconds_max: The longest wait between two attempts.
        stop_timeout_seconds: What the orchestrator leaves between SIGTERM and SIGKILL.
        exit_drain_seconds: The exit hook's budget where another library owned SIGTERM.
        exit_stall_seconds: A program that ends by itself gives up after so long without an ack.
        exit_drain_seconds_max: And after so long in any case.
        child_drain_seconds: The budget of a multiprocessing child's exit.
        spool_dir: A directory of the operator's where records outlive the process; none by default.
        spool_bytes_max: All files that one process keeps there.
        spool_fsync: Whether they also outlive the machine, but for the last second: `interval`.
        compress: How chunks are compressed. Off, because gzip of small chunks costs more than a
            loopback connection saves.
        shared_key: Proved to the sidecar, and by it, before anything is sent.
        username: For sidecars that ask for a user.
        password: Of that user.
        tls_ca: File of certificates to trust instead of the system's; for `tls://` endpoints.
        tls_cert: File of the client's own certificate.
        tls_key: File of its key, where it is not in `tls_cert`.
        tls_server_name: The name that the sidecar's certificate must have, where it is not the
            endpoint's host.
        stamp: Whether records carry the number that proves completeness.
        stamp_key: The field that carries it.
        report: Whether the drain report is printed even when everything was acked; with `emf`
            also as a line from which CloudWatch makes metrics.
        metrics_port: Where metrics are served; 0 is any free port, printed on stderr.
        metrics_host: The address they are served on.
        metrics_dir: A directory in which all processes of a container keep their numbers, so
            that each of them can give the sum; under `spool_dir` or the temporary directory
            where none is given.
        ecs_fields: Whether, in an ECS task, one record of each stream names task and container.
        disabled: Whether every part of logship is a no-op.
    """

    endpoints: tuple[Endpoint, ...] = _setting(factory=_default_endpoints)
    tag: str = _setting(factory=program_name)
    firelens_tag: bool = _setting(False)
    message_key: str = _setting("message")
    buffer_bytes_max: int = _setting(factory=_default_buffer_bytes_max, least=64 * 1024)
    chunk_bytes_max: int = _setting(_FOR_THE_BUFFER, least=1024, most=1_000_000)
    linger_seconds: float = _setting(0.2, least=0.0, most=60.0)
    inflight_chunks_max: int = _setting(8, least=1, most=1024)
    overflow: Overflow = _setting("block")
    block_seconds_max: float = _setting(1.0, least=0.0, most=3600.0)
    last_resort: LastResort = _setting("stderr")
    spill_bytes_per_second_max: int = _setting(64 * 1024, least=0)
    redact: Redact | None = _setting(None)
    ack_timeout_seconds: float = _setting(90.0, least=0.1, most=86_400.0)
    connect_timeout_seconds: float = _setting(5.0, least=0.1, most=3600.0)
    backoff_seconds_base: float = _setting(0.2, least=0.001, most=3600.0)
    backoff_seconds_max: float = _setting(5.0, least=0.001, most=3600.0)
    stop_timeout_seconds: float = _setting(
        factory=_default_stop_timeout_seconds, least=0.5, most=86_400.0
    )
    exit_drain_seconds: float = _setting(5.0, least=0.0, most=86_400.0)
    exit_stall_seconds: float = _setting(15.0, least=0.1, most=86_400.0)
    exit_drain_seconds_max: float = _setting(120.0, least=0.0, most=86_400.0)
    child_drain_seconds: float = _setting(2.0, least=0.0, most=86_400.0)
    spool_dir: str | None = _setting(None)
    spool_bytes_max: int = _setting(256 * MIB, least=16 * MIB)
    spool_fsync: Fsync = _setting("never")
    compress: Compress = _setting("none")
    shared_key: Secret | None = _setting(None)
    username: str | None = _setting(None)
    password: Secret | None = _setting(None)
    tls_ca: str | None = _setting(None)
    tls_cert: str | None = _setting(None)
    tls_key: str | None = _setting(None)
    tls_server_name: str | None = _setting(None)
    stamp: bool = _setting(True)
    stamp_key: str = _setting("logship_id")
    report: Report = _setting(False)
    metrics_port: int | None = _setting(None, least=0, most=65535)
    metrics_host: str = _setting("127.0.0.1")
    metrics_dir: str | None = _setting(None)
    ecs_fields: bool = _setting(True)
    disabled: bool = _setting(False)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: A value has the wrong type or is out of bounds.
        """
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value is _FOR_THE_BUFFER:
                value = chunk_bytes_for(self.buffer_bytes_max)
            checked = _checked(each.name, value)
            _check_bounds(each, checked)
            object.__setattr__(self, each.name, checked)
        if self.backoff_seconds_base > self.backoff_seconds_max:
            raise _wrong(
                "backoff_seconds_base",
                self.backoff_seconds_base,
                f"at most backoff_seconds_max ({self.backoff_seconds_max})",
            )
        if self.chunk_bytes_max > self.buffer_bytes_max:
            raise _wrong(
                "chunk_bytes_max",
                self.chunk_bytes_max,
                f"at most buffer_bytes_max ({self.buffer_bytes_max})",
            )
        _check_security(self)

    @property
    def wants_metrics(self) -> bool:
        """Whether this process keeps a page of its numbers, or serves them."""
        return self.metrics_port is not None or self.metrics_dir is not None

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **settings: Any) -> Settings:
        """Return the settings that `environ` and `settings` make; the latter win.

        Args:
            environ: As `os.environ`. `LOGSHIP_<NAME>` sets a field; `FLUENT_HOST` and
                `FLUENT_PORT`, which ECS injects beside a FireLens sidecar, set the endpoint
                where `LOGSHIP_ENDPOINTS` does not, and have the tag found out where none is
                given. An empty variable is as good as none.
            settings: Fields by name, as to the constructor.

        Raises:
            SettingsError: A value cannot be used, or there is no such setting.
        """
        values: dict[str, Any] = _from_firelens(environ)
        for each in dataclasses.fields(cls):
            text = environ.get(variable_name(each.name), "")
            if text:
                values[each.name] = _parsed(each.name, text)
        values.update(_secrets_from_files(environ))
        values.setdefault("stop_timeout_seconds", stop_timeout_for(environ))
        has_tag = "tag" in values or "tag" in settings
        values.setdefault("firelens_tag", not has_tag and is_firelens_task(environ))
        return cls.of(**{**values, **settings})

    @classmethod
    def of(cls, **settings: Any) -> Settings:
        """Return the settings with these fields, naming one that does not exist.

        Raises:
            SettingsError: There is no such setting, or its value cannot be used.
        """
        names = [each.name for each in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise SettingsError(f"{name}: no such setting; there are {', '.join(names)}")
        return cls(**settings)


def variable_name(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return f"LOGSHIP_{name.upper()}"


def is_firelens_task(environ: Mapping[str, str]) -> bool:
    """Tell whether ECS has set both variables of a container with the log driver awsfirelens."""
    return bool(environ.get("FLUENT_HOST") and environ.get(TASK_METADATA_VARIABLE))


def _from_firelens(environ: Mapping[str, str]) -> dict[str, Any]:
    host = environ.get("FLUENT_HOST", "")
    if not host:
        return {}
    port = environ.get("FLUENT_PORT", "") or "24224"
    host = f"[{host}]" if ":" in host else host
    return {"endpoints": f"tcp://{host}:{port}"}


def _secrets_from_files(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the files that `LOGSHIP_SHARED_KEY_FILE` and the like name, as secrets are mounted."""
    values = {}
    for name in (*_SECRETS, "username"):
        variable = f"{variable_name(name)}_FILE"
        path = environ.get(variable, "")
        if not path:
            continue
        if environ.get(variable_name(name), ""):
            raise SettingsError(f"{variable}: {variable_name(name)} is set as well; give one")
        try:
            values[name] = _text_of(path).strip("\r\n")
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable}: cannot read {path}: {error}") from None
    return values


_CHOICES: dict[str, tuple[str, ...]] = {
    "overflow": get_args(Overflow),
    "last_resort": get_args(LastResort),
    "compress": get_args(Compress),
    "spool_fsync": get_args(Fsync),
}
_TEXTS = ("tag", "message_key", "stamp_key", "metrics_host")
_OPTIONAL_TEXTS = (
    *("spool_dir", "metrics_dir"),
    *("username", "tls_ca", "tls_cert", "tls_key", "tls_server_name"),
)
_SECRETS = ("shared_key", "password")
_BOOLEANS = ("firelens_tag", "stamp", "ecs_fields", "disabled")
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_REPORTS: dict[str, Report] = {**_WORDS, "emf": "emf"}


def _wrong(name: str, value: Any, allowed: str) -> SettingsError:
    setting = f"{name} ({variable_name(name)})"
    return SettingsError(f"{setting}: {value!r} is not allowed; give {allowed}")


def _parsed(name: str, text: str) -> Any:
    """Return what `text`, from an environment variable, means for the setting `name`."""
    if name in (*_BOOLEANS, "report"):
        words, allowed = (_REPORTS, "1, 0 or emf") if name == "report" else (_WORDS, "1 or 0")
        if text.strip().lower() not in words:
            raise _wrong(name, text, allowed)
        return words[text.strip().lower()]
    if name == "redact":
        raise _wrong(name, text, "a function, in the program; it cannot come from the environment")
    if name in (*_CHOICES, *_TEXTS, *_OPTIONAL_TEXTS, *_SECRETS, "endpoints"):
        return text
    return _number(name, text)


def _wants_integer(name: str) -> bool:
    return "_bytes" in name or name.endswith(("_chunks_max", "_port"))


def _number(name: str, text: str) -> int | float:
    wants_integer = _wants_integer(name)
    try:
        return int(text) if wants_integer else float(text)
    except ValueError:
        raise _wrong(name, text, "a whole number" if wants_integer else "a number") from None


def _checked(name: str, value: Any) -> Any:
    """Return `value` in its one form, or raise the error that names it."""
    if name == "endpoints":
        return _endpoints(value)
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise _wrong(name, value, " or ".join(_CHOICES[name]))
    elif name in _TEXTS or (name in _OPTIONAL_TEXTS and value is not None):
        _check_text(name, value)
    elif name in _SECRETS:
        return _secret(name, value)
    elif name in _OPTIONAL_TEXTS:
        return None
    elif name in (*_BOOLEANS, "report"):
        _check_boolean(name, value)
    elif name == "redact":
        if value is not None and not callable(value):
            raise _wrong(name, value, "a function of a record, or None")
    elif name != "metrics_port" or value is not None:
        return _checked_number(name, value)
    return value


def _checked_number(name: str, value: Any) -> int | float:
    wants_integer = _wants_integer(name)
    kinds = (int,) if wants_integer else (int, float)
    try:
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            raise _wrong(name, value, "a whole number" if wants_integer else "a number")
    except OverflowError:
        bits = f"a number of {value.bit_length()} bits"  # its digits would fill the screen
        raise _wrong(name, bits, "a smaller one") from None
    return value if wants_integer else float(value)


def _check_boolean(name: str, value: Any) -> None:
    """Check what may be true or false; the report may be one thing more."""
    if not isinstance(value, bool) and (name, value) != ("report", "emf"):
        raise _wrong(name, value, "True, False or 'emf'" if name == "report" else "True or False")


def _secret(name: str, value: Any) -> Secret | None:
    """Return the secret; no error shows what was given."""
    if isinstance(value, str) and value:
        return Secret(value)
    if value is None or isinstance(value, Secret):
        return value
    raise SettingsError(f"{name} ({variable_name(name)}): give a text that is not empty")


def _check_security(settings: Settings) -> None:
    """Check what must go together.

    Raises:
        SettingsError: A part is missing, so that the rest would not protect.
    """
    if (settings.username is None) != (settings.password is None):
        raise SettingsError("username, password: give both or none")
    if settings.username is not None and settings.shared_key is None:
        raise SettingsError("username: needs shared_key; the protocol knows no user without a key")
    if settings.tls_key is not None and settings.tls_cert is None:
        raise SettingsError("tls_key: needs tls_cert, the certificate that it belongs to")
    for name in ("tls_ca", "tls_cert", "tls_key", "tls_server_name"):
        uses_tls = any(endpoint.scheme == "tls" for endpoint in settings.endpoints)
        if getattr(settings, name) is not None and not uses_tls:
            raise SettingsError(f"{name}: no endpoint is tls://, so it would protect nothing")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value or len(value.encode("utf-8", "replace")) > 255:
        raise _wrong(name, value, "a text of 1 to 255 bytes")
    if not value.isprintable():
        raise _wrong(name, value, "printable characters only")


def _endpoints(value: Any) -> tuple[Endpoint, ...]:
    if isinstance(value, str):
        value = tuple(part for part in value.split(",") if part.strip())
    try:
        endpoints = tuple(
            each if isinstance(each, Endpoint) else Endpoint.parse(each) for each in value
        )
    except (TypeError, AttributeError):
        raise _wrong("endpoints", value, "tcp://HOST:PORT or unix:///PATH") from None
    if not endpoints:
        raise _wrong("endpoints", value, "at least one endpoint, as tcp://127.0.0.1:24224")
    return endpoints


def _check_bounds(each: dataclasses.Field[Any], value: Any) -> None:
    least, most = each.metadata["least"], each.metadata["most"]
    if value is None:
        return
    if (least is not None and value < least) or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"{least} to {most}"
        raise _wrong(each.name, value, allowed)
