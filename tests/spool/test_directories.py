"""Shows whose spool is whose: locks across processes and forks, links, owners, permissions."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from logship._spool.directories import NotTaken, ProcessDirectory, process_directories, sweep
from logship._spool.spool_directory import SpoolError, open_spool_directory
from logship._spool.volumes import filesystem_of, is_supervised, volume_warning
from tests.spool.recoveries import dead_life, log_some, recover
from tests.spool.spools import storage_in

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can give files to other users")


def take_over(path: Path, name: str) -> ProcessDirectory | NotTaken:
    parent = open_spool_directory(path)
    try:
        return ProcessDirectory.take_over(parent, name)
    finally:
        os.close(parent)


HOLDER = r"""
import os, sys
from pathlib import Path
from logship._spool.directories import ProcessDirectory
life = ProcessDirectory.begin(Path(sys.argv[1]), os.urandom)
if os.fork() == 0:
    life.leave()
    os.write(1, b"child has left\n")
    sys.stdin.read()
    os._exit(0)
os.write(1, life.name.encode() + b"\n")
sys.stdin.read()
"""


def test_a_life_is_its_processs_until_that_dies_whatever_its_forked_child_does(
    tmp_path: Path,
) -> None:
    """The child, which has left it, lives until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        said = {holder.stdout.readline().strip() for _ in range(2)}
        (name,) = said - {"child has left"}
        assert take_over(tmp_path, name) is NotTaken.LOCKED
        holder.kill()
        holder.wait()
        life = take_over(tmp_path, name)
        assert isinstance(life, ProcessDirectory)
        assert take_over(tmp_path, name) is NotTaken.LOCKED  # nor what another recoverer has
        life.remove()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_lock_whose_file_is_gone_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    life = ProcessDirectory.begin(tmp_path, os.urandom)
    name, real_flock = life.name, fcntl.flock

    def flock_after_the_owner_left(descriptor: int, operation: int) -> None:
        life.remove()
        if is_replaced:  # the next one makes a life of the same name
            (tmp_path / name).mkdir()
            (tmp_path / name / "lock").touch()
        real_flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", flock_after_the_owner_left)
    if is_replaced:
        with pytest.raises(SpoolError, match="it was replaced while it was being locked"):
            take_over(tmp_path, name)
    else:
        assert take_over(tmp_path, name) is NotTaken.GONE
        assert take_over(tmp_path, name) is NotTaken.GONE


def test_what_died_before_it_began_is_swept_away(tmp_path: Path) -> None:
    begun, locked = (tmp_path / f".{digit * 32}.new" for digit in "ab")
    for each in (begun, locked):
        each.mkdir()
    (locked / "lock").touch(0o600)
    alive = ProcessDirectory.begin(tmp_path, os.urandom)
    parent = open_spool_directory(tmp_path)
    sweep(parent)
    os.close(parent)
    assert [each.name for each in tmp_path.iterdir()] == [alive.name]
    alive.remove()


@pytest.mark.parametrize("fails_at", [0, 1, 2, 3, 4])
def test_no_recoverer_sees_a_directory_that_is_half_removed(
    fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the chunks that are left for all there were, and end a stream too early."""
    directory = ProcessDirectory.begin(tmp_path, os.urandom)
    for number in (1, 2, 3):
        (tmp_path / directory.name / f"segment-{number:08d}.spool").write_bytes(b"chunks")
    real_unlink, left = os.unlink, [fails_at]

    def failing_unlink(name: str, *, dir_fd: int) -> None:
        if not left[0]:
            raise OSError("the disk fails")
        left[0] -= 1
        real_unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr("os.unlink", failing_unlink)
    with pytest.raises(OSError, match="the disk fails"):
        directory.remove()
    monkeypatch.undo()
    parent = open_spool_directory(tmp_path)
    assert process_directories(parent) == []
    sweep(parent)
    os.close(parent)
    assert list(tmp_path.iterdir()) == []


def test_a_thread_that_reads_a_directory_hides_nothing_from_its_removal(tmp_path: Path) -> None:
    """The thread that syncs lists it, too, and a descriptor has one place in the list."""
    directory = ProcessDirectory.begin(tmp_path, os.urandom)
    (tmp_path / directory.name / "segment-00000001.spool").write_bytes(b"chunks")
    with os.scandir(directory._directory) as other:
        next(other)
        directory.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_whose_open_files_only_get_other_names_is_swept_away_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS and FUSE: the names go when the files are closed."""
    directory = dead_life(tmp_path, log_some)

    def rename(name: str, *, dir_fd: int) -> None:
        os.rename(name, f".nfs-{name}", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", rename)
        recovered = recover(tmp_path)
    assert not recovered.orphans.counters.notes
    assert recovered.orphans.is_complete
    (left,) = tmp_path.iterdir()
    assert left.name == f".{directory.name}.new"
    for each in left.glob(".nfs-*"):
        each.unlink()
    assert recover(tmp_path).orphans.is_complete
    assert list(tmp_path.iterdir()) == []


def test_only_names_of_lives_are_looked_at(tmp_path: Path) -> None:
    for name in ("quarantine", "ABC", "0" * 31, "g" * 32, f".{'0' * 32}.new"):
        (tmp_path / name).mkdir()
    parent = open_spool_directory(tmp_path)
    assert process_directories(parent) == []
    os.close(parent)


def test_a_directory_that_is_made_and_its_files_are_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    before = os.umask(0o000)
    storages = [storage_in(path), storage_in(path)]
    os.umask(before)
    lives = list(path.iterdir())
    assert len(lives) == 2
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path, *lives)} == {0o700}
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.glob("*/*")} == {0o600}
    for each in storages:
        each.close()


