"""Shows what becomes of a client that the kernel kills because the container is out of memory.

The kernel really kills: in a cgroup of our own with a limit, seen from inside as a container sees
its own.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.run.conftest import SIGKILLED, Runs, read_receipt
from tests.support.programs import Ended
from tests.support.waiting import wait_until

pytestmark = pytest.mark.proof
LIMIT_BYTES = 256 * 1024 * 1024
RECORDS = 500
CGROUPS = Path("/sys/fs/cgroup")
BY_THE_KERNEL = (
    "was killed by SIGKILL by the kernel, because this container is out of memory; "
    "what it left on its spool is being shipped"
)

HOARDS = f"""
    from pathlib import Path

    RUN = os.getppid()

    def is_known_to_run():
        # `run` holds a descriptor of the process whose spool it has found.
        mark = f"\\nPid:\\t{{os.getpid()}}\\n"
        for each in Path(f"/proc/{{RUN}}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                if mark in each.read_text():
                    return True
        return False

    def log_and_hoard():
        log("x" * 400, times={RECORDS})
        while IS_SEEN and not is_known_to_run():
            time.sleep(0.01)
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (1 << 20)))

    # No sidecar listens there: `run` has shipped all records that arrive from the client's spool.
    logship.install(level="INFO", endpoints="tcp://127.0.0.1:1")
"""
COMMAND_ITSELF = """
    log_and_hoard()
"""
CHILD = """
    if (child := os.fork()) == 0:
        log_and_hoard()
    _, status = os.waitpid(child, 0)
    sys.exit(os.WTERMSIG(status))
"""
UNSEEN = re.compile(
    r"dead processes that `run` never saw: 1 \(of process \d+\); "
    r"the kernel has killed for lack of memory; "
)
EACH = pytest.mark.parametrize(
    ("who", "code"), [(COMMAND_ITSELF, SIGKILLED), (CHILD, 9)], ids=["command", "child"]
)
SEEN = pytest.mark.parametrize("seen", [True, False], ids=["seen", "at-once"])
"""Whether `run`, which looks every 0.2 s, has found the spool before its owner dies."""


@dataclass(frozen=True)
class Cgroup:
    """A cgroup with a limit of memory.

    Attributes:
        directory: Its own.
        mount: Where a process in a container sees it.
    """

    directory: Path
    mount: Path

    @property
    def words(self) -> tuple[str, ...]:
        """The command that puts a command into it, which then sees it as a container does."""
        script = f"""
            echo $$ > {self.directory}/cgroup.procs &&
            exec unshare --mount sh -c '
                mount --bind {self.directory} {self.mount} && exec "$@"' sh "$@"
        """
        return ("sh", "-c", script, "sh")

    def remove(self) -> None:
        """Remove it, once all that were in it have ended."""

        def is_gone() -> bool:
            with contextlib.suppress(OSError):
                self.directory.rmdir()
            return not self.directory.exists()

        wait_until(is_gone, f"{self.directory} is removed")


def new_cgroup() -> Cgroup:
    """Return a cgroup that the kernel limits (v1, v2).

    Raises:
        OSError: It may not be made here.
    """
    name = f"logship-test-{secrets.token_hex(4)}"
    if (CGROUPS / "cgroup.controllers").exists():
        cgroup = Cgroup(CGROUPS / name, CGROUPS)
        limit, swap, swap_bytes = "memory.max", "memory.swap.max", 0
    else:
        cgroup = Cgroup(CGROUPS / "memory" / name, CGROUPS / "memory")
        # The second one limits both together.
        limit, swap, swap_bytes = (
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            LIMIT_BYTES,
        )
    cgroup.directory.mkdir()
    try:
        (cgroup.directory / limit).write_text(str(LIMIT_BYTES))
        with contextlib.suppress(OSError):  # a kernel that does not count swap
            (cgroup.directory / swap).write_text(str(swap_bytes))
        subprocess.run([*cgroup.words, "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        cgroup.remove()
        raise OSError(str(error)) from error
    return cgroup


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    try:
        cgroup = new_cgroup()
    except OSError as error:
        pytest.skip(f"no cgroup with a limit of memory can be made here: {error}")
    yield cgroup
    cgroup.remove()


@EACH
@SEEN
def test_a_client_killed_for_want_of_memory_loses_nothing(
    cgroup: Cgroup, both: Runs, receipt: Path, who: str, code: int, seen: bool
) -> None:
    ended = both.start(
        f"IS_SEEN = {seen}", HOARDS, who, options=("--receipt", str(receipt)), outside=cgroup.words
    ).end(returncode=code)
    assert_told(ended, seen)
    ended.verdict.assert_delivered_once(RECORDS)
    found = read_receipt(receipt)
    assert found["complete"] is True
    assert found["recovery"]["records_acked"] == RECORDS
    both.assert_proved(receipt)


def assert_told(ended: Ended, seen: bool) -> None:
    """Fail unless `run` says that the kernel killed, and whom, if it could know that."""
    told = BY_THE_KERNEL in ended.stderr
    assert told or (not seen and UNSEEN.search(ended.stderr)), ended.stderr
    assert "has ended with code" not in ended.stderr, "the parent left nothing"
