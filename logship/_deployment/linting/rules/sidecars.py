"""What the deployment of a sidecar needs: its variables, its volume, its place in the task."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.limits import SIDECAR_BUFFER_BYTES, size
from logship._deployment.linting.model import (
    LOOPBACK,
    Container,
    Mistake,
    Mount,
    Platform,
    Unit,
    Volume,
)
from logship._deployment.linting.rules.rule import (
    ENVIRONMENT,
    MOUNTS,
    WITH_IMAGES,
    own_sidecars,
    sidecars,
)
from logship._deployment.linting.rules.snippets import mount, variable
from logship._deployment.linting.rules.variables import without_effect
from logship._deployment.linting.shapes import bytes_or_none, number_or_none
from logship._settings import MIB
from logship._spelling import nearest

OUTPUTS = (
    *("file", "stdout", "aggregator", "aggregator-tls", "aggregators", "cloudwatch", "s3"),
    *("firehose", "opensearch", "loki", "otlp", "datadog", "splunk", "kafka", "own"),
)
"""The files in `sidecar/fluentd/outputs` and `sidecar/fluent-bit/conf/outputs`, and one's own."""

_AGGREGATOR = ("HOST", "PORT", "NAME", "STANDBY_HOST", "STANDBY_PORT", "STANDBY_NAME", "CA")
VARIABLES = frozenset(
    f"LOGSHIP_{name}"
    for name in (
        *("OUTPUT", "BIND", "PORT", "BUFFER_DIR", "BUFFER_SIZE", "LOG_DIR", "FLUENTD_LOG_LEVEL"),
        *("S3_BUCKET", "S3_REGION", "S3_PREFIX", "KAFKA_BROKERS", "KAFKA_TOPIC", "GRACE_SECONDS"),
        *("S3_INTERVAL", "CLOUDWATCH_GROUP", "CLOUDWATCH_REGION", "FIREHOSE_STREAM"),
        *("FIREHOSE_REGION", "AWS_ENDPOINT", "LOKI_TENANT", "DATADOG_API_KEY", "SPLUNK_TOKEN"),
        *(f"OPENSEARCH_{each}" for each in ("INDEX", "REGION", "AWS_AUTH")),
        *(f"OUTPUT_{each}" for each in ("HOST", "PORT", "TLS", "CA", "USER", "PASSWORD")),
        *("FRAME_SIZE_MAX", "SIDECAR_METRICS_PORT"),
        *(f"AGGREGATOR_{each}" for each in (*_AGGREGATOR, "SHARED_KEY")),
    )
)
"""What the configurations in `sidecar/fluentd` and `sidecar/fluent-bit` read."""

NEEDED = {
    "aggregator": ("LOGSHIP_AGGREGATOR_HOST",),
    "aggregator-tls": ("LOGSHIP_AGGREGATOR_HOST", "LOGSHIP_AGGREGATOR_SHARED_KEY"),
    "aggregators": tuple(
        f"LOGSHIP_AGGREGATOR_{each}"
        for each in ("HOST", "PORT", "SHARED_KEY", "STANDBY_HOST", "STANDBY_PORT")
    ),
    "cloudwatch": ("LOGSHIP_CLOUDWATCH_GROUP", "LOGSHIP_CLOUDWATCH_REGION"),
    "s3": ("LOGSHIP_S3_BUCKET", "LOGSHIP_S3_REGION"),
    "firehose": ("LOGSHIP_FIREHOSE_REGION", "LOGSHIP_FIREHOSE_STREAM"),
    "opensearch": ("LOGSHIP_OPENSEARCH_INDEX", "LOGSHIP_OUTPUT_HOST"),
    "loki": ("LOGSHIP_OUTPUT_HOST", "OTEL_SERVICE_NAME"),
    "otlp": ("LOGSHIP_OUTPUT_HOST", "OTEL_SERVICE_NAME"),
    "datadog": ("LOGSHIP_DATADOG_API_KEY", "LOGSHIP_OUTPUT_HOST", "OTEL_SERVICE_NAME"),
    "splunk": ("LOGSHIP_OUTPUT_HOST", "LOGSHIP_SPLUNK_TOKEN", "OTEL_SERVICE_NAME"),
    "kafka": ("LOGSHIP_KAFKA_BROKERS",),
}
"""What an output has no default for, in each of the two sidecars that have it; sorted."""