def test_a_directory_whose_parent_is_missing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "spool"
    with pytest.raises(SpoolError, match=f"make {path.parent} a directory that user"):
        ProcessDirectory.begin(path, os.urandom)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["true", "missing"])
def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(SpoolError, match="not a link"):
        ProcessDirectory.begin(tmp_path / "link", os.urandom)
    assert not (tmp_path / "missing").exists()
    assert list((tmp_path / "true").iterdir()) == []


def test_what_is_missing_is_not_called_a_link(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match=r"No such file or directory$"):
        open_spool_directory(tmp_path / "missing")


def test_a_link_in_the_place_of_a_life_or_file_is_not_followed(tmp_path: Path) -> None:
    spool, other = tmp_path / "spool", tmp_path / "other"
    spool.mkdir()
    other.mkdir()
    victim = ProcessDirectory.begin(other, os.urandom)
    name = victim.name
    victim.leave()
    (spool / name).symlink_to(other / name)
    with pytest.raises(SpoolError, match="Not a directory"):
        take_over(spool, name)
    own = ProcessDirectory.begin(spool, os.urandom)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (spool / own.name / "segment-00000001.spool").symlink_to(precious)
    with (
        pytest.raises(OSError, match=os.strerror(errno.ELOOP)),
        own.opened("segment-00000001.spool"),
    ):
        pass
    with pytest.raises(FileExistsError):
        own.allocate("segment-00000001.spool", 4096)
    (spool / own.name / "lock").unlink()
    (spool / own.name / "lock").symlink_to(precious)
    own.leave()
    with pytest.raises(SpoolError, match=os.strerror(errno.ELOOP)):
        take_over(spool, own.name)
    assert precious.read_text() == "precious"


def test_a_fifo_in_the_place_of_a_segment_does_not_hang_a_recoverer(tmp_path: Path) -> None:
    life = ProcessDirectory.begin(tmp_path, os.urandom)
    os.mkfifo(tmp_path / life.name / "segment-00000001.spool")
    with (
        pytest.raises(OSError, match="not a regular file"),
        life.opened("segment-00000001.spool"),
    ):
        pass
    life.remove()


@needs_root
def test_a_foreign_directory_is_not_used(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(SpoolError, match="belongs to user 12345, and must belong to root"):
        open_spool_directory(tmp_path)
    os.close(open_spool_directory(tmp_path, any_owner=True))  # for root that recovers


@needs_root
def test_a_file_of_another_user_in_a_process_directory_is_not_read(tmp_path: Path) -> None:
    life = ProcessDirectory.begin(tmp_path, os.urandom)
    planted = tmp_path / life.name / "segment-00000001.spool"
    planted.write_bytes(b"x")
    os.chown(planted, 12345, 12345)
    with pytest.raises(OSError, match="of user 0"), life.opened(planted.name):
        pass
    life.remove()


def test_the_filesystem_under_a_path_is_known() -> None:
    assert filesystem_of(Path("/proc")) == "proc"
    assert filesystem_of(Path("/proc/self")) == "proc"
    assert volume_warning(Path("/proc")) is None


@pytest.mark.parametrize(
    ("kind", "word"),
    [("nfs4", "network"), ("fuse.sshfs", "network"), ("btrfs", "copy-on-write"),
     ("overlay", "own layer"), ("ext4", None), ("tmpfs", None)],
)  # fmt: skip
def test_filesystems_that_break_promises_are_warned_about(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, word: str | None
) -> None:
    table = tmp_path / "mountinfo"
    place = str(tmp_path).replace(" ", r"\040")
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:5 / {place} rw,relatime shared:1 - {kind} source rw\n"
    )
    monkeypatch.setattr("logship._spool.volumes.MOUNTS", table)
    warning = volume_warning(tmp_path / "spool")
    assert (warning is None) == (word is None)
    assert word is None or word in (warning or "")


def test_a_spool_whose_parent_cannot_be_looked_into_is_not_supervised() -> None:
    """As where the user may not search it; to make a client must not raise because of that."""
    assert not is_supervised(Path("/") / ("x" * 300) / "spool")


@needs_root
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_of_another_user_does_not_stop_recovery(tmp_path: Path, *, is_link: bool) -> None:
    """As in `/tmp`, where anyone can make `supervised` beside a spool."""
    mark = tmp_path / "supervised"
    mark.touch()
    assert is_supervised(tmp_path / "spool")
    if is_link:
        mark.unlink()
        mark.symlink_to("/etc/passwd")
    os.chown(mark, 12345, 12345, follow_symlinks=False)
    assert not is_supervised(tmp_path / "spool")
