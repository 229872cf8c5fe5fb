"""Another project's package `logship` in the same directory, as pip leaves it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import LOGSHIP, ran
from tests.support.programs import REPOSITORY

PROGRAM = "import logging, logship; logship.install(); logging.warning('hi')"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A directory like site-packages, with this package and the metadata of the other one."""
    shutil.copytree(REPOSITORY / "logship", tmp_path / "logship")  # what is compiled stays valid
    (tmp_path / "logship-0.0.1.dist-info").mkdir()
    return tmp_path


def run(packages: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
    environ |= {"LOGSHIP_ENDPOINTS": "tcp://127.0.0.1:1", "LOGSHIP_EXIT_STALL_SECONDS": "0.1"}
    return ran(sys.executable, *words, code=None, env=environ, cwd=packages)


def doctor_of(packages: Path) -> dict[str, str]:
    told = run(packages, *LOGSHIP[1:], "doctor", "--json", "--no-send", "--wait", "0.1")
    checks = json.loads(told.stdout)["checks"]
    return {each["check"]: each["outcome"] for each in checks}


def test_install_tells_of_it_once(packages: Path) -> None:
    said = run(packages, "-c", PROGRAM).stderr
    assert said.count("logship-0.0.1.dist-info") == 1
    assert doctor_of(packages)["package"] == "warn"


def test_doctor_works_without_this_packages_first_file(packages: Path) -> None:
    """Pip has put the other project's empty file in its place."""
    (packages / "logship" / "__init__.py").write_text("")
    assert doctor_of(packages)["package"] == "fail"


def test_install_says_nothing_where_it_is_not(packages: Path) -> None:
    (packages / "logship-0.0.1.dist-info").rmdir()
    assert "another project" not in run(packages, "-c", PROGRAM).stderr
    assert doctor_of(packages)["package"] == "ok"
