"""What is installed here is what was looked at: versions are pinned, and files have hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
PINNED = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; [^\\]+)? \\\n {4}--hash=sha256:")


def packages(name: str) -> list[str]:
    """Return what a file says of each package, without comments."""
    text = re.sub(r"^\s*#.*\n", "", (REQUIREMENTS / name).read_text(), flags=re.MULTILINE)
    return [each for each in re.split(r"\n(?=\S)", text) if each]


def pins(name: str) -> set[tuple[str, str]]:
    found = [PINNED.match(each) for each in packages(name)]
    return {(each["name"], each["version"]) for each in found if each}


@pytest.mark.parametrize("name", ["dev.txt", "fuzz.txt", "smoke.txt", "standalone.txt", "docs.txt"])
def test_every_package_is_pinned_with_hashes_and_no_place_is_named(name: str) -> None:
    assert [each for each in packages(name) if not PINNED.match(each)] == []
    assert "://" not in (REQUIREMENTS / name).read_text()


def test_smoke_tests_run_on_the_versions_that_all_tests_run_on() -> None:
    assert pins("smoke.txt") < pins("dev.txt")
