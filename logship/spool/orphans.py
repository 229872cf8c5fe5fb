"""Finding orphans, the directories of dead processes, and locking one after the other.

`Orphans` looks for process directories whose lock can be had, oldest first, and hands out their
chunks until nothing is left. `docs/spool-format.md`, "Reading", is the design.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from logship.spool.adoption import AdoptedChunk, Adoption
from logship.spool.directories import (
    STREAMS,
    NotTaken,
    ProcessDirectory,
    SpoolError,
    free_bytes,
    open_spool_directory,
    process_directories,
    sweep,
)
from logship.spool.progress import NOTES_MAX, RecoveryCounters, RecoveryState

SCAN_SECONDS = 5.0
"""How often a client looks for processes that have died meanwhile."""

_RETRY_SECONDS_MIN = 60.0
_RETRY_SECONDS_MAX = 3600.0
"""How long a directory waits for a retry, where its quarantine found no room or its last words were
not taken: twice as long each time, because what is not marked is counted and sent again."""

_ADOPTIONS_MAX = 8
"""Directories that are recovered at a time. The next one is begun while others wait for acks: only
what the server takes from one shows that it never takes a record of another."""


class _Retry(NamedTuple):
    """When a directory is tried again; seconds on the monotonic clock."""

    due_seconds: float
    wait_seconds: float
    wanted_bytes: int


class Orphans:
    """Hands out the chunks of dead processes under one spool's directory.

    Args:
        path: The spool's directory.
        any_owner: Whether another user's spool is read, where we are root.
        default_tag: Returns the tag of a stream whose process never learned it; None where that
            is not known here either.
        random_bytes: As `os.urandom`.
        monotonic: Seconds.
        time_ns: Nanoseconds since the epoch.

    Attributes:
        counters: What became of the orphans.
        news: What a person must be told before the next step, because that step may change what
            the spool shows of it. The reader of the news takes them out.
        has_scanned: Whether a look for orphans found none.
        others_live: Whether that look found directories that another process has locked.
    """

    def __init__(
        self,
        path: Path,
        *,
        any_owner: bool = False,
        default_tag: Callable[[], str | None] = lambda: None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.counters = RecoveryCounters()
        self.news: deque[str] = deque()
        self.default_tag = default_tag
        self._path = path
        self._any_owner = any_owner
        self._random_bytes = random_bytes
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._current: Adoption | None = None
        self._waiting: list[Adoption] = []
        self._finished_with: set[str] = set()
        self._shipped_from: set[str] = set()
        self._retries: dict[str, _Retry] = {}
        self._refused: set[str] = set()
        self._kept: set[str] = set()
        self._scan_due_seconds = monotonic()
        self._is_closed = False
        self.has_scanned = False
        self.others_live = False

    def step(self) -> AdoptedChunk | RecoveryState:
        """Do a small piece of work.

        Returns:
            The next chunk to ship, or what to wait for.
        """
        if self._is_closed:
            return RecoveryState.AWAITING_ORPHANS
        current = self._current = self._current or self._next_settled()
        if current is None:
            return self._scan()
        try:
            outcome = next(current.work, None)
        except Exception as error:  # noqa: BLE001 - one orphan must not hold up the others
            current.trouble.fail(error)
            outcome = None
        if isinstance(outcome, AdoptedChunk):
            self._shipped_from.add(current.directory.name)
            return outcome
        if outcome is None:
            self._end(current)
        elif outcome is RecoveryState.AWAITING_ACKS:
            self._waiting.append(current)
            self._current = None
        return RecoveryState.WORKING

    def scan_now(self) -> None:
        """Look for orphans at the next step, whenever the last look was."""
        self._scan_due_seconds = self._monotonic()
        self.has_scanned = False

    def skip(self) -> None:
        """Leave the orphan that has waited longest as it is, and go on."""
        for adoption in self._adoptions()[:1]:
            self._end(adoption)

    def has_shipped_from(self, name: str) -> bool:
        """Tell whether a chunk of this process directory was handed out; from any thread."""
        return name in self._shipped_from

    @property
    def deadline_seconds(self) -> float | None:
        """When to call `step` again if nothing else happens; None while only acks can help."""
        can_scan = self._current is None and len(self._waiting) < _ADOPTIONS_MAX
        return self._scan_due_seconds if can_scan and not self._is_closed else None

    @property
    def is_complete(self) -> bool:
        """Whether every orphan is gone, all of its records acked, and nothing was left alone."""
        counters = self.counters
        bad = counters.damaged + counters.quarantined + counters.unkept + counters.refused
        is_over = self.has_scanned and self.is_idle and not self._is_closed
        return is_over and not self._kept and not bad and not counters.records_abandoned

    @property
    def is_closed(self) -> bool:
        """Whether the search was given up."""
        return self._is_closed

    @property
    def is_idle(self) -> bool:
        """Whether no orphan is being recovered."""
        return not self._adoptions()

    def close(self) -> None:
        """Give up the locks; what was not settled is for the next recoverer."""
        self._is_closed = True
        for adoption in self._adoptions():
            self._end(adoption)

    # -- orphans that are being recovered --------------------------------------------------------

    def _adoptions(self) -> list[Adoption]:
        current = [] if self._current is None else [self._current]
        return [*self._waiting, *current]

    def _next_settled(self) -> Adoption | None:
        """Take an adoption whose chunks are all settled from those that wait."""
        for adoption in self._waiting:
            if adoption.is_settled:
                self._waiting.remove(adoption)
                return adoption
        return None

    def _end(self, adoption: Adoption) -> None:
        if adoption is self._current:
            self._current = None
        else:
            self._waiting.remove(adoption)
        if adoption.is_worth_a_retry and not self._is_closed:
            self._try_again_later(adoption)
        else:
            self._finished_with.add(adoption.directory.name)
        adoption.leave()
        self.counters.lives_finished += adoption.is_removed
        if adoption.is_removed:
            self._kept.discard(adoption.directory.name)
        else:
            self._kept.add(adoption.directory.name)

    def _try_again_later(self, adoption: Adoption) -> None:
        last = self._retries.get(adoption.directory.name)
        wait = _RETRY_SECONDS_MIN if last is None else last.wait_seconds * 2
        wait = min(wait, _RETRY_SECONDS_MAX)
        due = self._monotonic() + wait
        self._retries[adoption.directory.name] = _Retry(due, wait, adoption.trouble.wanted_bytes)

    # -- the search ------------------------------------------------------------------------------

    def _scan(self) -> RecoveryState:
        """Take over the oldest orphan, if there is one."""
        now = self._monotonic()
        nothing = RecoveryState.AWAITING_ACKS if self._waiting else RecoveryState.AWAITING_ORPHANS
        if now < self._scan_due_seconds or len(self._waiting) >= _ADOPTIONS_MAX:
            return nothing
        taken = self._take_oldest()
        if taken is not None:
            self.counters.lives += 1
            self._current = Adoption(
                taken,
                self.counters,
                self._random_bytes,
                self._time_ns,
                self._say,
                self.default_tag(),
            )
            return RecoveryState.WORKING
        self._scan_due_seconds = now + SCAN_SECONDS
        self.has_scanned = True
        return nothing

    def _take_oldest(self) -> ProcessDirectory | None:
        self.others_live = False
        try:
            parent = open_spool_directory(self._path, any_owner=self._any_owner)
            try:
                return self._oldest_in(parent)
            finally:
                os.close(parent)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is named
            self._refuse("", f"cannot be read: {_named(error)}; what is there is kept")
        return None

    def _oldest_in(self, parent: int) -> ProcessDirectory | None:
        sweep(parent)
        ours = {each.directory.name for each in self._waiting}
        names = [each for each in process_directories(parent) if each not in self._finished_with]
        names = [
            each for each in names if each not in ours and not self._is_too_early(each, parent)
        ]
        for name in sorted(names, key=lambda each: (born_ns(parent, each), each)):
            taken = self._take(parent, name)
            if isinstance(taken, ProcessDirectory):
                return taken
            self.others_live |= taken is NotTaken.LOCKED
        return None

    def _is_too_early(self, name: str, parent: int) -> bool:
        """Tell whether a directory was tried, and is not to be tried again now."""
        retry = self._retries.get(name)
        if retry is None:
            return False
        return self._monotonic() < retry.due_seconds or free_bytes(parent) < retry.wanted_bytes

    def _take(self, parent: int, name: str) -> ProcessDirectory | NotTaken:
        try:
            return ProcessDirectory.take_over(parent, name)
        except Exception as error:  # noqa: BLE001 - one orphan must not hold up the others
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


def born_ns(parent: int, name: str) -> int:
    """Return when a process began its spool; 0, and so the oldest, where that cannot be read."""
    with contextlib.suppress(OSError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        directory = os.open(name, flags | os.O_DIRECTORY, dir_fd=parent)
        try:
            descriptor = os.open(STREAMS, flags, dir_fd=directory)
            try:
                return struct.unpack("=Q", os.pread(descriptor, 8, 32).ljust(8, b"\0"))[0]  # type: ignore[no-any-return]
            finally:
                os.close(descriptor)
        finally:
            os.close(directory)
    return 0
