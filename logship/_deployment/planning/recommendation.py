"""Settings that fit, as lines that can be pasted. PURE."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.limits import SIDECAR_BUFFER_BYTES
from logship._deployment.planning.arithmetic import Calculation, Deployment
from logship._deployment.planning.durations import size
from logship._settings import MIB, variable_name

_ECS_CPU_UNITS = 1024

_VOLUME_RESERVE_BYTES = 16 * MIB
"""Two chunks of Fluentd."""


def settings_lines(calculation: Calculation, better: Deployment) -> Iterator[str]:
    """Yield what a better deployment has: variables, and fields of ECS container definitions.

    Args:
        calculation: The planned deployment's.
        better: The same with settings that fit.
    """
    yield from _changes(calculation.deployment, better)
    yield from _sidecar_volume(calculation)


def _changes(deployment: Deployment, better: Deployment) -> Iterator[str]:
    if better.buffer_bytes_max != deployment.buffer_bytes_max:
        assert better.buffer_bytes_max is not None
        yield f"{variable_name('buffer_bytes_max')}={_pasted(better.buffer_bytes_max)}"
    if better.spool_bytes_max != deployment.spool_bytes_max:
        assert better.spool_bytes_max is not None
        volume = size(better.spool_bytes_max * better.workers)
        yield f"{variable_name('spool_dir')}=/spool  # a volume of {volume}, and a recoverer"
        yield f"{variable_name('spool_bytes_max')}={_pasted(better.spool_bytes_max)}"
    if better.stop_timeout_seconds != deployment.stop_timeout_seconds:
        seconds = f"{better.stop_timeout_seconds:g}"
        yield f"{variable_name('stop_timeout_seconds')}={seconds}"
        yield f'"stopTimeout": {seconds}  # container of the application'
    if better.cores != deployment.cores:
        yield f'"cpu": {better.cores * _ECS_CPU_UNITS:.0f}  # container of the sidecar'
    if better.sidecar_memory_bytes != deployment.sidecar_memory_bytes:
        assert better.sidecar_memory_bytes is not None
        yield f'"memory": {better.sidecar_memory_bytes // MIB}  # container of the sidecar'


def _sidecar_volume(calculation: Calculation) -> Iterator[str]:
    """Yield what the sidecar's buffer needs in an outage of its destination that is as long."""
    if calculation.deployment.outage_seconds is None:
        return
    needed = max(SIDECAR_BUFFER_BYTES, calculation.sidecar_buffer_bytes)
    if calculation.deployment.sidecar == "fluentd":
        yield f"LOGSHIP_BUFFER_SIZE={needed // MIB}m  # container of the sidecar"
    yield f"# volume of the sidecar: {size(needed + _VOLUME_RESERVE_BYTES)}"


def _pasted(count: int) -> str:
    """Return bytes as a setting takes them."""
    return str(count) if count % MIB else f"{count // MIB}MiB"
