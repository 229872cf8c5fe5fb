"""Whether a sidecar keeps what it acknowledged: rules about its own configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from logship._deployment.linting.model import Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import configurations
from logship._deployment.linting.sections import IN_SECTIONS, ON, Configuration, Section
from logship._deployment.linting.shapes import bytes_or_none, count_or_none
from logship._settings import MIB, RECORD_BYTES_MAX

_PLATFORMS = (Platform.KUBERNETES, Platform.COMPOSE, Platform.CONFIGURATION)
_WITH_FIRELENS = (Platform.ECS, *_PLATFORMS)
"""Where an output's options are judged: FireLens makes one of those of a container's log driver."""
_BUFFERED = re.compile(
    r"forward|s3|(rd)?kafka\w*|elasticsearch\w*|opensearch\w*|cloudwatch_logs|kinesis\w*|http|loki|"
    r"datadog|splunk_hec|gelf|mongo|webhdfs|gcs|azurestorage\w*|rewrite_\w+_s3|"
    r"newrelic|sumologic|google_cloud|logzio_buffered|"
    r"logship_(?!file|dedup)\w+"
)
"""Fluentd outputs that buffer in memory by default."""
_FILE_BY_DEFAULT = ("file", "buffer", "logship_file")
_NEVER_FAIL = ("stdout", "null", "counter", "flowcounter", "prometheus_exporter")
_RETRY_LIMITS = ("retry_max_times", "retry_timeout", "retry_limit")
_RETRIES_FOR_EVER = ("retry_forever", "disable_retry_limit")
_AFTER_THREE_DAYS = (
    "when the destination was unreachable for 72 hours, Fluentd deletes all acknowledged records "
    "in the queue for it"
)
_FOR_EVER = ("no_limits", "false", "off")
_TAKES_FOREVER_FOR_5 = "s3"
_CHUNK_BYTES = 512 * 1024
_FILE_BYTES = (256 * MIB, 64 * 1024 * MIB)
"""The default `chunk_limit_size` and `total_limit_size` of a buffer in files."""
_MEMORY_BYTES = (8 * MIB, 512 * MIB)
"""The same of a buffer in memory."""
_GRACE_SECONDS = 5


def of_sidecars(unit: Unit) -> Iterator[Configuration]:
    """Yield the configurations that may be those of a sidecar of logship.

    One without inputs may be a part of the others, or of what is not in sight.
    """
    of_all = [each for found in unit.configurations for each in found.inputs]
    for found in unit.configurations:
        inputs = found.inputs or of_all
        is_one = any(one.type in ("forward", "secure_forward") for one in inputs)
        if not inputs and found.is_fluentd:
            is_one = "@include" not in found.options
        elif not inputs:
            is_one = bool(found.outputs)
        if is_one:
            yield found


def _buffers(whole: Configuration) -> Iterator[tuple[Section, Section]]:
    """Yield the outputs of Fluentd with their buffers; a part that is included into one as both."""
    for output in whole.outputs_of_fluentd:
        yield output, output.first("buffer") or output
    if whole.is_fluentd and not whole.sections:
        yield whole, whole


@configurations.error(
    finds="a sidecar that keeps what it acknowledged in memory",
    effect="the sidecar is killed, and the records that it acknowledged are lost",
    platforms=_PLATFORMS,
)
def _memory_buffer(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """Fluentd and Fluent Bit acknowledge a chunk when it is in the buffer. A client never sends an
    acknowledged record again, so a buffer in memory loses it when the sidecar is killed or runs out
    of memory. Most outputs of Fluentd, and the forward input of Fluent Bit, keep their buffer in
    memory unless they are told otherwise.
    """
    for output in found.outputs_of_fluentd:
        if _is_in_memory(output):
            change = "buffer: { $type: file, path: … }"
            if found.form == IN_SECTIONS:
                change = "<buffer> @type file / path … </buffer>"
            yield Mistake(change, line=output.line)
    for each in found.inputs:
        if each.type == "forward" and not found.is_fluentd and found.is_in_memory(each):
            change = found.setting("storage.type", "filesystem")
            if found.lacks_storage:
                change += f", and in the service {found.setting('storage.path', '…')}"
            yield Mistake(change, line=each.line_of("storage.type"))


def _is_in_memory(output: Section) -> bool:
    if _includes(output):
        return False
    if kind := _buffer_type(output):
        return not kind.startswith(("file", "#{"))
    has_one = output.first("buffer") is not None
    return has_one or _BUFFERED.fullmatch(output.type) is not None


def _includes(output: Section) -> bool:
    """Return whether options of an output, or of its buffer, are in another file."""
    buffer = output.first("buffer") or output
    return "@include" in output.options or "@include" in buffer.options


def _buffer_type(output: Section) -> str:
    """Return the type of an output's buffer; empty if it is that of most outputs, memory."""
    buffer = output.first("buffer")
    given = (buffer.type if buffer is not None else "") or output.options.get("buffer_type", "")
    return given or ("file" if output.type in _FILE_BY_DEFAULT else "")


