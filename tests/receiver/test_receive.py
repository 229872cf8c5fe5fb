"""`logship receive` as a real process: what its acknowledgements mean, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from click.testing import CliRunner

from logship._cli import main
from tests.receiver.raw_client import ANSWER_SECONDS_MAX, RawClient, frame
from tests.support.receiver_process import RECEIVE, ReceiverProcess
from tests.support.threads import Later, in_threads
from tests.support.waiting import wait_until


def written(receiver: ReceiverProcess) -> list[Any]:
    return [line["record"] for line in receiver.records()]


def test_an_acknowledged_record_is_in_the_file_already(receiver: ReceiverProcess) -> None:
    with RawClient(receiver) as client:
        for number in range(200):
            client.send(frame(f"id{number}", {"n": number, "message": "é"}, tag="web"))
            assert client.acks(1) == [f"id{number}"]
            line = '{"tag":"web","time_ns":1000000000,"record":{"n":%d,"message":"é"}}'
            assert receiver.out.read_text().splitlines()[-1] == line % number


def test_an_output_that_is_full_acknowledges_nothing(tmp_path: Path) -> None:
    with ReceiverProcess.start(Path("/dev/full"), stderr=tmp_path / "stderr") as receiver:
        for _ in range(3):
            with RawClient(receiver) as client:
                client.send(frame("id", {"n": 1}))
                assert client.rest() == []
        assert receiver.stderr().count("cannot write to /dev/full: No space left on device") == 1
        assert receiver.terminate() == 0


def test_an_output_that_has_space_again(tmp_path: Path) -> None:
    """A limit on the file's size stands for a full disk, and emptying it for a person's help."""
    limited = tmp_path / "out.jsonl"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    command = [RECEIVE[0], "-c", limit + RECEIVE[2], "receive"]
    with ReceiverProcess.start(limited, command=command) as receiver:
        with RawClient(receiver) as client:
            client.send(frame("1", {"n": "x" * 10}) + frame("2", {"n": "y" * 1000}))
            assert client.acks(1) == ["1"]
            assert client.rest() == []
        assert (
            "File too large; nothing is acknowledged until it can be written" in receiver.stderr()
        )
        limited.write_text("")
        with RawClient(receiver) as client:
            client.send(frame("3", {"n": 3}))
            assert client.acks(1) == ["3"]
        assert written(receiver) == [{"n": 3}]
        assert "the output takes records again" in receiver.stderr()


def test_duplicates_are_not_dropped(receiver: ReceiverProcess) -> None:
    with RawClient(receiver) as client:
        client.send(frame("id", {"n": 1}) * 3)
        assert client.acks(3) == ["id"] * 3
    assert written(receiver) == [{"n": 1}] * 3


def test_garbage_ends_its_connection_and_no_other(receiver: ReceiverProcess) -> None:
    with RawClient(receiver) as good:
        for number in range(30):
            with RawClient(receiver) as bad:
                bad.send(frame("id", {"bad": number}) + b"\xc1 not msgpack")
                assert bad.rest() == [{"ack": "id"}], "what came before the garbage was taken"
        good.send(frame("id", {"good": 1}))
        assert good.acks(1) == ["id"]
    assert written(receiver) == [*({"bad": number} for number in range(30)), {"good": 1}]
    assert receiver.terminate() == 0
    complaints = re.findall(r"closed 127\.0\.0\.1:\d+: a message begins with", receiver.stderr())
    assert len(complaints) == 10
    assert "20 more lines like these were left out" in receiver.stderr()


def test_a_client_that_goes_in_the_middle_of_a_message(receiver: ReceiverProcess) -> None:
    with RawClient(receiver) as client:
        client.send(frame("id", {"n": 1}) + frame("half", {"n": 2})[:-3])
        assert client.acks(1) == ["id"]
    wait_until(lambda: "bytes into a message" in receiver.stderr(), "the receiver notices")
    assert written(receiver) == [{"n": 1}]


def test_a_client_that_is_gone_before_its_messages_are_read(tmp_path: Path) -> None:
    bind = f"unix://{tmp_path}/socket"
    with ReceiverProcess.start(tmp_path / "out.jsonl", bind) as receiver:
        receiver.process.send_signal(signal.SIGSTOP)
        with RawClient(receiver) as client:
            client.send(b"".join(frame(str(n), {"n": n}) for n in range(1000)))
        receiver.process.send_signal(signal.SIGCONT)
        receiver.wait_for_records(1000)
        assert receiver.terminate() == 0
        assert [line for line in receiver.stderr().splitlines() if "listening" not in line] == []


def test_a_slow_client_and_a_fast_one(receiver: ReceiverProcess) -> None:
    sent = frame("slow", {"slow": 1})
    with RawClient(receiver) as slow, RawClient(receiver) as fast:
        for at in range(len(sent)):
            slow.send(sent[at : at + 1])
            fast.send(frame("fast", {"fast": at}))
            assert fast.acks(1) == ["fast"]
        assert slow.acks(1) == ["slow"]
    assert {"slow": 1} in written(receiver)


def test_clients_in_parallel_each_keep_their_order(receiver: ReceiverProcess) -> None:
    def ship(client_number: int) -> list[str]:
        with RawClient(receiver) as client:
            for number in range(0, 1000, 20):
                records = [{"client": client_number, "n": number + i} for i in range(20)]
                client.send(frame(str(number), *records))
            return client.acks(50)

    assert in_threads(4, ship) == [[str(number) for number in range(0, 1000, 20)]] * 4
    records = written(receiver)
    assert len(records) == 4000
    for client_number in range(4):
        mine = [record["n"] for record in records if record["client"] == client_number]
        assert mine == list(range(1000))


def test_a_client_that_reads_no_acknowledgements_is_not_read_either(
    receiver: ReceiverProcess,
) -> None:
    with RawClient(receiver) as deaf, RawClient(receiver) as good:
        deaf.socket.settimeout(2.0)  # a stall lasts; a pause of the receiver does not
        sent = frame("x" * 60_000, {"n": 1})  # its acknowledgement is as long as itself
        with pytest.raises(TimeoutError):
            deaf.send(sent * 1000)
        good.send(frame("id", {"good": 1}))
        assert good.acks(1) == ["id"]
        assert receiver.terminate() == 0, "and it does not hold up the end"


def test_sigterm_keeps_what_was_acknowledged_and_ends_connections(
    receiver: ReceiverProcess,
) -> None:
    acks: list[Any] = []
    with RawClient(receiver) as busy, RawClient(receiver) as idle:
        for number in range(50):
            busy.send(frame(str(number), *({"chunk": number} for _ in range(10))))
        assert busy.acks(50)
        busy.send(frame("last", {"chunk": "last"})[:-2])
        receiver.process.terminate()
        acks += busy.rest()
        assert idle.rest() == []
        with contextlib.suppress(ConnectionError):
            busy.send(b"xx")
    assert acks == []
    assert receiver.process.wait(ANSWER_SECONDS_MAX) == 0
    assert len(written(receiver)) == 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_that_was_acknowledged(
    receiver: ReceiverProcess, number: signal.Signals
) -> None:
    with RawClient(receiver) as client:
        client.send(frame("0", {"n": 0}))
        client.acks(1)
        load = b"".join(frame(str(n), {"n": n, "text": "x" * 400}) for n in range(1, 20_000))

        def send() -> None:
            with contextlib.suppress(OSError):
                client.send(load)

        sender = Later(send)
        wait_until(lambda: len(written(receiver)) > 100, "the load arrives")
        receiver.process.send_signal(number)
        acked = [int(answer["ack"]) for answer in client.rest()]
        sender.join()
    assert receiver.process.wait(ANSWER_SECONDS_MAX) == 0
    in_file = [record["n"] for record in written(receiver)]
    assert acked == list(range(1, len(acked) + 1))
    assert in_file[: len(acked) + 1] == list(range(len(acked) + 1))
    assert "Traceback" not in receiver.stderr()


def test_a_killed_receiver_goes_on_behind_its_torn_line(receiver: ReceiverProcess) -> None:
    with RawClient(receiver) as client:
        client.send(frame("1", {"n": 1}))
        client.acks(1)
    receiver.kill()
    with receiver.out.open("ab") as file:
        file.write(b'{"tag":"app","time_ns":100')
    port = receiver.port
    receiver.restart()
    assert receiver.port == port
    with RawClient(receiver) as client:
        client.send(frame("2", {"n": 2}))
        client.acks(1)
    assert written(receiver) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_after_a_rotation_it_writes_to_the_new_file(
    receiver: ReceiverProcess, number: signal.Signals
) -> None:
    moved = receiver.out.with_suffix(".1")
    with RawClient(receiver) as client:
        client.send(frame("1", {"n": 1}))
        client.acks(1)
        receiver.out.rename(moved)
        receiver.process.send_signal(number)
        wait_until(lambda: f"opened {receiver.out} again" in receiver.stderr(), "the new file")
        client.send(frame("2", {"n": 2}))
        client.acks(1)
    assert json.loads(moved.read_bytes())["record"] == {"n": 1}
    assert written(receiver) == [{"n": 2}]
    assert receiver.terminate() == 0
    assert "read again" not in receiver.stderr()  # there is no key and no certificate


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with ReceiverProcess.start(tmp_path / "out.jsonl", bind=f"unix://{path}") as receiver:
        assert receiver.endpoint == f"unix://{path}"
        with RawClient(receiver) as client:
            client.send(frame("id", {"n": 1}))
            assert client.acks(1) == ["id"]
            client.send(b"\xc1")
            assert client.rest() == []
        receiver.kill()
        receiver.restart()
        with RawClient(receiver) as client:
            client.send(frame("id", {"n": 2}))
            assert client.acks(1) == ["id"]
        assert written(receiver) == [{"n": 1}, {"n": 2}]
        assert receiver.terminate() == 0
        assert not path.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--bind", "{taken}", "--out", "/dev/null"],
            f"cannot listen on tcp://{{taken}}: {os.strerror(errno.EADDRINUSE)}; give another",
        ),
        (["--out", "/missing/out"], "cannot open /missing/out for writing: No such file or dir"),
        (["--bind", "here"], "'here'; give HOST:PORT, tcp://HOST:PORT or unix:///PATH"),
        (["--count", "--out", "/missing/out"], "--count writes nothing: give no --out"),
        (["--count", "--pretty"], "--count writes nothing"),
    ],
)
def test_what_cannot_be_is_one_clear_error(options: list[str], says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        words = [each.format(taken=taken) for each in options]
        result = CliRunner().invoke(main, ["receive", "--bind", "127.0.0.1:0", *words])
    assert result.exit_code == 2
    assert says.format(taken=taken) in result.output.splitlines()[-1]


@contextlib.contextmanager
def on_pipes(
    tmp_path: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Start a receiver whose outputs are pipes; give it and a client that is connected to it."""
    words, pipe = [*RECEIVE, "--bind", f"unix://{tmp_path}/socket", *options], subprocess.PIPE
    with (
        subprocess.Popen(words, stdout=pipe, stderr=pipe) as process,
        socket.socket(socket.AF_UNIX) as client,
    ):
        wait_until(lambda: client.connect_ex(f"{tmp_path}/socket") == 0, "it listens")
        client.settimeout(ANSWER_SECONDS_MAX)
        try:
            yield process, client
        finally:
            process.kill()


