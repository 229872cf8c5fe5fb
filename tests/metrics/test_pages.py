"""Pages of real processes: each is counted once, whenever its owner dies; false pages are refused.

The owners are forked children that only hold a page; the test knows the numbers that they wrote.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logship import _system
from logship._metrics import page_format
from logship._metrics import pages as pages_module
from logship._metrics.outlet import Outlet
from logship._metrics.pages import Pages, PagesError
from logship._metrics.process import Process
from logship._metrics.prometheus import TotalCollector
from logship._metrics.sums import LAYOUT, SLOTS, Total, slot, zeros
from logship._settings import Settings
from logship._stderr.last_resort import LastResort
from tests.support.raising import raising
from tests.support.threads import Later, in_threads

ACCEPTED, WAITING = slot("records_accepted_total"), slot("records_waiting")
DRAINED = slot("processes_ended_total", "drained")
KILLED = slot("processes_ended_total", "killed")
KEY = "0123456789abcdef"


class Owners:
    """Processes that hold a page each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pids: list[int] = []

    def start(self, accepted: float, *, is_done: bool = True, waiting: float = 0.0) -> int:
        """Start one that says so much; return its pid when its page is written."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                numbers = zeros()
                numbers[ACCEPTED], numbers[WAITING] = accepted, waiting
                Pages(self._directory, KEY).write(numbers, is_done=is_done)
                os.write(write, b"!")
                signal.pause()
            finally:
                os._exit(1)
        os.close(write)
        assert os.read(read, 1) == b"!"
        os.close(read)
        self._pids.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """End one with SIGKILL."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._pids.remove(pid)

    def kill_all(self) -> None:
        """End all."""
        for pid in list(self._pids):
            self.kill(pid)


@pytest.fixture
def owners(pages: Path) -> Iterator[Owners]:
    owners = Owners(pages)
    yield owners
    owners.kill_all()


def accepted_in(directory: Path) -> float:
    return Pages(directory, KEY).total().numbers[ACCEPTED]


def names(directory: Path, start: str) -> list[str]:
    return sorted(each.name for each in directory.iterdir() if each.name.startswith(start))


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

    scrapers = [Later(scrape) for _ in range(4)]
    for _ in range(60):
        owners.kill(owners.start(1))
    over.set()
    assert [each.join() for each in scrapers] == [None] * 4
    assert wrong == []
    assert accepted_in(pages) == 60


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


def test_a_claim_is_one_processs_and_passes_on(pages: Path) -> None:
    first, second = Pages(pages, KEY), Pages(pages, KEY)
    assert first.claim_endpoint(9100)
    first.note_port(9100)
    assert not second.claim_endpoint(9100)
    assert second.claim_endpoint(9101)
    first.close()
    assert second.claim_endpoint(9100)
    assert second.last_port == 9100


def test_a_claim_writes_into_no_file_of_the_program(pages: Path, tmp_path: Path) -> None:
    """The program has closed all descriptors, and opened a file of its own."""
    mine = Pages(pages, KEY)
    assert mine.claim_endpoint(9100)
    (lock,) = [each for each in mine._opened if each != mine._directory]
    with (tmp_path / "file").open("wb") as file:
        os.dup2(file.fileno(), lock)
        mine.note_port(9100)
    os.close(lock)
    assert (tmp_path / "file").read_bytes() == b""


# -- what is not to be believed --------------------------------------------------------------------

HEADER = struct.Struct("<8sII16s")


def a_page(
    values: list[float], *, magic: bytes = b"logspage", version: int = 1, layout: int = LAYOUT
) -> bytes:
    """Return a page's bytes, made without the code under test."""
    copy = struct.pack(f"<QI{len(values)}d", 1, 1, *values)
    copy += struct.pack("<I", zlib.crc32(copy))
    return HEADER.pack(magic, version, layout, bytes(16)) + copy + bytes(len(copy))


GOOD = [3.0] * len(SLOTS)


def test_the_page_made_here_is_a_page(pages: Path) -> None:
    """Else the tests below would show nothing."""
    total = with_file(pages, a_page(GOOD))
    assert (total.numbers[ACCEPTED], total.refused) == (3, 0)


def with_file(directory: Path, data: bytes) -> Total:
    mine = Pages(directory, KEY)
    (directory / f"page-{KEY}-{'0' * 32}").write_bytes(data)
    return mine.total()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 4096,
        os.urandom(5000),
        a_page(GOOD)[:-1000],
        a_page(GOOD) + b"\0",
        a_page(GOOD, magic=b"logsPAGE"),
        a_page(GOOD, version=2),
        a_page(GOOD, layout=LAYOUT ^ 1),
        a_page([float("nan")] * len(SLOTS)),
        a_page([float("inf")] * len(SLOTS)),
        a_page([-1.0] * len(SLOTS)),
        a_page([1e300] * len(SLOTS)),
    ],
)
def test_a_file_that_cannot_be_a_page_is_counted_and_left_alone(pages: Path, data: bytes) -> None:
    total = with_file(pages, data)
    assert (total.numbers, total.refused) == (zeros(), 1)
    assert names(pages, "page-")


def test_a_buffer_without_a_limit_is_counted(pages: Path) -> None:
    mine = Pages(pages, KEY)
    numbers = zeros()
    numbers[slot("buffer_bytes_max")] = sys.maxsize
    mine.write(numbers, is_done=False)
    assert mine.total() == (list(map(float, numbers)), 0)


