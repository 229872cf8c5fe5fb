"""Real forward-protocol servers as processes: Fluentd, Fluent Bit, Node's FluentServer, our own.

A test that ships records should ship them to what its users run. Every server here is found on
PATH, writes what it received to files, and can be killed, terminated and started again on the
same port. Each writes one file a tag where it can, so that tests that share a server do not meet.
Nothing here knows logship's client: what arrived is read from the servers' own output files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from tests.support.commands import LOGSHIP
from tests.support.waiting import wait_until

START_SECONDS_MAX = 60.0
"""A busy machine takes half a minute to start Fluentd."""

END_SECONDS_MAX = 30.0
"""A bound on a server's own flush at its end; only a hang takes so long."""

NODE_PACKAGE = "@fluent-org/logger"

SHORT_FLUSH = "flush_mode interval\nflush_interval 0.1s\nflush_thread_interval 0.05"
NO_FLUSH = "flush_mode interval\nflush_interval 600s\nflush_at_shutdown true"
"""Fluentd writes its files at its end only: a SIGKILL can then tear no line of them."""


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
        """Give the number back."""
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

    @abstractmethod
    def arrived(self, tag: str) -> list[Arrived]:
        """Return what the server has written down for the tag, in its order."""

    @abstractmethod
    def output_files(self, tag: str) -> list[Path]:
        """Return the files that hold the tag's records, and perhaps others'."""

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
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes it a peer that lives and does nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL, where it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """End it with SIGTERM, so that it writes down what it holds; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(END_SECONDS_MAX)

    def log(self) -> str:
        """Return all that it said so far."""
        return (self.directory / "server.log").read_text(errors="replace")

    def close(self) -> None:
        """Kill it, and give back what it used."""
        self.kill()
        self.give_back()

    def give_back(self) -> None:
        """Give the port back, and remove its short directory."""
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


# -- the embedded receiver -------------------------------------------------------------------------


class EmbeddedReceiver(ServerProcess):
    """`logship receive`, of the Python that runs the tests."""

    def command(self) -> Sequence[str]:
        """Return the command; there is no configuration."""
        bind = self.endpoint.removeprefix("tcp://").removeprefix("tls://")
        words = [*LOGSHIP, "receive", "--bind", bind, "--out", str(self._out)]
        if self.tls is not None:
            words += ["--tls-cert", str(self.tls.certificate), "--tls-key", str(self.tls.key)]
            if self.tls.client_ca is not None:
                words += ["--tls-client-ca", str(self.tls.client_ca)]
        if self.security is not None:
            words += ["--shared-key", self.security.shared_key]
            for name, password in self.security.users.items():
                words += ["--user", f"{name}:{password}"]
        return words

    @property
    def _out(self) -> Path:
        return self.directory / "out" / "all.jsonl"

    def output_files(self, tag: str) -> list[Path]:
        """Return its one file."""
        return [self._out]

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down for the tag."""
        return [
            Arrived(line["tag"], line["time_ns"], line["record"])
            for line in json_objects(self._out)
            if line.get("tag") == tag
        ]


# -- Fluentd ---------------------------------------------------------------------------------------


@cache
def fluentd_commands() -> tuple[str, ...]:
    """Return every Fluentd there is: the one on PATH, and those of LOGSHIP_TEST_FLUENTD.

    The variable holds paths, separated by commas.
    """
    named = os.environ.get("LOGSHIP_TEST_FLUENTD", "").split(",")
    found = [shutil.which(each.strip()) for each in ("fluentd", *named) if each.strip()]
    return tuple(dict.fromkeys(each for each in found if each is not None))


@cache
def fluentd_version(command: str) -> tuple[int, int]:
    """Return a Fluentd's version, as (1, 19)."""
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    numbers = re.search(r"(\d+)\.(\d+)", said.stdout)
    assert numbers, f"{command} --version says {said.stdout!r}"
    return int(numbers[1]), int(numbers[2])


