"""A simulated client's side to the network, as `logship/_client/port.py` is to sockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from logship._buffer.chunk import Chunk
from logship._delivery.states import State
from logship._protocol.compression import compressor
from logship._protocol.frames import AckReader, AnswerError, frame_parts
from logship._reasons import QUARANTINED
from logship._settings import Endpoint
from tests.simulation.ledgers import Life
from tests.simulation.network import EMPTY, GARBAGE, Answer, Link
from tests.simulation.wire import Violation, decode

if TYPE_CHECKING:
    from tests.simulation.client import SimulatedClient


class SimulatedPort:
    """Does to the simulated network what the pump decides (`pump.Port`), and hears from it.

    Attributes:
        link: The connection.
        life: What the judge knows of the client.
    """

    def __init__(self, client: SimulatedClient) -> None:
        self.link: Link | None = None
        self.life: Life = client.life
        self._client = client
        self._history = client.history
        self._compress = compressor(client.history.options.compress)
        self._answers = AckReader()
        self._attempt = 0

    # -- the connection's events -----------------------------------------------------------------

    def answered(self, link: Link, answers: list[Answer], wire: bytes) -> None:
        """The server answered: with bytes, or with what they mean."""
        history = self._history
        for answer in answers:
            if answer in (EMPTY, GARBAGE):
                break
            history.judge.ack_reached(link, answer, history.clock.now)
        acks, fault = self._read(answers, wire)
        history.note("acks %s%s", acks, fault)
        self._client.pump.acked(acks)
        if fault and self.link is link:
            self.link = None
            link.abort()
            history.judge.link_ended(link, history.clock.now)
            self._client.pump.connection_lost(fault)

    def _read(self, answers: list[Answer], wire: bytes) -> tuple[list[str], str]:
        """Return the acks, and what is wrong behind them."""
        if wire:
            try:
                return self._answers.feed(wire), ""
            except AnswerError as error:
                return error.acks, str(error)
        for place, answer in enumerate(answers):
            if answer in (EMPTY, GARBAGE):
                return answers[:place], f"the answer is {answer}"
        return answers, ""

    def connection_ended(self, link: Link) -> None:
        if self.link is not link:
            return
        self.link = None
        self._history.note("connection lost")
        self._history.judge.link_ended(link, self._history.clock.now)
        self._client.pump.connection_lost("it was reset")

    def writable_changed(self, link: Link, writable: bool) -> None:
        """The connection takes more bytes, or takes no more for now."""
        if self.link is link:
            self._client.pump.writable_changed(writable=writable)

    def connect_ended(self, attempt: int, link: Link | None) -> None:
        if attempt != self._attempt or self._client.schedule.is_dead:
            if link is not None:
                link.abort()
            return
        if link is None:
            self._history.note("connect failed")
            self._history.judge.connect_failed(self.life, self._history.clock.now)
            self._client.pump.connect_failed("refused")
        else:
            self._history.note("connected")
            self.link = link
            self._answers = AckReader()
            self._client.pump.connected()

    # -- what the pump decides (pump.Port) ---------------------------------------------------------

    def connect(self, endpoint: Endpoint) -> None:
        self._history.note("connect to %s", endpoint.port)
        self._history.judge.connects(self.life, self._history.clock.now)
        self._attempt += 1
        self._history.connect(self, self._attempt, endpoint.port - 1)

    def disconnect(self) -> None:
        self._attempt += 1
        link, self.link = self.link, None
        if link is not None:
            self._history.note("disconnect")
            if self._client.delivery.state is not State.CLOSED:
                self._history.judge.gave_up(link, self._history.clock.now)
            link.abort()

    def send(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._send(chunk)
        return []

    def set_aside(self, chunk: Chunk) -> None:
        """Fail: none is damaged here."""
        raise Violation(f"{chunk!r} was set aside")

    def release(self, chunk: Chunk) -> None:
        if chunk.adopted:
            self._history.judge.recovered(chunk.id)
            self._history.fired["recovered"] += 1
        else:
            self._history.judge.released(self.life, chunk.id)
        with self._recovering(chunk):
            self._client.buffer.release(chunk)

    def quarantine(self, chunk: Chunk) -> None:
        client, history = self._client, self._history
        history.note("quarantine %s %s", chunk.id, chunk.first)
        fault = "poison recovered" if chunk.adopted else "poison spooled"
        history.fired[fault] += client.disk is not None
        if chunk.own_records and client.spill is not None:
            client.spill.write_now(chunk)
        with self._recovering(chunk):
            client.buffer.give_up(chunk, QUARANTINED)

    def progressed(self) -> None:
        self._client.progressed()

    def warn(self, kind: str, text: str) -> None:
        """Tell a person, who knows no paths."""
        disk = self._client.disk
        self._client.last_resort.warn(kind, text if disk is None else disk.said(text))

    # -- inside ------------------------------------------------------------------------------------

    def _send(self, chunk: Chunk) -> None:
        link = self.link
        if link is None:
            return
        if self._client.disk is not None:
            chunk.before_sending()
        history, judge = self._history, self._history.judge
        payload, tag = bytes(chunk.data), chunk.stream.tag
        if not payload:
            raise Violation(f"chunk {chunk.id} was sent, and nothing is in it")
        frame = judge.frame(chunk.id)
        if frame is None or frame.payload != payload or frame.tag != tag:
            frame = decode(chunk.id, tag, payload, history.options.stamp_key)
        history.note("send %s %s-%s", chunk.id, frame.numbers[0], frame.numbers[-1])
        judge.sent(link, frame, history.clock.now)
        link.send(frame, self._wire(chunk) if history.options.framed else b"")

    def _wire(self, chunk: Chunk) -> bytes:
        payload, method = bytes(chunk.data), None
        if self._compress is not None:
            payload, method = self._compress(payload), self._history.options.compress
        before, behind = frame_parts(
            chunk.stream.tag, chunk.id, chunk.entries, len(payload), method
        )
        return before + payload + behind

    def _recovering(self, chunk: Chunk) -> contextlib.AbstractContextManager[None]:
        """Return what the end of a chunk is noted in; of a dead process's one, on its spool."""
        disk = self._client.disk
        if disk is None or not chunk.adopted:
            return contextlib.nullcontext()
        return disk.recovering()
