"""How a record becomes an entry in the buffer: packed, cut if it must be, and offered.

Nearly every record comes by here in the thread that logs, so what producers ask is looked up once,
when the client is made, and whoever is in a hurry takes it from here piece by piece: a call less is
a twentieth of what a record costs. Most records are in the buffer after the first piece.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from logship.buffer.buffer import Buffer, Outcome
from logship.buffer.direct import TextWriter, direct_writer, text_writer
from logship.errors import ClientClosed
from logship.protocol.bodies import Bodies, pack_records
from logship.protocol.entries import pack_truncated, record_packer
from logship.settings import RECORD_BYTES_MAX, Settings

Record = Mapping[Any, Any]

TextEmitter = Callable[[str, tuple[str, str], int], bool | None]
"""Emits a record of a text, two names, and a time in nanoseconds since 1970. It tells whether that
is in the buffer; or it returns None, and nothing has happened: then a mapping is to be emitted."""

BLOCK_RECORDS_MAX = 200
"""So many records are packed before the first of them is offered: enough to share out what is done
once."""

BLOCK_BYTES_MAX = 256 * 1024
"""When they have so many bytes it is enough, and a chunk is filled."""

_now_ns = time.time_ns


class Step(NamedTuple):
    """How far `Intake.put_many` has come.

    Attributes:
        accepted: How many records are in the buffer.
        body: The next one, packed, if there is no space for it, else None. Who goes on has found
            space, and it counts as accepted from then on.
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
        buffer: Where entries go; it turns away what is longer than `body_bytes_max`.
        tag: The route of records that name none.

    Attributes:
        put_at_once: Puts a record of now that is as most are into the buffer, under `tag`; returns
            what is left to be done: nothing, to offer a body, or all (see `direct_writer`).
        pack: Makes the beginning of an entry of record and time.
        put: `Buffer.offer`; nothing for a client that is disabled.
        tag: As given.

    Whoever is disabled does not call `put_many`.
    """

    __slots__ = (
        "_also_reserved",
        "_body_bytes_max",
        "_buffer",
        "_counters",
        "_extra_fields",
        "_offer_many",
        "_redact",
        "pack",
        "put",
        "put_at_once",
        "tag",
    )

    def __init__(self, settings: Settings, buffer: Buffer, tag: str) -> None:
        self._extra_fields = int(settings.stamp)  # those that are added to each record
        self._also_reserved = _also_reserved(settings)
        self.pack = record_packer(self._extra_fields, self._also_reserved)
        self.put = buffer.offer
        self.put_at_once = direct_writer(buffer, tag, self._extra_fields, self._also_reserved)
        if settings.redact is not None:
            self.pack = _redacting(settings.redact, self.pack)
            self.put_at_once = _never_at_once
        if settings.disabled:
            self.pack, self.put, self.put_at_once = _pack_nothing, _put_nowhere, _never_at_once
        self.tag = tag
        self._body_bytes_max = body_bytes_max(settings)
        self._buffer = buffer
        self._offer_many = buffer.offer_many
        self._counters = buffer.counters
        self._redact = settings.redact

    def route(self, tag: str | None) -> str:
        """Return the tag to use; a caller's mistake must not reach the shipper."""
        return str(tag) if tag else self.tag

    def packed(self, record: Record, time_ns: int | None, body: bytes | None = None) -> bytes:
        """Return the beginning of the record's entry, cut if it must be.

        Args:
            record: What is logged.
            time_ns: When; now where none is given.
            body: What `put_at_once` has left of it.
        """
        if time_ns is None:
            time_ns = _now_ns()
        if body is None:
            body = self.pack(record, time_ns)
        return body if len(body) <= self._body_bytes_max else self.cut(record, time_ns)

    def put_many(
        self, records: Iterable[Record], tag: str | None, time_ns: int | None
    ) -> Iterator[Step]:
        """Put records into the buffer, in blocks, and say after each how far it has come.

        Says so too where there is no space; nothing more is done until the caller goes on.

        Raises:
            ClientClosed: The client takes no more records.
        """
        tag = self.route(tag)
        before = 0
        for bodies, cut in self._packed(records, time_ns):
            at = 0
            while True:
                kept, outcome = self._offer_many(tag, bodies, at)
                self._count_cut(cut, at, at + kept)
                at += kept
                if at == bodies.count:
                    break
                if outcome is Outcome.CLOSED:
                    error = ClientClosed()
                    error.records_accepted = before + at
                    raise error
                yield Step(before + at, bodies[at])
                self._count_cut(cut, at, at + 1)
                at += 1
            before += at
            yield Step(before, None)

    def _packed(
        self, records: Iterable[Record], time_ns: int | None
    ) -> Iterator[tuple[Bodies, list[int]]]:
        """Yield blocks of entries' beginnings, and which of them had to be cut.

        Of a sequence; what comes by and by is not kept waiting, and may be the same object again.
        """
        count = BLOCK_RECORDS_MAX if isinstance(records, Sequence) else 1
        rest = iter(records)
        while block := list(islice(rest, count)):
            if self._redact is not None:
                block = [_redacted(self._redact, each) for each in block]
            while block:
                bodies, cut = self._pack_block(block, _now_ns() if time_ns is None else time_ns)
                yield bodies, cut
                block = block[bodies.count :]

    def _pack_block(self, records: list[Record], time_ns: int) -> tuple[Bodies, list[int]]:
        """Return the beginnings of the entries of the first of these records, and which are cut."""
        reserved = self._also_reserved
        bodies = pack_records(records, time_ns, self._extra_fields, reserved, BLOCK_BYTES_MAX)
        cut: list[int] = []
        if bodies.size > self._body_bytes_max:
            cut = [at for at, size in enumerate(bodies.sizes()) if size > self._body_bytes_max]
            if cut:
                each = [bodies[at] for at in range(bodies.count)]
                for at in cut:
                    each[at] = self._cut(records[at], time_ns)
                bodies = Bodies.of(each)
        return bodies, cut

    def _count_cut(self, cut: list[int], begin: int, end: int) -> None:
        """Count those that were accepted."""
        if cut:
            count = sum(begin <= each < end for each in cut)
            self._counters.truncated += count

    def cut(self, record: Record, time_ns: int) -> bytes:
        """Return the beginning of the entry of a record that is too large to send, and count it."""
        body = self._cut(_redacted(self._redact, record), time_ns)
        self._counters.truncated += 1
        return body

    def _cut(self, record: Record, time_ns: int) -> bytes:
        return pack_truncated(
            record, time_ns, self._body_bytes_max, self._extra_fields, self._also_reserved
        )

    def text_writer(
        self, text_key: str, name_keys: tuple[str, str], tag: str | None
    ) -> TextWriter | None:
        """Return what puts records of a text and two names into the buffer, if it can.

        None where each record must be seen: to redact it, or to rename its fields.
        """
        keys = {text_key, *name_keys}
        reserved = self._also_reserved | {key for key in keys if key.startswith("logship_")}
        if self._redact is not None or keys & reserved or len(keys) < 3:
            return None
        return text_writer(
            self._buffer,
            self.route(tag),
            text_key,
            name_keys,
            extra_fields=self._extra_fields,
            bytes_max=self._body_bytes_max,
        )


def _pack_nothing(*_: Any) -> bytes:
    return b""


def _never_at_once(record: Any) -> None:
    del record


def _put_nowhere(tag: str, body: bytes) -> Outcome:
    del tag, body
    return Outcome.CLOSED


def _also_reserved(settings: Settings) -> frozenset[str]:
    """Return the name of the stamp, where it is not reserved already."""
    own_name = settings.stamp and not settings.stamp_key.startswith("logship_")
    return frozenset({settings.stamp_key}) if own_name else frozenset()


def _redacting(
    redact: Callable[[Record], Record], pack: Callable[[Any, int], bytes]
) -> Callable[[Any, int], bytes]:
    """Return what packs what `redact` makes of a record."""
    return lambda record, time_ns: pack(_redacted(redact, record), time_ns)


def _redacted(redact: Callable[[Record], Record] | None, record: Record) -> Record:
    """Return the record as it may leave this program."""
    if redact is None:
        return record
    try:
        return redact(record)
    except Exception as error:  # noqa: BLE001 - what could not be redacted must not leave
        name = type(error).__name__
        return {"message": f"logship: redact raised {name}; the record is withheld"}