def test_links_pipes_and_directories_are_not_read(pages: Path, tmp_path: Path) -> None:
    mine = Pages(pages, KEY)
    (tmp_path / "elsewhere").write_bytes(a_page(GOOD))
    (pages / f"page-{KEY}-{'1' * 32}").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(pages / f"page-{KEY}-{'2' * 32}")
    (pages / f"page-{KEY}-{'3' * 32}").mkdir()
    total = mine.total()
    assert (total.numbers, total.refused) == (zeros(), 3)


def test_a_torn_copy_leaves_the_one_before(pages: Path) -> None:
    """The owner died in the middle of a write, or is in it."""
    mine = Pages(pages, KEY)
    numbers = zeros()
    numbers[ACCEPTED] = 1
    mine.write(numbers, is_done=True)
    (name,) = names(pages, "page-")
    before = (pages / name).read_bytes()
    numbers[ACCEPTED] = 2
    mine.write(numbers, is_done=True)
    after = (pages / name).read_bytes()
    (first, *_, last) = [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    for cut in range(first + 1, last):
        (pages / name).write_bytes(after[:cut] + before[cut:])
        assert mine.total().numbers[ACCEPTED] in (1, 2)
    (pages / name).write_bytes(after[: last - 1] + b"\xff\xff" + after[last + 1 :])
    assert mine.total().numbers[ACCEPTED] == 1


def test_a_damaged_sum_is_an_empty_one(pages: Path, owners: Owners) -> None:
    owners.kill(owners.start(5))
    accepted_in(pages)
    (name,) = names(pages, "sum-")
    (pages / name).write_bytes(os.urandom(700))
    owners.start(2)
    assert accepted_in(pages) == 2


def test_a_process_of_another_version_leaves_the_sum(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an upgrade: old workers end while new ones begin."""
    owners.kill(owners.start(5))
    assert accepted_in(pages) == 5
    with monkeypatch.context() as patched:
        for module in (page_format, pages_module):
            patched.setattr(module, "LAYOUT", LAYOUT ^ 1)
        owners.kill(owners.start(100))
        assert accepted_in(pages) == 100
    assert accepted_in(pages) == 5


@pytest.mark.parametrize("start", ["sum-", "page-"])
@pytest.mark.parametrize("reason", [errno.EMFILE, errno.EIO])
def test_what_cannot_be_read_for_a_moment_is_not_forgotten(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch, start: str, reason: int
) -> None:
    """A process without free descriptors shows no numbers, and no lower ones."""
    owners.kill(owners.start(5))
    accepted_in(pages)
    living, dying = owners.start(10), owners.start(100)
    owners.kill(dying)
    collector = TotalCollector(Pages(pages, KEY).total)
    really_open = os.open

    def refuse(path: Any, *more: Any, **named: Any) -> int:
        if str(path).startswith(start):
            raise OSError(reason, os.strerror(reason))
        return really_open(path, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OSError, match=os.strerror(reason)):
            accepted_in(pages)
        assert list(collector.collect()) == [], "the registry's other metrics are served"
    assert accepted_in(pages) == 115
    owners.kill(living)
    assert accepted_in(pages) == 115


def test_a_lock_that_cannot_be_asked_for_a_moment_makes_no_dead_process_live(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was counted as ended already, and that count would fall."""
    owners.kill(owners.start(1))
    mine, really_open, refusals = Pages(pages, KEY), os.open, [errno.EMFILE]

    def refuse_once(path: Any, *more: Any, **named: Any) -> int:
        if str(path).startswith("page-") and refusals:
            raise OSError(refusals.pop(), "no descriptors")
        return really_open(path, *more, **named)

    monkeypatch.setattr(os, "open", refuse_once)
    with pytest.raises(OSError, match="no descriptors"):
        mine.read()
    assert mine.read()[0].numbers[DRAINED] == 1


def test_what_is_not_read_is_removed_after_a_day(pages: Path, owners: Owners) -> None:
    """Of containers that are gone, and what cannot be read; never what is locked."""
    with_file(pages, b"rubbish")
    living = Pages(pages, "f" * 16)
    living.write(zeros(), is_done=True)
    gone = Pages(pages, "e" * 16)
    gone.write(zeros(), is_done=True)
    gone.close()
    assert names(pages, f"page-{'e' * 16}")
    for each in pages.iterdir():
        os.utime(each, (time.time() - 90_000,) * 2)
    owners.start(1)
    assert not names(pages, f"page-{KEY}-{'0' * 32}")
    assert not names(pages, f"page-{'e' * 16}")
    assert names(pages, f"page-{'f' * 16}")


def test_another_container_that_lives_keeps_its_dead(pages: Path, owners: Owners) -> None:
    """They share a volume; the sum is written only at a death, which may be long ago."""
    living = Pages(pages, "f" * 16)
    for accepted in (10, 100):  # the first one is folded into the sum, and the second one is not
        dead, numbers = Pages(pages, "f" * 16), zeros()
        numbers[ACCEPTED] = accepted
        dead.write(numbers, is_done=True)
        dead.close()
        if accepted == 10:
            living.write(zeros(), is_done=True)
    for each in pages.iterdir():
        os.utime(each, (time.time() - 90_000,) * 2)
    owners.start(1)
    assert living.total().numbers[ACCEPTED] == 110


def test_a_directory_that_others_can_write_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PagesError, match=r"other users may write to it.* has mode 1777"):
        Pages(tmp_path / "open")
    (tmp_path / "open").chmod(0o1777)
    Pages(tmp_path / "open")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PagesError, match=str(tmp_path / "file" / "pages")):
        Pages(tmp_path / "file" / "pages")
    with pytest.raises(PagesError, match=r"No such file .*; the directory above it must exist"):
        Pages(tmp_path / "missing" / "pages")
    with pytest.raises(PagesError, match="Not a directory"):
        Pages(tmp_path / "file")
