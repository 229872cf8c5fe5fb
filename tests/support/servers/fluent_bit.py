"""Fluent Bit as a process."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.servers.process import Arrived, ServerProcess, nanoseconds, whole_lines


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
        (self.directory / "fluent-bit.conf").write_text(self._configuration())
        return ["fluent-bit", "-q", "-c", str(self.directory / "fluent-bit.conf")]

    def output_files(self, tag: str) -> list[Path]:
        return [each for each in [self.directory / "out" / tag] if each.exists()]

    def arrived(self, tag: str) -> list[Arrived]:
        """Return what it has written down for the tag; its lines are `TAG: [TIME, {...}]`."""
        start = re.compile(re.escape(tag.encode()) + rb": \[(\d+\.\d+), ")
        arrived = []
        for line in whole_lines(self.output_files(tag)):
            head = start.match(line)
            if head is not None:
                record = json.loads(line[head.end() : -1])
                arrived.append(Arrived(tag, nanoseconds(head[1].decode()), record))
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


def why_no_fluent_bit() -> str:
    return "" if shutil.which("fluent-bit") else "there is no fluent-bit on PATH"
