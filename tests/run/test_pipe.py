"""`logship pipe` where standard input is closed, cannot be read, or fails."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tests.run.conftest import Runs, broken
from tests.support.commands import LOGSHIP
from tests.support.programs import REPOSITORY
from tests.support.programs_gate import Gate
from tests.support.waiting import wait_until

WORDS = (*LOGSHIP, "pipe", "--stop-timeout")


def environ_of(runs: Runs, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(REPOSITORY), "LOGSHIP_ENDPOINTS": runs.receiver.endpoint, **more}


def piped(
    runs: Runs, data: bytes | IO[bytes], *words: str, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `logship pipe`, or another command, over an input to its end."""
    given: dict[str, Any] = {"input": data} if isinstance(data, bytes) else {"stdin": data}
    return subprocess.run(
        words or (*WORDS, "30"),
        env=environ_of(runs, **environ),
        capture_output=True,
        timeout=60,
        check=False,
        **given,
    )


@contextlib.contextmanager
def piping(
    runs: Runs, reading: int | IO[bytes], *words: str, stop_timeout: int = 30, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `logship pipe`, or another command, over an input; it is ended, whatever a test finds."""
    pipe = subprocess.Popen(
        words or (*WORDS, str(stop_timeout)),
        env=environ_of(runs, **environ),
        stdin=reading,
        stderr=subprocess.PIPE,
    )
    try:
        yield pipe
    finally:
        pipe.kill()
        pipe.communicate()


def test_a_closed_input_has_no_lines(runs: Runs) -> None:
    """Without care, a descriptor of the client's own would take its place."""
    ended = piped(runs, b"", "sh", "-c", 'exec "$@" <&-', "sh", *WORDS, "30")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert runs.messages == []


def test_an_input_that_cannot_be_read(runs: Runs) -> None:
    with Path(os.devnull).open("wb") as writable:
        ended = piped(runs, writable)
    assert ended.returncode == 1
    assert b"the input cannot be read: Bad file descriptor" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_connection_that_is_reset_in_mid_line(runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        writing = socket.create_connection(server.getsockname())
        reading, _ = server.accept()
    with piping(runs, reading.fileno()) as pipe:
        reading.close()
        writing.sendall(b"one line\nhalf a")
        wait_until(lambda: runs.messages == ["one line"], "it reads")
        writing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writing.close()
        _, told = pipe.communicate(timeout=40)
    assert runs.messages == ["one line", "half a"]
    assert pipe.returncode == 1
    assert b"the input cannot be read: Connection reset by peer" in told
    assert b"Traceback" not in told


def test_an_input_that_does_not_block_is_read_to_its_end(runs: Runs) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with piping(runs, reading) as pipe:
        os.close(reading)
        for number in range(3):
            os.write(writing, b"line %d\n" % number)
            wait_until(lambda: len(runs.messages) == number + 1, "it reads")  # noqa: B023
        os.close(writing)
        assert pipe.wait(40) == 0


def test_a_pipe_that_another_process_reads_too_ends_in_time(runs: Runs, tmp_path: Path) -> None:
    """The other one may empty it between the poll and the read, as is so at every read here."""
    empties = f"""
import os, pathlib
from logship import _system
def wait_readable(descriptor, seconds):
    pathlib.Path({str(tmp_path / "polled")!r}).touch()
    return True
_system.wait_readable = wait_readable
"""
    reading, writing = os.pipe()
    words = (*broken(empties), "pipe", "--stop-timeout", "1")
    with piping(runs, reading, *words) as pipe:
        wait_until((tmp_path / "polled").exists, "it reads")
        pipe.send_signal(signal.SIGTERM)
        assert pipe.wait(40) == 0
    os.close(reading)
    os.close(writing)


def test_a_named_pipe_whose_writer_has_left_already_is_read_to_its_end(
    runs: Runs, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "pipe").write_text("last words")
    os.set_blocking(reading, True)
    with piping(runs, reading) as pipe:
        os.close(reading)
        assert pipe.wait(40) == 0
    assert runs.messages == ["last words"]


def test_what_was_read_is_delivered_at_any_stop_signal(runs: Runs) -> None:
    """The input stays open, so it ends at the deadline."""
    reading, writing = os.pipe()
    with piping(runs, reading, stop_timeout=1) as pipe:
        os.write(writing, b"one line\n")
        wait_until(lambda: runs.messages == ["one line"], "it reads")
        os.write(writing, b"another line\n")
        pipe.send_signal(signal.SIGQUIT)
        assert pipe.wait(40) == 0
        assert runs.messages == ["one line", "another line"]
    os.close(reading)
    os.close(writing)


def test_lines_that_come_during_the_last_drain_are_written_to_stderr(
    runs: Runs, gate: Gate
) -> None:
    """Their writer, which is stopped at the same time, believes that they are shipped."""
    gate.silence()
    reading, writing = os.pipe()
    with piping(runs, reading, stop_timeout=3, LOGSHIP_ENDPOINTS=gate.endpoint) as pipe:
        os.close(reading)
        assert pipe.stderr is not None
        os.write(writing, b"in time\nbeg")
        wait_until(lambda: gate.connections_taken > 0, "it has begun")
        pipe.send_signal(signal.SIGTERM)
        assert any(b"spill begins" in line for line in pipe.stderr)
        os.write(writing, b"un\nlate\nlast")
        lines = [json.loads(each) for each in pipe.stderr if each.startswith(b"{")]
        assert pipe.wait(40) == 1
    os.close(writing)
    written: defaultdict[str, list[Any]] = defaultdict(list)
    for each in lines:
        written[each["logship"]].append(each.get("record", each))
    assert [each["message"] for each in written["spilled"][:2]] == ["in time", "beg"]
    assert [each["message"] for each in written["refused"]] == ["un", "late", "last"]
    assert written["report correction"][-1]["refused_lines"] == 3


def test_a_stop_signal_after_the_end_of_the_input_shortens_the_drain(
    runs: Runs, gate: Gate, tmp_path: Path
) -> None:
    """Without a clock the drain would go on for an hour."""
    gate.silence()
    lines = tmp_path / "lines"
    lines.write_text("a\nb\n")
    environ = {
        "LOGSHIP_ENDPOINTS": gate.endpoint,
        "LOGSHIP_EXIT_STALL_SECONDS": "3600",
        "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "3600",
    }
    with lines.open("rb") as file, piping(runs, file, stop_timeout=2, **environ) as pipe:
        position = Path(f"/proc/{pipe.pid}/fdinfo/0")
        wait_until(lambda: position.read_text().startswith("pos:\t4\n"), "it has read all")
        pipe.send_signal(signal.SIGTERM)
        _, told = pipe.communicate(timeout=40)
    assert pipe.returncode == 1
    assert told.count(b'"logship":"spilled"') == 3, "both lines, and the end of their stream"


def test_a_stop_while_the_buffer_is_full_leaves_the_time_for_the_spill(
    runs: Runs, gate: Gate
) -> None:
    gate.silence()
    environ = {
        "LOGSHIP_ENDPOINTS": gate.endpoint,
        "LOGSHIP_BUFFER_BYTES_MAX": "100000",
        "LOGSHIP_BLOCK_SECONDS_MAX": "3600",
    }
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    written: list[int] = []
    with piping(runs, reading, stop_timeout=4, **environ) as pipe:
        os.close(reading)
        wait_until(lambda: gate.connections_taken > 0, "it has begun")
        wait_until(lambda: is_full(writing, written), "it reads no more")
        os.close(writing)
        pipe.send_signal(signal.SIGTERM)
        _, told = pipe.communicate(timeout=40)
    report = json.loads(told.splitlines()[-1])
    assert report["reason"] == "SIGTERM"
    assert report["accepted"] == report["spilled"] + report["dropped"] == sum(written) / 100


def is_full(writing: int, written: list[int]) -> bool:
    """Write lines into a pipe, and note their bytes; tell whether it takes no more for a while."""
    try:
        while True:
            written.append(os.write(writing, b"x" * 99 + b"\n"))
    except BlockingIOError:
        return not select.select([], [writing], [], 1.0)[1]


def test_a_pipe_whose_shipper_cannot_start_ends_with_its_input(runs: Runs) -> None:
    """Then no space comes free in a full buffer, and a wait for it would have no end."""
    fails = """
import threading
def start(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
"""
    words = (*broken(fails), "pipe")
    ended = piped(runs, b"line\n" * 5000, *words, LOGSHIP_BUFFER_BYTES_MAX="100000")
    assert ended.returncode == 1
    report = json.loads(ended.stderr.splitlines()[-1])
    assert report["accepted"] == 5000 == report["spilled"] + report["dropped"]


def test_a_line_without_memory_for_its_record_is_refused_and_the_others_are_shipped(
    runs: Runs,
) -> None:
    fails = """
from logship._run import pipe_reader
record_of_line = pipe_reader.record_of_line
def record_or_fail(line, *rest):
    if line == b"large":
        raise MemoryError
    return record_of_line(line, *rest)
pipe_reader.record_of_line = record_or_fail
"""
    ended = piped(runs, b"one\nlarge\ntwo\n", *broken(fails), "pipe")
    assert runs.messages == ["one", "two"]
    assert ended.returncode == 1
    assert b"a line is refused: no memory for its record" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_of_two_names_that_read_the_same_both_values_are_shipped(runs: Runs) -> None:
    """Loggers of Go write such lines as a matter of course."""
    lines = (
        rb'{"id":1,"n":2,"id":3,"\u0069d":4,"id_2":5}',
        b'{"in":[{"a":1,"a":{"b":1,"b":2}}]}',
        b'{"logship_id":"x","logship_id":"y"}',
        b'{"card":4111,"password":"x","password":"y"}',
    )
    ended = piped(runs, b"\n".join(lines), LOGSHIP_STAMP="0", LOGSHIP_REDACT="fields")
    assert ended.returncode == 0
    assert runs.records == [
        {"id": 1, "n": 2, "id_3": 3, "id_4": 4, "id_2": 5},
        {"in": [{"a": 1, "a_2": {"b": 1, "b_2": 2}}]},
        {"app_logship_id": "x", "app_logship_id_2": "y"},
        {"card": 4111, "password": "[redacted]", "password_2": "[redacted]"},
    ]


def test_a_disabled_pipe_passes_its_input_on(runs: Runs) -> None:
    lines = b"one\n" * 100_000 + b"no end"
    ended = piped(runs, lines, LOGSHIP_DISABLED="1")
    assert (ended.returncode, ended.stdout, runs.messages) == (0, lines, [])
