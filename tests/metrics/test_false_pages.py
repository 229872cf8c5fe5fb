"""Shows what is not believed: false, torn and foreign pages, and directories open to others."""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from logship._metrics import page_format
from logship._metrics import pages as pages_module
from logship._metrics.pages import Pages, PagesError
from logship._metrics.prometheus import TotalCollector
from logship._metrics.sums import LAYOUT, SLOTS, Total, slot, zeros
from tests.metrics.owners import ACCEPTED, DRAINED, KEY, Owners, accepted_in, names

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


def test_a_volume_that_is_read_only_shows_all_numbers(
    pages: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mount is, as in another container, or the kernel has made it so after an error."""
    owners.kill(owners.start(5))
    accepted_in(pages)  # which adds it to the sum of the dead
    owners.start(10)
    owners.kill(owners.start(100))
    really_open = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return really_open(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    total, living = Pages(pages, KEY).read()
    assert (total.numbers[ACCEPTED], total.refused) == (115, 0)
    assert [each.numbers[ACCEPTED] for each in living] == [10]


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
