"""Shows how `run` ends: with the command's code, and with the truth about its records."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from tests.run.conftest import Runs, broken, read_receipt
from tests.support.commands import LOGSHIP, ran, ran_python
from tests.support.programs import PATHS

NOWHERE = "tcp://127.0.0.1:1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_killed_by_a_signal_gives_128_and_its_number(runs: Runs, number: int) -> None:
    ended = runs.shell(f"echo text; kill -{int(number)} $$", returncode=128 + number)
    assert (b"was killed by SIGKILL" in ended.stderr) == (number == signal.SIGKILL)
    assert runs.messages == ["text"]


def test_an_orphan_that_gets_the_number_of_the_dead_command_does_not_give_the_exit_code(
    as_pid_1: Runs,
) -> None:
    """The kernel gives numbers away again, and `run` still waits for what was left behind."""
    source = """
        import os, time
        command = os.getpid()
        if os.fork():
            os._exit(3)
        os.setsid()  # a group would keep the number
        while os.path.exists(f"/proc/{command}"):
            time.sleep(0.01)
        for _ in range(200):
            with open("/proc/sys/kernel/ns_last_pid", "w") as last:
                last.write(str(command - 1))
            if os.fork() == 0:
                if os.getpid() != command:
                    os._exit(0)
                while os.getppid() != 1:
                    time.sleep(0.01)
                print("an orphan", flush=True)
                os._exit(99)
            if os.path.exists(f"/proc/{command}"):
                break
    """
    as_pid_1.command(sys.executable, "-c", textwrap.dedent(source), returncode=3)
    assert as_pid_1.messages == ["an orphan"]


def test_a_command_that_is_not_there_gives_127(runs: Runs, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/true").read_bytes().replace(b"/ld-", b"/no-"))
    program.chmod(0o755)
    for word, why in (
        ("no-such-command", b"cannot run no-such-command: it is not on PATH"),
        ("/no/such/file", b"cannot run /no/such/file: there is no such file"),
        (str(script), b"its interpreter does not exist, which is that in the first line"),
        (str(program), b"or the loader of a program that was built for another C library"),
    ):
        ended = runs.command(word, returncode=127)
        assert why in ended.stderr


def test_a_command_that_cannot_be_run_gives_126(runs: Runs, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("just text\n")
    ended = runs.command(str(text), returncode=126)
    assert b"Permission denied" in ended.stderr
    text.chmod(0o755)
    ended = runs.command(str(text), returncode=126)
    assert b"#!/bin/sh" in ended.stderr
    runs.command(str(tmp_path), returncode=126)


@pytest.mark.parametrize("files", [5, 9, 10, 11])
def test_a_command_for_whose_output_no_descriptors_are_left_gives_126(
    tmp_path: Path, files: int
) -> None:
    """Whichever file of `run` itself is the one too many, one line says so.

    With four, an interpreter does not start everywhere.
    """
    limited = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
    environ = {**os.environ, "LOGSHIP_ENDPOINTS": NOWHERE, "TMPDIR": str(tmp_path)}
    ended = ran(*limited, *LOGSHIP, "run", "--", "true", code=126, env=environ)
    assert f"logship run: cannot run true: {os.strerror(errno.EMFILE)}\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "kept for a person" not in ended.stderr, "nothing was left"


def test_the_receipt_is_the_drain_report_and_replaces_an_older_one(
    runs: Runs, receipt: Path
) -> None:
    """And the command's exit code is ours."""
    receipt.write_text("an older one")
    runs.shell("echo a; echo b; exit 3", options=("--receipt", str(receipt)), returncode=3)
    found = read_receipt(receipt)
    assert found["logship"] == "drain report"
    assert found["accepted"] == found["acked"] == 2
    assert (found["complete"], found["exit_code"], found["cut_off"]) == (True, 3, False)
    assert found["command"][0] == "sh"
    assert runs.messages == ["a", "b"]
    assert [each.name for each in receipt.parent.glob("*.part")] == []
    runs.assert_proved(receipt)


