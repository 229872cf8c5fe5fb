"""Where the receiver listens: the addresses it can be given, and opening a socket there."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from logship import _system
from logship.errors import LogshipError, SettingsError


class ListenError(LogshipError):
    """Nothing can be received at an address; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class TcpBind:
    """An address and port to listen on; port 0 lets the operating system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixBind:
    """The path of a unix socket to listen on."""

    path: Path

    def __str__(self) -> str:
        return f"unix://{self.path}"


Bind = TcpBind | UnixBind


def parse_bind(text: str) -> Bind:
    """Read where to listen: `HOST:PORT`, `tcp://HOST:PORT` or `unix:///PATH`.

    Raises:
        SettingsError: it is none of these, or a unix socket on a system without them.
    """
    if text.startswith("unix://") and not _system.IS_POSIX:
        raise SettingsError(f"{text} needs Linux or macOS, and this is {_system.NAME}")
    with contextlib.suppress(ValueError):  # urlsplit's, for a port that is not a number
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        if parts.scheme == "unix" and not parts.netloc and parts.path:
            return UnixBind(Path(parts.path))
        if parts.scheme == "tcp" and parts.hostname and parts.port is not None and not parts.path:
            return TcpBind(parts.hostname, parts.port)
    raise SettingsError(f"it is {text!r}; give HOST:PORT, tcp://HOST:PORT or unix:///PATH")


class Listener:
    """A socket that listens.

    A unix socket's path is taken over from a server that is dead, and from no other; it is
    removed at the end, unless another server has it by then.

    Attributes:
        socket: what to accept connections from.
        bind: where it listens, with the port that was chosen.

    Args:
        bind: where to listen.

    Raises:
        ListenError: that is not possible.
    """

    def __init__(self, bind: Bind) -> None:
        try:
            self.socket = _open_tcp(bind) if isinstance(bind, TcpBind) else _open_unix(bind.path)
        except (OSError, UnicodeError) as error:  # UnicodeError: it cannot be a host's name
            reason = getattr(error, "strerror", None) or error
            raise ListenError(f"cannot listen on {bind}: {reason}") from error
        self.bind = bind
        if isinstance(bind, TcpBind):
            self.bind = TcpBind(*self.socket.getsockname()[:2])
        else:
            self._inode = bind.path.stat().st_ino

    def close(self) -> None:
        """Stop listening."""
        if isinstance(self.bind, UnixBind):
            with contextlib.suppress(FileNotFoundError):
                if self.bind.path.stat().st_ino == self._inode:
                    self.bind.path.unlink()
        self.socket.close()


def _open_tcp(bind: TcpBind) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)[0]
    is_dual = bind.host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, dualstack_ipv6=is_dual)


def _open_unix(path: Path) -> socket.socket:
    if _is_dead_socket(path):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _is_dead_socket(path: Path) -> bool:
    """Tell whether `path` is the unix socket of a server that no longer runs."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return path.is_socket()
        except OSError:
            return False
    return False
