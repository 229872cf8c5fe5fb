"""Runs the tests of the example whose tests use the fixtures."""

from __future__ import annotations

from tests.examples.frameworks import EXAMPLES
from tests.testkit.runs import assert_passed, run_pytest


def test_its_own_tests_pass() -> None:
    directory = EXAMPLES / "tested_application"
    count = (directory / "test_shop.py").read_text().count("def test_")
    assert_passed(run_pytest(directory), count)