def test_a_receipt_for_a_stream_is_written_into_it(runs: Runs, tmp_path: Path) -> None:
    """Also if the command has put a file in its place. Root could rename one over `/dev/stdout`."""
    ended = runs.command("echo", "a", options=("--receipt", "/proc/self/fd/1"), returncode=0)
    assert json.loads(ended.stdout)["acked"] == 1
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        script = 'echo b; mv "$1" "$1.moved"; echo untouched >"$1"'
        runs.shell(script, str(fifo), options=("--receipt", str(fifo)))
        assert json.loads(os.read(reader, 65536))["acked"] == 1
    finally:
        os.close(reader)
    assert fifo.read_text() == "untouched\n"
    Path(f"{fifo}.moved").rename(fifo)
    ended = runs.command("echo", "c", options=("--receipt", str(fifo)), returncode=0)
    assert b"cannot write the receipt" in ended.stderr
    assert fifo.is_fifo()


PLANTED = {
    "the receipt": ("/tmp", 'ln -s "$1/victim" "$2/receipt.json"'),
    "a stream": ("/tmp", 'ln -s "$1/pipe" "$2/receipt.json"'),
    "a stream below /dev": ("/dev/shm", 'ln -s "$1/pipe" "$2/receipt.json"'),
    "the directory": ("/tmp", 'mv "$2" "$2.moved"; ln -s "$1" "$2"'),
}


@pytest.mark.parametrize(("root", "plant"), PLANTED.values(), ids=PLANTED)
def test_a_receipt_follows_no_link_that_the_command_left(
    runs: Runs, tmp_path: Path, root: str, plant: str
) -> None:
    """`run` may be root, and the command's user may write where the receipt goes."""
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "receipt.json").write_text("untouched")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with tempfile.TemporaryDirectory(dir=root) as name:
        directory = Path(name) / "open"
        directory.mkdir()
        directory.chmod(0o777)
        options = ("--receipt", str(directory / "receipt.json"))
        runs.shell(plant, str(tmp_path), str(directory), options=options, returncode=0)
        moved = Path(name) / "open.moved"
        written = (moved if moved.exists() else directory) / "receipt.json"
        assert (written.is_symlink(), written.stat().st_mode & 0o777) == (False, 0o600)
        assert json.loads(written.read_text())["logship"] == "drain report"
    with contextlib.suppress(BlockingIOError):
        assert os.read(reader, 100) == b""
    os.close(reader)
    assert (tmp_path / "victim").read_text() == "untouched"
    assert (tmp_path / "receipt.json").read_text() == "untouched"


def test_a_receipt_shows_no_arguments_and_may_have_a_long_name(runs: Runs, tmp_path: Path) -> None:
    receipt = tmp_path / ("r" * 255)
    runs.command("echo", "--password", "secret", options=("--receipt", str(receipt)))
    assert read_receipt(receipt)["command"] == ["echo", "***", "***"]


@pytest.mark.parametrize(("loss_exit", "returncode"), [("77", 77), ("", 0)])
def test_a_loss_is_on_the_receipt_and_can_be_the_exit_code(
    runs: Runs, receipt: Path, loss_exit: str, returncode: int
) -> None:
    """Without a sidecar the line is on stderr, and was not delivered."""
    options = ("--receipt", str(receipt), *(("--loss-exit", loss_exit) if loss_exit else ()))
    ended = runs.shell(
        "echo lost",
        options=options,
        returncode=returncode,
        LOGSHIP_ENDPOINTS=NOWHERE,
        LOGSHIP_EXIT_STALL_SECONDS="0.5",
    )
    assert b"lost" in ended.stderr
    assert b'"logship": "drain report"' in ended.stderr
    found = read_receipt(receipt)
    assert (found["complete"], found["accepted"], found["acked"]) == (False, 1, 0)
    assert found["exit_code"] == 0


