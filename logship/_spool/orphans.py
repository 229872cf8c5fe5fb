"""Finding orphans, the directories of dead processes, and locking one after the other.

`Orphans` looks for process directories whose lock can be had, oldest first, hands out their chunks,
and takes them back when they are settled, until nothing is left. `docs/spool-format.md`, "Reading",
is the design.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from logship._hooks.interruptions import is_from_outside, is_interruption
from logship._spelling import many
from logship._spool.adoption import AdoptedChunk, Adoption
from logship._spool.directories import (
    NotTaken,
    ProcessDirectory,
    born_ns,
    free_bytes,
    process_directories,
    sweep,
)
from logship._spool.files import closing
from logship._spool.progress import Recovery, RecoveryState
from logship._spool.spool_directory import SpoolError, open_spool_directory

SCAN_SECONDS = 5.0
"""How often a client looks for processes that have died meanwhile."""

_RETRY_SECONDS_MIN = 60.0
_RETRY_SECONDS_MAX = 3600.0
"""How long a directory that is worth a retry waits for it: twice as long each time, because what is
not marked is counted and sent again."""

_ADOPTIONS_MAX = 8
"""Directories that are recovered at a time. The next one is begun while others wait for acks: only
what the server takes from one shows that it never takes a record of another."""

NAMES_MAX = 1000
"""How many process directories are remembered by name after they are gone."""


def unknown_owner(name: str) -> str:
    """Return the owner of the process directory of this name, for a person."""
    return f"a dead process (directory {name})"


def remember(names: dict[str, Any], name: str, what: Any = None) -> None:
    """Note something of a process directory; the oldest of too many names is forgotten."""
    if name not in names and len(names) >= NAMES_MAX:
        del names[next(iter(names))]
    names[name] = what


class _Kept(NamedTuple):
    """A directory that was kept: what its next recovery by this process waits for.

    Attributes:
        due_seconds: On the monotonic clock; infinite where it is left to another process.
        wait_seconds: How long that was in the future.
        wanted_bytes: What must be free on the volume.
    """

    due_seconds: float
    wait_seconds: float
    wanted_bytes: int


@dataclass(kw_only=True, eq=False)
class Orphans(Recovery):
    """Hands out the chunks of dead processes under one spool's directory.

    Attributes:
        path: The spool's directory.
        others: Names of process directories that are left to other processes.
        any_owner: Whether another user's spool is read, where we are root.
        owner_of: Returns the owner of the process directory of this name, for a person.
        has_scanned: Whether a look for orphans found none.
        others_live: Whether that look found directories that another process has locked.
        is_closed: Whether the search was given up.
    """

    path: Path = field(kw_only=False)
    others: Set[str] = frozenset()
    any_owner: bool = False
    owner_of: Callable[[str], str] = unknown_owner
    has_scanned: bool = field(default=False, init=False)
    others_live: bool = field(default=False, init=False)
    is_closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Begin with a look."""
        self._adoptions: list[Adoption] = []
        self._shipped_from: dict[str, None] = {}
        self._shipped: list[str] = []
        self._kept: dict[str, _Kept] = {}
        self._seen: deque[str] = deque()  # directories of the last look, which may be orphans
        self._refused: set[str] = set()
        self._scan_due_seconds = self.monotonic()

    def step(self) -> AdoptedChunk | RecoveryState:
        """Do a small piece of work.

        Returns:
            The next chunk to ship, or what to wait for.
        """
        if self.is_closed:
            return RecoveryState.AWAITING_ORPHANS
        adoption = next((each for each in self._adoptions if not each.is_waiting), None)
        if adoption is None:
            return self._scan()
        outcome = None
        try:
            adoption.directory.raise_unless_held()
            outcome = next(adoption.work, None)
        except BaseException as error:  # one orphan must not hold up the others
            adoption.fail(error)
            if is_from_outside(error):
                self._end(adoption)
                raise
        if isinstance(outcome, AdoptedChunk):
            remember(self._shipped_from, adoption.name)
            return outcome
        if outcome is None:
            self._end(adoption)
        return RecoveryState.WORKING

    def scan_now(self) -> None:
        """Look for orphans at the next step, whenever the last look was."""
        self._scan_due_seconds = self.monotonic()
        self.has_scanned = False

    def skip(self) -> None:
        """Leave the orphan that was found first as it is, and go on."""
        for adoption in self._adoptions[:1]:
            self._end(adoption)

    def has_shipped_from(self, name: str) -> bool:
        """Tell whether a chunk of this process directory was handed out; from any thread.

        This is remembered after the directory is gone, for the last `NAMES_MAX` directories.
        """
        return name in self._shipped_from

    @property
    def deadline_seconds(self) -> float | None:
        """When to call `step` again if nothing else happens; None while only acks can help."""
        if not all(each.is_waiting for each in self._adoptions):
            return -math.inf
        can_scan = len(self._adoptions) < _ADOPTIONS_MAX and not self.is_closed
        return self._scan_due_seconds if can_scan else None

    @property
    def is_complete(self) -> bool:
        """Whether every orphan is gone, all of its records acked, and nothing was left alone."""
        counters = self.counters
        bad = counters.damaged + counters.quarantined + counters.unkept + counters.refused
        is_over = self.has_scanned and self.is_idle and not self.is_closed
        return is_over and not self._kept and not bad and not counters.records_abandoned

    @property
    def is_idle(self) -> bool:
        """Whether no orphan is being recovered."""
        return not self._adoptions

    def close(self) -> None:
        """Give up the locks; what was not settled is for the next recoverer."""
        self.is_closed = True
        for adoption in list(self._adoptions):
            self._end(adoption)

    def abandon(self) -> None:
        """Give up the locks in a forked child, without a word."""
        self._shipped = []
        self.close()

    def _end(self, adoption: Adoption) -> None:
        self._adoptions.remove(adoption)
        adoption.leave()
        if adoption.is_removed:
            self.counters.lives_finished += 1
            self._kept.pop(adoption.name, None)
            self._note_shipped(adoption)
        else:
            self._kept[adoption.name] = self._next_try(adoption)
        if self._shipped and (self.is_idle or len(self._shipped) >= _ADOPTIONS_MAX):
            self.tell(f"shipped {'; '.join(self._shipped)}")
            self._shipped = []

    def _note_shipped(self, adoption: Adoption) -> None:
        """Note what a person is told in one line for all orphans that are recovered together."""
        if adoption.streams:
            owner, records = self.owner_of(adoption.name), adoption.records_acked
            seconds = self.monotonic() - adoption.begun_seconds
            told = f"{many(records, 'record')} that {owner} left (took {seconds:.1f} s)"
            self._shipped.append(told)

    def _next_try(self, adoption: Adoption) -> _Kept:
        # A chunk that is still on its way must not be handed out a second time beside itself.
        if not adoption.is_worth_a_retry or adoption.on_their_way or self.is_closed:
            return _Kept(math.inf, 0.0, 0)
        last = self._kept.get(adoption.name)
        wait = _RETRY_SECONDS_MIN if last is None else last.wait_seconds * 2
        wait = min(wait, _RETRY_SECONDS_MAX)
        return _Kept(self.monotonic() + wait, wait, adoption.wanted_bytes)

    # -- the search ------------------------------------------------------------------------------

    def _scan(self) -> RecoveryState:
        """Take over the oldest orphan, if there is one."""
        now = self.monotonic()
        if now >= self._scan_due_seconds and len(self._adoptions) < _ADOPTIONS_MAX:
            taken = self._take_oldest()
            if taken is not None:
                self.counters.lives += 1
                self._adoptions.append(Adoption(taken, self))
                return RecoveryState.WORKING
            self._scan_due_seconds = now + SCAN_SECONDS
            self.has_scanned = True
        return RecoveryState.AWAITING_ACKS if self._adoptions else RecoveryState.AWAITING_ORPHANS

    def _take_oldest(self) -> ProcessDirectory | None:
        self.others_live = False
        try:
            with closing(open_spool_directory(self.path, any_owner=self.any_owner)) as parent:
                return self._oldest_in(parent)
        except Exception as error:  # whatever it is, it is named
            if is_interruption(error):
                raise
            why = _named(error).removeprefix(f"{self.path}: ")
            self._refuse("", f"cannot be read: {why}; nothing is recovered from it")
        return None

    def _oldest_in(self, parent: int) -> ProcessDirectory | None:
        """Take over the next orphan of the last look, and look again where there is none."""
        taken = self._oldest_seen(parent)
        if taken is not None:
            return taken
        sweep(parent)
        passed = {each.name for each in self._adoptions} | self.others
        names = [each for each in process_directories(parent) if each not in passed]
        due = [each for each in names if not self._is_too_early(each, parent)]
        self._seen.extend(sorted(due, key=lambda each: (born_ns(parent, each), each)))
        return self._oldest_seen(parent)

    def _oldest_seen(self, parent: int) -> ProcessDirectory | None:
        while self._seen:
            taken = self._take(parent, self._seen.popleft())
            if isinstance(taken, ProcessDirectory):
                return taken
            self.others_live |= taken is NotTaken.LOCKED
        return None

    def _is_too_early(self, name: str, parent: int) -> bool:
        """Tell whether a directory was kept, and is not to be tried again now."""
        kept = self._kept.get(name)
        if kept is None:
            return False
        return self.monotonic() < kept.due_seconds or free_bytes(parent) < kept.wanted_bytes

    def _take(self, parent: int, name: str) -> ProcessDirectory | NotTaken:
        try:
            return ProcessDirectory.take_over(parent, name)
        except Exception as error:  # one orphan must not hold up the others
            if is_interruption(error):
                raise
            try:
                # Empty: the recoverer that removed it died before this, its last step.
                os.rmdir(name, dir_fd=parent)
            except OSError:
                self._refuse(name, f"{_named(error)}; it is kept")
            return NotTaken.GONE

    def _refuse(self, name: str, why: str) -> None:
        """Count what is left alone, once, and name it: a directory, or the spool's without name."""
        if name not in self._refused:
            self._refused.add(name)
            self.counters.refused += 1
        self.say(f"{self.path / name}: {why}")


def _named(error: Exception) -> str:
    """Return an error's text, with its type where the text is not for a person."""
    is_for_a_person = isinstance(error, OSError | SpoolError)
    return str(error) if is_for_a_person else f"{type(error).__name__}: {error}"
