"""The table of limits in docs/security.md."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from logship._settings import Settings

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True)
class Limit:
    """A limit of the code.

    Attributes:
        name: Of the constant, as `module:NAME`; the underscore before the module is left out.
        bounds: What is bounded.
        beyond: What happens beyond it.
    """

    name: str
    bounds: str
    beyond: str

    @property
    def value(self) -> str:
        """The value and its unit, as the name has it."""
        module, _, name = self.name.partition(":")
        return with_unit(name, getattr(importlib.import_module(f"logship._{module}"), name))


LIMITS = [
    Limit(
        "protocol.handshake:_MESSAGE_BYTES_MAX",
        "a handshake message, of either side; nothing else is read before the key is proved",
        "the connection ends",
    ),
    Limit("protocol.messages:MESSAGE_BYTES_MAX", "a message to the receiver", "it closes"),
    Limit("protocol.unpacking:ITEMS_MAX", "elements of an array or a map", "the receiver closes"),
    Limit(
        "protocol.unpacking:VALUES_MAX",
        "values of a message with a record that is not only text and numbers",
        "the receiver closes",
    ),
    Limit("protocol.messages:TAG_BYTES_MAX", "a tag", "the receiver closes"),
    Limit("protocol.messages:OPTION_BYTES_MAX", "a message's option", "the receiver closes"),
    Limit(
        "protocol.compression:MEMBERS_MAX",
        "gzip members or zstd frames in a message",
        "the receiver closes",
    ),
    Limit("protocol.payloads:LINES_BYTES_MAX", "the lines of a message", "the receiver closes"),
    Limit(
        "protocol.frames:_ACK_BYTES_MAX",
        "an answer of a sidecar",
        "the connection ends, and what it did not ack is sent again",
    ),
    Limit("quoting:QUOTED_CHARACTERS_MAX", "characters of a foreign text in a line", "it is cut"),
    Limit("quoting:LINE_CHARACTERS_MAX", "characters of a line for a person", "it is cut"),
    Limit(
        "stderr.last_resort:WARNING_INTERVAL_SECONDS",
        "time between two warnings of a kind",
        "it is left out",
    ),
    Limit(
        "stderr.last_resort:_QUEUED_LINES_MAX",
        "lines that wait for a stalled stderr",
        "a refused record is counted as unwritten",
    ),
    Limit(
        "stderr.last_resort:_QUEUED_BYTES_MAX",
        "these lines together, and one line more",
        "a refused record is counted as unwritten",
    ),
    Limit("settings.settings:RECORD_BYTES_MAX", "a record, packed", "it is cut, and says so"),
    Limit("buffer.stream:STREAMS_MAX", "open streams of a client", "the first one is ended"),
    Limit("settings.secrecy:SECRET_BYTES_MAX", "a file with a key or with users", "an error"),
    Limit("spool.files:FILE_BYTES_MAX", "a file of a spool", "it is named, and not read"),
    Limit("spool.chunks:PAYLOAD_BYTES_MAX", "the payload of a chunk on a spool", "it is damage"),
    Limit("spool.chunks:ENTRIES_MAX", "entries of a chunk on a spool", "it is damage"),
    Limit("spool.segments:_DAMAGES_MAX", "damages in a file of a spool", "the rest is not read"),
    Limit(
        "spool.survey:CHUNKS_MAX",
        "chunks and streams of a dead process in memory",
        "the next recovery of its directory takes them",
    ),
    Limit("spool.quarantine:QUARANTINE_BYTES_MAX", "a spool's quarantine", "the rest stays"),
    Limit("spool.quarantine:QUARANTINE_FILES_MAX", "files in the quarantine", "the rest stays"),
    Limit("run.lines:LINE_BYTES_MAX", "a line of a command's output", "it becomes several records"),
    Limit("run.multiline:BYTES_MAX", "a record of several lines", "it is ended"),
    Limit("run.multiline:LINES_MAX", "lines of such a record", "it is ended"),
    Limit("run.patterns:SEARCH_BYTES_MAX", "the part of a line that is searched", "ignored"),
    Limit(
        "run.patterns:SEARCH_SECONDS_MAX",
        "a search for `--multiline-start` in a line, CPU time",
        "no lines are joined for a minute",
    ),
    Limit(
        "run.offspring:DIRECTORIES_MAX",
        "directories of earlier `run`s that one `run` takes over",
        "the next `run` takes them",
    ),
    Limit("metrics.prometheus:_REQUESTS_MAX", "requests for metrics at a time", "they wait"),
    Limit("metrics.prometheus:_REQUEST_SECONDS_MAX", "a request for metrics", "it is closed"),
    Limit("metrics.page_format:PAGES_MAX", "processes whose numbers are summed", "not counted"),
    Limit("ecs.httpjson:_BYTES_MAX", "an answer of the task metadata", "it is ignored"),
    Limit("ecs.reader:TASK_SECONDS_MAX", "the wait for the task metadata", "it is given up"),
    Limit("audit.sources:LINE_BYTES_MAX", "a line that `audit` reads", "exit code 2"),
    Limit("cli.lint:FILE_BYTES_MAX", "a file that `lint` reads", "exit code 2"),
    Limit(
        "deployment.linting.marks:YAML_CHARACTERS_MAX",
        "characters of a YAML file, and of the configurations in a file of any kind",
        "exit code 2",
    ),
    Limit(
        "deployment.linting.shapes:COMMAND_CHARACTERS_MAX",
        "characters of a container's command that is one text",
        "exit code 2",
    ),
    Limit("deployment.linting.model:CONTAINERS_MAX", "containers of a unit", "exit code 2"),
    Limit("deployment.linting.dockerfile:STAGES_MAX", "stages of a Dockerfile", "exit code 2"),
    Limit("deployment.linting.dockerfile:VARIABLES_MAX", "variables of a stage", "exit code 2"),
    Limit("deployment.linting.report:FINDINGS_MAX", "findings in a file", "exit code 2"),
]

SETTINGS = {
    "connect_timeout_seconds": ("an attempt to connect", "the next one, after a wait"),
    "ack_timeout_seconds": ("the wait for an ack", "a new connection, and all is sent again"),
    "spool_bytes_max": ("all files of a process on a spool", "the overflow policy decides"),
    "spill_bytes_per_second_max": (
        "what is written to stderr while the program runs",
        "the record is dropped and declared; a refused record is counted as unwritten",
    ),
}


def with_unit(name: str, value: float) -> str:
    """Return a value for a person; its name says the unit."""
    lowered = name.lower()
    per_second = "/s" if "per_second" in lowered else ""
    if "seconds" in lowered.replace("per_second", "") or lowered.endswith("timeout"):
        return f"{value:g} s"
    if "bytes" in lowered:
        for size, unit in _UNITS:
            if value % size == 0 and value >= size:
                return f"{value // size:g} {unit}{per_second}"
        return f"{value:,} bytes{per_second}"
    return f"{value:,}"


def table() -> str:
    """Return the table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in _rows())


def _rows() -> Iterator[tuple[str, str, str]]:
    yield "bound", "what it bounds", "beyond it"
    yield "---", "---", "---"
    for limit in LIMITS:
        yield limit.value, limit.bounds, limit.beyond
    for each in dataclasses.fields(Settings):
        if each.name in SETTINGS:
            bounds, beyond = SETTINGS[each.name]
            default: Any = each.default
            yield with_unit(each.name, default), f"{bounds} (`{each.name}`)", beyond
    for option in _receive_options():
        yield (
            with_unit(str(option.name), option.default),
            f"`receive {option.opts[0]}`",
            _help(option),
        )


def _receive_options() -> Iterator[Any]:
    """Yield the options of `logship receive` that are limits."""
    command = importlib.import_module("logship._cli.receive").command
    for each in command.params:
        is_limit = str(each.name).endswith(("_max", "_timeout", "_timeout_seconds"))
        if isinstance(each, click.Option) and is_limit and each.default is not None:
            yield each


def _help(option: click.Option) -> str:
    return (option.help or "").partition(".")[0]