class Fluentd(ServerProcess):
    """Fluentd in one process, without its supervisor.

    Args:
        directory: As of `ServerProcess`.
        executable: Which Fluentd.
        source: More lines of its `<source>`.
        buffer: Lines of its `<buffer>`.
        options: As of `ServerProcess`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        executable: str = "fluentd",
        source: str = "",
        buffer: str = f"@type file\npath buffer\noverflow_action block\n{SHORT_FLUSH}",
        **options: Any,
    ) -> None:
        self._executable = executable
        self._source = source
        self.buffer = buffer
        super().__init__(directory, **options)

    def command(self) -> Sequence[str]:
        """Write the configuration and return the command."""
        (self.directory / "fluentd.conf").write_text(self._configuration())
        return [self._executable, "--no-supervisor", "-c", str(self.directory / "fluentd.conf")]

    def output_files(self, tag: str) -> list[Path]:
        """Return the tag's file, where there is one yet."""
        return [each for each in [self.directory / "out" / f"{tag}.log"] if each.exists()]

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down for the tag."""
        lines = [line for path in self.output_files(tag) for line in json_objects(path)]
        return [
            Arrived(line.pop("fluentd_tag"), _nanoseconds(line.pop("fluentd_time")), line)
            for line in lines
        ]

    def _configuration(self) -> str:
        return "\n".join(
            (
                section("source", self._listen_lines(), self._source, *self._security_sections()),
                section("label @FLUENT_LOG", section("match **", "@type null")),
                section("match **", self._file_lines()),
            )
        )

    def _listen_lines(self) -> str:
        if self.socket_path is not None:
            return f"@type unix\npath {self.socket_path}"
        return f"@type forward\nbind 127.0.0.1\nport {self.port.number}"

    def _security_sections(self) -> Iterator[str]:
        if self.tls is not None:
            files = f"cert_path {self.tls.certificate}\nprivate_key_path {self.tls.key}"
            if self.tls.client_ca is not None:
                files += f"\nclient_cert_auth true\nca_path {self.tls.client_ca}"
            yield section("transport tls", files)
        if self.security is not None:
            users = [
                section("user", f"username {name}\npassword {password}")
                for name, password in self.security.users.items()
            ]
            yield section(
                "security",
                f"self_hostname {self.security.hostname}\nshared_key {self.security.shared_key}",
                f"user_auth {str(bool(users)).lower()}\nallow_anonymous_source true",
                *users,
            )

    def _file_lines(self) -> str:
        inject = "tag_key fluentd_tag\ntime_key fluentd_time\ntime_type string\ntime_format %s.%N"
        return "\n".join(
            (
                f"@type file\npath {self.directory}/out/${{tag}}\nappend true",
                section("format", "@type json"),
                section("inject", inject),
                section("buffer tag", self.buffer),
            )
        )


def section(name: str, *lines: str) -> str:
    """Return a section of a Fluentd configuration."""
    body = textwrap.indent("\n".join(lines), "  ")
    return f"<{name}>\n{body}\n</{name.split(maxsplit=1)[0]}>"


# -- Fluent Bit ------------------------------------------------------------------------------------


class FluentBit(ServerProcess):
    """Fluent Bit, with its buffers on disk unless told otherwise.

    Args:
        directory: As of `ServerProcess`.
        flush_seconds: How often it writes its files.
        forward: More lines of its input.
        options: As of `ServerProcess`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        flush_seconds: float = 0.1,
        forward: Sequence[str] = ("storage.type filesystem",),
        **options: Any,
    ) -> None:
        self.flush_seconds = flush_seconds
        self._forward = forward
        super().__init__(directory, **options)

    def command(self) -> Sequence[str]:
        """Write the configuration and return the command."""
        (self.directory / "fluent-bit.conf").write_text(self._configuration())
        return ["fluent-bit", "-q", "-c", str(self.directory / "fluent-bit.conf")]

    def output_files(self, tag: str) -> list[Path]:
        """Return the tag's file, where there is one yet."""
        return [each for each in [self.directory / "out" / tag] if each.exists()]

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down for the tag; its lines are `TAG: [TIME, {...}]`."""
        start = re.compile(re.escape(tag.encode()) + rb": \[(\d+\.\d+), ")
        arrived = []
        for line in _lines(self.output_files(tag)):
            head = start.match(line)
            if head is not None:
                record = json.loads(line[head.end() : -1])
                arrived.append(Arrived(tag, _nanoseconds(head[1].decode()), record))
        return arrived

    def _configuration(self) -> str:
        service = [
            f"flush {self.flush_seconds}",
            "grace 5",
            "log_level info",
            "http_server off",
            f"storage.path {self.directory}/storage",
            "storage.backlog.mem_limit 64M",
        ]
        output = [
            "name file",
            f"path {self.directory}/out",
            "retry_limit no_limits",
        ]
        return "".join(
            (
                _classic_section("SERVICE", service),
                _classic_section("INPUT", [*self._listen_lines(), *self._forward]),
                _classic_section("OUTPUT", ["match *", *output]),
            )
        )

    def _listen_lines(self) -> Iterator[str]:
        yield "name forward"
        if self.socket_path is not None:
            yield f"unix_path {self.socket_path}"
        else:
            yield f"listen 127.0.0.1\n    port {self.port.number}"
        if self.tls is not None:
            yield "tls on"
            yield f"tls.crt_file {self.tls.certificate}\n    tls.key_file {self.tls.key}"
            if self.tls.client_ca is not None:
                yield f"tls.ca_file {self.tls.client_ca}\n    tls.verify on"
                yield "tls.verify_client_cert on"
        if self.security is not None:
            yield f"shared_key {self.security.shared_key}"
            yield f"self_hostname {self.security.hostname}"
            for name, password in self.security.users.items():
                yield f"security.users {name} {password}"


def _classic_section(name: str, lines: Sequence[str]) -> str:
    return f"[{name}]\n" + "".join(f"    {line}\n" for line in lines)


# -- Node's FluentServer ---------------------------------------------------------------------------

_NODE_SERVER = """\
// Writes {"tag", "time_ns" as text, "record"} lines; ends at SIGTERM, like any container.
const fs = require("fs");
const options = JSON.parse(process.argv[2]);
const { FluentServer } = require(options.package);
const out = fs.openSync(options.out, "a");
const plain = (name, value) => (typeof value === "bigint" ? value.toString() : value);
const digits = (number, width) => String(number).padStart(width, "0");
class Server extends FluentServer {
  onEntry(tag, time, record) {
    const [seconds, nanoseconds] = typeof time === "object" ? [time.epoch, time.nano] : [time, 0];
    const time_ns = String(seconds) + digits(nanoseconds, 9);
    fs.writeSync(out, JSON.stringify({ tag, time_ns, record }, plain) + "\\n");
  }
}
const read = (path) => (path ? fs.readFileSync(path) : undefined);
const server = new Server({
  listenOptions: { host: "127.0.0.1", port: options.port },
  security: options.security || undefined,
  tlsOptions: options.tls
    ? { cert: read(options.tls.cert), key: read(options.tls.key), ca: read(options.tls.ca),
        requestCert: Boolean(options.tls.ca), rejectUnauthorized: Boolean(options.tls.ca) }
    : undefined,
});
server.listen();
process.on("SIGTERM", () => {
  const end = () => process.exit(0);
  server.close().then(end);
  setTimeout(end, 1000); // close() waits for ever for a connection that is still in its handshake
});
"""


@cache
def node_package() -> str | None:
    """Return the directory of the Node package, or None where it or node is not found.

    Looked for below LOGSHIP_TEST_NODE_PATH and NODE_PATH, as node itself does with the latter.
    """
    paths = [os.environ.get(each, "") for each in ("LOGSHIP_TEST_NODE_PATH", "NODE_PATH")]
    for path in os.pathsep.join(paths).split(os.pathsep):
        for below in (Path(path), Path(path) / "node_modules"):
            if path and (below / NODE_PACKAGE).is_dir():
                return str((below / NODE_PACKAGE).resolve())
    return None


class NodeServer(ServerProcess):
    """The FluentServer of the Node package `@fluent-org/logger`."""

    def command(self) -> Sequence[str]:
        """Write the program and return the command."""
        program = self.directory / "server.js"
        program.write_text(_NODE_SERVER)
        return ["node", str(program), json.dumps(self._node_options())]

    def output_files(self, tag: str) -> list[Path]:
        """Return its one file."""
        return [self._out]

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down for the tag."""
        return [
            Arrived(tag, int(line["time_ns"]), line["record"])
            for line in json_objects(self._out)
            if line.get("tag") == tag
        ]

    @property
    def _out(self) -> Path:
        return self.directory / "out" / "all.jsonl"

    def _node_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "package": node_package(),
            "out": str(self._out),
            "port": self.port.number,
        }
        if self.security is not None:
            options["security"] = {
                "serverHostname": self.security.hostname,
                "sharedKey": self.security.shared_key,
                "authorize": bool(self.security.users),
                "userDict": dict(self.security.users),
            }
        if self.tls is not None:
            client_ca = self.tls.client_ca
            options["tls"] = {
                "cert": str(self.tls.certificate),
                "key": str(self.tls.key),
                "ca": None if client_ca is None else str(client_ca),
            }
        return options


