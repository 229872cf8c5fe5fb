"""Finding orphans, the directories of dead processes, and locking one after the other.

`Orphans` looks for process directories whose lock can be had, oldest first, hands out their chunks,
and takes them back when they are settled, until nothing is left. `docs/spool-format.md`, "Reading",
is the design.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any, NamedTuple

from logship._buffer.chunk import Chunk
from logship._hooks.interruptions import is_from_outside, is_interruption
from logship._spool.adoption import AdoptedChunk, Adoption
from logship._spool.directories import (
    NotTaken,
    ProcessDirectory,
    SpoolError,
    born_ns,
    free_bytes,
    open_spool_directory,
    process_directories,
    sweep,
)
from logship._spool.files import closing
from logship._spool.orphan import Orphan
from logship._spool.progress import NOTES_MAX, RecoveryCounters, RecoveryState

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


class Orphans:
    """Hands out the chunks of dead processes under one spool's directory.

    Args:
        path: The spool's directory.
        others: Names of process directories that are left to other processes.
        any_owner: Whether another user's spool is read, where we are root.
        owner_of: Returns the owner of the process directory of this name, for a person.
        default_tag: Returns the tag of a stream whose process never learned it; None where that
            is not known here either.
        random_bytes: As `os.urandom`.
        monotonic: Seconds.
        time_ns: Nanoseconds since the epoch.

    Attributes:
        counters: What became of the orphans.
        news: What a person must be told before the next step, because that step may change what
            the spool shows of it. The reader of the news takes them out.
        good_news: What was shipped, for a person; the reader takes it out.
        has_scanned: Whether a look for orphans found none.
        others_live: Whether that look found directories that another process has locked.
        is_closed: Whether the search was given up.
    """

    def __init__(
        self,
        path: Path,
        *,
        others: Set[str] = frozenset(),
        any_owner: bool = False,
        owner_of: Callable[[str], str] = unknown_owner,
        default_tag: Callable[[], str | None] = lambda: None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.counters: RecoveryCounters = RecoveryCounters()
        self.news: deque[str] = deque()
        self.good_news: deque[str] = deque()
        self.default_tag = default_tag
        self._path = path
        self._others = others
        self._any_owner = any_owner
        self._owner_of = owner_of
        self._random_bytes = random_bytes
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._adoptions: list[Adoption] = []
        self._shipped_from: dict[str, None] = {}
        self._shipped: list[str] = []
        self._kept: dict[str, _Kept] = {}
        self._seen: deque[str] = deque()  # directories of the last look, which may be orphans
        self._refused: set[str] = set()
        self._scan_due_seconds = monotonic()
        self.is_closed: bool = False
        self.has_scanned: bool = False
        self.others_live: bool = False

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
            adoption.orphan.directory.raise_unless_held()
            outcome = next(adoption.work, None)
        except BaseException as error:  # one orphan must not hold up the others
            adoption.orphan.fail(error)
            if is_from_outside(error):
                self._end(adoption)
                raise
        if isinstance(outcome, AdoptedChunk):
            remember(self._shipped_from, adoption.orphan.name)
            return outcome
        if outcome is None:
            self._end(adoption)
        return RecoveryState.WORKING

    def settle(self, chunk: Chunk) -> None:
        """Take back a chunk that is settled, or a half of one.

        Where the lock was given up meanwhile, the recoverer that has it now ships the chunk again.
        """
        whole = chunk.whole
        assert isinstance(whole, AdoptedChunk)
        if not whole.parts and whole.adoption in self._adoptions:
            whole.adoption.end(whole)

    def refuse(self, chunk: Chunk) -> str:
        """Keep what no server takes, a chunk or a half of one, before it is settled.

        Returns:
            A line for a person.
        """
        whole = chunk.whole
        assert isinstance(whole, AdoptedChunk)
        return whole.adoption.refuse(whole, chunk)

    def scan_now(self) -> None:
        """Look for orphans at the next step, whenever the last look was."""
        self._scan_due_seconds = self._monotonic()
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
        can_scan = len(self._adoptions) < _ADOPTIONS_MAX and not self.is_closed
        all_wait = all(each.is_waiting for each in self._adoptions)
        return self._scan_due_seconds if can_scan and all_wait else None

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

    def _end(self, adoption: Adoption) -> None:
        self._adoptions.remove(adoption)
        adoption.leave()
        if adoption.is_removed:
            self.counters.lives_finished += 1
            self._kept.pop(adoption.orphan.name, None)
            self._note_shipped(adoption)
        else:
            self._kept[adoption.orphan.name] = self._next_try(adoption)
        if self._shipped and (self.is_idle or len(self._shipped) >= _ADOPTIONS_MAX):
            self.good_news.append(f"shipped {'; '.join(self._shipped)}")
            self._shipped = []

    def _note_shipped(self, adoption: Adoption) -> None:
        """Note what a person is told in one line for all orphans that are recovered together."""
        if adoption.orphan.streams:
            owner, records = self._owner_of(adoption.orphan.name), adoption.records_acked
            seconds = self._monotonic() - adoption.begun_seconds
            told = f"{records:,} records that {owner} left (took {seconds:.1f} s)"
            self._shipped.append(told)

    def _next_try(self, adoption: Adoption) -> _Kept:
        orphan = adoption.orphan
        # A chunk that is still on its way must not be handed out a second time beside itself.
        if not orphan.is_worth_a_retry or adoption.on_their_way or self.is_closed:
            return _Kept(math.inf, 0.0, 0)
        last = self._kept.get(orphan.name)
        wait = _RETRY_SECONDS_MIN if last is None else last.wait_seconds * 2
        wait = min(wait, _RETRY_SECONDS_MAX)
        return _Kept(self._monotonic() + wait, wait, orphan.wanted_bytes)

    # -- the search ------------------------------------------------------------------------------

    def _scan(self) -> RecoveryState:
        """Take over the oldest orphan, if there is one."""
        now = self._monotonic()
        nothing = RecoveryState.AWAITING_ACKS if self._adoptions else RecoveryState.AWAITING_ORPHANS
        if now < self._scan_due_seconds or len(self._adoptions) >= _ADOPTIONS_MAX:
            return nothing
        taken = self._take_oldest()
        if taken is None:
            self._scan_due_seconds = now + SCAN_SECONDS
            self.has_scanned = True
            return nothing
        self.counters.lives += 1
        orphan = Orphan(taken, self.counters, self._say)
        self._adoptions.append(
            Adoption(orphan, self._random_bytes, self._time_ns, self.default_tag(), now)
        )
        return RecoveryState.WORKING

    def _take_oldest(self) -> ProcessDirectory | None:
        self.others_live = False
        try:
            with closing(open_spool_directory(self._path, any_owner=self._any_owner)) as parent:
                return self._oldest_in(parent)
        except Exception as error:  # whatever it is, it is named
            if is_interruption(error):
                raise
            self._refuse("", f"cannot be read: {_named(error)}; what is there is kept")
        return None

    def _oldest_in(self, parent: int) -> ProcessDirectory | None:
        """Take over the next orphan of the last look, and look again where there is none."""
        taken = self._oldest_seen(parent)
        if taken is not None:
            return taken
        sweep(parent)
        passed = {each.orphan.name for each in self._adoptions} | self._others
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
        return self._monotonic() < kept.due_seconds or free_bytes(parent) < kept.wanted_bytes

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
        self._say(f"{self._path / name}: {why}")

    def _say(self, text: str) -> None:
        """Name something bad, once, and not more than a hundred things."""
        if self.counters.note(text):
            self.news.append(f"recovery: {text}")
            if len(self.counters.notes) == NOTES_MAX:
                self.news.append("recovery: what is found from now on is counted, and not named")


def _named(error: Exception) -> str:
    """Return an error's text, with its type where the text is not for a person."""
    is_for_a_person = isinstance(error, OSError | SpoolError)
    return str(error) if is_for_a_person else f"{type(error).__name__}: {error}"
