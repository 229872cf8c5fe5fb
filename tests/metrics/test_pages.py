"""Pages of real processes: each is counted once, whenever its owner dies, by all that read them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from pathlib import Path

import pytest

from logship import _system
from logship._metrics.outlet import Outlet
from logship._metrics.pages import Pages
from logship._metrics.process import Process
from logship._metrics.sums import slot, zeros
from logship._settings import Settings
from logship._stderr.last_resort import LastResort
from tests.metrics.owners import ACCEPTED, DRAINED, KEY, KILLED, WAITING, Owners, accepted_in, names
from tests.support.raising import raising
from tests.support.threads import Later, in_threads


def test_the_living_and_the_dead_are_summed(pages: Path, owners: Owners) -> None:
    """Counters of the dead stay, their gauges vanish, and how they ended is counted."""
    first = owners.start(1, waiting=5)
    owners.start(10, waiting=7)
    third = owners.start(100, is_done=False, waiting=9)
    total = Pages(pages, KEY).total().numbers
    assert (total[ACCEPTED], total[WAITING]) == (111, 21)
    owners.kill(first)
    owners.kill(third)
    for _ in range(3):
        total = Pages(pages, KEY).total().numbers
        assert (total[ACCEPTED], total[WAITING]) == (111, 7)
        assert (total[DRAINED], total[KILLED]) == (1, 1)
        assert total[slot("records_unacked_total")] == 9
    assert len(names(pages, "page-")) == 1


def test_only_the_owner_can_read_them(pages: Path, owners: Owners) -> None:
    owners.kill(owners.start(1))
    owners.start(1)
    accepted_in(pages)
    assert pages.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in pages.iterdir()} == {0o600}


def test_a_new_process_folds_the_dead_so_that_their_number_is_bounded(
    pages: Path, owners: Owners
) -> None:
    """Workers come and go without a scrape."""
    for _ in range(20):
        owners.kill(owners.start(1))
    assert len(names(pages, "page-")) == 1
    assert accepted_in(pages) == 20


@pytest.mark.parametrize("reads_max", [1, 10])
def test_scrapers_that_race_count_each_process_once(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch, reads_max: int
) -> None:
    """Workers end and begin all the while; a scraper sees nothing rather than less than before."""
    monkeypatch.setattr("logship._metrics.pages._READS_MAX", reads_max)
    wrong: list[tuple[float, float]] = []
    over = threading.Event()

    def scrape() -> None:
        mine, last = Pages(pages, KEY), 0.0
        while not over.is_set():
            with contextlib.suppress(BlockingIOError):
                now = mine.total().numbers[ACCEPTED]
                if now < last:
                    wrong.append((last, now))
                last = now

    scrapers = [Later(scrape) for _ in range(2)]
    for _ in range(25):
        owners.kill(owners.start(1))
    over.set()
    assert [each.join() for each in scrapers] == [None] * 2
    assert wrong == []
    assert accepted_in(pages) == 25


def test_a_page_that_is_removed_and_made_again_while_it_is_read_counts_once(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, reader, numbers = Pages(pages, KEY), Pages(pages, KEY), zeros()
    numbers[ACCEPTED] = 5
    owner.write(numbers, is_done=False)
    really_lock = fcntl.flock

    def remove_first(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_SH:
            monkeypatch.setattr(fcntl, "flock", really_lock)
            for name in names(pages, "page-"):
                (pages / name).unlink()
            owner.write(numbers, is_done=False)
        really_lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    reader.fold()
    assert reader.total().numbers[ACCEPTED] == 5


def test_threads_that_read_at_once_find_all_pages(pages: Path, owners: Owners) -> None:
    """As where two servers scrape the same process."""
    for _ in range(10):
        owners.start(1)
    mine = Pages(pages, KEY)

    def read(_: int) -> set[float]:
        return {mine.total().numbers[ACCEPTED] for _ in range(100)}

    assert in_threads(4, read) == [{10}] * 4


def test_a_child_that_is_forked_in_the_middle_of_a_fold_hinders_no_other(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fork comes when the lock's file is open, and before that is noted."""
    mine, opened, forked = Pages(pages, KEY), threading.Event(), threading.Event()
    folder = threading.Thread(target=mine.fold)
    identity_of = _system.identity_of

    def slow(descriptor: int) -> _system.FileIdentity:
        if threading.current_thread() is folder:
            opened.set()
            assert forked.wait(20)
        return identity_of(descriptor)

    monkeypatch.setattr(_system, "identity_of", slow)
    owners.kill(owners.start(1))
    folder.start()
    assert opened.wait(20)
    child = os.fork()
    if child == 0:
        mine.close()
        signal.pause()
    forked.set()
    folder.join()
    try:
        owners.kill(owners.start(10))
        assert accepted_in(pages) == 11
        assert names(pages, "page-") == []
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    "removals_max",
    [None, 0, 1],
    ids=["before the sum", "behind the sum", "between the removals"],
)
def test_a_fold_that_dies_in_the_middle_neither_loses_nor_doubles(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch, removals_max: int | None
) -> None:
    owners.kill(owners.start(1))
    for pid in [owners.start(accepted) for accepted in (10, 100, 1000)]:
        owners.kill(pid)
    removals: list[str] = []

    class Died(BaseException):
        pass

    def unlink(_: Pages, name: str) -> None:
        if name.startswith("page-"):
            if len(removals) == removals_max:
                raise Died
            removals.append(name)
        (pages / name).unlink(missing_ok=True)

    with monkeypatch.context() as patched:
        if removals_max is None:
            patched.setattr(Pages, "_write_sum", raising(Died))
        else:
            patched.setattr(Pages, "_unlink", unlink)
        with pytest.raises(Died):
            Pages(pages, KEY).fold()
    for _ in range(3):
        assert accepted_in(pages) == 1111
    assert names(pages, "page-") == []