# -- what is here, and reading files ---------------------------------------------------------------


def why_no_fluentd() -> str:
    """Return why tests against Fluentd cannot run, or nothing."""
    return "" if fluentd_commands() else "there is no fluentd on PATH"


def why_no_fluent_bit() -> str:
    """Return why tests against Fluent Bit cannot run, or nothing."""
    return "" if shutil.which("fluent-bit") else "there is no fluent-bit on PATH"


def why_no_node() -> str:
    """Return why tests against Node's FluentServer cannot run, or nothing."""
    if shutil.which("node") is None:
        return "there is no node on PATH"
    if node_package() is None:
        return f"no {NODE_PACKAGE} below LOGSHIP_TEST_NODE_PATH or NODE_PATH"
    return ""


def json_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects among a file's lines; a line torn by a kill is left out."""
    for line in _lines([path] if path.exists() else []):
        try:
            decoded = json.loads(line)
        except ValueError:
            continue
        if isinstance(decoded, dict):
            yield decoded


def _lines(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the whole lines; what has no newline yet is still being written."""
    for path in paths:
        yield from path.read_bytes().split(b"\n")[:-1]


def _nanoseconds(text: str) -> int:
    """Return the nanoseconds that `SECONDS.NANOSECONDS` says."""
    seconds, _, rest = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(rest.ljust(9, "0"))
