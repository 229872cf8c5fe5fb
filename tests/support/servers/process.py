"""A server as a process of its own, and reading what it wrote."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import wait_until

START_SECONDS_MAX = 60.0
"""A busy machine takes half a minute to start Fluentd."""

END_SECONDS_MAX = 30.0
"""A bound on a server's own flush at its end; only a hang takes so long."""


@dataclass(frozen=True)
class Arrived:
    """One record as a server wrote it down.

    Attributes:
        tag: Its route.
        time_ns: Nanoseconds since the epoch.
        record: Its fields, the stamp included.
    """

    tag: str
    time_ns: int
    record: dict[str, Any]


@dataclass(frozen=True)
class Tls:
    """Files of a server's certificate.

    Attributes:
        certificate: Its chain, PEM.
        key: Its private key, PEM.
        client_ca: Where it is not None, clients must show a certificate that this one signed.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class Security:
    """What a server asks for in the handshake.

    Attributes:
        shared_key: Known to both sides.
        users: Passwords by user; empty where no user is asked for.
        hostname: The server's own name.
    """

    shared_key: str
    users: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "server.test"


class ReservedPort:
    """A TCP port on loopback that no other program gets, although servers on it come and go.

    A bound socket that does not listen keeps the number; the server binds it as well, which Linux
    allows because both ask for SO_REUSEADDR.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


class ServerProcess(ABC):
    """A server as a process of its own; a context manager that kills what is left of it.

    Its sockets, and what a killed Fluentd leaves behind, go to a directory with a short name: the
    kernel takes 107 characters for the path of a socket, and pytest's directories have more.

    Args:
        directory: Where its configuration, its log and its output go; made where it is missing.
        tls: Its certificate, where it speaks TLS.
        security: What its handshake asks for, where it has one.
        unix: Whether it listens on a unix socket instead of a TCP port.
        is_started: Whether it runs from the beginning.

    Attributes:
        directory: The same.
        endpoint: Where it listens, as `LOGSHIP_ENDPOINTS` has it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: Tls | None = None,
        security: Security | None = None,
        unix: bool = False,
        is_started: bool = True,
    ) -> None:
        self.directory = directory
        self.tls = tls
        self.security = security
        self.port = ReservedPort()
        self._short_directory = tempfile.TemporaryDirectory(prefix="logship-test-")
        self.socket_path = Path(self._short_directory.name, "socket") if unix else None
        (directory / "out").mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        if is_started:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    @property
    def endpoint(self) -> str:
        """Where it listens, as `LOGSHIP_ENDPOINTS` has it."""
        if self.socket_path is not None:
            return f"unix://{self.socket_path}"
        return f"{'tls' if self.tls else 'tcp'}://127.0.0.1:{self.port.number}"

    @property
    def client_options(self) -> dict[str, Any]:
        """What a client needs besides its settings: nothing, where there are real sockets."""
        return {}

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Write the configuration and return the command that runs the server."""

    @property
    def lines_file(self) -> Path:
        """One file of lines with `tag`, `time_ns` and `record`; others have their own forms."""
        return self.directory / "out" / "all.jsonl"

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what the server has written down for the tag, in its order."""
        return [
            Arrived(tag, int(line["time_ns"]), line["record"])
            for line in json_objects(self.lines_file)
            if line.get("tag") == tag
        ]

    def output_files(self, tag: str) -> list[Path]:
        """Return the files that hold the tag's records, and perhaps others'."""
        return [self.lines_file]

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        assert not self.is_alive, "it runs already"
        environ = {**os.environ, "SIGDUMP_PATH": str(self.directory / "sigdump.log")}
        for name in ("TMPDIR", "SERVERENGINE_SOCKETMANAGER_SOCK_DIR"):
            environ[name] = self._short_directory.name
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(
            lambda: self._takes_connections() or not self.is_alive,
            "the server listens",
            START_SECONDS_MAX,
        )
        assert self.is_alive, f"the server ended instead of listening:\n{self.log()[-3000:]}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes it a peer that lives and does nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """End it with SIGTERM, so that it writes down what it holds; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(END_SECONDS_MAX)

    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    def close(self) -> None:
        self.kill()
        self.give_back()

    def give_back(self) -> None:
        self.port.close()
        self._short_directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _takes_connections(self) -> bool:
        family = socket.AF_INET if self.socket_path is None else socket.AF_UNIX
        address = ("127.0.0.1", self.port.number) if self.socket_path is None else self.socket_path
        with socket.socket(family) as probe:
            return probe.connect_ex(address if isinstance(address, tuple) else str(address)) == 0


def json_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects among a file's lines; a line torn by a kill is left out."""
    yield from objects_of(whole_lines([path] if path.exists() else []))


def objects_of(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects that lines hold."""
    for line in lines:
        try:
            decoded = json.loads(line)
        except ValueError:
            continue
        if isinstance(decoded, dict):
            yield decoded


def whole_lines(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the whole lines; what has no newline yet is still being written."""
    for path in paths:
        yield from path.read_bytes().split(b"\n")[:-1]


def nanoseconds(text: str) -> int:
    seconds, _, rest = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(rest.ljust(9, "0"))
