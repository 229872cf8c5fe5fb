"""Where the receiver listens: the addresses it can be given, and opening a socket there."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from logship import _system
from logship._settings import Endpoint
from logship.errors import LogshipError, SettingsError

if _system.IS_POSIX:
    import fcntl


class ListenError(LogshipError):
    """Nothing can be received at an address; the text names it and says why."""


def parse_bind(text: str) -> Endpoint:
    """Read where to listen: `HOST:PORT`, `tcp://HOST:PORT` or `unix:///PATH`.

    Port 0 lets the operating system choose.

    Raises:
        SettingsError: it is none of these, or a unix socket on a system without them.
    """
    if text.startswith("unix://") and not _system.IS_POSIX:
        raise SettingsError(f"{text} needs Linux or macOS, and this is {_system.NAME}")
    if text.startswith("unix:///"):
        return Endpoint("unix", "", 0, text.removeprefix("unix://"))
    with contextlib.suppress(ValueError):  # urlsplit's, for a port that is not a number
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        if parts.scheme == "tcp" and parts.hostname and parts.port is not None and not parts.path:
            return Endpoint("tcp", parts.hostname, parts.port, "")
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

    def __init__(self, bind: Endpoint) -> None:
        self._path = Path(bind.path) if bind.scheme == "unix" else None
        try:
            self.socket = _open_tcp(bind) if self._path is None else _open_unix(self._path)
        except (OSError, UnicodeError) as error:  # UnicodeError: it cannot be a host's name
            reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
            raise ListenError(f"cannot listen on {bind}: {reason}; give another --bind") from error
        self.bind = bind
        if self._path is None:
            host, port, *_ = self.socket.getsockname()
            self.bind = Endpoint("tcp", host, port, "")
        else:
            self._inode = self._path.stat().st_ino

    def close(self) -> None:
        """Stop listening."""
        if self._path is not None:
            with contextlib.suppress(OSError):  # its directory may be gone
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()
        self.socket.close()


def _open_tcp(bind: Endpoint) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)[0]
    is_dual = bind.host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, dualstack_ipv6=is_dual)


def _open_unix(path: Path) -> socket.socket:
    directory = os.open(path.parent, os.O_RDONLY)
    listener = socket.socket(socket.AF_UNIX)
    try:
        # Else one that starts at the same time would be taken for dead, and lose its path.
        fcntl.flock(directory, fcntl.LOCK_EX)
        if _is_dead_socket(path):
            path.unlink()
        listener.bind(str(path))
        listener.listen()
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener


def _is_dead_socket(path: Path) -> bool:
    """Tell whether `path` is the unix socket of a server that no longer runs."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # the queue of a server that hangs may be full
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED and path.is_socket()
