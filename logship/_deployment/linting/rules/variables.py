"""Values that are wrong, or not filled in, and variables that logship does not read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator
from typing import Any

from logship._deployment.linting.commands import settings_with
from logship._deployment.linting.model import Container, Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import (
    ENVIRONMENT,
    WITH_IMAGES,
    containers,
    of_logship,
    senders,
)
from logship._deployment.linting.rules.snippets import form, shown_name, variable
from logship._redaction import REDACTED, redactor
from logship._settings import STOP_FILE_VARIABLE, Settings, variable_name
from logship._settings.environment import file_variable
from logship._settings.unknown import meant_variable, setting_variables
from logship.errors import SettingsError

_PREFIX = "LOGSHIP_"
_REFERENCES = ("$", "{{", "arn:", "vault:", "op://", "/", "<")
"""What a value begins with that stands for a secret and is none."""
_OF_DOCTOR = "LOGSHIP_SIDECAR_METRICS_PORT"
"""`logship doctor` reads it in the container of the application."""
_SWITCHES = ("true", "false", "yes", "no", "on", "off", "0", "1")
_PLACEHOLDER = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_:.]{0,60}\}")
"""With the names of CloudFormation, such as `AWS::Region`, which only `Fn::Sub` fills in."""


_redacted = redactor("fields", lambda value: value)


@senders.warning(
    finds="a `LOGSHIP_*` variable that logship does not read",
    effect="the variable has no effect, and the default applies",
    platforms=WITH_IMAGES,
    keys=ENVIRONMENT,
)
def _unknown_setting(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A mistyped name is worse than a wrong value: the value causes an error at the start, but the
    name has no effect.
    """
    yield from without_effect(container, {*setting_variables(), STOP_FILE_VARIABLE, _OF_DOCTOR})


def without_effect(container: Container, known: Collection[str]) -> Iterator[Mistake]:
    """Yield the variables of logship's that are not known, without values, which may be secrets."""
    for name in container.environment:
        if name.startswith(_PREFIX) and name not in known:
            shown, meant = shown_name(name), meant_variable(name, known)
            effect = f"{shown} has no effect, and the default applies"
            change = f"rename {shown} to {meant}" if meant else f"remove {shown}"
            yield Mistake(change, effect, key=f"${name}")


@senders.error(
    finds="a `LOGSHIP_*` value that logship refuses",
    effect="the program does not start",
    keys=ENVIRONMENT,
)
def _wrong_setting(unit: Unit, container: Container) -> Iterator[Mistake]:
    """logship checks all settings when it is installed, and raises an error if one is wrong."""
    try:
        _check(container)
    except SettingsError as error:
        for mistake in error.mistakes:
            name = next((each for each in setting_variables() if f"({each})" in mistake), None)
            effect = f"the program does not start: {mistake}"
            change = variable(unit, name, "…") if name else "see docs/settings"
            yield Mistake(change, effect, key=f"${name}")


def _check(container: Container) -> None:
    """Check all values that the file shows; an error without a text stands for each other one.

    Raises:
        SettingsError: One is wrong, by itself or beside another one that the file shows.
    """
    known: dict[str, str] = {}
    unknown: dict[str, Any] = {}
    for each in dataclasses.fields(Settings):
        name, file = variable_name(each.name), file_variable(each.name)
        value = container.environment.get(name)
        if value is not None and "${" not in value and file not in container.environment:
            known[name] = value
        elif not (container.is_unset(name) and container.is_unset(file)):
            unknown[each.name] = SettingsError()
    Settings.from_env(known, **unknown)


@senders.warning(
    finds="a `LOGSHIP_DISABLED` that is set",
    effect="logship does nothing, and ships no record",
    platforms=WITH_IMAGES,
    keys=("$LOGSHIP_DISABLED",),
)
def _disabled(unit: Unit, container: Container) -> Iterator[Mistake]:
    """`LOGSHIP_DISABLED=1` makes every part of logship a no-op. It is meant for tests."""
    settings = settings_with(container, "disabled")
    if settings is not None and settings.disabled:
        yield Mistake("remove LOGSHIP_DISABLED")


@of_logship.warning(
    finds="a secret in plain text in the environment",
    effect="the key can be read in the file, and in the description of the task",
    platforms=WITH_IMAGES,
    keys=ENVIRONMENT,
)
def _plain_secret(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A task definition, a manifest and an image are read by many. Use `secrets` on ECS,
    `secretKeyRef` on Kubernetes, `secrets` of compose with `LOGSHIP_SHARED_KEY_FILE` or the like. A
    secret is known by the variable's name, by the same list as `LOGSHIP_REDACT=fields`, and
    LOGSHIP_*_SHARED_KEY.
    """
    # The values are not shown.
    for name, value in container.environment.items():
        is_harmless = not value or value.startswith(_REFERENCES) or value.lower() in _SWITCHES
        if _is_secret(name) and not is_harmless:
            shown = shown_name(name)
            effect = f"{shown} is in this file in plain text"
            change = f"take {shown} from a secret store, or name a file in {shown}_FILE"
            yield Mistake(change, effect, key=f"${name}")


def _is_secret(name: str) -> bool:
    if name.startswith(_PREFIX) and name.endswith("SHARED_KEY"):
        return True
    return bool(_redacted({name: "x"})[name] == REDACTED)


@containers.note(
    finds="a `${NAME}` in an image, a `LOGSHIP_*` variable or an option of the log driver",
    effect="the container gets the text `${NAME}` itself, unless a tool fills it in",
    platforms=(Platform.ECS, Platform.KUBERNETES),
    keys=("image", "environment", "env"),
)
def _placeholder(unit: Unit, container: Container) -> Iterator[Mistake]:
    """ECS and Kubernetes expand no `${NAME}`; Kubernetes expands `$(NAME)` in variables. So check
    the file that a tool such as `envsubst` has filled in. Commands and other variables are left
    out, because the program may expand them, and so does Fluent Bit with options of awsfirelens.
    """
    found = dict.fromkeys(name for text in _texts(container) for name in _PLACEHOLDER.findall(text))
    if found:
        names = ", ".join(found)
        effect = f"nothing expands {names} in this file: the container gets this text itself"
        change = "fill it in, as with envsubst, and check the result"
        yield Mistake(change, effect)


def _texts(container: Container) -> Iterator[str]:
    """Yield the texts that nothing expands once the file is registered or applied."""
    yield container.image
    if container.log_driver != "awsfirelens":
        yield from container.log_options.values()
    for name, value in container.environment.items():
        if name.startswith("LOGSHIP_"):
            yield value or ""


@containers.error(
    finds="a container whose image is empty",
    effect="the file is refused, or the container does not start",
    platforms=(Platform.ECS, Platform.KUBERNETES),
    keys=("image",),
)
def _empty_image(unit: Unit, container: Container) -> Iterator[Mistake]:
    """`envsubst` replaces a variable that is not set by nothing, and reports no error. In YAML an
    image without a value is null.
    """
    if container.image_is_empty:
        yield Mistake(form(unit, "image: …", ecs='"image": "…"'))
