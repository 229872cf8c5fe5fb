"""Shows what becomes of everything that a command can write: one record for each line."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.run.conftest import SIGTERMED, Runs, read_receipt
from tests.support.commands import LOGSHIP, ran
from tests.support.waiting import wait_until


def test_lines_of_both_streams_become_records_with_their_source(runs: Runs) -> None:
    ended = runs.shell("echo out; echo err >&2; printf 'no end'")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    found = [(each["message"], each["source"]) for each in runs.records]
    assert sorted(found) == [("err", "stderr"), ("no end", "stdout"), ("out", "stdout")]


def test_json_lines_become_the_records_they_describe_and_forge_nothing(runs: Runs) -> None:
    line = {"level": "INFO", "n": 1 << 70, "logship_id": "x" * 12 + ":0000000001", "logship_end": 1}
    runs.shell('printf "%s\\n" "$1"; echo "[1]"; echo "{broken}"; echo 7', json.dumps(line))
    first, *others = runs.records
    assert first["level"] == "INFO"
    assert "source" not in first
    assert first["logship_id"] != line["logship_id"]
    assert first["app_logship_id"] == line["logship_id"]
    assert [each["message"] for each in others] == ["[1]", "{broken}", "7"]


def test_every_byte_of_odd_lines_is_there(runs: Runs) -> None:
    """A line may end with CRLF; bytes that are no text are escaped."""
    runs.shell(r"printf 'crlf\r\nin\rside\n\n\000zero\n\377\376\n\303\244\n\r\r\nlast\r'")
    lines = ["crlf", "in\rside", "", "\0zero", "\\xff\\xfe", "ä"]
    assert runs.messages == [*lines, "\r", "last\r"]


@pytest.mark.parametrize("size", [1_000_000, 4_100_000])
def test_long_lines_arrive_whole_or_in_pieces_of_a_known_size(runs: Runs, size: int) -> None:
    program = runs.start(f"""
        sys.stdout.write("a" * {size} + "\\n")
        sys.stdout.write("behind\\n")
    """)
    assert program.end().returncode == 0
    *pieces, last = runs.messages
    assert last == "behind"
    assert "".join(pieces) == "a" * size
    assert len(pieces) == 1 + (size > 4_000_000)


def test_a_command_that_does_not_wait_for_its_output_may_write_much_at_once(runs: Runs) -> None:
    """Node does so: what the pipe does not take at once is dropped by `process.exit()`."""
    text = "import os; os.set_blocking(1, False); os.write(1, 2000 * (b'x' * 99 + b'\\n'))"
    runs.command(sys.executable, "-c", text, returncode=0)
    assert len(runs.messages) == 2000


def test_each_line_has_a_time_of_its_own_within_that_of_the_command(runs: Runs) -> None:
    """By their times, the lines of each pipe are in the order in which they were written."""
    begun_ns = time.time_ns()
    ended = runs.shell("seq 1 3000; seq 1 3000 >&2; printf last")
    ended_ns = time.time_ns()
    assert ended.returncode == 0
    lines = [each for each in runs.receiver.records() if "message" in each["record"]]
    times = {each["time_ns"] for each in lines if "logship_end" not in each["record"]}
    assert len(times) == 6001
    assert begun_ns < min(times)
    assert max(times) < ended_ns
    lines.sort(key=lambda each: each["time_ns"])
    for source in "stdout", "stderr":
        told = [each["record"] for each in lines if each["record"].get("source") == source]
        assert [each["message"] for each in told[:3000]] == [str(n) for n in range(1, 3001)]


WHILE_RUN_IS_STOPPED = """
from pathlib import Path
from tests.support.waiting import wait_until

RUN = os.getppid()

def is_stopped():
    return Path(f"/proc/{RUN}/stat").read_text().rpartition(")")[2].split()[0] == "T"

def is_read():
    waiting = array.array("i", [0])
    for descriptor in 1, 2:
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        if waiting[0]:
            return False
    return True

@contextlib.contextmanager
def run_is_stopped():
    os.kill(RUN, signal.SIGSTOP)
    wait_until(is_stopped, "run to stop")
    yield
    os.kill(RUN, signal.SIGCONT)
    wait_until(is_read, "run to read both pipes")
