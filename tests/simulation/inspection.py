"""What the judge sees inside a simulated client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logship._buffer.chunk import Chunk
from logship._reasons import WITHHELD
from logship._spool.adoption import AdoptedChunk
from tests.simulation.estate import Stamp
from tests.simulation.ledgers import Account, Holdings
from tests.simulation.wire import Frame, Violation, decode

if TYPE_CHECKING:
    from tests.simulation.client import SimulatedClient

_CONTROL_BYTES_MAX = 200


def counted(client: SimulatedClient) -> tuple[int, int, int]:
    """Return accepted, acked and refused records, with those that wait to be counted.

    Nothing is combined by it: entries must wait in the inbox as they do in life.
    """
    section, counters = client.buffer._section, client.buffer.counters
    waiting = 0 if section.closed else len(section.inbox)
    names = [name for name, _, _ in section.notes]
    waiting += names.count(WITHHELD)
    return (
        counters.accepted + waiting,
        counters.acked,
        counters.refused + names.count("refused"),
    )


def account(client: SimulatedClient) -> Account:
    client.buffer.unsettled()  # which combines what waits
    counters = client.buffer.counters
    return Account(
        counters.accepted,
        counters.acked,
        counters.spilled,
        sum(counters.dropped.values()),
        counters.refused,
        client.buffer.bytes_held,
    )


def holdings(client: SimulatedClient) -> Holdings:
    records = entries = data_bytes = 0
    for chunk in client.buffer.unsettled():
        records += chunk.records
        entries += chunk.entries
        data_bytes += len(chunk.data)
    return Holdings(records, entries, data_bytes)


def stderr_lines(client: SimulatedClient) -> list[dict[str, Any]]:
    """Return what is on standard error, a line included that is only begun.

    Its end comes before whatever is written next, so before the report that names it.
    """
    return client.stderr.lines(client.last_resort._pending)


def held(client: SimulatedClient) -> list[Frame]:
    """Return what lies in the buffer, read anew."""
    return [frame_of(client, chunk) for chunk in client.buffer.unsettled()]


def check_disk(client: SimulatedClient) -> None:
    """Look whether files and memory stay within their bounds."""
    disk, storage = client.disk, client.storage
    if disk is None or storage is None:
        return
    on_volume = storage.bytes_on_volume()
    if on_volume > disk.options.bytes_max:
        raise Violation(f"{on_volume} bytes are on the volume, not {disk.options.bytes_max}")
    chunks = [each for each in client.buffer.unsettled() if not each.spooled]
    # Our own records, and halves of what a server does not take, come on top.
    controls = sum(each.entries - each.records for each in chunks) * _CONTROL_BYTES_MAX
    in_memory = sum(each.size for each in chunks if each.whole is each)
    if in_memory > disk.options.memory_bytes_max + controls:
        raise Violation(f"{in_memory} bytes are in memory, for want of a disk")


def check_locks(client: SimulatedClient) -> None:
    """Check that no other process could ship the same records."""
    if client.disk is not None:
        wholes = [each.whole for each in client.buffer.adopted]
        for name in {each.adoption.name for each in wholes if isinstance(each, AdoptedChunk)}:
            client.disk.check_locked(name)


def unproven(client: SimulatedClient) -> dict[str, set[Stamp]]:
    """Return what is left of dead processes, by directory, where that is poison alone."""
    left: dict[str, set[Stamp]] = {}
    for chunk in client.buffer.adopted:
        frame = frame_of(client, chunk)
        if len(frame.numbers) != 1 or not client.history.judge.is_poison(frame):
            return {}
        whole = chunk.whole
        assert isinstance(whole, AdoptedChunk)
        left.setdefault(whole.adoption.name, set()).add((frame.stream, frame.numbers[0]))
    return left


def frame_of(client: SimulatedClient, chunk: Chunk) -> Frame:
    """Return what is in a chunk, read anew."""
    key = client.history.options.stamp_key
    return decode(chunk.id, chunk.stream.tag, bytes(chunk.data), key)
