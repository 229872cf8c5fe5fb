"""The blocks of docs/testing.md run: each names its file in its first line."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import REPOSITORY
from tests.testkit.runs import ASYNCIO, PLUGIN, assert_passed, run_pytest

BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_block_runs(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "testing.md").read_text()
    files = dict(BLOCK.findall(page))
    assert len(files) == page.count("```") // 2
    ran = run_pytest(tmp_path, files=files, plugins=(PLUGIN, ASYNCIO))
    assert_passed(ran, page.count("def test_"))