def test_after_an_error_of_our_own_the_receipt_is_not_complete(runs: Runs, receipt: Path) -> None:
    fails = """
from logship._run.lines import LineSplitter
feed = LineSplitter.feed
def feed_or_fail(self, data):
    if data.startswith(b"lost"):
        raise MemoryError
    return feed(self, data)
LineSplitter.feed = feed_or_fail
"""
    runs.logship = broken(fails)
    options = ("--receipt", str(receipt), "--loss-exit", "75")
    runs.shell("echo lost; echo kept >&2", options=options, returncode=75)
    assert runs.messages == ["kept"]
    assert read_receipt(receipt)["complete"] is False
    assert read_receipt(receipt)["cut_off"] is True


def test_an_error_of_our_own_at_the_end_of_the_output_stops_no_delivery(
    runs: Runs, receipt: Path
) -> None:
    fails = """
from logship._run.lines import LineSplitter
def finish(self):
    raise MemoryError
LineSplitter.finish = finish
"""
    runs.logship = broken(fails)
    options = ("--receipt", str(receipt), "--orphan-wait", "0.2")
    runs.shell("echo kept; sleep 5 & exit 3", options=options, returncode=3)
    assert runs.messages == ["kept"]
    assert read_receipt(receipt)["complete"] is False


def test_a_drain_whose_thread_fails_is_done_all_the_same(runs: Runs) -> None:
    fails = """
from logship._client.background import BackgroundClient
drain = BackgroundClient.drain
def fail_once(*args):
    BackgroundClient.drain = drain
    raise MemoryError
BackgroundClient.drain = fail_once
"""
    runs.logship = broken(fails)
    assert runs.shell("echo kept; exit 3").returncode == 3
    assert runs.messages == ["kept"]


def test_the_end_of_a_delivery_is_seen_before_its_thread_ends(runs: Runs, receipt: Path) -> None:
    """Its thread wakes `run`, and may end only after the look that follows."""
    lingers = """
import threading
from logship._hooks.threads import OwnThread
run = OwnThread.run
def linger(thread):
    run(thread)
    if thread.name in ("logship-drain", "logship-recovery"):
        threading.Event().wait()
OwnThread.run = linger
"""
    source = """
        import logging, logship, os
        logship.install(level="INFO")
        logging.info("a record")
        os._exit(3)
    """
    runs.logship = broken(lingers)
    words = (sys.executable, "-c", textwrap.dedent(source))
    runs.command(*words, options=("--receipt", str(receipt)), returncode=3)
    assert runs.messages == ["a record"]
    assert read_receipt(receipt)["recovery"]["complete"]


REFUSED = [
    (("--signal-map", "TERM"), "not a pair of signals"),
    (("--signal-map", "TERM:NOSUCH"), "not a signal that can be passed on"),
    (("--signal-map", "KILL:TERM"), "not a signal that can be passed on"),
    (("--signal-map", "99:TERM"), "not a signal that can be passed on"),
    (("--multiline-start", f"a{{{2**64}}}"), "not a regular expression"),
    (("--multiline-start", "(" * 5_000), "not a regular expression"),
    (("--receipt", "/no/such/directory/receipt"), "no receipt can be written"),
    (("--receipt", "/"), "is a directory"),
    (("--loss-exit", "0"), "--loss-exit"),
    (("--stop-timeout", "0"), "stop_timeout_seconds"),
    (("--push-back", "-1"), "block_seconds_max"),
    (("--orphan-wait", "-1"), "--orphan-wait"),
    (("--tag", ""), "tag"),
]
RUNS_EACH = """
import json, sys
from click.testing import CliRunner
from logship._cli import main
asked, started = sys.argv[1:]
for options in json.loads(asked):
    ended = CliRunner().invoke(main, ["run", *options, "--", "touch", started])
    print(json.dumps([ended.exit_code, ended.output]))
"""