@configurations.error(
    finds="a full buffer of Fluentd that throws away its oldest chunk",
    effect="the destination is unreachable for a while, and acknowledged records are lost",
    platforms=_WITH_FIRELENS,
)
def _buffer_overflow(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """`overflow_action drop_oldest_chunk` deletes records that logship counts as delivered. With
    `block` or `throw_exception` Fluentd acknowledges no more chunks, and logship's own buffer and
    spool take over.
    """
    for _, buffer in _buffers(found):
        for option in ("overflow_action", "buffer_queue_full_action"):
            if buffer.options.get(option) == "drop_oldest_chunk":
                yield Mistake(found.setting(option, "block"), line=buffer.line_of(option))


@configurations.error(
    finds="an output forward that waits for no ack of the aggregator",
    effect="the aggregator or the connection ends, and acknowledged records are lost",
    platforms=_WITH_FIRELENS,
)
def _forward_ack(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """Without `require_ack_response`, which is off by default, Fluentd and Fluent Bit delete a
    chunk as soon as its bytes are in the socket. What the aggregator has not read by then is lost
    with the connection. With `upstream` Fluent Bit takes the option from the file with the nodes,
    which the rule does not see.
    """
    option = "require_ack_response"
    for each in (*found.outputs_of_fluentd, *found.outputs):
        is_elsewhere = not each.options.keys().isdisjoint(("upstream", "@include"))
        if each.type == "forward" and not _may_be_on(each, option) and not is_elsewhere:
            yield Mistake(found.setting(option, "true"), line=each.line_of(option))


@configurations.error(
    finds="an output that gives up a chunk after a while, without a second place for it",
    effect="the destination is unreachable for a while, and acknowledged records are lost",
    platforms=_WITH_FIRELENS,
)
def _retry_limit(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """Fluentd deletes all chunks in the queue when `retry_max_times` or `retry_timeout`, by default
    72 hours, is over, unless `retry_forever` is on or there is a <secondary>. Fluent Bit tries once
    more and deletes the chunk, unless `Retry_Limit` is `no_limits`. Its output s3 takes that for 5
    attempts, and needs a large number.
    """
    for output, buffer in _buffers(found):
        is_endless = any(_may_be_on(buffer, each) for each in _RETRIES_FOR_EVER)
        if is_endless or output.first("secondary"):
            continue
        change = found.setting("retry_forever", "true")
        limits = [each for each in _RETRY_LIMITS if each in buffer.options]
        for option in limits:
            yield Mistake(change, line=buffer.line_of(option))
        if not limits and _lasts_three_days(output):
            yield Mistake(change, _AFTER_THREE_DAYS, line=buffer.line_of("retry_forever"))
    for each in found.outputs:
        limit = each.options.get("retry_limit", "1")
        if each.type not in _NEVER_FAIL and not _is_endless(each.type, limit):
            right = "1000000000" if each.type == _TAKES_FOREVER_FOR_5 else "no_limits"
            yield Mistake(found.setting("retry_limit", right), line=each.line_of("retry_limit"))


def _may_be_on(section: Section, option: str) -> bool:
    given = section.options.get(option, "off")
    return given in ON or given.startswith(("$", "#{"))


def _lasts_three_days(output: Section) -> bool:
    """Return whether all options of a buffer are in sight, and it may outlive an outage."""
    is_remote = output.type not in (*_FILE_BY_DEFAULT, *_NEVER_FAIL)
    return is_remote and _buffer_type(output).startswith("file") and not _includes(output)


def _is_endless(output: str, limit: str) -> bool:
    """Tell whether an output gives up no chunk."""
    is_large = limit.isdecimal() and len(limit) > 6
    return is_large or "$" in limit or (limit in _FOR_EVER and output != _TAKES_FOREVER_FOR_5)


@configurations.error(
    finds="an output of Fluent Bit that throws away its oldest chunks above a limit",
    effect="the destination is unreachable for a while, and acknowledged records are lost",
    platforms=_WITH_FIRELENS,
)
def _buffer_limit(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """Above `storage.total_limit_size` Fluent Bit deletes the oldest chunks of the output and goes
    on acknowledging. No bound makes it wait: give the volume space, and watch it.
    """
    for each in found.outputs:
        option = "storage.total_limit_size"
        if option in each.options and each.options[option] not in _FOR_EVER:
            yield Mistake(f"remove {option}", line=each.line_of(option))


@configurations.warning(
    finds=("a chunk limit that is too small for logship's records, or larger than the buffer"),
    effect=(
        "long records are refused again and again, and end on stderr; or the buffer is full at once"
    ),
    platforms=_PLATFORMS,
)
def _chunk_limit(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """A record of logship has at most 5 MB, and its chunks have 512 KiB or one record. Fluentd
    refuses a record above `chunk_limit_size`. A chunk above the input's `chunk_size_limit`, or
    above Fluent Bit's `buffer_max_size`, is dropped without an ack, so logship sends it again. If
    `chunk_limit_size` is above `total_limit_size`, the buffer is full before its first chunk is.
    """
    for output, buffer in _buffers(found):
        line = buffer.line_of("chunk_limit_size")
        in_files = _buffer_type(output).startswith("file")
        chunk_bytes, total_bytes = _FILE_BYTES if in_files else _MEMORY_BYTES
        limit = bytes_or_none(buffer.options.get("chunk_limit_size", f"{chunk_bytes}"))
        total = bytes_or_none(buffer.options.get("total_limit_size", f"{total_bytes}"))
        if limit is None or total is None:
            continue
        effect = ""
        if limit > total:
            effect = (
                f"the buffer holds {total:,} bytes and a chunk {limit:,}: it is full before a "
                "chunk is, and the input has to wait"
            )
        elif limit < _CHUNK_BYTES:
            effect = f"Fluentd refuses records above {limit:,} bytes, and they end on stderr"
        if effect:
            yield Mistake(found.setting("chunk_limit_size", "8m"), effect, line=line)
    option, change = "chunk_size_limit", "remove chunk_size_limit"
    if not found.is_fluentd:
        option, change = "buffer_max_size", found.setting("buffer_max_size", "8M")
    for each in found.inputs:
        limit = bytes_or_none(each.options.get(option, ""))
        if each.type == "forward" and limit is not None and limit < RECORD_BYTES_MAX:
            effect = (
                f"a chunk above {limit:,} bytes is dropped without an ack, and logship sends "
                "it again and again; a record may have 5,000,000"
            )
            yield Mistake(change, effect, line=each.line_of(option))


@configurations.note(
    finds="a Fluent Bit with only the default grace period at its end",
    effect=(
        "the sidecar stops, and records that it acknowledged stay in its files, or end with the "
        "task"
    ),
    platforms=_PLATFORMS,
)
def _fluent_bit_grace(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """After SIGTERM Fluent Bit delivers for `grace` seconds, 5 by default, even if the container's
    stop timeout is longer. The rest stays in the files of its buffer. On Fargate these files end
    with the task.
    """
    service = found.service
    if found.is_fluentd or service is None or not found.inputs:  # another part may have it
        return
    grace = count_or_none(service.options.get("grace", f"{_GRACE_SECONDS}"))
    if grace is not None and grace <= _GRACE_SECONDS:
        yield Mistake(found.setting("grace", "30"), line=service.line_of("grace"))


@configurations.error(
    finds="an output that no record reaches",
    effect="all records are acknowledged and thrown away, or go to another output",
    platforms=_PLATFORMS,
)
def _match_nothing(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """Fluent Bit sends nothing to an output without `Match` or `Match_Regex`, unless there is only
    one input and one output, or an input names the output in its `routes`. Fluentd sends a record
    to the first <match> that fits, so a <match> after `<match **>` gets none.
    """
    has_direct_routes = found.has_direct_routes
    for each in found.outputs:
        if not has_direct_routes and not each.has_match:
            yield Mistake(found.setting("match", "*"), line=each.line_of("name"))
    for parent in (found, *found.all("label"), *found.all("worker")):
        yield from _behind_all(parent)


def _behind_all(parent: Section) -> Iterator[Mistake]:
    takes_all = None
    for each in parent.sections:
        if each.name == "match" and takes_all is not None:
            effect = (
                f"<match **> in line {takes_all.line} takes every record, so "
                f"<match {each.argument:.60}> gets none"
            )
            yield Mistake("move <match **> to the end", effect, line=each.line)
        elif each.name == "match" and "**" in each.argument.split():
            takes_all = each
