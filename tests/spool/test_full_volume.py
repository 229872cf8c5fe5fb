"""A volume that another program has filled neither kills nor stalls a program.

On a tmpfs a hole in a mapped file would be SIGBUS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._spool.orphans import Orphans
from logship.testing import ManualClock
from tests.spool.programs import NOWHERE, Spools, kill
from tests.spool.recoveries import Sidecar, dead_life, log_some
from tests.spool.test_quarantine import damage_all
from tests.support.volumes import fill, small_volume
from tests.support.waiting import wait_until


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 32 MiB, of which the floor leaves half to others."""
    with small_volume(tmp_path / "volume") as point:
        yield point


def test_an_application_lives_through_a_volume_that_is_filled(spools: Spools, volume: Path) -> None:
    application = spools.start_application(10_000, endpoint=NOWHERE, spool=volume)
    spools.wait_for_ledger(100)
    filler = fill(volume)

    def said_or_ended() -> bool:
        return "the spool cannot be written" in spools.stderr or application.poll() is not None

    wait_until(said_or_ended, "it says so", 60)
    assert application.poll() is None, spools.stderr
    logged = len(spools.ledger)
    spools.wait_for_ledger(logged + 3_000)
    assert application.poll() is None
    filler.unlink()
    wait_until(lambda: "the spool" in spools.stderr and "can be written again" in spools.stderr,
               "it is back", 60)  # fmt: skip
    assert spools.stderr.count("the spool cannot be written") == 1
    assert application.poll() is None


def test_an_application_that_finds_a_full_volume_ships_from_memory(
    spools: Spools, volume: Path
) -> None:
    fill(volume)
    application = spools.start_application(3_000, spool=volume)
    spools.wait_for_ledger(1_000)
    wait_until(lambda: len(spools.delivered) > 500, "records arrive", 60)
    assert application.poll() is None
    assert "the spool cannot be written" in spools.stderr


def test_what_was_spooled_before_the_volume_was_full_is_recovered(
    spools: Spools, volume: Path
) -> None:
    application = spools.start_application(1_000, endpoint=NOWHERE, spool=volume)
    spools.wait_for_ledger(300)
    before = spools.ledger
    fill(volume)
    kill(application)
    spools.spool.rmdir()
    spools.spool.symlink_to(volume)
    recoverer = spools.start_recoverer("--spool", str(volume))
    recoverer.communicate(timeout=60)
    assert before <= set(spools.delivered)


def test_what_found_no_room_in_quarantine_does_when_the_volume_is_freed(volume: Path) -> None:
    life, clock = dead_life(volume, log_some), ManualClock(0.0)
    damage_all(life)
    sidecar = Sidecar(Orphans(volume, monotonic=clock))
    filler = fill(volume)
    for clock.seconds in (0.0, 100.0):
        sidecar.take_in()
        assert sidecar.orphans.counters.lives == 1
    assert life.exists()
    filler.unlink()
    clock.seconds = 200.0
    sidecar.take_in()
    assert list((volume / "quarantine").iterdir())
    assert not life.exists()
