"""The packages that a release publishes: what is in them, and what the index shows."""

from __future__ import annotations

import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
HOME = "https://example.org/logship"
BUILD = (sys.executable, "-m", "hatchling", "build", "-d")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: what belongs to the source is not known")
    directory = tmp_path_factory.mktemp("packages")
    ran(*BUILD, directory, cwd=ROOT, env={**os.environ, "LOGSHIP_HOME_URL": HOME}, timeout=600)
    return directory


def test_the_source_package_has_all_files_of_the_repository(packages: Path) -> None:
    """Its tests need them: examples, sidecars, benchmarks, documents."""
    (archive,) = packages.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        packed = {name.partition("/")[2] for name in source.getnames()}
    listed = ran("git", "ls-files", "-z", cwd=ROOT).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    assert tracked - packed == set()


def test_each_link_of_the_package_s_page_leads_to_the_project(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (name,) = (each for each in files.namelist() if each.endswith("/METADATA"))
        metadata = files.read(name).decode("utf-8")
    targets = re.findall(r"\]\(([^)\s]+)", metadata)
    assert targets
    assert [each for each in targets if not each.startswith(("https://", "#"))] == []
    links = dict(re.findall(r"^Project-URL: (\w+), (\S+)", metadata, re.MULTILINE))
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Security"} == set(links)
    for target in [*targets, *links.values()]:
        kind, _, path = target.removeprefix(f"{HOME}/").partition("/main/")
        if target.startswith(HOME) and kind in ("blob", "raw", "tree"):
            assert (ROOT / path.partition("#")[0]).exists(), target


def test_without_an_address_the_page_is_the_readme(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "LOGSHIP_HOME_URL"}
    ran(*BUILD, tmp_path, "-t", "wheel", cwd=ROOT, env=environ, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (name,) = (each for each in files.namelist() if each.endswith("/METADATA"))
        metadata = files.read(name).decode("utf-8")
    assert metadata.endswith((ROOT / "README.md").read_text("utf-8"))
    assert "Project-URL" not in metadata
