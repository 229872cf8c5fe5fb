"""How a record becomes an entry in the buffer: packed, cut if it must be, and offered.

All records come by here in the thread that logs: those of `emit`, `send`, `send_many` and of the
handler. The application's own code (`str`, `repr`, `redact`) runs here and nowhere later.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._buffer.inbox import Tag
from logship._buffer.overflow import Admission
from logship._client.context import current_fields
from logship._client.shaping import Fields, Shape, in_context, shaper
from logship._hooks.interruptions import is_interruption
from logship._protocol.entries import CutEntry, readable_fields, record_packer
from logship._protocol.readable import plain_value
from logship._reasons import WITHHELD
from logship._settings import RECORD_BYTES_MAX, Settings
from logship._settings.fields import Redact
from logship._stderr.last_resort import LastResort
from logship.errors import ClientClosed

Record = Mapping[Any, Any]
Timed = tuple[int | None, Record]
"""When a record was logged, nanoseconds since the epoch or None for now, and the record."""

Pack = Callable[[Record, int | None], bytes]
Put = Callable[[Tag, bytes], Outcome]


class _Withheld(bytes):
    """Stands for the entry of a record that is kept back."""


_WITHHELD = _Withheld()


class Intake:
    """The way into one client's buffer.

    Args:
        settings: What to do.
        buffer: Where entries go.
        tag: The route of records that name none; None while that is awaited.
        last_resort: Where a record goes that finds no place in time; None drops it.
        warn: Tells a person, given a word for the kind of warning and a text.
        constants: Fields of every record, control records too; its own fields win.
        monotonic: Seconds.

    Attributes:
        pack: Returns the beginning of a record's entry. It takes the record, and when that was
            logged: nanoseconds since the epoch, or None for now. One that must be cut is counted.
        put: `Entrance.offer`, where nothing is redacted. A client that is disabled packs nothing
            and withholds it.
        admit_after: `Admission.admit_after`, for an entry that `put` found no place for.
        readable: Returns fields as `pack` packs them: as plain data, with reserved names changed.
        tag: As given.
    """

    def __init__(
        self,
        settings: Settings,
        buffer: Buffer,
        tag: Tag,
        last_resort: LastResort | None,
        warn: Callable[[str, str], None],
        constants: Mapping[str, Any],
        monotonic: Callable[[], float],
    ) -> None:
        self.tag: Tag = tag
        shape = shaper(settings)
        if isinstance(settings.redact, str):
            constants = _redact(settings.redact)(constants) or {}
        reserved = _reserved(settings)
        self.pack: Pack = record_packer(
            int(settings.stamp),
            reserved,
            # Two records fit into the smallest buffer, or one could block it.
            min(RECORD_BYTES_MAX, settings.buffer_bytes_max // 2),
            lambda: buffer.note("truncated", 1),
            time.time_ns,
            constants,
            current_fields if shape is None else lambda: None,
        )
        self.readable: Callable[[Any], Fields] = functools.partial(
            readable_fields, also_reserved=reserved
        )
        buffer.have_in_controls(self.readable(constants))
        self.put: Put = buffer.offer
        self._redact: Callable[[Fields], Any] = lambda fields: fields
        if settings.redact is not None:
            self._redact = functools.partial(_redacted, _redact(settings.redact), warn)
            self.put = self._put_unless_withheld
        if shape is not None:
            self.pack = functools.partial(_pack_shaped, shape, self._redact, self.pack)
        self._shape = shape or (lambda record, _: in_context(record))
        self._constants = constants
        self.admit_after: Callable[[Outcome, Tag, bytes], Outcome] = Admission(
            buffer,
            policy=settings.overflow,
            block_seconds_max=settings.block_seconds_max,
            last_resort=last_resort,
            warn=warn,
            monotonic=monotonic,
        ).admit_after
        self._buffer = buffer
        if settings.disabled:
            self.pack, self.put = lambda *_: b"", lambda *_: Outcome.WITHHELD

    def route(self, tag: str | None) -> Tag:
        """Return the tag to use; a caller's mistake must not reach the shipper."""
        return str(tag) if tag else self.tag

    def is_accepted(self, outcome: Outcome) -> bool:
        """Tell whether there was space for a record, or it needed none.

        Raises:
            ClientClosed: The client takes no more records.
        """
        if outcome is Outcome.REFUSED:
            raise ClientClosed
        return outcome is not Outcome.FULL

    def shown(self, record: Record, time_ns: int) -> Fields | None:
        """Return a record's fields as they may leave this program; None where they must not.

        Args:
            record: What was logged.
            time_ns: When, nanoseconds since the epoch.
        """
        fields = self._redact(self._shape(record, time_ns))
        return None if fields is None else {**self._constants, **fields}

    def _put_unless_withheld(self, tag: Tag, body: bytes) -> Outcome:
        """Be `put`, where records are redacted."""
        if body is not _WITHHELD:
            return self._buffer.offer(tag, body)
        if self.withhold(tag, WITHHELD):
            return Outcome.WITHHELD
        self._buffer.note("refused", 1, tag)
        return Outcome.REFUSED

    def withhold(self, tag: Tag, reason: str) -> bool:
        """Keep a record back on purpose: count it, to be numbered and declared.

        Args:
            tag: Its route.
            reason: One of `ON_PURPOSE`.

        Returns:
            False where intake is closed: it will get no number any more.
        """
        if self._buffer.intake_closed:
            return False
        self._buffer.note(reason, 1, tag)
        return True

    def put_now(self, records: Iterable[Timed]) -> int:
        """Put as many of the records into the buffer as there is space for, and tell how many.

        Raises:
            ClientClosed: The client takes no more records.
        """
        accepted = 0
        for count, body in self.put_many(records, None):
            accepted = count
            if body is not None:
                break
        return accepted

    def put_many(
        self, records: Iterable[Timed], tag: str | None
    ) -> Iterator[tuple[int, bytes | None]]:
        """Put records into the buffer; yield how many are there whenever a chunk was opened.

        Where there is no space, the next record is yielded too, packed. A caller that goes on has
        found space, and the record counts as accepted from then on.

        Raises:
            ClientClosed: The client takes no more records.
        """
        route, pack, put, buffer = self.route(tag), self.pack, self.put, self._buffer
        accepted, opened = 0, buffer.chunks_opened
        for time_ns, record in records:
            body = pack(record, time_ns)
            outcome = put(route, body)
            if outcome is Outcome.REFUSED:
                error = ClientClosed()
                error.records_accepted = accepted
                raise error
            if outcome is Outcome.FULL:
                try:
                    yield accepted, body
                except GeneratorExit:
                    if isinstance(body, CutEntry):  # it is not in, and will be packed again
                        buffer.note("truncated", -1)
                    raise
            accepted += 1
            if buffer.chunks_opened != opened:
                opened = buffer.chunks_opened
                yield accepted, None
        yield accepted, None


