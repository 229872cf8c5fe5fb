"""Fluentd as a process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.servers.process import Arrived, ServerProcess, json_objects, nanoseconds

SHORT_FLUSH = "flush_mode interval\nflush_interval 0.1s\nflush_thread_interval 0.05"
NO_FLUSH = "flush_mode interval\nflush_interval 600s\nflush_at_shutdown true"
"""Fluentd writes its files at its end only: a SIGKILL can then tear no line of them."""


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
        (self.directory / "fluentd.conf").write_text(self._configuration())
        return [self._executable, "--no-supervisor", "-c", str(self.directory / "fluentd.conf")]

    def output_files(self, tag: str) -> list[Path]:
        return [each for each in [self.directory / "out" / f"{tag}.log"] if each.exists()]

    def arrived(self, tag: str) -> list[Arrived]:
        lines = [line for path in self.output_files(tag) for line in json_objects(path)]
        return [
            Arrived(line.pop("fluentd_tag"), nanoseconds(line.pop("fluentd_time")), line)
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
    body = textwrap.indent("\n".join(lines), "  ")
    return f"<{name}>\n{body}\n</{name.split(maxsplit=1)[0]}>"


def why_no_fluentd() -> str:
    return "" if fluentd_commands() else "there is no fluentd on PATH"
