"""Shows that `run` is the supervisor of logship clients inside its command.

The clients need no setting for it. They cannot reach the sidecar by themselves, because no server
listens at their endpoint. So `run` has shipped all records that arrive, from their spools.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.run.conftest import SIGKILLED, Runs, read_receipt, states_below
from tests.support.commands import LOGSHIP, ran
from tests.support.programs import Program
from tests.support.programs_gate import Gate
from tests.support.receiver_process import ReceiverProcess
from tests.support.volumes import fill, small_volume

NOWHERE = "tcp://127.0.0.1:1"

LOGS = f'client = logship.install(level="INFO", endpoints="{NOWHERE}")'


def spool_of(program: Program) -> Path:
    """Return the spool that the command was given, as it told us."""
    told = [each.split()[1] for each in program.progress if each.startswith("spool ")]
    return Path(told[0])


def owners_known(program: Program) -> int:
    """Return of how many owners of spools `run` knows: it holds a descriptor of each process."""
    descriptors = Path(f"/proc/{program.pid}/fd")
    known = 0
    for each in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            known += "pidfd" in str(each.readlink())
    return known


@pytest.mark.parametrize(
    ("end", "code", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", SIGKILLED, "was killed by SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", 128 + signal.SIGSEGV, "was killed by SIGSEGV"),
        ("os._exit(3)", 3, "has ended with code 3"),
    ],
)
def test_what_a_client_leaves_that_dies_without_a_word_is_shipped(
    runs: Runs, receipt: Path, end: str, code: int, how: str
) -> None:
    program = runs.start(
        LOGS,
        f"""
        progress("spool " + os.environ["LOGSHIP_SPOOL_DIR"])
        log("x" * 400, times=500)
        {end}
        """,
        options=("--receipt", str(receipt)),
    )
    ended = program.end(returncode=code)
    ended.verdict.assert_delivered_once(500)
    assert f"{how}; what it left on its spool is being shipped" in ended.stderr
    assert len(re.findall(r"^logship: shipped 500 records that ", ended.stderr, re.M)) == 1
    found = read_receipt(receipt)
    assert found["complete"] is True
    assert found["recovery"]["records_acked"] == 500
    assert not spool_of(program).parent.exists()
    runs.assert_proved(receipt)


def test_what_cleans_the_temporary_directory_leaves_the_spool_alone(runs: Runs) -> None:
    """systemd-tmpfiles removes old files, also those in use, but for those in a locked directory.

    It learns so by a lock that it asks for itself.
    """
    text = """
import fcntl, os
directory = os.open(os.path.dirname(os.environ["LOGSHIP_SPOOL_DIR"]), os.O_RDONLY)
try:
    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("left alone")
"""
    runs.command(sys.executable, "-c", text, returncode=0)
    assert runs.messages == ["left alone"]


def test_a_client_that_has_logged_nothing_leaves_nothing_to_tell_of(runs: Runs) -> None:
    program = runs.start(LOGS, "ready(); wait_for('end'); sys.exit(3)")
    program.until_ready()
    program.until_true(lambda: owners_known(program) == 1, "`run` has found its spool")
    ended = program.finish("end", returncode=3)
    assert "spool" not in ended.stderr


def test_one_of_several_processes_dies_and_the_rest_goes_on(as_pid_1: Runs) -> None:
    """As gunicorn's workers: `run` is not their parent, and yet knows who died and how."""
    program = as_pid_1.start(
        LOGS,
        """
        children = []
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                log("in a child", times=100)
                progress(f"child {number}")
                wait_for(f"death-{number}")
                os.kill(os.getpid(), signal.SIGKILL)
            children.append(pid)
        for number, pid in enumerate(children):
            wait_for(f"reap-{number}")
            os.waitpid(pid, 0)
            progress(f"dead {number}")
        log("the parent's last words")
        """,
    )
    for number in range(3):
        program.until(f"child {number}")
    program.until_true(lambda: owners_known(program) == 4, "run knows all four")
    for number in range(3):
        program.let_go(f"death-{number}")
        program.let_go(f"reap-{number}")
        program.until(f"dead {number}")
        program.until_true(
            lambda number=number: len(as_pid_1.messages) >= 100 * (number + 1),  # type: ignore[misc]
            "the dead child's records have arrived, while the parent lives",
        )
    ended = program.end(seconds_max=100)
    assert ended.returncode == 0
    assert len(ended.ledger) == 301
    assert ended.stderr.count("was killed by SIGKILL; what it left on its spool is being") == 3
    killed = re.findall(r"^logship run: (.+) was killed", ended.stderr, re.M)
    told = re.findall(r" 100 records that ([^;\n]+) left \(took \d+\.\d s\)", ended.stderr)
    assert sorted(told) == sorted(killed)
    ended.verdict.assert_all_delivered()


