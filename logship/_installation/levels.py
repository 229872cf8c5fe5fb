"""Levels of loggers that change while the program runs, by a file that is watched."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

FILE_BYTES_MAX = 64 * 1024


class LevelsFile:
    """Sets the levels that a file names, and takes them back when it names them no more.

    While it names a logger, no other configuration of the program holds for that logger's level.
    Each line is `LOGGER=LEVEL`. The root logger is `root`. A `#` begins a comment.

    Args:
        path: The file. It need not exist.
        told: Called with the levels by logger whenever some have changed.
        warn: Called with what a person must be told.
    """

    def __init__(
        self, path: str, told: Callable[[dict[str, str]], object], warn: Callable[[str], object]
    ) -> None:
        self._path = Path(path)
        self._told = told
        self._warn = warn
        self._seen: tuple[int, ...] | None = None
        self._found: dict[str, str] | None = None  # and not yet applied
        self._original: dict[str, int] = {}
        self._set: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # the levels of these loggers since then

    def look(self) -> None:
        """Read the file if it has changed; `check` then does what it says."""
        state: tuple[int, ...] = ()
        with contextlib.suppress(OSError):  # there is none
            found = self._path.stat()
            state = found.st_mtime_ns, found.st_size, found.st_ino
        if state != self._seen:
            self._seen = state
            self._found = self._read() if state else {}

    def check(self) -> None:
        """Do what the file says, if `look` has found a change, or the program has undone it."""
        found, self._found = self._found, None
        if found is None and any(_level(name) != level for name, level in self._numbers.items()):
            found = self._set
        if found is not None:
            self._apply(found)

    def take_back(self) -> None:
        """Give all loggers the levels back that they had."""
        while self._original:
            name, level = self._original.popitem()
            logging.getLogger(name).setLevel(level)
        self._set, self._numbers, self._seen, self._found = {}, {}, None, None

    def _read(self) -> dict[str, str]:
        try:
            if not self._path.is_file():  # to open a pipe would wait, and so would the stop clock
                raise OSError(0, "it is not a regular file")
            with self._path.open(encoding="utf-8-sig", errors="replace") as file:
                lines = file.read(FILE_BYTES_MAX).splitlines()
        except OSError as error:
            self._warn(f"{self._path} cannot be read: {error.strerror}")
            self._seen = None  # try again: what is wrong need not change the file
            return self._set
        pairs = (line.split("#")[0].partition("=") for line in lines)
        return {name.strip(): level.strip().upper() for name, _, level in pairs if name.strip()}

    def _apply(self, levels: dict[str, str]) -> None:
        faults = {name: self._set_level(name, level) for name, level in levels.items()}
        applied = {name: level for name, level in levels.items() if not faults[name]}
        if said := "; ".join(filter(None, faults.values())):
            self._warn(f"{self._path}: {said}")
        for name in self._original.keys() - applied.keys():
            logging.getLogger(name).setLevel(self._original.pop(name))
        self._numbers = {name: _level(name) for name in applied}
        if applied != self._set:
            self._set = applied
            self._told(applied)

    def _set_level(self, name: str, level: str) -> str:
        """Set a logger's level; return what is wrong with the name or the level, or nothing."""
        if "*" in name or (name != "root" and name.lower() == "root"):
            return f"no logger is named {name} (root is the parent of all loggers)"
        logger = logging.getLogger(name)
        before = logger.level
        try:
            logger.setLevel(int(level) if level.isdecimal() else level)
        except (ValueError, TypeError):
            wrong = f"{level} is not a level" if level else "write LOGGER=LEVEL"
            return f"{wrong}, for the logger {name}"
        if before != self._numbers.get(name):
            self._original[name] = before
        return ""


def _level(name: str) -> int:
    return logging.getLogger(name).level