def test_bad_usage_is_refused_before_the_command_starts(tmp_path: Path) -> None:
    started = tmp_path / "started"
    environ = {**os.environ, "LOGSHIP_ENDPOINTS": NOWHERE, "TMPDIR": str(tmp_path)}
    asked = json.dumps([options for options, _ in REFUSED])
    ended = ran_python(RUNS_EACH, asked, started, env=environ)
    for (_, why), answer in zip(REFUSED, ended.stdout.splitlines(), strict=True):
        code, told = json.loads(answer)
        assert (code, why in told) == (2, True), told
    assert not started.exists()


def test_no_command_at_all_is_an_error_that_shows_what_to_type(runs: Runs) -> None:
    for words in ((), ("",)):
        ended = runs.command(*words, returncode=2)
        assert b"logship run -- php batch.php" in ended.stderr


def test_options_behind_the_command_are_the_commands(runs: Runs) -> None:
    runs.command("printf", "%s\n", "--tee", "--help", returncode=0)
    assert runs.messages == ["--tee", "--help"]


def test_disabled_the_command_takes_our_place(runs: Runs) -> None:
    script = "echo text; trap '' PIPE; exit 5"
    ended = runs.shell(script, LOGSHIP_DISABLED="1")
    assert (ended.returncode, ended.stdout) == (5, b"text\n")
    runs.command("no-such-command", LOGSHIP_DISABLED="1", returncode=127)
    assert runs.records == []


def test_the_default_tag_is_the_commands_name(runs: Runs) -> None:
    runs.command("echo", "text")
    runs.command("/bin/echo", "text", options=("--tag", "given"))
    runs.command("echo", "text", LOGSHIP_TAG="from-the-environment")
    tags = [line["tag"] for line in runs.receiver.records() if "message" in line["record"]]
    assert list(dict.fromkeys(tags)) == ["echo", "given", "from-the-environment"]


def path_without_temporary_files(directory: Path) -> str:
    """Return a PYTHONPATH with which no temporary directory can be made."""
    (directory / "sitecustomize.py").write_text(
        "import tempfile\n"
        "def refuse(*words, **more): raise PermissionError('read-only')\n"
        "tempfile.mkdtemp = refuse\n"
    )
    return os.pathsep.join([str(directory), *PATHS])


def test_without_any_place_for_temporary_files_it_runs_and_says_so(
    runs: Runs, tmp_path: Path
) -> None:
    """As in a container whose filesystem is read-only: only the children's spools are missing."""
    path = path_without_temporary_files(tmp_path)
    ended = runs.shell("echo text; echo spool: $LOGSHIP_SPOOL_DIR", PYTHONPATH=path, returncode=0)
    assert b"set TMPDIR to a directory that can be written" in ended.stderr
    assert runs.messages == ["text", "spool:"]


def test_without_it_a_client_ends_before_its_program_is_killed(runs: Runs, tmp_path: Path) -> None:
    """Its sidecar is away; nothing can tell it when `run` will kill the program."""
    program = runs.start(
        """
        logship.install(level="INFO", endpoints="tcp://127.0.0.1:1")
        log("x" * 100, times=100)
        ready()
        forever()
        """,
        options=("--stop-timeout", "6", "--tee"),
        environ={"PYTHONPATH": path_without_temporary_files(tmp_path)},
    )
    program.until_ready()
    program.signal(signal.SIGTERM)
    program.end(returncode=128 + signal.SIGTERM).verdict.assert_nothing_lost()


@pytest.mark.parametrize("name", ["a\nb", "a" * 220 + "/" + "b" * 220])
def test_a_client_has_a_spool_although_tmpdir_can_be_no_setting(
    runs: Runs, tmp_path: Path, name: str
) -> None:
    directory = tmp_path / name
    directory.mkdir(parents=True)
    ended = runs.command(
        sys.executable,
        "-c",
        "import logship; print(logship.install().settings.spool_dir)",
        TMPDIR=str(directory),
        LOGSHIP_STOP_TIMEOUT_SECONDS="5",
        returncode=0,
    )
    assert ended.stderr == b""
    (spool,) = runs.messages
    assert Path(spool).is_relative_to("/dev/shm")
    assert not list(directory.iterdir())
