"""What is known of the owners of spools when they have ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._run import processes
from logship._run.death_watcher import DeathWatcher
from logship._run.statuses import Death
from logship._spool.directories import LOCK
from tests.support.programs import as_pid_1_words, why_no_pid_namespace

OWNER = """
import sys, logship
settings = logship.Settings(endpoints="tcp://127.0.0.1:1", spool_dir="{spool}")
client = logship.BackgroundClient(settings)
client.emit({{"message": "left"}})
print("ready", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def owner_on(spool: Path, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the owner of a process directory, behind a prefix; the caller ends it."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", OWNER.format(spool=spool)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        yield owner


def death_of_an_owner(
    spool: Path, code: int, *, removes: bool = False, ships: bool = False
) -> list[bool]:
    """Return what is said to be left where an owner, seen alive, has ended so."""
    shipped: set[str] = set()
    with owner_on(spool) as owner:
        watcher = DeathWatcher(spool, shipped.__contains__)
        watcher.look()
        (descriptor,) = watcher.descriptors
        owner.kill()
    if ships:
        shipped.update(life.name for life in spool.iterdir())
    if removes:
        shutil.rmtree(spool)
    deaths = watcher.deaths({descriptor}, {owner.pid: Death(owner.pid, "python", code)})
    assert watcher.descriptors == []
    return [left for _, left in deaths]


@pytest.mark.parametrize(
    ("code", "is_shipped"),
    [(-signal.SIGKILL, True), (3, False)],
    ids=["killed, shipped already", "exit code 3, waits"],
)
def test_an_owner_without_a_word_has_left_something_even_if_that_is_shipped_already(
    tmp_path: Path, code: int, is_shipped: bool
) -> None:
    """The recoverer may find the spool before we are told of the death."""
    left = death_of_an_owner(tmp_path, code, removes=is_shipped, ships=is_shipped)
    assert left == [True]


def test_an_owner_that_ends_in_order_and_removes_its_spool_has_left_nothing(tmp_path: Path) -> None:
    assert death_of_an_owner(tmp_path, 0, removes=True) == [False]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The lock of a spool that no process below `run` owns; its stream can only be guessed."""
    life = tmp_path / ("0123456789abcdef" * 2)
    life.mkdir()
    (life / LOCK).touch()
    return life / LOCK


@contextlib.contextmanager
def locked_elsewhere(tmp_path: Path, lock: Path) -> Iterator[None]:
    """Hold a lock by another name, so that it does not seem to be open here."""
    other_name = tmp_path / "lock"
    other_name.hardlink_to(lock)
    with other_name.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(("is_shipped", "told"), [(True, [0]), (False, [])])
def test_a_spool_whose_owner_was_about_to_end_is_told_of_if_it_was_shipped(
    tmp_path: Path, lock: Path, is_shipped: bool, told: list[int]
) -> None:
    """A dying process has closed its files for /proc a moment before its locks come free."""
    shipped = set[str]()
    watcher = DeathWatcher(tmp_path, shipped.__contains__)
    with locked_elsewhere(tmp_path, lock):
        watcher.look()
    assert watcher.take_unseen() == []
    if is_shipped:
        shipped.add(lock.parent.name)
    shutil.rmtree(lock.parent)
    watcher.look()
    shipped.add(lock.parent.name)  # one that has removed its spool is forgotten by then
    watcher.look()
    assert watcher.take_unseen() == told


def test_a_spool_that_our_recoverer_has_already_is_told_of_at_once(
    tmp_path: Path, lock: Path
) -> None:
    """When the death is told, there must be something to say of it."""
    watcher = DeathWatcher(tmp_path, set[str]().__contains__)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        watcher.look()
        watcher.look()
    assert watcher.take_unseen() == [0]


def test_a_spool_that_is_gone_is_forgotten(tmp_path: Path, lock: Path) -> None:
    """A supervisor may see millions of them: one that comes again is one that was never seen."""
    watcher = DeathWatcher(tmp_path, set[str]().__contains__)
    for _ in range(2):
        assert watcher.look()
        assert watcher.take_unseen() == [0]
        shutil.rmtree(lock.parent)
        assert not watcher.look()
        lock.parent.mkdir()
        lock.touch()


def test_a_directory_that_cannot_be_listed_is_not_forgotten(tmp_path: Path, lock: Path) -> None:
    """Else what is told would be told again; a supervisor may be out of descriptors for a while."""
    watcher = DeathWatcher(tmp_path, set[str]().__contains__)
    watcher.look()
    assert watcher.take_unseen() == [0]
    away = tmp_path.rename(tmp_path.with_name("away"))
    watcher.look()
    away.rename(tmp_path)
    watcher.look()
    assert watcher.take_unseen() == []


def test_a_spool_whose_owner_lives_is_not_forgotten(tmp_path: Path) -> None:
    """Else the death of its owner would be told twice."""
    with owner_on(tmp_path / "spool") as owner:
        watcher = DeathWatcher(tmp_path / "spool", set[str]().__contains__)
        watcher.look()
        (life,) = (tmp_path / "spool").iterdir()
        away = life.rename(tmp_path / "away")
        watcher.look()
        away.rename(life)
        watcher.look()
        (descriptor,) = watcher.descriptors
        owner.kill()
    assert len(watcher.deaths({descriptor}, {})) == 1


def test_many_owners_leave_descriptors_to_ship_what_they_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_OPEN_MAX": 7}.__getitem__)
    shipped = set[str]()
    with owner_on(tmp_path) as first, owner_on(tmp_path) as second:
        watcher = DeathWatcher(tmp_path, shipped.__contains__)
        watcher.look()
        (descriptor,) = watcher.descriptors
        for each in (first, second):
            each.kill()
    ((death, has_left),) = watcher.deaths({descriptor}, {})
    assert has_left
    shipped.update(life.name for life in tmp_path.iterdir())
    watcher.look()
    told = {death.pid, *watcher.take_unseen()}
    assert told == {first.pid, second.pid}
    named = {watcher.owner_of(each).rpartition(" (")[2] for each in shipped}
    assert named == {f"process {each.pid})" for each in (first, second)}


def test_an_owner_that_has_another_number_in_a_namespace_of_its_own_is_found(
    tmp_path: Path,
) -> None:
    if reason := why_no_pid_namespace():
        pytest.skip(reason)
    with owner_on(tmp_path, *as_pid_1_words()) as unshare:
        watcher = DeathWatcher(tmp_path, set[str]().__contains__)
        watcher.look()
        assert len(watcher.descriptors) == 1
        assert watcher.take_unseen() == []
        unshare.kill()


def test_one_pass_through_the_processes_finds_the_owners_of_all_spools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pass for each spool of a large server would hold up signals and output for seconds."""
    passes: list[int] = []
    children = processes.children

    def counted(pid: int) -> list[int]:
        passes.extend([pid] if pid == os.getpid() else [])
        return children(pid)

    monkeypatch.setattr("logship._run.processes.children", counted)
    with owner_on(tmp_path) as first, owner_on(tmp_path) as second:
        watcher = DeathWatcher(tmp_path, set[str]().__contains__)
        watcher.look()
        assert (len(watcher.descriptors), len(passes)) == (2, 1)
        for each in (first, second):
            each.kill()
