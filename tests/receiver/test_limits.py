"""What one client may take from the others: connections, memory, time. Real processes."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import logship
from logship._receiver.binds import Listener, parse_bind
from logship._receiver.server import Limits, Receiver, Say
from logship._receiver.session import Session
from logship._receiver.sinks import LineSink
from tests.contract.certificates import make_certificates
from tests.protocol.hostile import forward
from tests.receiver.raw_client import ANSWER_SECONDS_MAX, RawClient, frame
from tests.support.receiver_process import RECEIVE, ReceiverProcess
from tests.support.waiting import wait_until

MIB = 1 << 20


@contextmanager
def receiving(
    tmp_path: Path, *options: str, before: str = "", bind: str = "127.0.0.1:0"
) -> Iterator[ReceiverProcess]:
    command = [*RECEIVE[:2], before + RECEIVE[2], *RECEIVE[3:]]
    out = tmp_path / "out.jsonl"
    with ReceiverProcess.start(out, bind, options=options, command=command) as receiver:
        yield receiver
        assert "Traceback" not in receiver.stderr()


def wait_for_line(receiver: ReceiverProcess, text: str) -> None:
    wait_until(lambda: text in receiver.stderr(), f"it says {text!r}")


def test_sigterm_is_obeyed_between_two_messages(tmp_path: Path) -> None:
    """Forty messages come in one read; each is small and makes work for a tenth of a second."""
    entries = b"\x92\x00\x81\xa1a\xca\x7f\xc0\x00\x00" * 20_000
    bomb = forward(gzip.compress(entries), compressed="gzip", chunk="id")
    with receiving(tmp_path) as receiver, RawClient(receiver) as client:
        client.send(bomb * 40)
        wait_until(lambda: receiver.out.stat().st_size > 0, "the first one is written")
        receiver.process.terminate()
        acked = len(client.rest())
        assert receiver.process.wait(ANSWER_SECONDS_MAX) == 0
    assert acked < 40
    assert len(receiver.records()) == acked * 20_000


def test_a_connection_too_many_waits_for_its_turn(tmp_path: Path) -> None:
    with receiving(tmp_path, "--connections-max", "2") as receiver, ExitStack() as stack:
        first, second, third = (stack.enter_context(RawClient(receiver)) for _ in range(3))
        second.send(frame("2", {"n": 2}))
        assert second.acks(1) == ["2"]
        wait_for_line(receiver, "2 connections are open (--connections-max): the next one waits")
        third.send(frame("3", {"n": 3}))
        third.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            third.acks(1)
        third.socket.settimeout(ANSWER_SECONDS_MAX)
        first.socket.close()
        assert third.acks(1) == ["3"]
        assert receiver.stderr().count("connections are open") == 1


def test_without_descriptors_it_waits_and_says_so_once(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24)); "
    with receiving(tmp_path, before=limit) as receiver, RawClient(receiver) as good:
        with ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(RawClient(receiver))
            wait_for_line(receiver, f"cannot accept a connection: {os.strerror(errno.EMFILE)}")
            good.send(frame("1", {"n": 1}))
            assert good.acks(1) == ["1"]
        with RawClient(receiver) as later:
            later.send(frame("2", {"n": 2}))
            assert later.acks(1) == ["2"]
        assert receiver.stderr().count(os.strerror(errno.EMFILE)) == 1


def test_a_client_that_does_not_shake_hands_is_closed(tmp_path: Path) -> None:
    options = ("--shared-key", "k", "--handshake-timeout", "0.5")
    with receiving(tmp_path, *options) as receiver, RawClient(receiver) as silent:
        assert silent.rest()[0][0] == "HELO"
        wait_for_line(receiver, "no handshake within 0.5 s (--handshake-timeout)")


@pytest.mark.parametrize("own_path", ["a", "ab", b"\0abstract"])
def test_a_client_with_a_socket_path_of_its_own_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_path: str | bytes
) -> None:
    """The path is foreign text, of any length."""
    monkeypatch.chdir(tmp_path)
    options = ("--shared-key", "k", "--handshake-timeout", "0.5")
    with (
        receiving(tmp_path, *options, bind=f"unix://{tmp_path}/s") as receiver,
        socket.socket(socket.AF_UNIX) as silent,
    ):
        silent.bind(own_path)
        silent.connect("s")
        silent.settimeout(ANSWER_SECONDS_MAX)
        while silent.recv(65536):
            pass
        wait_for_line(receiver, "closed a client: no handshake within 0.5 s")


def tls_options(directory: Path) -> tuple[str, ...]:
    """Return the options for a receiver with a certificate."""
    tls = make_certificates(directory).good
    return "--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)


def test_a_client_that_does_not_speak_tls_is_closed(tmp_path: Path) -> None:
    options = (*tls_options(tmp_path), "--handshake-timeout", "0.5")
    with receiving(tmp_path, *options) as receiver, RawClient(receiver) as silent:
        assert silent.rest() == []
        wait_for_line(receiver, f"closed {silent.name}: its TLS handshake failed: ")


def test_a_probe_that_only_connects_takes_no_line_from_others(tmp_path: Path) -> None:
    """A load balancer looks every few seconds."""
    with receiving(tmp_path, *tls_options(tmp_path)) as receiver:
        for _ in range(20):
            RawClient(receiver).socket.close()
        with RawClient(receiver) as other:
            other.send(b"no TLS")
            assert other.rest() == []
            wait_for_line(
                receiver, f"closed {other.name}: it does not speak TLS; its endpoint must be tls://"
            )
        assert receiver.stderr().count("closed ") == 1


def test_a_connection_that_says_nothing_is_closed(tmp_path: Path) -> None:
    with receiving(tmp_path, "--idle-timeout", "0.5") as receiver, RawClient(receiver) as client:
        client.send(frame("1", {"n": 1}) + frame("half", {"n": 2})[:-1])
        assert client.rest() == [{"ack": "1"}]
        wait_for_line(receiver, "it sent nothing for 0.5 s (--idle-timeout)")


@contextmanager
def receiver_here(tmp_path: Path, say: Say, **limits: float) -> Iterator[tuple[Receiver, Listener]]:
    """A receiver in this process, so that what happens to it can be ordered."""
    listener = Listener(parse_bind("127.0.0.1:0"))
    sink = LineSink.open(tmp_path / "out")
    yield Receiver(sink, say, new_session=Session, tls=None, limits=Limits(**limits)), listener  # type: ignore[arg-type]
    listener.close()


def test_a_client_that_resets_the_connection_as_it_is_closed_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logship._receiver.server.LOOK_SECONDS", 0.05)
    clients: list[socket.socket] = []
    said: asyncio.Queue[str] = asyncio.Queue()

    def reset(line: str) -> None:
        clients[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        clients[-1].close()
        said.put_nowait(line)

    async def until_two_are_closed(receiver: Receiver, listener: Listener) -> None:
        serving = asyncio.ensure_future(receiver.serve(listener))
        for _ in range(2):
            clients.append(socket.create_connection(listener.socket.getsockname()))
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                assert "it sent nothing" in await said.get()
        receiver.stop()
        await serving

    with receiver_here(tmp_path, reset, idle_timeout_seconds=0.1) as both:
        asyncio.run(until_two_are_closed(*both))


def test_a_client_that_comes_as_it_stops_is_no_error(tmp_path: Path) -> None:
    faults: list[object] = []

    async def stop_as_one_comes(receiver: Receiver, listener: Listener) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        serving = asyncio.ensure_future(receiver.serve(listener))
        for _ in range(9):
            await asyncio.sleep(0)  # then it waits for clients
        receiver.stop()
        with socket.create_connection(listener.socket.getsockname()):
            await serving

    with receiver_here(tmp_path, faults.append) as both:
        asyncio.run(stop_as_one_comes(*both))
    assert faults == []


def settings_for(receiver: ReceiverProcess) -> logship.Settings:
    return logship.Settings.from_env({"LOGSHIP_ENDPOINTS": receiver.endpoint, "LOGSHIP_TAG": "app"})


def test_logships_own_client_lives_with_it(tmp_path: Path) -> None:
    """It connects again and delivers, also what it sent while the connection was being closed."""
    with (
        receiving(tmp_path, "--idle-timeout", "0.5") as receiver,
        logship.BackgroundClient(settings_for(receiver)) as client,
    ):
        for number in range(2):
            client.send({"n": number})
            assert client.flush(timeout=ANSWER_SECONDS_MAX).all_acked
            wait_until(
                lambda count=number + 1: receiver.stderr().count("it sent nothing") >= count,  # type: ignore[misc]
                "the connection is closed",
            )
        assert client.close(timeout=ANSWER_SECONDS_MAX).unacked == 0
    records = [line["record"] for line in receiver.records()]
    assert [record["n"] for record in records if "n" in record] == [0, 1]


def test_incomplete_messages_are_bounded_in_all(tmp_path: Path) -> None:
    sent = frame("id", {"text": "x" * (10 * MIB)})
    with (
        receiving(tmp_path, "--pending-bytes-max", str(16 * MIB)) as receiver,
        ExitStack() as stack,
    ):
        stalled, finishing = (stack.enter_context(RawClient(receiver)) for _ in range(2))
        stalled.send(sent[: 9 * MIB])
        finishing.send(sent[: 9 * MIB])
        assert stalled.rest() == []
        wait_for_line(receiver, "its message was incomplete for the longest")
        finishing.send(sent[9 * MIB :])
        assert finishing.acks(1) == ["id"]