"""


def test_the_pipe_that_was_written_to_first_comes_first(runs: Runs) -> None:
    """Also where `run` finds both readable, because it was held up."""
    program = runs.start(
        WHILE_RUN_IS_STOPPED,
        r"""
        for number, order in enumerate([(1, 2), (2, 1), (2, 1), (1, 2), (2, 1)]):
            with run_is_stopped():
                for descriptor in order:
                    os.write(descriptor, b"%d %d\n" % (number, descriptor))
        """,
    )
    assert program.end().returncode == 0
    assert runs.messages == ["0 1", "0 2", "1 2", "1 1", "2 2", "2 1", "3 1", "3 2", "4 2", "4 1"]


def test_pipes_that_both_have_much_take_turns(runs: Runs) -> None:
    program = runs.start(
        WHILE_RUN_IS_STOPPED,
        r"""
        with run_is_stopped():
            for descriptor in 1, 2:
                os.write(descriptor, b"".join(b"%063d\n" % number for number in range(1000)))
        """,
    )
    assert program.end().returncode == 0
    sources = [each["source"] for each in runs.records]
    assert sources.count("stdout") == sources.count("stderr") == 1000
    assert sum(one != other for one, other in itertools.pairwise(sources)) >= 5


def test_a_command_that_writes_nothing_or_closes_its_output_is_no_trouble(runs: Runs) -> None:
    runs.shell("true", returncode=0)
    runs.shell("echo last; exec >&- 2>&-; sleep 0.2; exit 3", returncode=3)
    assert runs.messages == ["last"]


def test_tee_passes_on_the_very_bytes(runs: Runs) -> None:
    script = r"""printf 'a\r\n\377\n{"b": 1}\nno end'; printf 'e\n' >&2"""
    ended = runs.shell(script, options=("--tee",))
    assert ended.stdout == b'a\r\n\xff\n{"b": 1}\nno end'
    assert ended.stderr == b"e\n"
    assert len(runs.records) == 5


def test_tee_of_much_output_through_a_pipe_is_complete(runs: Runs) -> None:
    ended = runs.shell("seq 1 20000", options=("--tee",))
    assert ended.stdout.split() == [b"%d" % number for number in range(1, 20_001)]
    assert len(runs.messages) == 20_000


def test_a_reader_of_tee_that_leaves_costs_no_record(runs: Runs) -> None:
    """As `docker logs | head`: the records go on, and so does the command."""
    process = subprocess.Popen(
        [*LOGSHIP, "run", "--tee", "--", "sh", "-c", "seq 1 1000; read line; seq 1001 2000"],
        env=runs.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.read(10)
    process.stdout.close()
    process.stdin.write(b"go on\n")
    process.stdin.close()
    assert process.wait(60) == 0
    assert runs.messages == [str(number) for number in range(1, 2001)]


def test_tee_to_a_full_disk_costs_no_record(runs: Runs) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*LOGSHIP, "run", "--tee", "--", "seq", "1", "5000"],
            env=runs.environ,
            stdout=full,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 0
    assert runs.messages == [str(number) for number in range(1, 5001)]


def test_a_reader_of_tee_that_stops_reading_holds_up_the_command_but_not_the_end(
    runs: Runs, tmp_path: Path
) -> None:
    """It is as without us, until the command is stopped: then the records matter more."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read_descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    ended = runs.start(
        """
        ready()
        while True:
            marker = new_marker()
            os.write(1, f"{marker} {'x' * 400}\\n".encode())
            write_down(marker)
        """,
        options=("--tee", "--orphan-wait", "1"),
        outside=("sh", "-c", 'exec "$@" > "$0"', str(pipe)),
    ).stopped(logged=200)
    os.close(read_descriptor)
    assert ended.returncode == SIGTERMED
    assert "bytes not passed on" in ended.stderr
    ended.verdict.assert_all_delivered()


def test_lines_that_belong_together_are_joined(runs: Runs) -> None:
    lines = [
        "before any start",
        "2026-01-01 ERROR it broke\r",
        "Traceback:",
        '  File "a.py"',
        "2026-01-01 INFO next",
        '{"message": "alone"}',
        '{"message": "with a blank"} ',
        "2026-01-01 INFO last",
        "50%\r100%\r\r",
    ]
    runs.shell('printf "%s\\n" "$@"', *lines, options=("--multiline-start", r"^\d{4}-"))
    assert runs.messages == [
        "before any start",
        '2026-01-01 ERROR it broke\nTraceback:\n  File "a.py"',
        "2026-01-01 INFO next",
        "alone",
        "with a blank",
        "2026-01-01 INFO last\n50%\r100%\r",
    ]


