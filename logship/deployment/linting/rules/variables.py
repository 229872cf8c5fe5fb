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
_SECRET = re.compile("KEY|PASS|SECRET")
_SECRETS = ("SHARED_KEY", "PASSWORD")
_OTHERS = ("LOGSHIP_STOP_FILE",)
"""Set by `logship run` for programs inside its command."""
_PLACEHOLDER = "set-elsewhere"


def known() -> list[str]:
    """Return every variable that logship reads."""
    names = [variable_name(each.name) for each in dataclasses.fields(Settings)]
    return [*names, *(f"{variable_name(each)}_FILE" for each in _FILES), *_OTHERS]


def unknown(unit: Unit) -> Iterator[Finding]:
    """Yield variables that no program reads."""
    names = known()
    for container in unit.of_role(Role.APPLICATION, Role.RECOVERER):
        for name, value in container.environment.items():
            if not name.startswith("LOGSHIP_") or name in names:
                continue
            near = difflib.get_close_matches(name, names, n=1)
            night = f"{name} is no setting of logship, so it has no effect and the default applies"
            change = f"remove {name}"
            if near:
                is_secret = _SECRET.search(name) or near[0].endswith(_SECRETS)
                change = variable(unit, near[0], "…" if is_secret else value or "…")
            yield Finding("unknown-setting", container.name, night, change)


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
