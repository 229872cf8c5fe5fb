"""Variables that logship does not read, or will refuse when the container starts.

A mistyped name is worse than a wrong value: the value causes an error at the start, but the name
has no effect, and the default applies.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator

from logship.deployment.linting.model import Container, Finding, Role, Unit
from logship.deployment.linting.rules.snippets import variable
from logship.errors import SettingsError
from logship.settings import Settings, variable_name

_FILES = ("shared_key", "password", "username")
_PREFIX = "LOGSHIP_"
_OTHERS = ("LOGSHIP_STOP_FILE",)
"""Set by `logship run` for programs inside its command."""
_PLACEHOLDER = "set-elsewhere"


def known() -> list[str]:
    """Return every variable that logship reads."""
    names = [variable_name(each.name) for each in dataclasses.fields(Settings)]
    return [*names, *(f"{variable_name(each)}_FILE" for each in _FILES), *_OTHERS]


def unknown(unit: Unit) -> Iterator[Finding]:
    """Yield variables that no program reads. Their values are not shown: they may be secrets."""
    names = [name.removeprefix(_PREFIX) for name in known()]
    for container in unit.of_role(Role.APPLICATION, Role.RECOVERER):
        for full_name in container.environment:
            name = full_name.removeprefix(_PREFIX)
            if name == full_name or name in names:
                continue
            shown = _PREFIX + _shown(name)
            night = f"{shown} is no setting of logship, so it has no effect and the default applies"
            near = difflib.get_close_matches(name, names, n=1)
            change = f"rename {shown} to {_PREFIX}{near[0]}" if near else f"remove {shown}"
            yield Finding("unknown-setting", container.name, night, change)


def _shown(name: str) -> str:
    """Return a name without what cannot be part of one, such as `: ` and a password."""
    word = re.split(r"\W", name, maxsplit=1)[0]
    return word if word == name else f"{word}…"


def wrong(unit: Unit) -> Iterator[Finding]:
    """Yield values that logship refuses."""
    for container in unit.of_role(Role.APPLICATION, Role.RECOVERER):
        try:
            Settings.from_env(_environment(container))
        except SettingsError as error:
            name = next((each for each in known() if f"({each})" in str(error)), None)
            night = f"the program does not start: {error}"
            change = variable(unit, name, "…") if name else "see docs/settings"
            yield Finding("wrong-setting", container.name, night, change)


def _environment(container: Container) -> dict[str, str]:
    """Return the values that can be checked; secrets and values from elsewhere count as right."""
    values: dict[str, str] = {}
    elsewhere = set()
    names = known()
    for name, value in container.environment.items():
        if name not in names or name in _OTHERS:
            continue
        is_file = name.endswith("_FILE")
        if is_file or value is None or "${" in value:
            elsewhere.add(name.removesuffix("_FILE") if is_file else name)
        else:
            values[name] = value
    for name in elsewhere.intersection(variable_name(each) for each in _FILES):
        values[name] = _PLACEHOLDER
    if "LOGSHIP_ENDPOINTS" in elsewhere:
        values["LOGSHIP_ENDPOINTS"] = "tls://elsewhere:24224"
    return values
