"""One task under Docker: the project of `docker-compose.yml`, driven by the docker command alone.

Everything goes through the command line, so that a remote daemon or Docker Desktop does as well;
files come out by `docker compose cp`, never through directories of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from benchmarks.errors import BenchmarkError
from benchmarks.processes import REPOSITORY, run_to_end

COMPOSE_FILE = REPOSITORY / "docker-compose.yml"

COMMAND_SECONDS_MAX = 300
BUILD_SECONDS_MAX = 1800
EXEC_ATTEMPTS = 4
EXEC_PAUSE_SECONDS = 1.0
CPU_PERIOD_MICROSECONDS = 100_000

SETTLED = "du -sb /fluentd/log /fluentd/buffer"
"""Run in the sidecar: what it prints changes while records come in or go out."""

SPOOL_STATE = ("logship", "recover", "--spool", "/var/spool/logship", "--dry-run")


def check_docker() -> None:
    """Find out whether there is a Docker to work with.

    Raises:
        BenchmarkError: There is none; the text says what to install or start.
    """
    if shutil.which("docker") is None:
        raise BenchmarkError(
            "there is no docker on PATH: install Docker Engine or Docker Desktop, with the compose "
            "plugin, https://docs.docker.com/engine/install/"
        )
    if _run(["docker", "compose", "version"], 60).returncode:
        raise BenchmarkError(
            "docker has no compose plugin: install docker-compose-plugin (on Debian: "
            "docker-compose), https://docs.docker.com/compose/install/"
        )
    answer = _run(["docker", "version", "--format", "{{.Server.Version}}"], 60)
    if answer.returncode:
        said = answer.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise BenchmarkError(
            f"the Docker daemon does not answer: {said[0]} (start it, or join the group docker)"
        )


def build_images() -> None:
    """Build the sidecar's and the application's image from this clone.

    Raises:
        BenchmarkError: One cannot be built.
    """
    command = [*_compose("logship"), "build", "sidecar", "task"]
    ended = _run(command, BUILD_SECONDS_MAX)
    if ended.returncode:
        raise BenchmarkError(f"the images cannot be built:\n{_tail(ended)}")


class Task:
    """A project of its own, with volumes of its own; a context manager that leaves nothing behind.

    Args:
        name: The project's, unique.
        services: What differs from `docker-compose.yml`, as compose's own override files have it.
        directory: Takes the override file.
        port: Of this machine, where Docker's log driver finds the sidecar; 0 is any free port.
    """

    def __init__(
        self, name: str, services: Mapping[str, Any], directory: Path, *, port: int = 0
    ) -> None:
        self._name = name
        override = directory / "override.json"  # JSON is YAML
        override.write_text(json.dumps({"name": name, "services": services}, indent=1))
        self._command = [*_compose(name), "-f", str(override), "--profile", "*"]
        self._stopper = ThreadPoolExecutor(1)
        self._stops: list[Future[None]] = []
        self._environ = os.environ | {
            "LOGSHIP_FIRELENS_PORT": str(port),
            "LOGSHIP_PROMETHEUS_PORT": "0",  # any
            "LOGSHIP_GRAFANA_PORT": "0",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopper.shutdown(cancel_futures=True)
        self._try("down", "--volumes", "--timeout", "0", "--remove-orphans")

    # --- its life -----------------------------------------------------------------------------

    def up(self, service: str) -> None:
        """Start a service and what it depends on; return when all of it runs and is healthy."""
        self._do("up", "--detach", "--no-build", service)

    def start(self, service: str) -> None:
        """Start a service that has ended, and wait until it is healthy."""
        self._do("up", "--detach", "--no-build", "--no-recreate", "--no-deps", "--wait", service)

    def stop(self, service: str, timeout_seconds: float) -> None:
        """SIGTERM, and SIGKILL after the timeout: `docker compose stop -t N`."""
        self._do("stop", "--timeout", f"{timeout_seconds:g}", service)

    def stop_meanwhile(self, service: str, timeout_seconds: float) -> None:
        """Stop a service in the background, until `wait_for_stops`."""
        self._stops.append(self._stopper.submit(self.stop, service, timeout_seconds))

    def wait_for_stops(self) -> None:
        """Wait for what `stop_meanwhile` began."""
        while self._stops:
            self._stops.pop().result()

    def kill(self, service: str) -> None:
        """SIGKILL."""
        self._do("kill", service)

    def throttle(self, service: str, cpus: float | None) -> None:
        """Give a service a share of one CPU; None: all that there is."""
        quota = -1 if cpus is None else round(cpus * CPU_PERIOD_MICROSECONDS)
        period = ["--cpu-period", str(CPU_PERIOD_MICROSECONDS), "--cpu-quota", str(quota)]
        self._docker("update", *period, self._container(service))

    # --- what became of it --------------------------------------------------------------------

    def is_running(self, service: str) -> bool:
        """Whether its container runs."""
        return bool(self._state(service)["Running"])

    def exit_code(self, service: str) -> int:
        """Return the exit code of a service that has ended; 137 is a death by SIGKILL."""
        return int(self._state(service)["ExitCode"])

    def output_state(self) -> str:
        """Return a text that changes while the sidecar still writes."""
        return self._exec("sidecar", "sh", "-c", SETTLED)

    def spool_state(self) -> str:
        """Return a line for each dead process that still has something on the spool."""
        return self._exec("recoverer", *SPOOL_STATE).strip()

    def copy(self, service: str, path: str, target: Path) -> None:
        """Copy a file or directory out of a container, which need not run."""
        self._do("cp", f"{service}:{path}", str(target))

    def save_logs(self, service: str, directory: Path) -> Path:
        """Write a container's stdout and stderr into the directory; return the stderr's path."""
        container = self._container(service)
        stderr = directory / f"{service}.stderr"
        with (directory / f"{service}.stdout").open("wb") as out, stderr.open("wb") as err:
            _run(["docker", "logs", container], COMMAND_SECONDS_MAX, stdout=out, stderr=err)
        return stderr

    def last_words(self, service: str) -> str:
        """Return the end of what a container said."""
        ended = _run(["docker", "logs", self._container(service)], COMMAND_SECONDS_MAX)
        return _tail(ended)

    # --- the command line ---------------------------------------------------------------------

    def _state(self, service: str) -> dict[str, Any]:
        text = self._docker("inspect", "--format", "{{json .State}}", self._container(service))
        state: dict[str, Any] = json.loads(text)
        return state

    def _container(self, service: str) -> str:
        found = self._do("ps", "--all", "--quiet", service).stdout.split()
        if len(found) != 1:
            raise BenchmarkError(f"there is no container of the service {service}")
        return found[0]

    def _exec(self, service: str, *words: str) -> str:
        """Return what a command that only looks says in a container.

        Under load an exec fails now and then for reasons of Docker's own, and a measurement of
        minutes is not to be thrown away for that.
        """
        for _ in range(EXEC_ATTEMPTS - 1):
            ended = self._try("exec", "-T", service, *words)
            if ended.returncode == 0:
                return ended.stdout
            time.sleep(EXEC_PAUSE_SECONDS)
        return self._do("exec", "-T", service, *words).stdout

    def _docker(self, *words: str) -> str:
        ended = _run(["docker", *words], COMMAND_SECONDS_MAX)
        if ended.returncode:
            raise BenchmarkError(f"docker {words[0]}: {_tail(ended)}")
        return ended.stdout

    def _do(self, *words: str) -> subprocess.CompletedProcess[str]:
        ended = self._try(*words)
        if ended.returncode:
            raise BenchmarkError(f"docker compose {' '.join(words)}:\n{_tail(ended)}")
        return ended

    def _try(self, *words: str) -> subprocess.CompletedProcess[str]:
        return _run([*self._command, *words], COMMAND_SECONDS_MAX, env=self._environ)


def _compose(project: str) -> list[str]:
    return ["docker", "compose", "--project-name", project, "-f", str(COMPOSE_FILE)]


def _run(
    command: list[str], seconds_max: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    # A Ctrl-C is for the benchmark, which then cleans up.
    return run_to_end(command, seconds_max, start_new_session=True, **options)


def _tail(ended: subprocess.CompletedProcess[str]) -> str:
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    return "\n".join(lines[-8:]) or f"exit code {ended.returncode}, and not a word"