@pytest.mark.parametrize("mode", ["PackedForward", "Forward"])
def test_counting_acknowledges_and_keeps_nothing(tmp_path: Path, mode: str) -> None:
    with on_pipes(tmp_path, "--count") as (process, client):
        entry = [msgpack.ExtType(0, bytes(8)), {"n": 1}]
        entries = msgpack.packb(entry) * 3 if mode == "PackedForward" else [entry] * 3
        client.sendall(msgpack.packb(["app", entries, {"chunk": "id", "size": 3}]))
        assert client.recv(100) == msgpack.packb({"ack": "id"})
        client.sendall(msgpack.packb(["app", [{"n": 4}], {"chunk": "wrong"}]))
        assert client.recv(100) == b""
        process.terminate()
        stdout, stderr = process.communicate(timeout=ANSWER_SECONDS_MAX)
    assert process.returncode == 0
    assert stdout == b""
    assert b"records are counted and acknowledged, none is kept" in stderr
    assert b"an entry is not an array of a time and a record" in stderr
    assert stderr.endswith(b"logship receive: counted 3 records\n")


def test_a_reader_of_standard_output_that_stalls_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with on_pipes(tmp_path) as (process, client):
        assert process.stdout
        assert process.stderr
        client.sendall(frame("id", {"text": "x" * 1_000_000}))
        assert select.select([process.stdout], [], [], ANSWER_SECONDS_MAX)[0], "it writes"
        process.terminate()
        assert client.recv(100) == b"", "nothing is acknowledged"
        assert process.wait(ANSWER_SECONDS_MAX) == 0
        assert b"cannot write to standard output: its reader takes nothing" in process.stderr.read()


