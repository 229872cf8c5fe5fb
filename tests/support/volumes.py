"""A volume that a test can fill: a small tmpfs, which takes root."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1024 * 1024


@contextlib.contextmanager
def small_volume(point: Path) -> Iterator[Path]:
    """Mount a volume of 32 MiB on a directory; skip the test where we may not."""
    point.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(point)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no mount for us: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


def fill(volume: Path) -> Path:
    """Take every byte of the volume, and return the file that holds them."""
    filler = volume / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (volume / "one more").write_bytes(b"x")
    (volume / "one more").unlink(missing_ok=True)
    return filler
