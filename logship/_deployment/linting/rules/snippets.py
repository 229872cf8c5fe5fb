"""Lines to write instead, in the syntax of each platform."""

from __future__ import annotations

import re

from logship._deployment.linting.model import Platform, Unit


def variable(unit: Unit, name: str, value: str) -> str:
    """Return the lines that set an environment variable."""
    if unit.platform == Platform.ECS:
        return f'"environment": [{{ "name": "{name}", "value": "{value}" }}]'
    if unit.platform == Platform.KUBERNETES:
        return f'env: [{{ name: {name}, value: "{value}" }}]'
    if unit.platform == Platform.DOCKERFILE:
        return f'ENV {name}="{value}"'
    return f'environment: {{ {name}: "{value}" }}'


def mount(unit: Unit, volume: str, path: str) -> str:
    """Return the line that mounts a volume in a container."""
    if unit.platform == Platform.ECS:
        return f'"mountPoints": [{{ "sourceVolume": "{volume}", "containerPath": "{path}" }}]'
    if unit.platform == Platform.KUBERNETES:
        return f"volumeMounts: [{{ name: {volume}, mountPath: {path} }}]"
    return f"volumes: [{volume}:{path}]"


def stop_time(unit: Unit, seconds: float) -> str:
    """Return the line that sets the stop timeout of a container or a pod."""
    if unit.platform == Platform.ECS:
        return f'"stopTimeout": {seconds:g}'
    if unit.platform == Platform.KUBERNETES:
        return f"terminationGracePeriodSeconds: {seconds:g}"
    return f"stop_grace_period: {seconds:g}s"


def stop_signal(unit: Unit, name: str) -> str:
    """Return the line that sets the stop signal of a container."""
    if unit.platform == Platform.KUBERNETES:
        return f"lifecycle: {{ stopSignal: {name} }}"
    if unit.platform == Platform.DOCKERFILE:
        return f"STOPSIGNAL {name}"
    return f"stop_signal: {name}"


def command(unit: Unit, *words: str) -> str:
    """Return the line of a command."""
    quoted = ", ".join(f'"{word}"' for word in words)
    if unit.platform == Platform.DOCKERFILE:
        return f"CMD [{quoted}]"
    return f'"command": [{quoted}]' if unit.platform == Platform.ECS else f"command: [{quoted}]"


def shown_name(name: str) -> str:
    """Return a variable's name without what cannot be part of one, such as `: ` and a password."""
    word = re.split(r"\W", name, maxsplit=1)[0]
    return word if word == name else f"{word}…"
