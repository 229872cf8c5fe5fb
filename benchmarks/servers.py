"""Which server takes the records of a run: what `--server` says.

The embedded `logship receive`, a Fluentd or Fluent Bit that is configured and started here, or a
server that is running elsewhere.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.sidecars import Embedded, Sidecar, free_port

SETTLE_SECONDS = 5.0


def open_sidecar(
    server: str,
    directory: Path,
    outputs: Sequence[str] = (),
    command: str | None = None,
    settle_seconds: float = SETTLE_SECONDS,
) -> Sidecar:
    """Return the sidecar that `--server` names, not started yet.

    Args:
        server: `embedded`, `fluentd`, `fluent-bit` (also `fluentd:EXECUTABLE`) or `HOST:PORT`.
        directory: The run's own; absolute.
        outputs: Glob patterns of the output files of a `HOST:PORT`.
        command: How to start a `HOST:PORT`; None: it runs.
        settle_seconds: Its output is complete when it did not grow for so long: longer than its
            flush interval.

    Raises:
        BenchmarkError: `server` is none of these, or what it needs is missing.
    """
    kind, _, rest = server.partition(":")
    if server == "embedded":
        return Embedded(directory, directory / "output.jsonl")
    if kind in KINDS:
        return _configured(KINDS[kind], rest or kind, directory)
    if not (kind and rest.isdecimal()):
        raise BenchmarkError(f"--server {server!r}: say embedded, fluentd, fluent-bit or HOST:PORT")
    if not outputs:
        raise BenchmarkError(f"--server {server} needs --output GLOB, its files")
    return Sidecar(
        (kind, int(rest)),
        outputs,
        directory / "sidecar.stderr",
        shlex.split(command) if command else None,
        quiet_seconds=settle_seconds,
        holds_back=True,
    )


def find_servers(kind: str) -> list[str]:
    """Return the names on PATH of one of `KINDS`, oldest version first: `fluentd-1.19.3`."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    names = {path.name for folder in folders for path in folder.glob(f"{kind}*")}
    pattern = re.compile(rf"{kind}(-\d[\d.]*)?")
    found = (name for name in names if pattern.fullmatch(name) and shutil.which(name))
    return sorted(found, key=numbers_in)


def numbers_in(version: str) -> list[int]:
    """Return what versions are sorted by: 1.9 is older than 1.16."""
    return [int(number) for number in re.findall(r"\d+", version)]


@dataclass(frozen=True)
class Kind:
    """How a real server is configured and started, so that what it acked survives its death."""

    config: str
    arguments: tuple[str, ...]
    """Before the name of the configuration file."""
    output: str
    """Glob pattern of its output files, below its directory."""
    quiet_seconds: float
    """Longer than its flush interval."""


FLUENTD = Kind(
    """\
# A file buffer (what was acked survives), and `block`: a full buffer pushes back, drops nothing.
<source>
  @type forward
  bind 127.0.0.1
  port {port}
</source>
<match **>
  @type file
  path {directory}/output
  append true
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path {directory}/buffer
    flush_interval 1s
    flush_at_shutdown true
    overflow_action block
  </buffer>
</match>
""",
    ("--no-supervisor", "--quiet", "--config"),
    "output*.log*",
    quiet_seconds=2.5,
)

FLUENT_BIT = Kind(
    """\
# Buffers in files: what was acked survives. Versions before 5.1 ack before that.
[SERVICE]
    flush         0.5
    storage.path  {directory}/buffer
[INPUT]
    name          forward
    listen        127.0.0.1
    port          {port}
    storage.type  filesystem
[OUTPUT]
    name          file
    match         *
    path          {directory}
    file          output.log
    format        plain
    retry_limit   no_limits
""",
    ("--config",),
    "output.log",
    quiet_seconds=2.0,
)

KINDS = {"fluentd": FLUENTD, "fluent-bit": FLUENT_BIT}


def _configured(kind: Kind, executable: str, directory: Path) -> Sidecar:
    if shutil.which(executable) is None:
        raise BenchmarkError(f"{executable}: no such program on PATH")
    port, config = free_port(), directory / "sidecar.conf"
    config.write_text(kind.config.format(port=port, directory=directory))
    return Sidecar(
        ("127.0.0.1", port),
        [str(directory / kind.output)],
        directory / "sidecar.stderr",
        [executable, *kind.arguments, str(config)],
        quiet_seconds=kind.quiet_seconds,
        holds_back=True,
    )
