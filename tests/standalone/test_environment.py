"""Shows that a command gets the environment that was given, and not that of the build's loader."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import REPOSITORY

NOTES = {"_PYI_ARCHIVE_FILE": "/opt/logship/logship", "_PYI_PARENT_PROCESS_LEVEL": "1"}
GIVEN = {"PATH": "/bin", "PYTHONPATH": "/app"}


@pytest.fixture(scope="module")
def command() -> dict[str, Any]:
    """The module with which the build begins, not run as a program."""
    return runpy.run_path(str(REPOSITORY / "standalone" / "command.py"))


@pytest.mark.parametrize("libraries", [{}, {"LD_LIBRARY_PATH": "/opt/php/lib"}])
def test_what_the_loader_changed_is_put_back(
    command: dict[str, Any], libraries: dict[str, str]
) -> None:
    kept = {f"{name}_ORIG": value for name, value in libraries.items()}
    environ = {**GIVEN, **NOTES, "LD_LIBRARY_PATH": "/opt/logship/_internal", **kept}
    command["restore"](environ)
    assert environ == {**GIVEN, **libraries}


@pytest.mark.parametrize(
    ("content", "needs"),
    [
        (b"\x7fELF GLIBC_2.9\0 GLIBC_2.28\0 GLIBC_2.4\0", "glibc2.28"),
        (b"\x7fELF libc.musl-x86_64.so.1\0", "musl"),
        (b"a text about GLIBC_9.9, which no loader reads", "musl"),
    ],
)
def test_the_oldest_c_library_is_what_the_newest_symbol_asks_for(
    tmp_path: Path, content: bytes, needs: str
) -> None:
    build = runpy.run_path(str(REPOSITORY / "standalone" / "build.py"))
    (tmp_path / "library.so").write_bytes(content)
    assert build["libc_needed"](tmp_path) == needs
