"""Shows what signals do: they reach the command, start the clock, and lose nothing."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logship._signal_names import signal_number
from tests.run.conftest import SIGKILLED, SIGTERMED, Runs, read_receipt, states_below
from tests.support.commands import LOGSHIP, ran
from tests.support.programs import REPOSITORY, Program, children_of
from tests.support.programs_gate import Gate
from tests.support.waiting import wait_until

PRINTS_SIGNALS = """
    taken = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
    for number in taken:
        signal.signal(number, lambda number, frame: progress(f"signal {int(number)}"))
    ready()
    forever()
"""

PRINTS_AND_IGNORES_SIGTERM = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready()
    while True:
        print_marker("x" * 400)
        time.sleep(0.003)
"""

PRINTS_UNTIL_SIGTERM = """
    stopped = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    ready()
    while not stopped:
        print_marker("x" * 400)
        time.sleep(0.001)
    marker = new_marker()
    print(marker, "last words", end="", flush=True)
    write_down(marker)
    sys.exit(9)
"""

NAMES = "HUP INT QUIT USR1 USR2 ALRM TERM TSTP CONT URG WINCH IO PWR RTMIN RTMAX"
FORWARDED = [int(signal.Signals[f"SIG{each}"]) for each in NAMES.split()] + [signal.SIGRTMIN + 3]


def test_every_signal_that_can_be_passed_on_is(both: Runs) -> None:
    program = both.start(PRINTS_SIGNALS)
    program.until_ready()
    for number in FORWARDED:
        program.signal(number)
        program.until(f"signal {number}")
    program.signal(signal.SIGTERM)
    program.until_true(lambda: program.progress.count("signal 15") == 2, "a second SIGTERM")
    assert program.is_alive


def test_mapped_signals_arrive_as_the_others(runs: Runs) -> None:
    options = ("--signal-map", "TERM:QUIT", "--signal-map", "sigusr1:12", "--stop-timeout", "60")
    program = runs.start(PRINTS_SIGNALS, options=options)
    program.until_ready()
    for came, arrives in ((signal.SIGTERM, signal.SIGQUIT), (signal.SIGUSR1, signal.SIGUSR2)):
        program.signal(came)
        program.until(f"signal {int(arrives)}")
    assert not {"signal 15", "signal 10"} & set(program.progress)


