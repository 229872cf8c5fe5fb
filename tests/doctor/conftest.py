"""Calls of the command, and what it is called against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from logship._cli.doctor import command
from logship._deployment.doctor import sidecars
from tests.contract.certificates import Certificates, make_certificates
from tests.support.servers import EmbeddedReceiver
from tests.support.task_metadata import TaskMetadata


@dataclass(frozen=True)
class Told:
    """What the doctor said.

    Attributes:
        exit_code: Of the command.
        output: All of it.
        checks: Its checks, in their order.
    """

    exit_code: int
    output: str
    checks: list[dict[str, str]]

    def __getitem__(self, check: str) -> dict[str, str]:
        """Return the one result of a check."""
        (found,) = [each for each in self.checks if each["check"] == check]
        return found

    def outcome(self, check: str) -> str | None:
        """Return how a check went, None where it was not made."""
        found = [each["outcome"] for each in self.checks if each["check"] == check]
        return found[0] if found else None


def ask(*options: str, **environment: str) -> Told:
    """Run `logship doctor --json` with the given `LOGSHIP_*` settings, in lower case here.

    The buffer is small, so that the machine's own limits are not part of what a test shows.
    """
    environment = {"buffer_bytes_max": str(4 * 1024 * 1024), **environment}
    variables = {
        name if name.isupper() else f"LOGSHIP_{name.upper()}": value
        for name, value in environment.items()
    }
    result = CliRunner().invoke(command, ["--json", *options], env=variables)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return Told(result.exit_code, result.output, json.loads(result.output)["checks"])


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[EmbeddedReceiver]:
    with EmbeddedReceiver(tmp_path / "sidecar") as sidecar:
        yield sidecar


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskMetadata]:
    """A server of JSON at the port where Fluent Bit's HTTP server is by default."""
    with TaskMetadata({}) as server:
        monkeypatch.setattr(sidecars, "_MONITOR_PORT", server.port)
        yield server
