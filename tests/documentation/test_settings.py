"""Every setting is in the README."""

from __future__ import annotations

import dataclasses

import pytest

from logship.settings import Settings
from tests.support.programs import REPOSITORY


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Settings)])
def test_the_readme_names_the_setting(name: str) -> None:
    assert f"`{name}`" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
