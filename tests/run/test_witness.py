"""What is known of the owners of spools when they have ended."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logship.supervisor.statuses import Death
from logship.supervisor.witness import Witness

OWNER = """
import sys, logship
settings = logship.Settings(endpoints="tcp://127.0.0.1:1", spool_dir="{spool}")
client = logship.BackgroundClient(settings)
client.emit({{"message": "left"}})
print("ready", flush=True)
sys.stdin.readline()
"""


def death_of_an_owner(spool: Path, code: int, *, removes: bool) -> list[bool]:
    """Return what is said to be left where an owner, seen alive, has ended so."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(spool=spool)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        witness = Witness(spool)
        witness.look()
        (descriptor,) = witness.descriptors
        owner.kill()
    if removes:
        shutil.rmtree(spool)
    deaths = witness.deaths({descriptor}, {owner.pid: Death(owner.pid, "python", code)})
    assert witness.descriptors == []
    return [left for _, left in deaths]


@pytest.mark.parametrize("is_shipped", [False, True], ids=["waits", "shipped already"])
def test_a_killed_owner_has_left_something_even_if_that_is_shipped_already(
    tmp_path: Path, is_shipped: bool
) -> None:
    """The recoverer may find the spool before we are told of the death."""
    assert death_of_an_owner(tmp_path, -signal.SIGKILL, removes=is_shipped) == [True]


def test_an_owner_that_ends_in_order_and_removes_its_spool_has_left_nothing(tmp_path: Path) -> None:
    assert death_of_an_owner(tmp_path, 0, removes=True) == [False]
