"""The sidecars of `sidecar/`, run from their committed files on this machine.

Nothing of a configuration is written here: what a test shows is true of what users deploy. Only
ports and directories are chosen, by the environment variables that the files themselves name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from tests.support.commands import ran
from tests.support.servers import Arrived, ReservedPort, ServerProcess, Tls, json_objects

REPOSITORY = Path(__file__).parents[2]
SIDECAR = REPOSITORY / "sidecar"
FLUENTD = SIDECAR / "fluentd"
FLUENT_BIT = SIDECAR / "fluent-bit" / "conf"


def why_no(program: str) -> str:
    return "" if shutil.which(program) else f"there is no {program} on PATH"


def why_no_compose() -> str:
    """Return why a compose file cannot even be read, or nothing."""
    if why := why_no("docker"):
        return why
    return "" if run("docker", "compose", "version")[0] == 0 else "docker has no compose plugin"


def run(*words: str | Path, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command with more environment; return its exit code and all that it said."""
    ended = ran(
        *words,
        code=None,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        timeout=120,
    )
    return ended.returncode, ended.stdout


class DeployedFluentd(ServerProcess):
    """Fluentd with `sidecar/fluentd/fluent.conf`.

    Args:
        directory: As of `ServerProcess`.
        environ: Variables that the configuration knows.
        configuration: Another file in its place.
        plugins: A directory with more plugins.
        options: As of `ServerProcess`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        environ: Mapping[str, str] | None = None,
        configuration: Path = FLUENTD / "fluent.conf",
        plugins: Path | None = None,
        **options: Any,
    ) -> None:
        self._environ = dict(environ or {})
        self._configuration = configuration
        self._plugins = [FLUENTD / "plugins", *([plugins] if plugins else [])]
        super().__init__(directory, **options)

    def command(self) -> Sequence[str]:
        """Return the command; ports and directories are in its environment."""
        environ = {
            "LOGSHIP_PORT": str(self.port.number),
            "LOGSHIP_BUFFER_DIR": str(self.directory / "buffer"),
            "LOGSHIP_LOG_DIR": str(self.directory / "out"),
            **self._environ,
        }
        return [
            *("env", *(f"{name}={value}" for name, value in environ.items())),
            *("fluentd", "--no-supervisor", "-c", str(self._configuration)),
            *(word for path in self._plugins for word in ("-p", str(path))),
        ]

    def output_files(self, tag: str) -> list[Path]:
        """Return all its files: they are not by tag."""
        return sorted((self.directory / "out").glob("logship.*.log"))

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down for the tag; its times are texts for people."""
        lines = [line for path in self.output_files(tag) for line in json_objects(path)]
        return [Arrived(tag, 0, line) for line in lines if line.pop("fluentd_tag") == tag]


class DeployedFluentBit(ServerProcess):
    """Fluent Bit with one of `sidecar/fluent-bit/conf/outputs`.

    Args:
        directory: As of `ServerProcess`.
        output: Which.
        environ: More variables that the configuration knows.
        configurations: Another directory in its place.
        options: As of `ServerProcess`.
    """

    def __init__(
        self,
        directory: Path,
        output: str = "file",
        *,
        environ: dict[str, str] | None = None,
        configurations: Path = FLUENT_BIT,
        **options: Any,
    ) -> None:
        self._output = output
        self._start = configurations / "start"
        self._environ = environ or {}
        self.metrics_port = ReservedPort()
        super().__init__(directory, **options)

    def command(self) -> Sequence[str]:
        environ = fluent_bit_environ(self.directory) | {
            "LOGSHIP_OUTPUT": self._output,
            "LOGSHIP_PORT": str(self.port.number),
            "LOGSHIP_SIDECAR_METRICS_PORT": str(self.metrics_port.number),
            **self._environ,
        }
        words = [f"{name}={value}" for name, value in environ.items()]
        return ["env", *words, "sh", str(self._start)]

    def close(self) -> None:
        super().close()
        self.metrics_port.close()

    def output_files(self, tag: str) -> list[Path]:
        """Return its one file, where there is one yet."""
        return [each for each in [self.directory / "out" / "logship.log"] if each.exists()]

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down, of whatever tag: it notes none."""
        lines = [line for path in self.output_files(tag) for line in json_objects(path)]
        return [Arrived(tag, 0, line) for line in lines]


def fluent_bit_environ(directory: Path) -> dict[str, str]:
    """Return what the Dockerfile sets, with this directory for the volumes."""
    return image_environ() | {
        "LOGSHIP_BUFFER_DIR": str(directory / "buffer"),
        "LOGSHIP_LOG_DIR": str(directory / "out"),
    }


def image_environ() -> dict[str, str]:
    dockerfile = (FLUENT_BIT.parent / "Dockerfile").read_text()
    (lines,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", dockerfile, re.MULTILINE)
    return dict(re.findall(r"(LOGSHIP_\w+)=(\S*)", lines))


def certificate_for(name: str, directory: Path) -> tuple[Path, Tls]:
    """Make an authority's certificate, and one that it signed for a name and for loopback."""
    authority = trustme.CA()
    issued = authority.issue_cert(name, "127.0.0.1")
    ca, tls = directory / "ca.pem", Tls(directory / "certificate.pem", directory / "key.pem")
    authority.cert_pem.write_to_path(str(ca))
    issued.cert_chain_pems[0].write_to_path(str(tls.certificate))
    issued.private_key_pem.write_to_path(str(tls.key))
    return ca, tls


def has_fluent_bit_output(name: str) -> bool:
    return run("fluent-bit", "-o", name, "-h")[0] == 0


@cache
def has_fluentd_output(name: str) -> bool:
    """Tell whether this Fluentd has an output plugin, and the plugin all that it requires."""
    section = f"<match **>\n@type {name}\n</match>"
    _, said = run("fluentd", "--dry-run", "-c", "/dev/null", "-i", section)
    return "Unknown output plugin" not in said and "cannot load such file" not in said