def test_a_death_is_told_once_although_no_parent_waits_for_it_yet(runs: Runs) -> None:
    program = runs.start(
        LOGS,
        """
        if os.fork() == 0:
            log("in the child")
            wait_for("death")
            os.kill(os.getpid(), signal.SIGKILL)
        wait_for("end")
        """,
    )
    program.until_true(lambda: owners_known(program) == 2, "run knows both")
    program.let_go("death")
    program.until_true(lambda: "was killed by SIGKILL" in program.stderr, "it is told")
    ended = program.finish("end")
    assert ended.stderr.count("was killed by SIGKILL") == 1


def test_the_owner_of_a_spool_behind_a_symbolic_link_is_known(runs: Runs, tmp_path: Path) -> None:
    """`/proc` names the files that a process has open by their real path."""
    link = tmp_path / "link"
    link.symlink_to(runs.programs.directory)
    program = runs.start(
        LOGS,
        """
        log("first")
        ready()
        wait_for("owner")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        environ={"TMPDIR": str(link)},
    )
    program.until_true(lambda: owners_known(program) == 1, "run knows it")
    ended = program.finish("owner", returncode=SIGKILLED)
    assert "was killed by SIGKILL; what it left on its spool" in ended.stderr


def test_a_shell_that_ends_well_is_not_taken_for_its_child_that_died(runs: Runs) -> None:
    """`run` can only have seen the end of the shell: the child lives for a few milliseconds."""
    child = f"""
        import os, signal, logship
        environ = {{**os.environ, "LOGSHIP_ENDPOINTS": "{NOWHERE}"}}
        client = logship.BackgroundClient(logship.Settings.from_env(environ))
        client.emit({{"message": str(os.getpid())}})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    script = '"$0" -c "$1"; exit 0'
    words = ("sh", "-c", script, sys.executable, textwrap.dedent(child))
    ended = runs.command(*words, returncode=0)
    (pid,) = (each for each in runs.messages if each.isdigit())
    told = [each for each in ended.stderr.decode().splitlines() if "spool" in each]
    assert [f"process {pid})" in each for each in told] == [True], told


def test_a_client_killed_by_us_at_the_deadline_loses_nothing(as_pid_1: Runs) -> None:
    """It is frozen and answers no signal: neither its handler nor its watchdog runs."""
    program = as_pid_1.start(
        LOGS,
        """
        log("x" * 400, times=300)
        ready()
        os.kill(os.getpid(), signal.SIGSTOP)
        """,
        options=("--stop-timeout", "3"),
    )
    program.until_ready()
    program.until_true(lambda: "T" in states_below(program), "SIGSTOP")
    program.signal(signal.SIGTERM)
    program.end(returncode=SIGKILLED).verdict.assert_all_delivered(300)


def test_clients_know_the_true_deadline_whatever_they_believe(runs: Runs, gate: Gate) -> None:
    """They think that they have an hour, and one of them is never signalled at all."""
    gate.silence()
    program = runs.start(
        """
        logship.install(level="INFO", stop_timeout_seconds=3600, report=True)
        progress("stop file " + str(os.path.exists(os.environ["LOGSHIP_STOP_FILE"])))
        log("before")
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            log("in the child")
            progress("child")
            forever()
        signal.signal(signal.SIGTERM, lambda number, frame: progress("signalled"))
        ready()
        forever()
        """,
        endpoint=gate.endpoint,
        options=("--stop-timeout", "5", "--tee"),
    )
    program.until_ready()
    program.until("child")
    program.signal(signal.SIGTERM)
    program.until("signalled")
    gate.open()  # run itself must ship what they report
    ended = program.end(returncode=SIGKILLED)
    assert "stop file False" in ended.progress
    reasons = {each["reason"] for each in ended.reports}
    assert {"SIGTERM", "logship run stops"} & reasons
    ended.verdict.assert_all_delivered(2)


def test_clients_know_the_deadline_although_the_disk_is_full_when_the_stop_comes(
    runs: Runs, tmp_path: Path
) -> None:
    """They hold in memory what finds no room on their spool, and must write it to stderr."""
    with small_volume(tmp_path / "volume") as volume:
        program = runs.start(
            LOGS,
            """
            log("before")
            ready()
            wait_for("full")
            log("x" * 400, times=20_000)
            progress("logged")
            forever()
            """,
            options=("--stop-timeout", "8", "--tee"),
            environ={"TMPDIR": str(volume)},
        )
        program.until_ready()
        fill(volume)
        program.let_go("full")
        program.until("logged")
        program.signal(signal.SIGTERM)
        ended = program.end(returncode=128 + signal.SIGTERM)
    assert "is killed" not in ended.stderr
    ended.verdict.assert_nothing_lost()


def test_the_spool_is_private_and_goes_when_it_is_empty(runs: Runs) -> None:
    program = runs.start("""
        progress("spool " + os.environ["LOGSHIP_SPOOL_DIR"])
        ready()
        wait_for("end")
    """)
    program.until_ready()
    spool = spool_of(program)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (spool.parent, spool)]
    # Where we are root, others may have to write there, but can neither list nor guess it.
    assert modes == ([0o711, 0o1777] if os.geteuid() == 0 else [0o700, 0o700])
    program.finish("end")
    assert not spool.parent.exists()