def test_a_folder_that_stands_still_stops_no_scraper(pages: Path, owners: Owners) -> None:
    """The lock of the fold is held for ever; the sums are right all the same."""
    owners.kill(owners.start(1))
    owners.start(10)
    with (pages / f"fold-{KEY}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        owners.kill(owners.start(100))
        assert [accepted_in(pages) for _ in range(3)] == [111] * 3
    assert accepted_in(pages) == 111


def test_a_reader_that_looks_at_a_page_is_not_taken_for_its_owner(
    pages: Path, owners: Owners
) -> None:
    """Two scrapers ask at the same time whether it is dead: both must hear that it is."""
    owners.kill(owners.start(1))
    (name,) = names(pages, "page-")
    with (pages / name).open("rb") as read:
        fcntl.flock(read, fcntl.LOCK_SH)
        assert Pages(pages, KEY).total().numbers[DRAINED] == 1


def deleted_files_open(directory: Path) -> list[str]:
    """Return the deleted files of a directory that this process has open."""
    found: list[str] = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(each.readlink()))
    return [each for each in found if str(directory) in each and each.endswith("(deleted)")]


def test_a_page_that_another_program_removed_is_closed(pages: Path) -> None:
    """Cleaners of temporary files come again and again; a descriptor is left each time."""
    process, settings = Process(), Settings(metrics_dir=str(pages))
    outlet = Outlet(process.page, process.total, settings, LastResort())
    for _ in range(3):
        assert outlet.refreshed() is not None
        (name,) = names(pages, "page-")
        (pages / name).unlink()
    assert outlet.refreshed() is not None
    assert deleted_files_open(pages) == []
    outlet.end()


@pytest.mark.parametrize("closed", [("_own",), ("_own", "_directory")])
def test_a_program_that_closes_its_descriptors_is_counted_once(
    pages: Path, tmp_path: Path, closed: tuple[str, ...]
) -> None:
    """Its page counts as a dead one's. The numbers may stand for deleted files of its own then."""
    process, settings = Process(), Settings(metrics_dir=str(pages))
    outlet = Outlet(process.page, process.total, settings, LastResort())
    mine = outlet.refreshed()
    assert mine is not None
    numbers = [getattr(mine, each) for each in closed]
    with (tmp_path / "file").open("wb") as file:
        (tmp_path / "file").unlink()
        for number in numbers:
            os.dup2(file.fileno(), number)
        for _ in range(2):
            outlet.refreshed()
    total = Pages(pages).total().numbers
    for number in numbers:
        os.close(number)
    assert (total[DRAINED], names(pages, "page-")) == (1, [])


def test_a_claim_is_one_processs_and_passes_on(pages: Path) -> None:
    first, second = Pages(pages, KEY), Pages(pages, KEY)
    assert first.claim_endpoint(9100)
    assert not second.claim_endpoint(9100)
    assert second.claim_endpoint(9101)
    first.close()
    assert second.claim_endpoint(9100)