def test_a_line_that_a_pattern_takes_years_for_holds_up_neither_output_nor_stop(runs: Runs) -> None:
    program = runs.start(
        """
        for line in "first", "a" * 60 + "!", "last":
            print(line, flush=True)
        ready()
        forever()
        """,
        options=("--multiline-start", "^(a+)+$"),
    )
    program.until_ready()
    runs.receiver.wait_for_records(3)
    program.signal(signal.SIGTERM)
    ended = program.end(returncode=SIGTERMED)
    assert ended.stderr.count("the search for --multiline-start took more than 1 s") == 1
    assert runs.messages == ["first", "a" * 60 + "!", "last"]


def test_only_the_beginning_of_a_line_is_searched(runs: Runs) -> None:
    """Where the time of a search grows with the square, `re` looks for signals too rarely."""
    lines = ["a" * 100_000, "x" * 8191 + "b", "x" * 8192 + "b"]
    runs.shell('printf "%s\\n" "$@"', *lines, options=("--multiline-start", "a*b"))
    assert runs.messages == [lines[0], f"{lines[1]}\n{lines[2]}"]


def test_a_joined_record_does_not_wait_for_the_next_one(runs: Runs) -> None:
    program = runs.start(
        """
        print("start of a record", flush=True)
        print("  and its end", flush=True)
        ready()
        forever()
        """,
        options=("--multiline-start", "^start"),
    )
    program.until_ready()
    runs.receiver.wait_for_records(1)
    assert runs.messages == ["start of a record\n  and its end"]


def test_a_joined_record_has_the_time_of_its_first_line(runs: Runs) -> None:
    """A record that arrived on the other stream shows that `run` has read the first line.

    A machine that stands still for a second parts the two lines. Then the next record is tried.
    """
    program = runs.start(
        """
        for number in range(5):
            print(f"start {number}", flush=True)
            print('{"message": "read %d"}' % number, file=sys.stderr, flush=True)
            wait_for(str(number))
            print("  its end", flush=True)
        """,
        options=("--multiline-start", "^start"),
        environ={"LOGSHIP_LINGER_SECONDS": "0"},
    )
    between_ns = []
    for number in range(5):
        wait_until(lambda: f"read {number}" in runs.messages, "the first line has been read")  # noqa: B023
        between_ns.append(time.time_ns())
        program.let_go(str(number))
    program.end()
    joined = [each for each in runs.receiver.records() if "\n" in each["record"]["message"]]
    assert joined
    for each in joined:
        start, end = each["record"]["message"].split("\n")
        assert end == "  its end"
        number = int(start.removeprefix("start "))
        assert each["time_ns"] < between_ns[number]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_child_of_another_user_reopens_its_output(runs: Runs) -> None:
    """As `nginx` and Apache do with /dev/stdout after they gave up root."""
    program = runs.start("""
        os.setgid(65534)
        os.setuid(65534)
        for name in ("stdout", "stderr"):
            for path in (f"/dev/{name}", f"/proc/self/fd/{1 if name == 'stdout' else 2}"):
                with open(path, "a") as file:
                    file.write(f"to {path}\\n")
        os.execv("/bin/sh", ["sh", "-c", "echo by redirection > /dev/stdout"])
    """)
    assert program.end().returncode == 0
    assert sorted(runs.messages) == [
        "by redirection",
        "to /dev/stderr",
        "to /dev/stdout",
        "to /proc/self/fd/1",
        "to /proc/self/fd/2",
    ]


def test_standard_input_environment_and_open_files_are_the_commands(
    runs: Runs, tmp_path: Path
) -> None:
    read_descriptor, write_descriptor = os.pipe()
    os.write(write_descriptor, b"through an inherited descriptor\n")
    os.close(write_descriptor)
    script = f'cat; cat /dev/fd/{read_descriptor}; echo "$MINE"; pwd'
    ran(
        *(*LOGSHIP, "run", "--", "sh", "-c", script),
        env={**runs.environ, "MINE": "as given"},
        cwd=tmp_path,
        input="from stdin\n",
        pass_fds=(read_descriptor,),
    )
    os.close(read_descriptor)
    expected = ["from stdin", "through an inherited descriptor", "as given", str(tmp_path)]
    assert runs.messages == expected


def test_closed_standard_streams_do_not_become_pipes_of_ours(runs: Runs, receipt: Path) -> None:
    command = " ".join(f"'{word}'" for word in LOGSHIP)
    script = (
        f"{command} run --receipt {receipt} -- sh -c 'echo out; echo err >&2; cat' <&- >&- 2>&-"
    )
    ran("sh", "-c", script, env=runs.environ)
    assert sorted(runs.messages) == ["err", "out"]
    assert read_receipt(receipt)["complete"] is True
