"""Editors and type checkers know every setting, and find the mistakes that `wrong.py` makes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import logship
from logship._settings import Settings
from logship._settings.fields import Bytes, Seconds, converter_of
from logship._settings.keywords import SettingsKeywords
from tests.support.commands import ran
from tests.support.programs import REPOSITORY

HERE = Path(__file__).parent
USES = (HERE / "right.py", HERE / "wrong.py")
FIELDS = dataclasses.fields(Settings)
SYMBOLS_MAX = 60
"""The public names, a class's methods included; all other modules are marked private."""

PATHS = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
PYRIGHT = shutil.which("pyright", path=PATHS)

needs_pyright = pytest.mark.skipif(
    PYRIGHT is None, reason="no pyright on PATH: pip install pyright"
)


def test_each_setting_is_a_keyword() -> None:
    assert [*SettingsKeywords.__annotations__] == [each.name for each in FIELDS]


def test_each_number_with_a_unit_may_be_a_text() -> None:
    keywords, types = get_type_hints(SettingsKeywords), get_type_hints(Settings)
    for each in FIELDS:
        if isinstance(converter_of(each), Bytes | Seconds):
            assert keywords[each.name] == types[each.name] | str, each.name


def test_mypy_agrees_with_each_use_and_each_type(tmp_path: Path) -> None:
    """A value of `Settings` can be a keyword's, and a keyword's type is not `Any`."""
    agreement = tmp_path / "agreement.py"
    taken = "".join(f'        "{each.name}": settings.{each.name},\n' for each in FIELDS)
    refused = "".join(
        f'    keywords["{each.name}"] = value  # type: ignore[typeddict-item]\n' for each in FIELDS
    )
    agreement.write_text(
        "from logship._settings import Settings\n"
        "from logship._settings.keywords import SettingsKeywords\n\n\n"
        f"def taken(settings: Settings) -> SettingsKeywords:\n    return {{\n{taken}    }}\n\n\n"
        f"def refused(keywords: SettingsKeywords, value: object) -> None:\n{refused}"
    )
    checker = [sys.executable, "-m", "mypy", "--config-file", str(REPOSITORY / "pyproject.toml")]
    words = [*checker, "--cache-dir", str(tmp_path / "cache"), *map(str, USES), str(agreement)]
    ran(*words, cwd=REPOSITORY, timeout=300)


def pyright(directory: Path, *words: str) -> dict[str, Any]:
    """Run pyright on this logship; return what it says as JSON."""
    assert PYRIGHT is not None
    environ = {**os.environ, "PATH": PATHS, "PYTHONPATH": str(REPOSITORY)}
    options = {"cwd": directory, "env": environ, "timeout": 300}
    said: dict[str, Any] = json.loads(
        ran(PYRIGHT, "--outputjson", *words, code=None, **options).stdout
    )
    return said


@needs_pyright
def test_pyright_agrees_with_each_use(tmp_path: Path) -> None:
    for each in USES:
        shutil.copy(each, tmp_path)
    options = {
        "extraPaths": [str(REPOSITORY)],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(options))
    said = pyright(tmp_path)
    assert said["summary"]["filesAnalyzed"] == len(USES)
    assert said["generalDiagnostics"] == []


@needs_pyright
def test_pyright_knows_the_types_of_public_names(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    said = pyright(tmp_path, "--verifytypes", "logship", "--ignoreexternal")["typeCompleteness"]
    record_property("completeness", said["completenessScore"])
    record_property("symbols", said["exportedSymbolCounts"])
    exported = {each["name"] for each in said["symbols"] if each["isExported"]}
    assert {f"logship.{name}" for name in logship.__all__} - exported == {"logship.__version__"}
    assert said["exportedSymbolCounts"]["withUnknownType"] == 0
    assert said["completenessScore"] == 1
    assert len(exported) <= SYMBOLS_MAX
