"""Lines to write instead, in the syntax of each platform."""

from __future__ import annotations

import re

from logship._deployment.linting.model import Unit


def form(unit: Unit, compose: str, **others: str) -> str:
    """Return the text of a unit's platform, by its name; that of compose if it has none."""
    return others.get(unit.platform, compose)


def variable(unit: Unit, name: str, value: str) -> str:
    """Return the lines that set an environment variable."""
    return form(
        unit,
        f'environment: {{ {name}: "{value}" }}',
        ecs=f'"environment": [{{ "name": "{name}", "value": "{value}" }}]',
        kubernetes=f'env: [{{ name: {name}, value: "{value}" }}]',
        dockerfile=f'ENV {name}="{value}"',
    )


def mount(unit: Unit, volume: str, path: str) -> str:
    """Return the line that mounts a volume in a container."""
    return form(
        unit,
        f"volumes: [{volume}:{path}]",
        ecs=f'"mountPoints": [{{ "sourceVolume": "{volume}", "containerPath": "{path}" }}]',
        kubernetes=f"volumeMounts: [{{ name: {volume}, mountPath: {path} }}]",
    )


def stop_time(unit: Unit, seconds: float) -> str:
    """Return the line that sets the stop timeout of a container or a pod."""
    return form(
        unit,
        f"stop_grace_period: {seconds:g}s",
        ecs=f'"stopTimeout": {seconds:g}',
        kubernetes=f"terminationGracePeriodSeconds: {seconds:g}",
    )


def stop_signal(unit: Unit, name: str) -> str:
    """Return the line that sets the stop signal of a container."""
    kubernetes = f"lifecycle: {{ stopSignal: {name} }}"
    return form(
        unit, f"stop_signal: {name}", kubernetes=kubernetes, dockerfile=f"STOPSIGNAL {name}"
    )


def command(unit: Unit, *words: str) -> str:
    """Return the line of a command."""
    listed = f"[{quoted(*words)}]"
    return form(unit, f"command: {listed}", ecs=f'"command": {listed}', dockerfile=f"CMD {listed}")


def quoted(*words: str) -> str:
    """Return words in quotes, with commas between them."""
    return ", ".join(f'"{word}"' for word in words)


def shown_name(name: str) -> str:
    """Return a variable's name without what cannot be part of one, such as `: ` and a password."""
    word = re.split(r"\W", name, maxsplit=1)[0]
    return word if word == name else f"{word}…"
