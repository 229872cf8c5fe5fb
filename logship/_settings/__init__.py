"""Every choice that a user can make, checked before anything starts.

A `Settings` object that exists is valid. Each field says its unit in its name. Each has one
environment variable, `LOGSHIP_` and the field's name in capitals. All mistakes are one
`SettingsError` that names each setting, its value and what is allowed. Secrets are wrapped so that
no `repr`, error or log shows them.
"""

from __future__ import annotations

from logship._settings.defaults import (
    MIB,
    STOP_FILE_VARIABLE,
    TASK_METADATA_VARIABLE,
    buffer_bytes_for,
    memory_limit_bytes,
    program_name,
    stop_timeout_for,
)
from logship._settings.endpoints import Endpoint
from logship._settings.fields import Compress, full_name, variable_name
from logship._settings.settings import (
    BUFFER_BYTES_MIN,
    RECORD_BYTES_MAX,
    SPOOL_BYTES_MIN,
    STOP_TIMEOUT_SECONDS_MIN,
    Settings,
)

__all__ = [
    "BUFFER_BYTES_MIN",
    "MIB",
    "RECORD_BYTES_MAX",
    "SPOOL_BYTES_MIN",
    "STOP_FILE_VARIABLE",
    "STOP_TIMEOUT_SECONDS_MIN",
    "TASK_METADATA_VARIABLE",
    "Compress",
    "Endpoint",
    "Settings",
    "buffer_bytes_for",
    "full_name",
    "memory_limit_bytes",
    "program_name",
    "stop_timeout_for",
    "variable_name",
]