def test_the_operators_own_spool_is_left_to_the_operator(runs: Runs, tmp_path: Path) -> None:
    spool = tmp_path / "operators"
    spool.mkdir()
    runs.shell("echo spool: $LOGSHIP_SPOOL_DIR", LOGSHIP_SPOOL_DIR=str(spool), returncode=0)
    assert runs.messages == [f"spool: {spool}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_client_of_another_user_has_a_spool_too(runs: Runs) -> None:
    """As gunicorn's workers with --user; they are killed before they could ship anything."""
    runs.start(
        LOGS,
        """
        if os.fork() == 0:
            os.setgid(65534)
            os.setuid(65534)
            log("as nobody", times=100)
            os.kill(os.getpid(), signal.SIGKILL)
        os.wait()
        """,
        environ={"TMPDIR": "/tmp"},  # a test's own directory lets no other user in
    ).end(returncode=0).verdict.assert_all_delivered(100)


def test_what_cannot_be_shipped_stays_on_the_spool_and_is_on_stderr(
    runs: Runs, receipt: Path
) -> None:
    ended = runs.start(
        LOGS,
        """
        log("x" * 100, times=50)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        endpoint=NOWHERE,
        options=("--receipt", str(receipt), "--loss-exit", "77"),
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "0.5"},
    ).end(returncode=SIGKILLED)
    ended.verdict.assert_nothing_lost()
    assert len(ended.spilled) >= 50
    found = read_receipt(receipt)
    assert found["complete"] is False
    assert found["recovery"]["records_abandoned"] == 50
    told = ended.stderr.rpartition("logship recover --spool ")[2].strip()
    assert any(Path(told).iterdir())
    ran(*LOGSHIP, "recover", "--spool", told, env=runs.environ)
    assert len(runs.messages) >= 50
    shutil.rmtree(Path(told).parent)


def test_a_stderr_that_is_gone_does_not_hold_run_up(runs: Runs) -> None:
    """By default a last pass may take two minutes; what it cannot ship is on the spool anyway."""
    reading, writing = os.pipe()
    os.close(reading)
    program = runs.start(
        LOGS,
        """
        log("x" * 100, times=50)
        progress("spool " + os.environ["LOGSHIP_SPOOL_DIR"])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        endpoint=NOWHERE,
        stderr=writing,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "0.5"},
    )
    os.close(writing)
    program.end(returncode=SIGKILLED, seconds_max=40)
    spool = spool_of(program)
    ran(*LOGSHIP, "recover", "--spool", str(spool), env=runs.environ)
    assert len(runs.messages) == 50
    shutil.rmtree(spool.parent)


