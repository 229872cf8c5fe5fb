"""Variables that look like those of settings, and are none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship._settings.defaults import STOP_FILE_VARIABLE
from logship._settings.environment import file_variable
from logship._settings.fields import converter_of, variable_name
from logship._settings.settings import Settings
from logship._spelling import nearest

_PREFIX = variable_name("")
_SHOWN_MAX = 10

# A text, because most programs never need it compiled.
_OF_OTHERS = (
    # the images in sidecar/ and docker-compose.yml
    r"BIND|PORT|BUFFER_(DIR|SIZE)|LOG_DIR|FLUENTD_LOG_LEVEL|GRACE_SECONDS|FRAME_SIZE_MAX"
    r"|OUTPUT(_\w+)?|SIDECAR_METRICS_PORT|AWS_ENDPOINT|(FIRELENS|PROMETHEUS|GRAFANA)_PORT"
    r"|(AGGREGATOR|CLOUDWATCH|DATADOG|FIREHOSE|KAFKA|LOKI|OPENSEARCH|S3|SPLUNK)_\w+"
    # the tests and the build of this project
    r"|TEST_\w+|HOME_URL"
    # Kubernetes, for a Service whose name begins with `logship`
    r"|(\w+_)?(SERVICE_(HOST|PORT)\w*|PORT_\d+_\w+)"
)
"""What other programs read or set, without the prefix."""


def setting_variables() -> list[str]:
    """Return every environment variable that settings are read from."""
    fields = dataclasses.fields(Settings)
    files = [file_variable(each.name) for each in fields if converter_of(each).from_file]
    return [*(variable_name(each.name) for each in fields), *files]


def unknown_variables(environ: Mapping[str, str]) -> str:
    """Return a sentence about variables that begin with `LOGSHIP_` and have no effect.

    Their values are not shown, because they may be secrets. The sentence is empty if there is no
    such variable, or if `logship run`, which started this program, has written it already.
    """
    if STOP_FILE_VARIABLE in environ:
        return ""
    known = {*setting_variables()}
    unknown = [
        each
        for each, value in environ.items()
        if each.startswith(_PREFIX) and each not in known and not _is_of_another(each, value)
    ]
    if not unknown:
        return ""
    shown = ", ".join(map(_with_meant, unknown[:_SHOWN_MAX]))
    more = len(unknown) - _SHOWN_MAX
    return f"these variables have no effect: {shown}{f' and {more} more' if more > 0 else ''}"


def meant_variable(variable: str, known: Iterable[str]) -> str | None:
    """Return the known variable that was probably meant, or None."""
    names = [each.removeprefix(_PREFIX) for each in known]
    meant = nearest(variable.removeprefix(_PREFIX), names)
    return meant and f"{_PREFIX}{meant}"


def _is_of_another(variable: str, value: str) -> bool:
    name = variable.removeprefix(_PREFIX)
    is_url_of_kubernetes = name.endswith("_PORT") and "://" in value
    return is_url_of_kubernetes or re.fullmatch(_OF_OTHERS, name) is not None


def _with_meant(variable: str) -> str:
    shown = visible(variable, QUOTED_CHARACTERS_MAX)
    meant = meant_variable(variable, setting_variables())
    return f"{shown} (did you mean {meant}?)" if meant else shown
