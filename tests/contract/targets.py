"""What the contract suite runs against: storage, transport, server; and why one is left out.

A target knows what its server cannot do, so that a test is skipped with the server's limit as the
reason and never quietly weakened.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from logship._settings import Settings
from tests.contract.certificates import Certificates
from tests.contract.memory import MemoryServer
from tests.support.servers import (
    NO_FLUSH,
    EmbeddedReceiver,
    FluentBit,
    Fluentd,
    NodeServer,
    Security,
    ServerProcess,
    fluentd_commands,
    fluentd_version,
    why_no_fluent_bit,
    why_no_fluentd,
    why_no_node,
)

SECURITY = Security("a shared key", {"alice": "her password"})

QUICK = {"linger_seconds": 0.01, "backoff_seconds_base": 0.05, "backoff_seconds_max": 0.2}
"""Settings of clients with quick retries."""

Start = Callable[..., ServerProcess]


@dataclass(frozen=True)
class Target:
    """One transport of one server.

    Attributes:
        name: As it is called in test ids.
        start: Makes the server, given its directory and options.
        transport: `memory`, `tcp`, `unix` or `tls`; the latter with the handshake as well.
        storage: Where records wait: `memory` or `spool`.
        security: What the handshake asks for.
        why_missing: Why it cannot run here, or nothing.
        exact_integers: Whether integers above 2**53 come out as they went in.
        compressions: What it can unpack.
        keeps_acked: Whether what it acked survives its SIGKILL.
        is_shared: Whether one process serves all tests, because starting it takes long.
        rewrites_in_order: Whether what it took before a SIGKILL is written before what it took
            afterwards.
        slow_files: Options with which a SIGKILL tears no line of its files.
    """

    name: str
    start: Start
    transport: str = "tcp"
    storage: str = "memory"
    security: Security | None = None
    why_missing: Callable[[], str] = lambda: ""
    exact_integers: bool = True
    compressions: tuple[str, ...] = ("gzip", "zstd")
    keeps_acked: bool = True
    is_shared: bool = False
    rewrites_in_order: bool = True
    slow_files: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def server(self, directory: Path, certificates: Certificates, **options: Any) -> ServerProcess:
        """Return a server of this kind, running unless `is_started` says otherwise.

        Where it cannot run here, the test is skipped.
        """
        if why := self.why_missing():
            pytest.skip(why)
        if self.transport == "tls":
            options.setdefault("tls", certificates.good)
        if self.security is not None:
            options.setdefault("security", self.security)
        if self.transport == "unix":
            options["unix"] = True
        return self.start(directory, **options)

    def settings(self, server: ServerProcess, certificates: Certificates, **more: Any) -> Settings:
        """Return a client's settings for this server; retries are quick."""
        return Settings(**{**self.fields(server, certificates), **more})

    def fields(self, server: ServerProcess, certificates: Certificates) -> dict[str, Any]:
        values: dict[str, Any] = {"endpoints": server.endpoint, **QUICK}
        if self.storage == "spool":
            values["spool_dir"] = str(server.directory / "spool")
        if self.transport == "tls":
            values["tls_ca"] = str(certificates.ca)
        if self.security is not None:
            values["shared_key"] = self.security.shared_key
            for name, password in self.security.users.items():
                values |= {"username": name, "password": password}
        return values


def _fluentd(executable: str, name: str, **options: Any) -> Target:
    found = shutil.which(executable)
    has_zstd = found is not None and fluentd_version(found) >= (1, 19)
    return Target(
        name,
        partial(Fluentd, executable=executable),
        why_missing=why_no_fluentd,
        compressions=("gzip", "zstd") if has_zstd else ("gzip",),
        is_shared=True,
        slow_files={"buffer": f"@type file\npath buffer\n{NO_FLUSH}"},
        **options,
    )


def _fluent_bit(name: str, **options: Any) -> Target:
    return Target(
        name,
        FluentBit,
        why_missing=why_no_fluent_bit,
        is_shared=True,
        rewrites_in_order=False,
        slow_files={"flush_seconds": 2},
        **options,
    )


def _node(name: str, **options: Any) -> Target:
    return Target(
        name,
        NodeServer,
        why_missing=why_no_node,
        exact_integers=False,  # JavaScript's numbers
        compressions=("gzip",),
        keeps_acked=False,  # it acks first, then hands the records over
        **options,
    )


def _other_fluentds() -> list[Target]:
    return [_fluentd(each, Path(each).name) for each in fluentd_commands()[1:]]


MEMORY = Target("memory", MemoryServer, transport="memory")
RECEIVE = Target("receive-tcp", EmbeddedReceiver, is_shared=True)
FLUENTD_TLS = _fluentd("fluentd", "fluentd-tls", transport="tls", security=SECURITY)
FLUENT_BIT_TLS = _fluent_bit("fluent-bit-tls", transport="tls", security=SECURITY)
NODE_TLS = _node("node-tls", transport="tls", security=SECURITY)
RECEIVE_TLS = replace(RECEIVE, name="receive-tls", transport="tls", security=SECURITY)

TARGETS = [
    MEMORY,
    replace(MEMORY, name="memory-spool", storage="spool"),
    RECEIVE,
    replace(RECEIVE, name="receive-tcp-spool", storage="spool"),
    replace(RECEIVE, name="receive-unix", transport="unix"),
    RECEIVE_TLS,
    _fluentd("fluentd", "fluentd-tcp"),
    FLUENTD_TLS,
    _fluent_bit("fluent-bit-tcp"),
    _fluent_bit("fluent-bit-unix-spool", transport="unix", storage="spool"),
    FLUENT_BIT_TLS,
    _node("node-tcp"),
    NODE_TLS,
]
"""Each transport of each server, and the spool with some. Fluentd's unix socket never acks, which
tests/interop shows."""

TARGETS_WITH_VERSIONS = [*TARGETS, *_other_fluentds()]
"""The same, and every Fluentd that LOGSHIP_TEST_FLUENTD names."""

TLS_TARGETS = [each for each in TARGETS if each.transport == "tls"]

KEYED_TARGETS = [
    Target("receive-key", EmbeddedReceiver, security=SECURITY),
    _fluentd("fluentd", "fluentd-key", security=SECURITY),
    _fluent_bit("fluent-bit-key", security=SECURITY),
    _node("node-key", security=SECURITY),
]
"""The handshake over plain TCP, where what is sent can be looked at."""
