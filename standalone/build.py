"""Makes the self-contained build of the `logship` command: `make standalone`.

A directory with the program, an interpreter and all that it loads; nothing of the system's but
its C library. Why a directory and not one file is in docs/decisions/012-self-contained-build.md.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import logship

HERE = Path(__file__).parent
NAME = "logship"

_NOT_NEEDED = (
    *("tkinter", "sqlite3", "curses", "readline", "pydoc", "doctest", "unittest", "test"),
    "yaml._yaml",  # a faster reader, which `lint` does not use
)
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")
_ELF = b"\x7fELF"


def main() -> None:
    """Build into a directory, and say what it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent / "dist")
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as work:
        built = freeze(Path(work))
        needs = libc_needed(built)
        archive = out / f"{NAME}-{logship.__version__}-linux-{platform.machine()}-{needs}.tar.gz"
        target = out / NAME
        shutil.rmtree(target, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copytree(built, target, symlinks=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(target, NAME, filter=_owned_by_root)
    print(f"{target}/{NAME}: {_mib(_size(target))} MiB, needs {needs} or newer")
    print(f"{archive}: {_mib(archive.stat().st_size)} MiB")


def freeze(work: Path) -> Path:
    """Collect the program, the interpreter and what both load; return the directory."""
    words = [sys.executable, "-m", "PyInstaller", "--log-level", "WARN", "--noconfirm"]
    words += [
        "--onedir",
        "--name",
        NAME,
        "--collect-submodules",
        "logship",
        "--collect-data",
        "logship",
    ]
    for module in _NOT_NEEDED:
        words += ["--exclude-module", module]
    words += ["--hidden-import", "yaml"]  # `lint` imports it by name, because it is an extra
    words += ["--distpath", str(work / "out"), "--workpath", str(work), "--specpath", str(work)]
    subprocess.run([*words, str(HERE / "command.py")], check=True)
    return work / "out" / NAME


def libc_needed(directory: Path) -> str:
    """Return the oldest C library that all files in there can be loaded with, as `glibc2.36`."""
    versions = [version for path in _binaries(directory) for version in _versions_in(path)]
    return "glibc{}.{}".format(*max(versions)) if versions else "musl"


def _binaries(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and path.read_bytes().startswith(_ELF):
            yield path


def _versions_in(path: Path) -> list[tuple[int, int]]:
    """Return the versions of symbols that a binary asks for (its version needs are plain text)."""
    return [(int(major), int(minor)) for major, minor in _GLIBC.findall(path.read_bytes())]


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whoever unpacks it is not whoever built it."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*"))


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f}"


if __name__ == "__main__":
    main()
