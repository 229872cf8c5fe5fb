"""The build where there is no Python: as PID 1 of a root filesystem of its own.

`make proof` runs these: they make the build first, and one of them a Debian.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.standalone.conftest import RootFilesystem, system_libraries
from tests.support.waiting import wait_until

pytestmark = pytest.mark.proof

RECEIPT = "/tmp/receipt.json"
WITH_RECEIPT = ("--receipt", RECEIPT)
C_LIBRARY = re.compile(r"(libc|libm|libdl|libpthread|librt|libutil|ld-linux.*)\.so\.\d+")
ZLIB = "libz.so.1"


def test_it_needs_nothing_of_the_system_but_its_c_library_and_zlib(built: Path) -> None:
    names = {path.name for path in system_libraries(built)}
    assert {name for name in names if not C_LIBRARY.fullmatch(name)} == {ZLIB}


def test_a_command_is_shipped_and_keeps_its_exit_code(without_python: RootFilesystem) -> None:
    root = without_python
    assert not list(root.path.rglob("python3*/os.py"))
    assert not list(root.path.rglob("bin/python*"))
    script = "seq 1 5000; echo last words >&2; exit 7"
    assert root.run("sh", "-c", script, options=WITH_RECEIPT) == (7, "")
    assert sorted(root.messages) == sorted([*map(str, range(1, 5001)), "last words"])
    root.assert_proved(RECEIPT)


def test_run_is_pid_1_and_nothing_stands_between_it_and_its_command(
    without_python: RootFilesystem,
) -> None:
    code, _ = without_python.run("sh", "-c", "echo $PPID; kill -9 $$")
    assert code == 128 + signal.SIGKILL
    assert without_python.messages == ["1"]


@pytest.mark.parametrize("libraries", [{}, {"LD_LIBRARY_PATH": "/opt/php/lib"}])
def test_a_command_has_the_environment_that_was_given(
    without_python: RootFilesystem, libraries: dict[str, str]
) -> None:
    without_python.run("env", environ={"MINE": "kept", **libraries})
    given = dict(line.split("=", 1) for line in without_python.messages)
    assert given["MINE"] == "kept"
    assert given.get("LD_LIBRARY_PATH") == libraries.get("LD_LIBRARY_PATH")
    assert not [name for name in given if "PYI" in name or "MEIPASS" in name]


@pytest.mark.parametrize(("sent", "came"), [("TERM", "TERM"), ("WINCH", "WINCH"), ("TERM", "USR1")])
def test_a_stop_signal_reaches_the_command_whose_last_words_arrive(
    without_python: RootFilesystem, sent: str, came: str
) -> None:
    """As Apache has it: TERM becomes WINCH, or WINCH, the image's own stop signal, comes as it is.

    `kill` waits for its shell, so that there is no wait in the script that a signal would race.
    """
    root = without_python
    script = f"trap 'echo last words; exit 3' {came}; echo ready; while :; do kill -0 $$; done"
    mapping = ("--signal-map", f"TERM:{came}") if came != "TERM" else ()
    process = root.start("sh", "-c", script, options=(*WITH_RECEIPT, *mapping))
    root.receiver.wait_for_records(1)
    os.kill(_pid_1_of(process), getattr(signal, f"SIG{sent}"))
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert root.messages == ["ready", "last words"]
    root.assert_proved(RECEIPT)


def test_a_command_that_is_not_there_is_127(without_python: RootFilesystem) -> None:
    code, stderr = without_python.run("no-such-command")
    assert code == 127
    assert "cannot run no-such-command: it is not on PATH" in stderr


def test_php_in_debian(with_php: RootFilesystem) -> None:
    """The first user's batch, in its language: it is stopped in the middle, and says goodbye."""
    root = with_php
    (root.path / "batch.php").write_text(
        """<?php
        pcntl_async_signals(true);
        pcntl_signal(SIGTERM, function () { echo "stopped\\n"; exit(5); });
        for ($line = 1; ; $line++) { echo str_pad("line $line ", 400, "x"), "\\n"; usleep(3333); }
        """
    )
    process = root.start("php", "/batch.php", options=WITH_RECEIPT)
    root.receiver.wait_for_records(600)
    os.kill(_pid_1_of(process), signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 5
    assert root.messages[-1] == "stopped"
    lines = [message for message in root.messages if message.startswith("line ")]
    assert [line.split()[1] for line in lines] == [str(n + 1) for n in range(len(lines))]
    root.assert_proved(RECEIPT)


def _pid_1_of(process: subprocess.Popen[bytes]) -> int:
    """Return the number, as it is seen from here, of what is PID 1 in there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: bool(children.read_text().split()), "unshare has forked")
    return int(children.read_text().split()[0])
