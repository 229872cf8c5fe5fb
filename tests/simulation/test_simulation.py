"""A hundred histories, and more than a hundred with a spool, the same on every run.

In none of them is anything lost, reordered or stuck.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.simulation.campaign import replay, run_seeds
from tests.simulation.disk import has_disk
from tests.simulation.faults import DISK_FAULTS, FAULTS, RECOVERY_FAULTS
from tests.simulation.history import History
from tests.support.commands import ran

SEEDS = range(1, 101)
EVENTS_MIN = 140

DISK_SEEDS = [seed for seed in range(1, 2501) if has_disk(seed)]
"""Those of the first 2,500 whose clients have a spool."""


def test_histories_keep_the_promise() -> None:
    tally = run_seeds(SEEDS)
    for seed in tally.failures:
        pytest.fail("\n".join(replay(seed)[1]))
    assert [name for name in FAULTS if not tally.fired[name]] == []
    assert tally.events_least >= EVENTS_MIN


def test_every_disk_fault_is_seen_and_nothing_is_lost_in_silence() -> None:
    tally = run_seeds(DISK_SEEDS)
    assert tally.failures == {}
    assert [name for name in (*DISK_FAULTS, *RECOVERY_FAULTS) if not tally.fired[name]] == []
    assert tally.fired["recovered"] > 1000


def test_nothing_stays_behind_a_history() -> None:
    for seed in DISK_SEEDS[:5]:
        history = History(seed)
        history.run()
        assert history.disk is not None
        assert not history.disk.path.exists()


@pytest.mark.parametrize("seed", [2035698, 2065205, 3018010])
def test_what_a_campaign_found(seed: int) -> None:
    """Two faults of the judge and one of the product.

    A chunk was passed over while the connection took nothing. A turn's combine overtook a chunk. A
    directory was half removed, and the next recoverer ended its stream again, at a lower number.
    """
    _, story = replay(seed)
    assert story[-1] == "it is well", "\n".join(story)


def test_a_seed_replays_exactly() -> None:
    """In another process, with other hashes: chance comes from the seed alone, also a disk's."""
    stories = set()
    for hash_seed in ("1", "2"):
        words = ("--seed", "82", "--force", "window=5")
        command = (sys.executable, "-m", "tests.simulation", *words)
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        stories.add(ran(*command, env=environment, timeout=600).stdout)
    (story,) = stories
    assert "  window = 5\n" in story
    assert "it is well" in story
