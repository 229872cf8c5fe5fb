"""The health check of Fluentd's image."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.interop.conftest import needs
from tests.sidecar.deployed import FLUENTD, DeployedFluentd, run
from tests.support.servers import why_no_fluentd


def check_health(port: int) -> tuple[int, str]:
    return run("sh", FLUENTD / "healthcheck", environ={"LOGSHIP_PORT": str(port)})


@needs(why_no_fluentd)
def test_the_health_check_asks_whether_the_port_listens(tmp_path: Path) -> None:
    with DeployedFluentd(tmp_path / "server") as server:
        assert check_health(server.port.number) == (0, "")
        server.kill()
        assert check_health(server.port.number) == (1, "")


def test_a_port_of_another_container_is_not_healthy() -> None:
    """It would get the records: the containers of a task share ports, but not processes."""
    container = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc")
    if run(*container, "true")[0] != 0:
        pytest.skip("this machine lets a test make no process namespace")
    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = {"LOGSHIP_PORT": str(server.getsockname()[1])}
        assert run(*container, "sh", FLUENTD / "healthcheck", environ=environ) == (1, "")


def test_a_port_whose_queue_is_full_is_healthy() -> None:
    """Fluentd accepts no connections while its buffer is full, and ECS would end both."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address), pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.1)
        assert check_health(address[1]) == (0, "")