def _reserved(settings: Settings) -> frozenset[str]:
    """Return the names, besides `logship_*`, that no record may have."""
    own_name = settings.stamp and not settings.stamp_key.startswith("logship_")
    return frozenset({settings.stamp_key} if own_name else ())


def _pack_shaped(
    shape: Shape,
    redact: Callable[[Fields], Any],
    pack: Pack,
    record: Record,
    time_ns: int | None,
) -> bytes:
    """Return the beginning of the entry of a record as settings want it, or `_WITHHELD`."""
    if time_ns is None:
        time_ns = time.time_ns()
    shown = redact(shape(record, time_ns))
    return _WITHHELD if shown is None else pack(shown, time_ns)


def _redact(setting: Redact | str) -> Redact:
    """Return the function that a setting names, or is."""
    if not isinstance(setting, str):
        return setting
    from logship._redaction import redactor  # noqa: PLC0415 - its patterns take milliseconds

    return redactor(setting, plain_value)


def _redacted(redact: Redact, warn: Callable[[str, str], None], fields: Fields) -> Any:
    """Return the record as it may leave this program; None where `redact` makes none of it."""
    try:
        shown = redact(fields)
    except Exception as error:
        if is_interruption(error):
            raise
        what, shown = f"raised {type(error).__name__}", None
    else:
        what = f"returned {'None' if shown is None else type(shown).__name__}"
        shown = shown if isinstance(shown, Mapping) else None
    if shown is None:
        text = "the record is withheld; records_withheld_total counts them"
        warn(WITHHELD, f"redact {what}: {text}")
    return shown
