"""The blocks of docs/testing.md are files of tests, which pass."""

from __future__ import annotations

import re
from pathlib import Path

from tests.documentation.pages import blocks_of
from tests.support.programs import REPOSITORY
from tests.testkit.runs import ASYNCIO, PLUGIN, assert_passed, run_pytest


def test_every_block_runs(tmp_path: Path) -> None:
    blocks = list(blocks_of(REPOSITORY / "docs" / "testing.md"))
    files = {each.mark: each.text for each in blocks}
    ran = run_pytest(tmp_path, files=files, plugins=(PLUGIN, ASYNCIO))
    # A test of an outage may end before the client has read the ack. Between a test and its
    # teardown, pytest does not capture what the client's thread writes then.
    ran.stderr = re.sub(r"logship: \S+ acks records now, after \S+ s\n", "", ran.stderr)
    assert_passed(ran, sum(each.text.count("def test_") for each in blocks))
