"""What environment variables say about settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field
from typing import Any

from logship.errors import SettingsError
from logship.settings.defaults import TASK_METADATA_VARIABLE, stop_timeout_for
from logship.settings.fields import Converter, converter_of, parsed, variable_name


def values_from(fields: Iterable[Field[Any]], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of all fields that the environment sets.

    Args:
        fields: Of the settings.
        environ: As `os.environ`. An empty variable counts as not set, except that of a secret.

    Raises:
        SettingsError: A variable's text means nothing, or a file cannot be read.
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


def _from_firelens(environ: Mapping[str, str]) -> dict[str, Any]:
    host = environ.get("FLUENT_HOST", "")
    if not host:
        return {}
    port = environ.get("FLUENT_PORT", "")
    if not port or "://" in port:  # Kubernetes sets it to a URL where a Service is named `fluent`
        port = "24224"
    host = f"[{host}]" if ":" in host else host
    return {"endpoints": f"tcp://{host}:{port}"}


def _from_file(name: str, converter: Converter, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the file that `LOGSHIP_SHARED_KEY_FILE` or the like names, as secrets are mounted."""
    variable = f"{variable_name(name)}_FILE"
    path = environ.get(variable)
    if converter.from_file is None or path is None or (not path and converter.empty_is_unset):
        return {}
    if not path:
        raise SettingsError(f"{variable}: it is empty; give the path of a file")
    if environ.get(variable_name(name), ""):
        raise SettingsError(f"{variable}: {variable_name(name)} is set as well; give one")
    try:
        return {name: converter.from_file(path)}
    except SettingsError as error:
        raise SettingsError(f"{variable}: {error}") from None
