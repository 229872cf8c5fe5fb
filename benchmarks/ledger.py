"""The independent ledger: what an application handed to `logging`, noted by the application.

Each line that is logged ends in a marker, unique in the world and carrying a checksum of its line.
The marker is appended to the ledger by one `write(2)` *after* the logging call returned, so a
SIGKILL at any moment loses no note, and no counter of the shipper under test is trusted.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

MARKER = re.compile(r"line-[0-9a-f]{8}-[mt]\d\d-\d{9}-[0-9a-f]{8}")
"""Run, writer (`m`: main work, `t`: the tail after the stop), number, CRC-32 of the line; the
word in front makes the search quick."""

MARKER_CHARS = 36


def marked(line: str, run: str, writer: str, number: int) -> tuple[str, str]:
    """Return `line` with its marker appended, and the marker.

    Args:
        line: What the application has to say; any text.
        run: 8 hexadecimal digits that no other run shares.
        writer: `m` or `t` and two digits.
        number: The writer's own count, from 1.
    """
    marker = f"line-{run}-{writer}-{number:09}-{_checksum(line):08x}"
    return f"{line} {marker}", marker


def run_of(marker: str) -> str:
    """Return the run of a marker."""
    return marker[5:13]


def intact(message: str) -> bool:
    """Return whether `message` is, to the last character, a line that was marked."""
    line, separator, marker = message.rpartition(" ")
    is_marker = separator and MARKER.fullmatch(marker)
    return bool(is_marker) and f"{_checksum(line):08x}" == marker[-8:]


def _checksum(line: str) -> int:
    return zlib.crc32(line.encode("utf-8", "surrogatepass"))


class Ledger:
    """An open ledger file. Threads may share it: each note is one atomic append."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, marker: str) -> None:
        """Append `marker` and the monotonic time, which all processes of a machine share."""
        os.write(self._descriptor, f"{marker} {time.monotonic_ns()}\n".encode())


@dataclass(frozen=True)
class Written:
    """A ledger that was read back: each marker with the time (ns) at which it was noted."""

    times_ns: dict[str, int]

    @property
    def main_ns(self) -> list[int]:
        """When each line of the main work was noted: all but the tail."""
        return [noted for marker, noted in self.times_ns.items() if "-m" in marker]

    @property
    def last_ns(self) -> int:
        """When the last line was noted; 0 in an empty ledger."""
        return max(self.times_ns.values(), default=0)

    def rate_until(self, stop_ns: int = 0) -> float:
        """Return the lines a second of the main work from its first line to `stop_ns`.

        Without a moment it is to its last line.
        """
        stop_ns = stop_ns or max(self.main_ns, default=0)
        times = [noted for noted in self.main_ns if noted <= stop_ns]
        span_ns = stop_ns - min(times) if times else 0
        return (len(times) - 1) * 1e9 / span_ns if span_ns else 0.0


def read_ledger(path: Path) -> Written:
    """Read a ledger.

    An incomplete last line does not count: SIGKILL can cut a write short where it crosses from one
    page of the file to the next.

    Raises:
        OSError: It is not there.
        ValueError: A line is not a marker and a time.
    """
    times_ns: dict[str, int] = {}
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            marker, _, noted = line.partition(" ")
            if not MARKER.fullmatch(marker):
                raise ValueError(f"{path}: not a line of a ledger: {line!r}")
            times_ns[marker] = int(noted)
    return Written(times_ns)
