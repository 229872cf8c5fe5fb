"""Whether the times between the stop signal and SIGKILL add up, and whether logship heeds it."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator

from logship._deployment.limits import FARGATE_STOP_SECONDS_MAX
from logship._deployment.linting.commands import (
    gunicorn_seconds,
    stop_setting_seconds,
    stop_signals,
)
from logship._deployment.linting.dockerfile import read_dockerfile
from logship._deployment.linting.marks import LintError
from logship._deployment.linting.model import Container, Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import applications, containers, senders, units
from logship._deployment.linting.rules.snippets import stop_signal, stop_time, variable
from logship._signal_names import NEVER_STOPS, signal_name, signal_number

_SPOT_SECONDS = 120.0
_SIDECAR_SECONDS = 5.0
"""Fluentd and Fluent Bit write out their buffers in 2 to 4 s if their destination is healthy."""
_SETTING = "LOGSHIP_STOP_TIMEOUT_SECONDS"
_STOP_SIGNALS = "LOGSHIP_STOP_SIGNALS"
_KEYS = (
    *("stopTimeout", "stop_grace_period", "terminationGracePeriodSeconds"),
    f"${_SETTING}",
)

_Chain = tuple[float, tuple[Container, ...]]
"""Containers that stop one after the other, and the seconds that all of them may take."""
_NO_CHAIN: _Chain = (0.0, ())


@containers.error(
    finds="a `stopTimeout` above Fargate's 120 s",
    effect="SIGKILL comes sooner than the file says",
    platforms=(Platform.ECS,),
    keys=_KEYS,
)
def _stop_timeout_limit(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Fargate gives a container at most 120 s between SIGTERM and SIGKILL."""
    if unit.may_be_fargate and container.stop_seconds > FARGATE_STOP_SECONDS_MAX:
        yield Mistake('"stopTimeout": 120')


@senders.error(
    finds="a stop timeout that differs from the one that logship assumes",
    effect=(
        "SIGKILL ends the drain without a report; or records go to stderr that the sidecar would "
        "have taken"
    ),
    keys=(f"${_SETTING}", *_KEYS),
)
def _stop_timeout_setting(unit: Unit, container: Container) -> Iterator[Mistake]:
    """No platform tells a process its stop timeout, so `LOGSHIP_STOP_TIMEOUT_SECONDS` must be the
    same number. Without it logship assumes 30 s under ECS and Kubernetes, else 9 s. Docker gives 10
    s, ECS and Kubernetes 30 s, unless the file says otherwise.
    """
    believed = stop_setting_seconds(unit, container)
    given = _given_seconds(unit, container)
    if believed is None:
        return
    if believed > given:
        effect = (
            f"logship assumes {believed:g} s, but SIGKILL comes after {given:g} s, and records "
            "still in the buffer are lost without a report"
        )
        change = variable(unit, _SETTING, f"{given:g}")
        if not unit.may_be_fargate or believed <= FARGATE_STOP_SECONDS_MAX:
            change = f"{stop_time(unit, believed)}, or {change}"
        if unit.platform == Platform.KUBERNETES:
            own = believed + container.pre_stop_seconds + _SIDECAR_SECONDS
            change = stop_time(unit, max(own, _pod_seconds(unit)))
        yield Mistake(change, effect)
    elif unit.platform != Platform.KUBERNETES and given - believed > max(5.0, 0.2 * given):
        effect = (
            f"logship stops waiting after {believed:g} s and writes to stderr what the sidecar "
            f"would have taken in the other {given - believed:g} s"
        )
        yield Mistake(variable(unit, _SETTING, f"{given:g}"), effect)


def _given_seconds(unit: Unit, container: Container) -> float:
    """Return the seconds between the stop signal and SIGKILL; NaN if the file does not show it."""
    most = FARGATE_STOP_SECONDS_MAX if unit.may_be_fargate else math.inf
    return min(container.stop_seconds, most) - container.pre_stop_seconds


@units.error(
    finds="stop timeouts that together exceed Spot's two minutes or the pod's grace period",
    effect=(
        "the container that stops last, the sidecar, is killed with the records of all containers"
    ),
    platforms=(Platform.ECS, Platform.KUBERNETES),
    keys=_KEYS,
)
def _stop_timeout_sum(unit: Unit) -> Iterator[Mistake]:
    """ECS stops containers one after the other along `dependsOn`, each with its own `stopTimeout`,
    and Spot gives two minutes for all of them. A pod has one grace period, with its preStop hooks
    in it, and native sidecars get the rest of it.
    """
    if unit.platform == Platform.ECS and unit.is_spot:
        yield from _spot(unit)
    if unit.grace_seconds is not None:
        yield from _grace(unit, unit.grace_seconds)


def _spot(unit: Unit) -> Iterator[Mistake]:
    needed, chain = _longest_chain(unit)
    if needed > _SPOT_SECONDS:
        parts = " + ".join(f"{each.name} {each.stop_seconds:g}" for each in chain)
        effect = (
            f"Spot gives two minutes for all containers, which stop one after the other ({parts} = "
            f"{needed:g} s), and SIGKILL ends the last one, the sidecar, with the records of all"
        )
        change = f'"stopTimeout" of {", ".join(each.name for each in chain)}: together at most 120'
        yield Mistake(change, effect, of=unit.name)


