"""What the tests of clients get: a sidecar in memory, and a file in the place of standard error.

What needs hypothesis is imported late: the smoke tests do without it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._buffer.buffer import Buffer
from logship._client.background import BackgroundClient
from logship.testing import Sidecar
from tests.unit.clients import Stderr, a_background_client
from tests.unit.pipes import Pipe


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[Stderr]:
    file = Stderr(tmp_path / "stderr")
    yield file
    file.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    fresh = Pipe()
    yield fresh
    fresh.close()


@pytest.fixture
def sidecar() -> Sidecar:
    return Sidecar()


@pytest.fixture
def client(sidecar: Sidecar, stderr: Stderr) -> Iterator[BackgroundClient]:
    """A client on its own thread; a test of another one has its own fixture."""
    fresh = a_background_client(sidecar, stderr)
    yield fresh
    sidecar.acks = True
    sidecar.hang_up()
    fresh.close(timeout=1)


@pytest.fixture
def buffer() -> Buffer:
    """A small one; a test of another one has its own fixture."""
    from tests.unit.accounts import a_buffer

    return a_buffer()


@pytest.fixture(params=["once", "twice"])
def changes_are_made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each change of a buffer made once, or once more as after an exception from outside."""
    from tests.unit.accounts import make_changes_twice

    if request.param == "twice":
        make_changes_twice(monkeypatch)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