@pytest.mark.parametrize("files", range(14, 20))
def test_a_recovery_that_gets_no_descriptors_is_no_traceback(tmp_path: Path, files: int) -> None:
    """With more, `run` ships what is left; with fewer, it does not start the command."""
    limited = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
    killed = """
        import logging, os, signal, logship
        logship.install(level="INFO")
        logging.info("last words")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    environ = {
        **os.environ,
        "LOGSHIP_ENDPOINTS": NOWHERE,
        "LOGSHIP_EXIT_STALL_SECONDS": "0.2",
        "TMPDIR": str(tmp_path),
    }
    command = (sys.executable, "-c", textwrap.dedent(killed))
    log = tmp_path / "stderr"
    with log.open("wb") as stderr:
        ended = ran(
            *limited,
            *(*LOGSHIP, "run", "--", *command),
            code=None,
            env=environ,
            capture_output=False,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    told = log.read_text()
    assert "Traceback" not in told, told
    is_started = ended.returncode == SIGKILLED
    assert ended.returncode in (SIGKILLED, 126), told
    assert ("logship recover --spool " in told) == is_started, told


def test_a_run_inside_a_run_ships_and_is_recovered(runs: Runs) -> None:
    """The inner one is a client of the outer one's spool, and is killed with its lines unsent."""
    runs.start(
        """
        inner = [sys.executable, "-c", "from logship._cli import main; main()", "run", "--"]
        environ = {**os.environ, "LOGSHIP_ENDPOINTS": "tcp://127.0.0.1:1"}
        marker = new_marker()
        process = subprocess.Popen([*inner, "sh", "-c", f"echo {marker}; exec sleep 600"],
                                   env=environ, start_new_session=True)
        spool = environ["LOGSHIP_SPOOL_DIR"]

        def holds_marker(path):
            try:
                return marker.encode() in open(path, "rb").read()
            except FileNotFoundError:  # renamed since it was listed
                return False

        while not any(holds_marker(os.path.join(place, name))
                      for place, _, names in os.walk(spool) for name in names):
            time.sleep(0.02)
        write_down(marker)
        process.kill()
        process.wait()
        """,
        options=("--orphan-wait", "0.5"),
    ).end(returncode=0).verdict.assert_all_delivered(1)


def test_a_spool_that_cannot_be_recovered_is_a_loss(runs: Runs, receipt: Path) -> None:
    """The receipt and `--loss-exit` have the answer of `logship recover`."""
    script = 'mkdir elsewhere; ln -s "$PWD/elsewhere" "$LOGSHIP_SPOOL_DIR/$1"; sleep 0.5'
    options = ("--receipt", str(receipt), "--loss-exit", "77")
    ended = runs.command(
        "sh", "-c", f'cd "$TMPDIR"; {script}', "sh", "a" * 32, options=options, returncode=77
    )
    found = read_receipt(receipt)
    assert (found["complete"], found["recovery"]["complete"]) == (False, False)
    assert found["recovery"]["refused"] == 1
    assert "a" * 32 in found["recovery"]["notes"][0]
    told = ended.stderr.decode().rpartition("logship recover --spool ")[2].split()[0]
    shutil.rmtree(Path(told).parent)