def _longest_chain(unit: Unit) -> _Chain:
    found: dict[str, _Chain] = {}  # the longest that begins with each: there may be very many ways
    for each in unit.in_order:
        behind = (found[name] for name in each.depends_on if name in found)
        seconds, chain = max(behind, key=operator.itemgetter(0), default=_NO_CHAIN)
        found[each.name] = (each.stop_seconds + seconds, (each, *chain))
    return max(found.values(), key=operator.itemgetter(0), default=_NO_CHAIN)


def _grace(unit: Unit, grace_seconds: float) -> Iterator[Mistake]:
    """Compare one pod's grace period with the sum of the stops in it."""
    if not unit.applications or not any(each.is_native_sidecar for each in unit.sidecars):
        return
    if _applications_seconds(unit) > grace_seconds:
        return  # then it is the setting that is wrong
    needed = _pod_seconds(unit)
    if needed > grace_seconds:
        effect = (
            f"preStop, application and recoverer may take {needed - _SIDECAR_SECONDS:g} s of the "
            f"pod's {grace_seconds:g} s, and the sidecar is killed before it has written out what "
            "it acknowledged"
        )
        yield Mistake(stop_time(unit, needed), effect, of=unit.name)


def _applications_seconds(unit: Unit) -> float:
    stops = (
        each.pre_stop_seconds + (stop_setting_seconds(unit, each) or 0.0)
        for each in unit.applications
    )
    return max(stops, default=0.0)


def _pod_seconds(unit: Unit) -> float:
    """Return the grace period that a pod's applications, recoverers and sidecar need."""
    recoverers = (each for each in unit.recoverers if each.is_native_sidecar)
    recovery = sum(stop_setting_seconds(unit, each) or 0.0 for each in recoverers)
    return _applications_seconds(unit) + recovery + _SIDECAR_SECONDS


@applications.error(
    finds="a gunicorn that kills its workers, or is killed itself, before logship has drained",
    effect="workers are killed in the middle of their drain",
    keys=("command", "args", "$GUNICORN_CMD_ARGS", *_KEYS),
)
def _graceful_timeout(unit: Unit, container: Container) -> Iterator[Mistake]:
    """gunicorn waits 30 s for its workers, or `--graceful-timeout`, and then kills them. The order
    is `LOGSHIP_STOP_TIMEOUT_SECONDS` ≤ `--graceful-timeout` ≤ the container's stop timeout.
    """
    seconds = gunicorn_seconds(container)
    believed = stop_setting_seconds(unit, container)
    if seconds is None or believed is None:
        return
    given = _given_seconds(unit, container)
    if seconds > given:
        effect = (
            f"gunicorn waits {seconds:g} s for its workers, the container has {given:g} s, and "
            "SIGKILL ends workers in the middle of their drain"
        )
    elif seconds < believed:
        effect = (
            f"gunicorn kills its workers after {seconds:g} s, while logship drains for up to "
            f"{believed:g} s; records still in their buffers are lost without a report"
        )
    else:
        return
    # On Kubernetes `stop-timeout-setting` raises what is given to what logship believes.
    wanted = believed if unit.platform == Platform.KUBERNETES else min(believed, given)
    change = f"gunicorn --graceful-timeout {wanted:g} …"
    if believed > wanted:
        change += f", and {variable(unit, _SETTING, f'{given:g}')}"
    yield Mistake(change, effect)


@senders.error(
    finds="a stop signal that is not among `stop_signals`",
    effect="the signal ends the program with records in its buffer, without a report",
    platforms=(Platform.KUBERNETES, Platform.COMPOSE, Platform.DOCKERFILE),
    keys=("stop_signal", "lifecycle", "STOPSIGNAL", f"${_STOP_SIGNALS}"),
)
def _stop_signal(unit: Unit, container: Container) -> Iterator[Mistake]:
    """The platform stops a container with the image's STOPSIGNAL, or with the signal that its file
    names; an ECS task definition names none. logship heeds the signals in `LOGSHIP_STOP_SIGNALS`,
    by default HUP, INT, QUIT and TERM. If a service of a compose file sets that variable, it must
    name the STOPSIGNAL of the image that it builds.
    """
    # A name that this system does not know is left to the platform, which refuses most of them.
    signum = signal_number(_sent(unit, container) or "")
    believed = stop_signals(container)
    if signum is None or believed is None or signum in believed:
        return
    name = signal_name(signum)
    effect = (
        f"the platform stops it with {name}, which is not among LOGSHIP_STOP_SIGNALS, so "
        "records still in the buffer are lost without a report"
    )
    yield Mistake(_other_signal(unit, signum, believed), effect)


def _sent(unit: Unit, container: Container) -> str | None:
    """Return what the platform sends; the image's if the container sets what logship heeds.

    Otherwise the image itself is compared with its own setting.
    """
    is_built = container.dockerfile and _STOP_SIGNALS in container.environment
    if container.stop_signal is None and is_built:
        return _stop_signal_of(unit.named(container.dockerfile) or "")
    return container.stop_signal


@functools.lru_cache(maxsize=16)  # all services may have one image
def _stop_signal_of(dockerfile: str) -> str | None:
    try:
        (image,) = read_dockerfile("", dockerfile).containers
    except LintError:  # it is not in sight, or the report on it says why
        return None
    return image.stop_signal


def _other_signal(unit: Unit, signum: int, believed: set[int]) -> str:
    """Return the line that adds the signal to the setting, or that replaces an impossible one."""
    if signum in NEVER_STOPS:
        return stop_signal(unit, "SIGTERM")
    names = (signal_name(each).removeprefix("SIG") for each in sorted({signum, *believed}))
    return variable(unit, _STOP_SIGNALS, ",".join(names))
