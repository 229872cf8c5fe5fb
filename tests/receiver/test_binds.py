"""Where the receiver can be told to listen, and what stops it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from logship._receiver import binds
from logship._receiver.binds import Listener, ListenError, parse_bind
from logship._settings import Endpoint
from logship.errors import SettingsError


def tcp(host: str, port: int) -> Endpoint:
    return Endpoint("tcp", host, port, "")


def unix(path: object) -> Endpoint:
    return Endpoint("unix", "", 0, str(path))


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:24224", tcp("127.0.0.1", 24224)),
        ("localhost:0", tcp("localhost", 0)),
        ("tcp://0.0.0.0:1", tcp("0.0.0.0", 1)),
        ("[::1]:24224", tcp("::1", 24224)),
        ("unix:///run/logship.sock", unix("/run/logship.sock")),
        ("unix:///run/a#b?c", unix("/run/a#b?c")),
    ],
)
def test_addresses_that_are_understood(text: str, bind: Endpoint) -> None:
    assert parse_bind(text) == bind


@pytest.mark.parametrize(
    "text",
    ["", "24224", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", ":24224",
     "tls://127.0.0.1:1", "unix://", "unix://host/path", "tcp://127.0.0.1:1/x", "[::1:24224"],
)  # fmt: skip
def test_addresses_that_are_not(text: str) -> None:
    with pytest.raises(SettingsError, match=r"give HOST:PORT, tcp://HOST:PORT or unix:///PATH"):
        parse_bind(text)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:24224", "tcp://[::1]:1", "unix:///a/b"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_bind(text)) == text


def test_an_address_of_another_machine_is_named() -> None:
    fault = f"cannot listen on tcp://192.0.2.1:0: {os.strerror(errno.EADDRNOTAVAIL)}"
    with pytest.raises(ListenError, match=re.escape(fault)):
        Listener(tcp("192.0.2.1", 0))


def test_a_host_that_cannot_be_a_name_is_named() -> None:
    with pytest.raises(ListenError, match=f"cannot listen on tcp://{'x' * 64}:1: "):
        Listener(tcp("x" * 64, 1))


def test_a_chosen_port_is_told() -> None:
    listener = Listener(tcp("127.0.0.1", 0))
    assert listener.bind.port == listener.socket.getsockname()[1] != 0
    listener.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_widest_address_takes_both_kinds_of_ip(host: str) -> None:
    listener = Listener(tcp("::", 0))
    socket.create_connection((host, listener.bind.port)).close()
    listener.close()


def test_a_unix_socket_of_a_dead_server_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = Listener(unix(path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    assert not path.exists()


def test_of_two_that_find_a_dead_socket_at_once_one_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one begins when the first has found it dead, and not yet removed it."""
    bind, is_dead_socket = unix(tmp_path / "sock"), binds._is_dead_socket
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(bind.path)
    with ThreadPoolExecutor(1) as pool:

        def begin_another(path: Path) -> bool:
            monkeypatch.undo()
            is_dead = is_dead_socket(path)
            others.append(pool.submit(Listener, bind))
            wait(others, 0.5)  # in vain, if the other one waits for this one
            return is_dead

        others: list[Future[Listener]] = []
        monkeypatch.setattr(binds, "_is_dead_socket", begin_another)
        first = Listener(bind)
        with pytest.raises(ListenError, match=os.strerror(errno.EADDRINUSE)):
            others[0].result()
    first.close()


def test_a_unix_socket_of_a_living_server_is_left_alone(tmp_path: Path) -> None:
    bind = unix(tmp_path / "sock")
    first = Listener(bind)
    with pytest.raises(ListenError, match=os.strerror(errno.EADDRINUSE)):
        Listener(bind)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(bind.path)
    first.close()


def test_a_unix_socket_of_a_server_that_hangs_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        hung = stack.enter_context(socket.socket(socket.AF_UNIX))
        hung.bind(str(path))
        hung.listen(0)
        first, second = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        first.connect(str(path))
        second.setblocking(False)
        with pytest.raises(BlockingIOError):  # its queue is full
            second.connect(str(path))
        listening = pool.submit(Listener, unix(path))
        with pytest.raises(ListenError, match=os.strerror(errno.EADDRINUSE)):
            listening.result(timeout=10)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match=os.strerror(errno.EADDRINUSE)):
        Listener(unix(path))
    assert path.read_text() == "data"


def test_a_socket_that_a_successor_has_taken_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    first = Listener(unix(path))
    path.unlink()
    second = Listener(unix(path))
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()


def test_a_directory_that_is_gone_does_not_matter_at_the_end(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    listener = Listener(unix(directory / "sock"))
    directory.rename(tmp_path / "moved")
    directory.write_text("a file in its place")
    listener.close()
