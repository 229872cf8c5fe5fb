"""Runs pytest in a process of its own, with the plugins that a test names and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tests.support.commands import ran
from tests.support.programs import PATHS

PLUGIN = "logship.testing.plugin"
ASYNCIO = "pytest_asyncio.plugin"

_OPTIONS_OF = {
    ASYNCIO: ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
}


def run_pytest(
    directory: Path,
    *options: str,
    files: Mapping[str, str] | None = None,
    plugins: tuple[str, ...] = (PLUGIN,),
    environ: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the tests in a directory; warnings are errors.

    Args:
        directory: Where the tests are.
        options: For pytest.
        files: Written there before, by name; their text is dedented.
        plugins: To be loaded.
        environ: More environment variables.
    """
    for name, text in (files or {}).items():
        (directory / name).write_text(textwrap.dedent(text))
    words = [word for each in plugins for word in ("-p", each, *_OPTIONS_OF.get(each, ()))]
    path = os.pathsep.join((*PATHS, str(directory)))
    pytest = (sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider")
    return ran(
        *(*pytest, *words, *options),
        code=None,
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            **(environ or {}),
        },
        stdin=subprocess.DEVNULL,
    )


def assert_passed(ran: subprocess.CompletedProcess[str], count: int) -> None:
    """Fail unless so many tests passed, all of them, and nothing came on stderr."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f" {count} passed in " in ran.stdout.replace("=", " "), ran.stdout
    assert ran.stderr == ""