def test_what_a_killed_run_has_left_is_shipped_by_the_next_one(runs: Runs, receipt: Path) -> None:
    """As after the OOM killer has chosen `run` itself: its directory had no reader any more."""
    program = runs.start(
        LOGS,
        """
        progress("spool " + os.environ["LOGSHIP_SPOOL_DIR"])
        progress(f"pid {os.getpid()}")
        log("x" * 400, times=200)
        ready()
        forever()
        """,
    )
    program.until_ready()
    directory = spool_of(program).parent
    assert "killed" not in runs.command("true").stderr.decode(), "the first one lives"
    program.signal(signal.SIGKILL)
    [pid] = [int(each.split()[1]) for each in program.progress if each.startswith("pid ")]
    os.kill(pid, signal.SIGKILL)
    ended = program.end()
    assert len(ended.ledger) == 200
    second = runs.command("true", options=("--receipt", str(receipt)), returncode=0)
    assert f"what it left in {directory} is shipped" in second.stderr.decode()
    ended.verdict.assert_all_delivered()
    assert not directory.exists()
    assert read_receipt(receipt)["recovery"] is None, "the receipt tells of this command alone"


LEAVES = """
import os, signal, logging, logship
logship.install(level="INFO")
logging.info("of the payroll")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_run_could_not_ship_waits_for_one_with_the_same_endpoints(
    runs: Runs, gate: Gate, tmp_path: Path
) -> None:
    """As on a cron host: the next job of this user has a sidecar of its own."""
    down: dict[str, Any] = {"LOGSHIP_ENDPOINTS": gate.endpoint, "LOGSHIP_EXIT_STALL_SECONDS": "0.5"}
    runs.command(sys.executable, "-c", LEAVES, **down)
    [directory] = tmp_path.glob("logship-run-*")
    assert runs.command("true").stderr == b"", "another job is told nothing"
    assert directory.exists()
    assert runs.messages == []
    gate.open()
    again = runs.command("true", LOGSHIP_ENDPOINTS=gate.endpoint).stderr.decode()
    assert "an earlier `logship run` did not ship everything" in again
    assert f"what it left in {directory} is shipped" in again
    assert runs.messages == ["of the payroll"]
    assert not directory.exists()


def test_secrets_are_no_part_of_the_commands_environment(runs: Runs, tmp_path: Path) -> None:
    """Error reports show an environment. Clients in the command know the secrets all the same."""
    (tmp_path / "key").write_text("a key")
    options = ("--shared-key-file", str(tmp_path / "key"), "--user", "ann:a password")
    environ: dict[str, Any] = {
        "LOGSHIP_SHARED_KEY": "a key",
        "LOGSHIP_USERNAME": "ann",
        "LOGSHIP_PASSWORD": "a password",
    }
    with ReceiverProcess.start(tmp_path / "out", options=options) as receiver:
        runs.receiver = receiver
        client = "import logship; logship.install(level='INFO', report=True)"
        script = f"env; exec {sys.executable} -c \"{client}; import logging; logging.info('hi')\""
        ended = runs.command("sh", "-c", script, **environ)
    assert ended.returncode == 0, ended.stderr
    messages = runs.messages
    assert "hi" in messages, "the client has shipped it itself"
    shown = "".join(each for each in messages if each.startswith("LOGSHIP_"))
    assert "LOGSHIP_SHARED_KEY_FILE=" in shown
    assert not [each for each in ("a key", "a password") if each in shown]
    path = next(each for each in messages if each.startswith("LOGSHIP_PASSWORD_FILE="))
    assert not Path(path.partition("=")[2]).exists(), "nothing is left"