def test_a_terminal_that_stalls_once_more_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """It has room for a part of what a write may have."""
    reader, side = pty.openpty()
    out = Path(os.ttyname(side))
    with ReceiverProcess.start(out, stderr=tmp_path / "stderr") as receiver:
        with RawClient(receiver) as client:
            client.send(frame("id", {"text": "x" * 1_000_000}))
            assert select.select([reader], [], [], ANSWER_SECONDS_MAX)[0], "it writes"
            receiver.process.terminate()
            wait_until(lambda: not is_pending(receiver.process.pid), "it has the signal")
            assert os.read(reader, 1000)
            assert client.rest() == [], "nothing is acknowledged"
        assert receiver.process.wait(ANSWER_SECONDS_MAX) == 0
    os.close(reader)
    os.close(side)


def is_pending(pid: int) -> bool:
    """Tell whether SIGTERM waits for a process to take it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("ShdPnd:")[1].split()[0], 16) & 1 << (signal.SIGTERM - 1) != 0


def test_a_reader_of_stderr_that_stalls_holds_up_nothing(tmp_path: Path) -> None:
    with on_pipes(tmp_path) as (process, client):
        fill(Path(f"/proc/{process.pid}/fd/2"))
        with socket.socket(socket.AF_UNIX) as garbage:
            garbage.connect(str(tmp_path / "socket"))
            garbage.sendall(b"?")
            garbage.settimeout(ANSWER_SECONDS_MAX)
            assert garbage.recv(100) == b"", "it is closed, and that is said"
        client.sendall(frame("id", {"n": 1}))
        assert client.recv(100) == msgpack.packb({"ack": "id"})
        process.terminate()
        assert process.wait(ANSWER_SECONDS_MAX) == 0


def fill(pipe: Path) -> None:
    """Write to a pipe until it takes no more."""
    descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_standard_output_until_it_has_no_reader(tmp_path: Path) -> None:
    with on_pipes(tmp_path, "--out", "-") as (process, client):
        assert process.stdout
        assert process.stderr
        client.sendall(frame("id", {"n": 1}))
        assert client.recv(100) == msgpack.packb({"ack": "id"})
        assert json.loads(process.stdout.readline())["record"] == {"n": 1}
        process.stdout.close()
        client.sendall(frame("id", {"n": 2}))
        assert client.recv(100) == b""
        assert process.wait(ANSWER_SECONDS_MAX) == 1
        said = f"logship receive: listening on unix://{tmp_path}/socket\nError: "
        assert process.stderr.read().decode() == f"{said}the reader of standard output is gone\n"


@pytest.mark.parametrize(("is_terminal", "is_told"), [(True, True), (True, False), (False, True)])
def test_an_output_that_is_gone_ends_it(tmp_path: Path, is_terminal: bool, is_told: bool) -> None:
    """SIGHUP tells it when a terminal is closed. A FIFO would wait for a reader if opened again."""
    out = tmp_path / "fifo"
    if is_terminal:
        reader, side = pty.openpty()
        out = Path(os.ttyname(side))
    else:
        os.mkfifo(out)
        reader = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
    with ReceiverProcess.start(out, stderr=tmp_path / "stderr") as receiver:
        os.close(reader)
        if is_terminal:
            os.close(side)
        with RawClient(receiver) as client:
            if is_told:
                receiver.process.send_signal(signal.SIGHUP)
            else:
                client.send(frame("id", {"n": 1}))
            assert client.rest() == []
        assert receiver.process.wait(ANSWER_SECONDS_MAX) == 1
        assert receiver.stderr().endswith(f"Error: the reader of {out} is gone\n")
