"""What environment variables say about settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field
from typing import Any

from logship._settings.defaults import TASK_METADATA_VARIABLE, stop_timeout_for
from logship._settings.endpoints import Endpoint
from logship._settings.fields import (
    Converter,
    NotAllowed,
    converter_of,
    parsed,
    refusal_of,
    variable_name,
)
from logship.errors import SettingsError


def values_from(fields: Iterable[Field[Any]], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of all fields that the environment sets.

    An empty variable counts as not set, except that of a secret. The value is a `SettingsError`
    where a variable's text means nothing or a file cannot be read. It is raised when the settings
    are checked, together with all others.
    """
    values = _from_firelens(environ)
    for each in fields:
        converter = converter_of(each)
        text = environ.get(variable_name(each.name))
        if text or (text is not None and not converter.empty_is_unset):
            values[each.name] = parsed(each, text)
        values.update(_from_file(each.name, converter, environ))
    values.setdefault("stop_timeout_seconds", stop_timeout_for(environ))
    return values


def is_firelens_task(environ: Mapping[str, str]) -> bool:
    """Return whether ECS has set both variables of a container with the log driver awsfirelens."""
    return bool(environ.get("FLUENT_HOST") and environ.get(TASK_METADATA_VARIABLE))


def file_variable(name: str) -> str:
    """Return the variable that names the file with the value of the setting `name`."""
    return f"{variable_name(name)}_FILE"


def _from_firelens(environ: Mapping[str, str]) -> dict[str, Any]:
    given = environ.get("FLUENT_HOST", "")
    if not given:
        return {}
    port = environ.get("FLUENT_PORT", "")
    if not port or "://" in port:  # Kubernetes sets it to a URL where a Service is named `fluent`
        port = "24224"
    host = f"[{given}]" if ":" in given else given
    try:
        Endpoint.parse(f"tcp://{host}:24224")
    except SettingsError:
        refused = NotAllowed("a host's name or address", is_secret="@" in given or "%" in given)
        return {"endpoints": refusal_of("FLUENT_HOST", given, refused)}
    try:
        return {"endpoints": (Endpoint.parse(f"tcp://{host}:{port}"),)}
    except SettingsError:
        return {"endpoints": refusal_of("FLUENT_PORT", port, NotAllowed("a port, 1 to 65535"))}


def _from_file(name: str, converter: Converter, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the file that `LOGSHIP_SHARED_KEY_FILE` or the like names, as secrets are mounted."""
    variable = file_variable(name)
    path = environ.get(variable)
    if converter.from_file is None or path is None or (not path and converter.empty_is_unset):
        return {}
    if not path:
        mistake = "it is empty; give the path of a file"
    elif environ.get(variable_name(name)):
        mistake = f"{variable_name(name)} is set as well; give one"
    else:
        try:
            return {name: converter.check(converter.from_file(path))}
        except SettingsError as error:
            mistake = str(error)
        except NotAllowed as error:
            mistake = f"give {error.allowed}"  # its text may be another secret
    return {name: SettingsError(f"{variable}: {mistake}")}
