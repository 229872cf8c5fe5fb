"""How a record becomes an entry in the buffer: packed, cut if it must be, and offered.

All records come by here in the thread that logs: those of `emit`, `send`, `send_many` and of the
handler. The application's own code (`str`, `repr`, `redact`) runs here and nowhere later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from logship.buffer.buffer import Buffer
from logship.buffer.entrance import Outcome
from logship.buffer.inbox import Tag
from logship.errors import ClientClosed
from logship.hooks.interruptions import is_interruption
from logship.protocol.entries import CutEntry, record_packer
from logship.settings import RECORD_BYTES_MAX, Settings

Record = Mapping[Any, Any]
_ACCEPTED = Outcome.ACCEPTED
Pack = Callable[[Record, int | None], bytes]


class Step(NamedTuple):
    """How far `Intake.put_many` has come.

    Attributes:
        accepted: How many records are in the buffer.
        body: The next one, packed, if there is no space for it, else None. A caller that goes on
            has found space, and the record counts as accepted from then on.
    """

    accepted: int
    body: bytes | None


def _body_bytes_max(settings: Settings) -> int:
    """Return how long an entry may be before its stamp; what is longer is cut.

    Whatever comes, two records must fit into the smallest buffer, or one could block it.
    """
    return min(RECORD_BYTES_MAX, settings.buffer_bytes_max // 2)


class Intake:
    """The way into one client's buffer.

    Args:
        settings: What to do.
        buffer: Where entries go.
        tag: The route of records that name none; None while that is awaited.

    Attributes:
        pack: Returns the beginning of a record's entry. It takes the record, and when that was
            logged: nanoseconds since the epoch, or None for now. One that must be cut is counted.
        put: `Buffer.offer`. A client that is disabled packs nothing and puts it nowhere.
        tag: As given.
    """

    __slots__ = ("_buffer", "pack", "put", "tag")

    def __init__(self, settings: Settings, buffer: Buffer, tag: Tag) -> None:
        self.tag = tag
        self.pack = _record_packer(settings, lambda: buffer.note("truncated", 1))
        self.put = buffer.offer
        if settings.disabled:
            self.pack, self.put = _pack_nothing, _put_nowhere
        self._buffer = buffer

    def route(self, tag: str | None) -> Tag:
        """Return the tag to use; a caller's mistake must not reach the shipper."""
        return str(tag) if tag else self.tag

    def put_many(
        self, records: Iterable[Record], tag: str | None, time_ns: int | None
    ) -> Iterator[Step]:
        """Put records into the buffer; say how far it has come whenever a chunk was opened.

        Says so too where there is no space; nothing more is done until the caller goes on.

        Raises:
            ClientClosed: The client takes no more records.
        """
        route, pack, put, buffer = self.route(tag), self.pack, self.put, self._buffer
        accepted, opened = 0, buffer.chunks_opened
        for record in records:
            body = pack(record, time_ns)
            outcome = put(route, body)
            if outcome is not _ACCEPTED:
                if outcome is Outcome.CLOSED:
                    error = ClientClosed()
                    error.records_accepted = accepted
                    raise error
                try:
                    yield Step(accepted, body)
                except GeneratorExit:
                    self._take_back(body)
                    raise
            accepted += 1
            if buffer.chunks_opened != opened:
                opened = buffer.chunks_opened
                yield Step(accepted, None)
        yield Step(accepted, None)

    def _take_back(self, body: bytes) -> None:
        """Count a record that was cut as not cut: it is not in, and will be packed again."""
        if isinstance(body, CutEntry):
            self._buffer.note("truncated", -1)


def _record_packer(settings: Settings, when_cut: Callable[[], object]) -> Pack:
    """Return the client's packer."""
    stamp_fields, reserved = int(settings.stamp), _also_reserved(settings)
    pack = record_packer(stamp_fields, reserved, _body_bytes_max(settings), when_cut, time.time_ns)
    redact = settings.redact
    if redact is None:
        return pack
    return lambda record, time_ns: pack(_redacted(redact, record), time_ns)


def _pack_nothing(*_: Any) -> bytes:
    return b""


def _put_nowhere(tag: Tag, body: bytes) -> Outcome:
    del tag, body
    return Outcome.CLOSED


def _also_reserved(settings: Settings) -> frozenset[str]:
    """Return the name of the stamp, where it is not reserved already."""
    own_name = settings.stamp and not settings.stamp_key.startswith("logship_")
    return frozenset({settings.stamp_key}) if own_name else frozenset()


def _redacted(redact: Callable[[Record], Record], record: Record) -> Record:
    """Return the record as it may leave this program."""
    try:
        return redact(record)
    except Exception as error:
        if is_interruption(error):
            raise
        name = type(error).__name__
        return {"message": f"logship: redact raised {name}; the record is withheld"}
