"""`make demo`, shortened: its verdict, and the commands that it tells a newcomer to type."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from click.testing import CliRunner

from benchmarks.demo import demo
from tests.benchmarks.running import benchmarks
from tests.support.commands import ran


def commands_in(printed: str) -> list[str]:
    """Return the indented lines after "Check it yourself", without the comments."""
    lines = printed.partition("Check it yourself")[2].splitlines()
    return [line.strip() for line in lines if line.startswith("  ") and "#" not in line]


def run_in_bash(commands: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return ran("bash", "-c", "\n".join(["set -e", *commands]), code=None, cwd=directory)


def test_the_demo_ends_in_a_verdict_that_anybody_can_check(tmp_path: Path) -> None:
    ended = benchmarks(tmp_path, "demo", "--seconds", "5")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "logship lost 0 of" in ended.stdout
    assert "fluent-logger-async lost" in ended.stdout
    gained = re.search(r"lives or comes back: logship (\S+) of (\S+), fluent-", ended.stdout)
    assert gained
    assert gained[1] == gained[2]
    stops = r"logship: \d+\.\d, \d+\.\d, \d+\.\d; \d+ lines arrived twice"
    assert re.search(rf"(?m)^    {stops}$", ended.stdout)
    assert re.search(r"(?m)^ +\d+ s  logship, none: ", ended.stdout), "a sign of life"

    change_directory, search_ledger, audit = commands_in(ended.stdout)
    assert run_in_bash([change_directory, search_ledger], tmp_path).stdout == ""
    audited = run_in_bash([change_directory, audit], tmp_path)
    assert (audited.returncode, audited.stdout[:8]) == (0, "complete")

    (figures,) = tmp_path.rglob("demo.json")
    rows = json.loads(figures.read_text())["rows"]
    assert len(rows) == 9
    assert all(row["runs"][0]["LOST"] == 0 for row in rows[::3])


def test_the_demo_is_long_enough_for_a_sidecar_to_be_up_again() -> None:
    ended = CliRunner().invoke(demo, ["--seconds", "4.9"])
    assert ended.exit_code == 2
    assert "x>=5" in ended.output