_PORT = "24224"
"""The default of `LOGSHIP_PORT` and of the aggregators' ports."""
_GRACE_SECONDS = "30"
"""The default of `LOGSHIP_GRACE_SECONDS` in `sidecar/fluent-bit`."""
_BUFFER_DIR = "LOGSHIP_BUFFER_DIR"
_BUFFER_DIRECTORIES = ("/fluentd/buffer", "/fluent-bit/buffer")


@own_sidecars.error(
    finds="a `LOGSHIP_OUTPUT` that the sidecar does not have",
    effect="the sidecar does not start",
    platforms=WITH_IMAGES,
    keys=("$LOGSHIP_OUTPUT", *ENVIRONMENT),
)
def _unknown_output(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A sidecar of logship has an output for each file in its directory `outputs`, and refuses
    others.
    """
    given = container.value("LOGSHIP_OUTPUT")
    if given is None or given in OUTPUTS or "$" in given:
        return
    near = nearest(given.lower(), OUTPUTS) or "file"
    effect = f"LOGSHIP_OUTPUT is not one of {', '.join(OUTPUTS)}, so the sidecar does not start"
    yield Mistake(variable(unit, "LOGSHIP_OUTPUT", near), effect)


@own_sidecars.error(
    finds="a sidecar whose `LOGSHIP_OUTPUT` needs a variable that is missing or empty",
    effect="the sidecar does not start, or no record reaches the destination",
    keys=("$LOGSHIP_OUTPUT", *ENVIRONMENT),
)
def _output_variable(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A bucket, a stream or an address has no default. `envsubst` replaces a variable that is not
    set by nothing, and reports no error. docs/destinations lists what each output needs.
    """
    output = container.value("LOGSHIP_OUTPUT")
    for name in NEEDED.get(output or "", ()):
        if container.is_empty(name):
            effect = f"LOGSHIP_OUTPUT={output} needs {name}, which is missing or empty"
            yield Mistake(variable(unit, name, "…"), effect, key=f"${name}")


@own_sidecars.error(
    finds="an aggregator that is the sidecar itself",
    effect="no record reaches an aggregator, and the application counts all of them as delivered",
    keys=("$LOGSHIP_AGGREGATOR_HOST", *ENVIRONMENT),
)
def _own_aggregator(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Fluentd acknowledges the chunks that it sends to itself, and drops their records as
    duplicates. Fluent Bit sends them to itself forever.
    """
    if not (container.value("LOGSHIP_OUTPUT") or "").startswith("aggregator"):
        return
    own_port = container.value("LOGSHIP_PORT") or _PORT
    for server in ("LOGSHIP_AGGREGATOR", "LOGSHIP_AGGREGATOR_STANDBY"):
        host = container.value(f"{server}_HOST") or ""
        port = container.value(f"{server}_PORT") or _PORT
        if host in LOOPBACK and port == own_port:
            effect = f"{server}_HOST={host} with port {port} is {container.name} itself"
            yield Mistake(variable(unit, f"{server}_HOST", "…"), effect, key=f"${server}_HOST")


@own_sidecars.warning(
    finds="a `LOGSHIP_*` variable of a sidecar that it does not read",
    effect="the variable has no effect, and the default applies",
    platforms=WITH_IMAGES,
    keys=ENVIRONMENT,
)
def _sidecar_variable(unit: Unit, container: Container) -> Iterator[Mistake]:
    """logship's sidecars read other variables than the application does. The configurations in
    `sidecar/` list them.
    """
    yield from without_effect(container, VARIABLES)


@sidecars.warning(
    finds="a sidecar whose buffer is not on a volume",
    effect="the sidecar's container ends, and records that it acknowledged end with it",
    keys=MOUNTS,
)
def _sidecar_volume(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A container's own layer ends with the container. The buffer holds what was acknowledged, so
    no client sends it again. logship's sidecars keep it in `/fluentd/buffer` and
    `/fluent-bit/buffer`.
    """
    if container.receives or _buffer_mount(container) is not None:
        return
    if container.has_more_mounts:
        return
    is_hidden = not container.is_unset(_BUFFER_DIR) and container.value(_BUFFER_DIR) is None
    if is_hidden and container.mounts:  # one may be for it
        return
    change = mount(unit, "sidecar-buffer", _buffer_directories(container)[0])
    yield Mistake(change)


def _buffer_directories(container: Container) -> tuple[str, ...]:
    given = container.value(_BUFFER_DIR)
    if given is not None:
        return (given,)
    return _BUFFER_DIRECTORIES[::-1] if container.is_fluent_bit else _BUFFER_DIRECTORIES


def _buffer_mount(container: Container) -> Mount | None:
    """Return the mount for the buffer; of sidecars that are not logship's, any that it may be."""
    if container.has_own_variables:
        found = [container.mount_of(each) for each in _buffer_directories(container)]
        return next(filter(None, found), None)
    return next((each for each in container.mounts if not each.read_only), None)


@own_sidecars.error(
    finds="a sidecar whose volume or memory is smaller than its buffer",
    effect=(
        "the pod is evicted, or the sidecar is killed for its memory, before the buffer is full"
    ),
    keys=("$LOGSHIP_BUFFER_SIZE", *MOUNTS),
)
def _sidecar_buffer_size(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A pod whose emptyDir exceeds its `sizeLimit` is evicted without a grace period. Files in a
    volume in memory count as memory of the container. The buffer of logship's Fluentd sidecar grows
    to `LOGSHIP_BUFFER_SIZE`, by default 1g.
    """
    place = _buffer_mount(container)
    wanted = _buffer_bytes(container)
    if place is None or wanted is None:
        return
    limits = [(place.bytes_max, "the volume's sizeLimit")]
    if place.kind is Volume.MEMORY:
        limits.append((container.memory_bytes, "the container's memory, in which it is,"))
    for limit, what in limits:
        if limit is not None and wanted > limit:
            effect = (
                f"the buffer may grow to {size(wanted)}, and {what} is {size(limit)}: before "
                "it is full the sidecar is killed or evicted"
            )
            change = variable(unit, "LOGSHIP_BUFFER_SIZE", f"{limit // 2 // MIB}m")
            yield Mistake(change, effect)


def _buffer_bytes(container: Container) -> int | None:
    """Return the bound of the buffer of Fluentd; Fluent Bit has none."""
    if container.is_fluent_bit:
        return None
    return bytes_or_none(container.value("LOGSHIP_BUFFER_SIZE", f"{SIDECAR_BUFFER_BYTES}") or "")


@sidecars.warning(
    finds="a sidecar that may end while the task continues without it",
    effect="the sidecar is gone, and all records go to stderr until the next deployment",
    platforms=(Platform.ECS,),
    keys=("essential",),
)
def _sidecar_essential(unit: Unit, container: Container) -> Iterator[Mistake]:
    """ECS starts a container again only if it has a `restartPolicy`, and only if it has run for
    `restartAttemptPeriod` seconds. When an essential container ends, ECS replaces the task of a
    service. In a batch, a sidecar that is not essential and has a `restartPolicy` is right.
    """
    is_service = any(each.ports for each in unit.applications)
    if not container.is_essential and (is_service or not container.is_restarted):
        yield Mistake('"essential": true')


@own_sidecars.warning(
    finds="a Fluent Bit whose grace period is longer than its container's stop timeout",
    effect="SIGKILL ends the sidecar while it still delivers",
    keys=("$LOGSHIP_GRACE_SECONDS", *ENVIRONMENT),
)
def _sidecar_grace(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Fluent Bit delivers for `LOGSHIP_GRACE_SECONDS` after SIGTERM, by default for 30 s. SIGKILL
    comes when the container's stop timeout is over; Kubernetes counts one grace period for the
    whole pod.
    """
    default = _GRACE_SECONDS if container.is_fluent_bit and container.is_logships else None
    grace = number_or_none(container.value("LOGSHIP_GRACE_SECONDS", default))
    if grace is not None and grace >= container.stop_seconds:
        effect = (
            f"Fluent Bit delivers for {grace:g} s after SIGTERM, and SIGKILL comes after "
            f"{container.stop_seconds:g} s"
        )
        fair = max(1, int(container.stop_seconds * 0.8))
        yield Mistake(variable(unit, "LOGSHIP_GRACE_SECONDS", f"{fair}"), effect)
