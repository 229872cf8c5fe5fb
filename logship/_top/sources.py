"""Where the numbers come from: the pages of a metrics directory, or a metrics endpoint."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from logship._metrics.pages import Pages, PagesError
from logship._metrics.sums import SLOTS
from logship._top.figures import Reading, Snapshot
from logship.errors import LogshipError

_TIMEOUT_SECONDS: Final = 5.0
_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_NUMBER_MAX: Final = 2**64
"""What is not below, such as `+Inf`, counts nothing."""
_SAMPLE: Final = re.compile(r'logship_(\w+)(?:\{\w+="([^"]*)"\})? (\S+)')
_LOCK: Final = re.compile(r"\d+: FLOCK +ADVISORY +WRITE (\d+) (\S+):(\d+) ")

Read = Callable[[], Snapshot]
Holders = dict[int, dict[str, int]]
"""The process that holds each locked file, by its inode and then its device."""


class SourceError(LogshipError):
    """There are no numbers to read; the text says where, and what to do."""


def read_directory(path: Path) -> Read:
    """Return what reads the pages of the processes of this container.

    Raises:
        SourceError: It is not there, or cannot be used; when it reads also.
    """
    pages = _pages_in(path)

    def read() -> Snapshot:
        nonlocal pages
        if not pages.is_there:
            there_now = _pages_in(path)
            pages.close()
            pages = there_now
        try:
            total, living = pages.read()
        except OSError as error:  # no descriptors, or a fault of the disk
            raise SourceError(f"{path} cannot be read: {error.strerror}") from None
        holders = _holders_of_locks()
        processes = {}
        for page in living:
            with contextlib.suppress(FileNotFoundError):  # its process has ended meanwhile
                status = (path / page.name).stat()
                pid = _holder_of(status, holders)
                reading = Reading(status.st_mtime, page.numbers, pid, _command_of(pid))
                processes[page.id] = reading
        return Snapshot(Reading(time.time(), total.numbers), processes)

    return read


def _pages_in(path: Path) -> Pages:
    try:
        if not path.is_dir():  # else it would be made
            raise SourceError(f"{path} is not a directory; no process has published numbers there")
        return Pages(path)
    except (OSError, PagesError) as error:
        raise SourceError(f"{error}. Run this command as the application's user") from None


def read_endpoint(url: str) -> Read:
    """Return what reads an endpoint's sum of all processes: it tells nothing of each.

    Raises:
        SourceError: When it reads: there is no answer with numbers of logship's.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read() -> Snapshot:
        try:
            with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
                text = answer.read(_ANSWER_BYTES_MAX).decode("utf-8", "replace")
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            text = getattr(reason, "strerror", None) or reason
            raise SourceError(f"cannot read {url}: {text}") from None
        values = dict(_samples_in(text))
        if ("records_accepted_total", "") not in values:
            raise SourceError(f"{url} serves no numbers of logship's clients")
        numbers = [values.get(each, 0.0) for each in SLOTS]
        return Snapshot(Reading(time.time(), numbers), None)

    return read


def _samples_in(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    for line in text.splitlines():
        if match := _SAMPLE.fullmatch(line):
            with contextlib.suppress(ValueError):
                value = float(match[3])
                if abs(value) < _NUMBER_MAX:
                    yield (match[1], match[2] or ""), value


def _holders_of_locks() -> Holders:
    """Return what is known of all locked files; nothing without /proc."""
    holders: Holders = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            if match := _LOCK.match(line):
                holders.setdefault(int(match[3]), {})[match[2]] = int(match[1])
    return holders


def _holder_of(status: os.stat_result, holders: Holders) -> int | None:
    """Return the process that holds a file's lock; None where it is not known.

    Files of two volumes may have one inode number. But on btrfs, and on some overlays, stat(2) and
    the kernel's list of locks name the device differently.
    """
    found = holders.get(status.st_ino, {})
    if len(found) < 2:
        return next(iter(found.values()), None)
    return found.get(f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}")


def _command_of(pid: int | None) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode("utf-8", "replace")