@pytest.mark.parametrize(
    ("disabled", "status"), [("0", SIGTERMED), ("1", -signal.SIGTERM)], ids=["enabled", "disabled"]
)
def test_signals_that_come_before_the_command_has_started_are_not_lost(
    runs: Runs, tmp_path: Path, disabled: str, status: int
) -> None:
    """It is signalled while it waits for a file of its settings, before CMD runs."""
    key = tmp_path / "key"
    os.mkfifo(key)
    environ = {"LOGSHIP_DISABLED": disabled, "LOGSHIP_SHARED_KEY_FILE": str(key)}
    program = runs.start("import signal; signal.pause()", environ=environ)

    def takes_sigterm() -> bool:
        status = Path(f"/proc/{program.process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))

    wait_until(takes_sigterm, "run takes SIGTERM")
    program.signal(signal.SIGTERM)
    key.write_text("key")
    assert program.end(seconds_max=20).returncode == status


def test_a_signal_that_is_blocked_when_run_starts_stops_the_command(runs: Runs) -> None:
    block = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    program = runs.start(PRINTS_UNTIL_SIGTERM, outside=(sys.executable, "-c", block))
    program.stopped(returncode=9).verdict.assert_all_delivered()


def test_a_stopped_command_says_its_last_words_and_keeps_its_code(
    as_pid_1: Runs, receipt: Path
) -> None:
    program = as_pid_1.start(PRINTS_UNTIL_SIGTERM, options=("--receipt", str(receipt)))
    program.stopped(logged=200, returncode=9).verdict.assert_all_delivered()
    found = read_receipt(receipt)
    assert (found["reason"], found["exit_code"], found["complete"]) == ("SIGTERM", 9, True)
    as_pid_1.assert_proved(receipt)


def test_a_command_that_ignores_sigterm_is_killed_and_what_it_wrote_is_shipped(
    runs: Runs, receipt: Path
) -> None:
    """Killed by us before the orchestrator would: all the ledger names was written before."""
    ended = runs.start(
        PRINTS_AND_IGNORES_SIGTERM, options=("--stop-timeout", "2", "--receipt", str(receipt))
    ).stopped(logged=50, returncode=SIGKILLED)
    assert "after SIGTERM; it is killed" in ended.stderr
    ended.verdict.assert_all_delivered()
    runs.assert_proved(receipt)


def test_a_command_that_ignores_sigterm_while_the_sidecar_is_silent_is_on_stderr_in_time(
    as_pid_1: Runs, gate: Gate
) -> None:
    gate.silence()
    ended = as_pid_1.start(
        PRINTS_AND_IGNORES_SIGTERM, endpoint=gate.endpoint, options=("--stop-timeout", "2")
    ).stopped(logged=50, returncode=SIGKILLED)
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert set(verdict.spilled) == set(ended.ledger)


def test_sigterm_during_the_drain_of_a_command_that_ended_by_itself_shortens_it(
    runs: Runs, gate: Gate
) -> None:
    """Without a clock it would go on for a minute, as long as the setting allows."""
    gate.silence()
    program = runs.start(
        """
        for _ in range(50):
            print_marker()
        progress("over")
        """,
        endpoint=gate.endpoint,
        options=("--stop-timeout", "2"),
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "3600", "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "3600"},
    )
    program.until("over")
    program.until_true(lambda: children_of(program.pid) == [], "the command has ended")
    program.signal(signal.SIGTERM)
    program.end(returncode=0).verdict.assert_nothing_lost()


def test_the_whole_group_can_be_signalled_where_a_shell_passes_nothing_on(runs: Runs) -> None:
    program = runs.start(
        """
        def stop(number, frame):
            print("child stopped", flush=True)
            os._exit(0)

        if sys.argv[1:] == []:
            words = [sys.executable, __file__, "child"]
            script = '"$@"; exit 6'
            os.execvp("sh", ["sh", "-c", f"trap : TERM; {script}", "sh", *words])
        signal.signal(signal.SIGTERM, stop)
        ready()
        forever()
        """,
        options=("--signal-group",),
    )
    assert program.stopped().returncode == 6
    assert runs.messages == ["child stopped"]


ORPHANS = """
    for number in range(50):
        if os.fork() == 0:
            middle = os.getpid()
            if os.fork() == 0:
                while os.getppid() == middle:
                    time.sleep(0.005)
                progress(f"orphan of {os.getppid()}")
                os._exit(number)
            os._exit(0)
        os.wait()
    ready()
    forever()
"""


def test_orphans_are_reaped(both: Runs) -> None:
    """Not only as PID 1: elsewhere the kernel is asked for them."""
    program = both.start(ORPHANS)
    program.until_ready()
    program.until_true(lambda: len(program.progress) == 51, "all orphans have ended")
    seen_from_within = 1 if both.as_pid_1 else program.pid
    adopted = [each for each in program.progress if each.startswith("orphan of")]
    assert set(adopted) == {f"orphan of {seen_from_within}"}
    program.until_true(lambda: "Z" not in states_below(program), "no zombies")
    program.signal(signal.SIGTERM)
    assert program.end().returncode == SIGTERMED


GRANDCHILD = """
    def say(text):
        print_marker(text)
    say("parent")
    if os.fork() == 0:
        os.setsid()
        for _ in range({lines}):
            time.sleep(0.02)
            say("grandchild")
        progress("grandchild has spoken")
        time.sleep({stays})
        os._exit(0)
    sys.exit(5)
"""


def test_what_a_grandchild_still_writes_is_waited_for(runs: Runs, receipt: Path) -> None:
    runs.start(GRANDCHILD.format(lines=25, stays=0), options=("--receipt", str(receipt))).end(
        returncode=5
    ).verdict.assert_all_delivered(26)
    assert read_receipt(receipt)["cut_off"] is False


def test_a_grandchild_that_stays_is_not_waited_for_for_ever(both: Runs, receipt: Path) -> None:
    """As PID 1 it is killed, as the kernel would do next; elsewhere left alone. It is told once."""
    options = ("--orphan-wait", "2", "--receipt", str(receipt))
    program = both.start(GRANDCHILD.format(lines=5, stays=600), options=options)
    ended = program.end(returncode=5)
    ended.verdict.assert_all_delivered(6)
    found = read_receipt(receipt)
    assert found["cut_off"] is not both.as_pid_1
    told = "still hold its output; they are killed" if both.as_pid_1 else "still hold its"
    assert [told in line for line in ended.stderr.splitlines() if "left behind" in line] == [True]
    assert is_running(program) is not both.as_pid_1


def is_running(program: Program) -> bool:
    """Tell whether some process still runs the text of `program`."""
    text = str(program.directory / "program.py").encode()
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # not a process, or gone
            if text in (each / "cmdline").read_bytes().split(b"\0"):
                return True
    return False


def test_ignored_signals_stay_ignored_as_nohup_wants_it(runs: Runs) -> None:
    script = "kill -HUP $PPID; kill -HUP $$; grep SigIgn /proc/self/status"
    run = (*LOGSHIP, "run", "--", "sh", "-c", script)
    ran("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *run, env=runs.environ)
    mask = int(runs.messages[0].split()[1], 16)
    assert mask == 1 << (signal.SIGHUP - 1)  # and SIGPIPE, which Python ignores, is not


SHELL = ("bash", "--norc", "--noprofile", "-i")


@contextlib.contextmanager
def at_a_terminal(runs: Runs, *words: str, code: int = 0) -> Iterator[int]:
    """Run a command at a new terminal, to its end with this exit code; give our end of it."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(PYTHONPATH=str(REPOSITORY), LOGSHIP_ENDPOINTS=runs.receiver.endpoint)
        os.execvp(words[0], words)
    try:
        yield terminal
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    finally:
        os.close(terminal)


def test_ctrl_c_at_a_terminal_reaches_the_command_once(runs: Runs, tmp_path: Path) -> None:
    """The command's group is the terminal's foreground; `run` gets its output all the same."""
    source = tmp_path / "interactive.py"
    source.write_text(
        "import signal, sys, time\n"
        "count = []\n"
        "signal.signal(signal.SIGINT, lambda number, frame: count.append(1))\n"
        "print('typed', input(), flush=True)\n"
        "while not count: time.sleep(0.01)\n"
        "print('once', flush=True)\n"
        "input()\n"
        "print('interrupted', len(count), flush=True)\n"
    )
    run = (*LOGSHIP, "run", "--", sys.executable, str(source))
    with at_a_terminal(runs, *run) as terminal:
        os.write(terminal, b"some text\n")
        wait_until(lambda: "typed some text" in runs.messages, "the command has read a line", 40)
        os.write(terminal, b"\x03")
        wait_until(lambda: "once" in runs.messages, "it is interrupted", 40)
        os.write(terminal, b"\n")
    assert runs.messages == ["typed some text", "once", "interrupted 1"]


def watch(terminal: int) -> Callable[[bytes], bool]:
    """Return a function that tells whether a terminal has shown a text."""
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        while select.select([terminal], [], [], 0)[0]:
            shown += os.read(terminal, 4096)
        return text in shown

    return shows


@pytest.mark.parametrize("job", ["{}", "{} | cat", "cat | {}"])
def test_ctrl_z_stops_run_too_and_fg_continues_both(runs: Runs, job: str) -> None:
    """Else the shell would wait for `run`, and the terminal would be of no use."""
    run = shlex.join([*LOGSHIP, "run", "--", "cat"])
    with at_a_terminal(runs, *SHELL, code=7) as terminal:
        shows = watch(terminal)
        os.write(terminal, f"{job.format(run)}\nbefore\n".encode())
        wait_until(lambda: "before" in runs.messages, "the command has read a line", 40)
        os.write(terminal, b"\x1a")
        wait_until(lambda: shows(b"Stopped"), "the shell notices that it stopped", 40)
        os.write(terminal, b"echo $((6 * 7))\n")
        wait_until(lambda: shows(b"42\r\n"), "the shell works", 40)
        os.write(terminal, b"fg\nafter\n")
        wait_until(lambda: "after" in runs.messages, "the command goes on", 40)
        os.write(terminal, b"\x04exit 7\n")
    assert runs.messages == ["before", "after"]


def test_a_command_that_reads_in_the_background_stops_run_too_and_fg_continues_both(
    runs: Runs,
) -> None:
    """The shell sends no SIGCONT to a job that it believes to be running."""
    run = shlex.join([*LOGSHIP, "run", "--", "cat"])
    with at_a_terminal(runs, *SHELL, code=7) as terminal:
        shows = watch(terminal)
        os.write(terminal, f"set -b; {run} &\n".encode())
        wait_until(lambda: shows(b"Stopped"), "the shell notices that it stopped", 40)
        os.write(terminal, b"fg\ntyped\n")
        wait_until(lambda: "typed" in runs.messages, "the command has read a line", 40)
        os.write(terminal, b"\x04exit 7\n")
    assert runs.messages == ["typed"]


def test_a_pager_behind_run_has_the_terminal_and_ctrl_c_ends_the_command(
    runs: Runs, tmp_path: Path
) -> None:
    """The kernel stopped the pager, because the terminal was the command's alone."""
    keys = tmp_path / "keys"
    pager = f"trap : INT; read line; read key < /dev/tty; echo $line $key > {keys}; cat > /dev/null"
    command = "(trap 'echo interrupted; exit' INT; echo a line; while :; do sleep 0.05; done); :"
    run = shlex.join([*LOGSHIP, "run", "--tee", "--", "sh", "-c", command])
    with at_a_terminal(runs, *SHELL, code=7) as terminal:
        os.write(terminal, f"{run} | sh -c {shlex.quote(pager)}\n".encode())
        wait_until(lambda: "a line" in runs.messages, "the command has begun", 40)
        os.write(terminal, b"q\n")
        wait_until(lambda: keys.exists() and keys.read_text() == "a line q\n", "it reads a key", 40)
        os.write(terminal, b"\x03exit 7\n")
    assert runs.messages == ["a line", "interrupted"], "the shell's child gets the signal too"


def test_ctrl_c_ends_the_commands_children_where_its_input_is_no_terminal(runs: Runs) -> None:
    """A shell that waits for its child ends only when that does."""
    run = shlex.join([*LOGSHIP, "run", "--", "sh", "-c", "echo begun; sleep 60; echo not reached"])
    with at_a_terminal(runs, *SHELL, code=128 + signal.SIGINT) as terminal:
        os.write(terminal, f"{run} </dev/null\n".encode())
        wait_until(lambda: runs.messages == ["begun"], "the command has begun", 40)
        os.write(terminal, b"\x03exit\n")
    assert runs.messages == ["begun"]


def test_output_is_passed_on_to_a_terminal_that_stops_background_writers(runs: Runs) -> None:
    """The command is its foreground, so `run` itself writes from the background."""
    script = 'stty tostop; exec "$@" run --tee -- echo "a line"'
    shown = b""
    with (
        at_a_terminal(runs, "sh", "-c", script, "sh", *LOGSHIP) as terminal,
        contextlib.suppress(OSError),  # EIO once no process has it open
    ):
        while data := os.read(terminal, 4096):
            shown += data
    assert shown == b"a line\r\n"


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        pytest.param("SIGINT", "", id="SIGINT"),
        pytest.param("SIGHUP", "HUP,WINCH", id="SIGHUP"),
    ],
)
def test_other_stop_signals_start_the_clock_too(runs: Runs, name: str, listed: str) -> None:
    """The command ignores it, and yet all ends in time, by a kill of ours."""
    signum = signal_number(name)
    assert signum is not None
    ended = runs.start(
        f"""
        signal.signal({signum}, signal.SIG_IGN)
        ready()
        forever()
        """,
        options=("--stop-timeout", "1"),
        environ={"LOGSHIP_STOP_SIGNALS": listed},
    ).stopped(signum, returncode=SIGKILLED)
    assert f"after {name}; it is killed" in ended.stderr


@pytest.mark.parametrize(
    ("handler", "status", "reason"),
    [
        pytest.param("signal.SIG_DFL", 128 + signal.SIGHUP, "SIGHUP", id="it ends by it"),
        pytest.param("lambda *_: progress('read again')", 6, "end of output", id="it handles it"),
    ],
)
def test_by_default_sighup_starts_the_clock_if_the_command_ends_by_it(
    runs: Runs, receipt: Path, handler: str, status: int, reason: str
) -> None:
    """A command that handles it probably reads its configuration again, and must not be killed."""
    program = runs.start(
        f"""
        signal.signal(signal.SIGHUP, {handler})
        ready()
        wait_for("end")
        sys.exit(6)
        """,
        options=("--receipt", str(receipt)),
    )
    program.until_ready()
    program.signal(signal.SIGHUP)
    if status == 6:
        program.until("read again")
        program.let_go("end")
    assert program.end().returncode == status
    assert read_receipt(receipt)["reason"] == reason
