"""The self-contained build, made once, and root filesystems for it that have no Python."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.commands import LOGSHIP, ran
from tests.support.programs import REPOSITORY, why_no_pid_namespace
from tests.support.receiver_process import ReceiverProcess

BUILT_VARIABLE = "LOGSHIP_TEST_STANDALONE"
"""Names a directory `logship` that was built already; without it `make standalone` is run."""

_PROGRAMS = ("sh", "env", "seq", "kill")
_INSIDE = "/opt/logship/logship"
_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class RootFilesystem:
    """A root filesystem with the build in it, in which programs run as PID 1.

    Attributes:
        path: Where it is.
        receiver: The sidecar, which shares the network with what runs in there.
    """

    path: Path
    receiver: ReceiverProcess

    def start(
        self, *command: str, options: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command under `logship run`, which is PID 1 in there."""
        unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        return subprocess.Popen(
            [*unshare, f"--root={self.path}", _INSIDE, "run", *options, "--", *command],
            env={
                "PATH": "/usr/bin:/bin",
                "LOGSHIP_ENDPOINTS": self.receiver.endpoint,
                "LOGSHIP_STOP_TIMEOUT_SECONDS": "40",
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, *command: str, options: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what is on stderr."""
        process = self.start(*command, options=options, environ=environ)
        _, stderr = process.communicate(timeout=_SECONDS_MAX)
        return process.returncode, stderr.decode()

    @property
    def messages(self) -> list[str]:
        found = [line["record"] for line in self.receiver.records()]
        return [each["message"] for each in found if "logship_end" not in each]

    def assert_proved(self, receipt: str) -> None:
        """Fail unless `logship audit` finds complete what a receipt in there says."""
        expected = self.path / receipt.lstrip("/")
        ran(*LOGSHIP, "audit", self.receiver.out, "--expect", expected)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that `make standalone` makes; one for all processes of the test run."""
    if given := os.environ.get(BUILT_VARIABLE):
        return Path(given)
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out = base / "standalone"
    with (base / "standalone.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "done").exists():
            make = ("make", "standalone", f"PYTHON={sys.executable}", f"DIST={out}")
            subprocess.run(make, cwd=REPOSITORY, check=True, timeout=600)
            (out / "done").touch()
    return out / "logship"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    with ReceiverProcess.start(tmp_path / "out.jsonl") as receiver:
        yield receiver


@pytest.fixture
def without_python(built: Path, tmp_path: Path, receiver: ReceiverProcess) -> RootFilesystem:
    """A shell, four programs, and the libraries that they and the build need of the system."""
    _skip_unless_root()
    root = tmp_path / "root"
    programs = [Path(found) for name in _PROGRAMS if (found := shutil.which(name))]
    for path in (*programs, *libraries_of(programs), *system_libraries(built)):
        (root / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.relative_to("/"))
    _finish(root, built)
    return RootFilesystem(root, receiver)


@pytest.fixture
def with_php(built: Path, tmp_path: Path, receiver: ReceiverProcess) -> Iterator[RootFilesystem]:
    """Debian's smallest system, and PHP."""
    _skip_unless_root()
    if shutil.which("debootstrap") is None:
        pytest.skip("debootstrap is not on PATH")
    root = tmp_path / "root"
    words = ("debootstrap", "--variant=minbase", "--include=php-cli", "stable", str(root))
    made = ran(*words, code=None, timeout=900)
    if made.returncode:
        pytest.skip(f"debootstrap could not make a root filesystem: {made.stdout[-300:]}")
    _finish(root, built)
    yield RootFilesystem(root, receiver)
    shutil.rmtree(root)


def binaries(directory: Path) -> list[Path]:
    """Return the programs and libraries in a directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if path.read_bytes()[:4] == b"\x7fELF"]


def system_libraries(built: Path) -> set[Path]:
    """Return what of the system the build needs: the program that begins it, then all the rest.

    Only the rest is told where the libraries are that come with it.
    """
    begins = built / "logship"
    environ = {**os.environ, "LD_LIBRARY_PATH": str(built / "_internal")}
    rest = [path for path in binaries(built) if path != begins]
    return libraries_of([begins]) | libraries_of(rest, environ, but=built)


def libraries_of(
    paths: Sequence[Path], environ: Mapping[str, str] | None = None, but: Path | None = None
) -> set[Path]:
    """Return the libraries that the loader finds for these, but for those in one directory."""
    listed = ran("ldd", *paths, code=None, env=environ)
    assert "not found" not in listed.stdout, listed.stdout
    fields = [line.split("=>")[-1].split() for line in listed.stdout.splitlines()]
    found = {Path(words[0]) for words in fields if words and words[-1].startswith("(0x")}
    return {path for path in found if path.is_absolute() and but not in path.parents}


def _finish(root: Path, built: Path) -> None:
    shutil.copytree(built, root / "opt" / "logship")
    for name in ("proc", "dev", "tmp"):
        (root / name).mkdir(exist_ok=True)
    null = root / "dev" / "null"
    if not null.exists():
        try:
            os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError as error:
            pytest.skip(f"no device can be made here: {error}")


def _skip_unless_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change its root directory")
    if why := why_no_pid_namespace():
        pytest.skip(why)
