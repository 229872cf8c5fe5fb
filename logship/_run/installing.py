"""`logship run --install`: Python programs in the command ship by themselves, without a change.

Python imports a module `sitecustomize` at its start, and `run` puts the directory of one at the
front of PYTHONPATH. That module waits for the program's first log record, and then calls
`logship.install()`. docs/decisions/035-install-from-outside.md says why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from logship._settings import Settings, variable_name
from logship.errors import SettingsError

_AT_START = Path(__file__).with_name("at_start")


def environment_with_install(
    environ: Mapping[str, str], settings: Settings, options: Mapping[str, str]
) -> dict[str, str]:
    """Return an environment in which Python programs call `install()`.

    The programs get the tag of `run`, unless FireLens names that, and the settings that `run` got
    as options.

    Raises:
        SettingsError: This `logship` has no file that Python can import.
    """
    if not (_AT_START / "sitecustomize.py").is_file():
        raise SettingsError(
            "--install: this logship is built without Python files; install the package "
            "logship-forward into the Python of the command, and use the logship of that"
        )
    path = filter(None, (str(_AT_START), environ.get("PYTHONPATH")))
    tag = {} if settings.firelens_tag else {"tag": settings.tag}
    chosen = {variable_name(name): text for name, text in {**tag, **options}.items()}
    return {**environ, **chosen, "PYTHONPATH": os.pathsep.join(path)}
