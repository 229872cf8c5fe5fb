"""Lines to write instead, in the syntax of each platform."""

from __future__ import annotations

from logship.deployment.linting.model import ECS, KUBERNETES, Unit


def variable(unit: Unit, name: str, value: str) -> str:
    """Return the lines that set an environment variable."""
    if unit.platform == ECS:
        return f'"environment": [{{ "name": "{name}", "value": "{value}" }}]'
    if unit.platform == KUBERNETES:
        return f'env: [{{ name: {name}, value: "{value}" }}]'
    return f'environment: {{ {name}: "{value}" }}'


def stop_time(unit: Unit, seconds: float) -> str:
    """Return the line that sets the stop timeout of a container or a pod."""
    if unit.platform == ECS:
        return f'"stopTimeout": {seconds:g}'
    if unit.platform == KUBERNETES:
        return f"terminationGracePeriodSeconds: {seconds:g}"
    return f"stop_grace_period: {seconds:g}s"


def stop_signal(unit: Unit, name: str) -> str:
    """Return the line that sets the stop signal of a container."""
    if unit.platform == KUBERNETES:
        return f"lifecycle: {{ stopSignal: {name} }}"
    return f"stop_signal: {name}"


def command(unit: Unit, *words: str) -> str:
    """Return the line of a command."""
    quoted = ", ".join(f'"{word}"' for word in words)
    return f'"command": [{quoted}]' if unit.platform == ECS else f"command: [{quoted}]"
