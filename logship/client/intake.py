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
from logship.protocol.entries import pack_truncated, record_packer
from logship.settings import RECORD_BYTES_MAX, Settings

Record = Mapping[Any, Any]

_now_ns = time.time_ns


class Step(NamedTuple):
    """How far `Intake.put_many` has come.

    Attributes:
        accepted: How many records are in the buffer.
        body: The next one, packed, if there is no space for it, else None. A caller that goes on
            has found space, and the record counts as accepted from then on.
    """

    accepted: int
    body: bytes | None


def body_bytes_max(settings: Settings) -> int:
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
        put: `Buffer.offer`; nothing for a client that is disabled.
        tag: As given.
    """

    __slots__ = (
        "_also_reserved",
        "_body_bytes_max",
        "_buffer",
        "_extra_fields",
        "_pack",
        "_redact",
        "put",
        "tag",
    )

    def __init__(self, settings: Settings, buffer: Buffer, tag: Tag) -> None:
        self._extra_fields = int(settings.stamp)  # those that are added to each record
        self._also_reserved = _also_reserved(settings)
        self._redact = settings.redact
        self._pack = record_packer(self._extra_fields, self._also_reserved)
        self.put = buffer.offer
        if settings.disabled:
            self._redact, self._pack, self.put = None, _pack_nothing, _put_nowhere
        self.tag = tag
        self._body_bytes_max = body_bytes_max(settings)
        self._buffer = buffer

    def route(self, tag: str | None) -> Tag:
        """Return the tag to use; a caller's mistake must not reach the shipper."""
        return str(tag) if tag else self.tag

    def packed(self, record: Record, time_ns: int | None) -> bytes:
        """Return the beginning of the record's entry; one that must be cut is counted.

        Args:
            record: What is logged.
            time_ns: When; now where none is given.
        """
        if time_ns is None:
            time_ns = _now_ns()
        if self._redact is not None:
            record = _redacted(self._redact, record)
        body = self._pack(record, time_ns)
        if len(body) > self._body_bytes_max:
            body = self._cut(record, time_ns)
            self._buffer.note("truncated", 1)
        return body

    def put_many(
        self, records: Iterable[Record], tag: str | None, time_ns: int | None
    ) -> Iterator[Step]:
        """Put records into the buffer; say how far it has come whenever a chunk was opened.

        Says so too where there is no space; nothing more is done until the caller goes on.

        Raises:
            ClientClosed: The client takes no more records.
        """
        route, put, buffer = self.route(tag), self.put, self._buffer
        accepted, opened = 0, buffer.chunks_opened
        for each in records:
            record = each if self._redact is None else _redacted(self._redact, each)
            now_ns = _now_ns() if time_ns is None else time_ns
            body = self._pack(record, now_ns)
            is_cut = len(body) > self._body_bytes_max
            if is_cut:
                body = self._cut(record, now_ns)
            outcome = put(route, body)
            if outcome is Outcome.CLOSED:
                error = ClientClosed()
                error.records_accepted = accepted
                raise error
            if outcome is not Outcome.ACCEPTED:
                yield Step(accepted, body)
            accepted += 1
            if is_cut:
                buffer.note("truncated", 1)
            if buffer.chunks_opened != opened:
                opened = buffer.chunks_opened
                yield Step(accepted, None)
        yield Step(accepted, None)

    def _cut(self, record: Record, time_ns: int) -> bytes:
        """Return the beginning of the entry of a record that is too large to send."""
        reserved = self._also_reserved
        return pack_truncated(record, time_ns, self._body_bytes_max, self._extra_fields, reserved)


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
