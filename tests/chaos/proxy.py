"""A TCP proxy that does to a connection what networks do, drawn from a seed.

It stands between a real client and a real server. For each connection a plan is drawn: what
happens, in which direction, after how many bytes. Nothing here knows the forward protocol, so a
cut falls in the middle of a message as often as anywhere. What happened is counted, so that a test
can tell that the faults it is about did occur.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

PIECE_BYTES = 64 * 1024
LATE_PIECE_BYTES = 4 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TURNS_TO_BEGIN = 3
"""Of the loop, until a connection that was taken has its link."""


class Fault(Enum):
    """What happens to one direction of a connection."""

    NOTHING = auto()
    REFUSE = auto()  # closed before a byte has passed
    CUT = auto()  # both sides see an end in an orderly way, and the rest is thrown away
    RESET = auto()  # both sides see a reset
    HALF_CLOSE = auto()  # one side sees an end; the other direction goes on
    STALL = auto()  # nothing passes for a while, then everything
    BLACK_HOLE = auto()  # bytes are taken and thrown away, and the connection stays open
    TRICKLE = auto()  # byte by byte for a while
    DELAY = auto()  # what is in hand comes late, piece after piece


@dataclass(frozen=True)
class Plan:
    """What happens to one connection.

    Attributes:
        fault: What.
        is_up: Whether it hits what the client sends; otherwise what the server answers.
        after_bytes: How many bytes of that direction pass unharmed.
        seconds: Of a stall; a tenth of it for each late piece.
        trickle_bytes: How many bytes go one by one.
    """

    fault: Fault
    is_up: bool = True
    after_bytes: int = 0
    seconds: float = 0.0
    trickle_bytes: int = 0


Planner = Callable[[random.Random], Plan]


def any_fault(chance: random.Random, bytes_between: int = 100_000) -> Plan:
    """Draw a plan.

    Args:
        chance: Where to draw from.
        bytes_between: How much the client sends before it happens, at most. Half of the plans hit
            answers, which are small: an ack has forty bytes, and a chunk some thousands.
    """
    is_up = chance.random() < 0.5
    return Plan(
        fault=chance.choice(list(Fault)),
        is_up=is_up,
        after_bytes=chance.randrange(bytes_between if is_up else bytes_between // 160),
        seconds=chance.uniform(0.005, 0.3),
        trickle_bytes=chance.randrange(1, 2000),
    )


def no_fault(chance: random.Random) -> Plan:
    return Plan(Fault.NOTHING, after_bytes=1 << 62)


class ChaosProxy:
    """A port on loopback in front of `target_port`, run by a thread of its own.

    Args:
        target_port: The server's.
        seed: Of all that is drawn.
        planner: Draws the plan of each connection.
        keeps_bytes: Whether what clients send is kept, to be looked at.

    Attributes:
        target_port: Where connections lead from the next one on.
        port: Where clients connect.
        connections: How many were taken.
        fired: How often each fault happened.
        client_bytes: What clients sent, where that is kept.
    """

    def __init__(
        self,
        target_port: int,
        *,
        seed: int = 0,
        planner: Planner = any_fault,
        keeps_bytes: bool = False,
    ) -> None:
        self.planner = planner
        self.connections = 0
        self.fired: Counter[Fault] = Counter()
        self.client_bytes = bytearray()
        self._keeps_bytes = keeps_bytes
        self.target_port = target_port
        self._chance = random.Random(seed)
        self._links: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chaos-proxy")
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Hurt no connection from the next one on; and end those that are being hurt."""
        self.planner = no_fault
        self._loop.call_soon_threadsafe(self._end_links)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._take, sock=self._socket))
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._shut(server))
            self._loop.close()

    async def _shut(self, server: asyncio.Server) -> None:
        server.close()
        for _ in range(_TURNS_TO_BEGIN):
            await asyncio.sleep(0)
        self._end_links()
        await asyncio.gather(*self._links, return_exceptions=True)
        await asyncio.sleep(0)  # closed sockets let go

    def _end_links(self) -> None:
        for task in self._links:
            task.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._link(reader, writer, self.planner(self._chance)))
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        # Also of a link that is ended before its first step: its own `finally` is not reached then.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _link(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plan: Plan
    ) -> None:
        """Be one connection, from both ends to both ends."""
        writers = [writer]
        try:
            if plan.fault is Fault.REFUSE:
                self.fired[plan.fault] += 1
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            writers.append(far_writer)
            link = _Link(self, (writer, far_writer), plan)
            await asyncio.gather(
                link.pump(reader, far_writer, is_up=True),
                link.pump(far_reader, writer, is_up=False),
            )
        except (OSError, _Ended):
            pass  # the other side goes down with it, as it would without us
        finally:
            for each in writers:
                each.transport.abort()

    def note(self, fault: Fault) -> None:
        self.fired[fault] += 1

    def draw(self) -> Plan:
        """Return the next plan; what is refused is refused at the beginning only."""
        plan = self.planner(self._chance)
        while plan.fault is Fault.REFUSE:
            plan = self.planner(self._chance)
        return plan

    def keep(self, data: bytes) -> None:
        """Keep what a client sent, where that is wanted."""
        if self._keeps_bytes:
            self.client_bytes += data


class _Ended(Exception):  # noqa: N818 - no error: the plan says so
    """The connection is over."""


class _Link:
    """The two directions of one connection, and the one plan for both.

    When a plan that leaves the connection whole has happened, the next one is drawn.
    """

    def __init__(
        self,
        proxy: ChaosProxy,
        writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        plan: Plan,
    ) -> None:
        self._proxy = proxy
        self._writers = writers
        self._plan = plan
        self._left = plan.after_bytes
        self._holes: set[bool] = set()  # directions in which nothing passes any more

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        """Pass on one direction until its end; strike whenever so many bytes have passed."""
        while data := await reader.read(PIECE_BYTES):
            if is_up:
                self._proxy.keep(data)
            if is_up in self._holes:
                continue
            if self._plan.is_up != is_up or len(data) <= self._left:
                self._left -= len(data) if self._plan.is_up == is_up else 0
                await _pass(writer, data)
                continue
            head, rest = data[: self._left], data[self._left :]
            await _pass(writer, head)
            await self._strike(writer, rest)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _strike(self, writer: asyncio.StreamWriter, rest: bytes) -> None:
        """Let the plan happen; `rest` is what is in hand at that moment."""
        plan = self._plan
        self._proxy.note(plan.fault)
        match plan.fault:
            case Fault.CUT:
                await self._cut()
            case Fault.RESET:
                self._reset()
            case Fault.HALF_CLOSE:
                writer.write_eof()
                self._holes.add(plan.is_up)
            case Fault.BLACK_HOLE:
                self._holes.add(plan.is_up)
            case Fault.STALL:
                await asyncio.sleep(plan.seconds)
                await self._pass_and_go_on(writer, rest)
            case Fault.TRICKLE:
                await self._trickle(writer, rest)
            case Fault.DELAY:
                await self._pass_late(writer, rest)
            case _:
                await self._pass_and_go_on(writer, rest)

    async def _cut(self) -> None:
        for each in self._writers:
            with contextlib.suppress(OSError):
                each.write_eof()
                await each.drain()
        raise _Ended

    def _reset(self) -> None:
        for each in self._writers:
            raw: socket.socket = each.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise _Ended

    async def _trickle(self, writer: asyncio.StreamWriter, rest: bytes) -> None:
        for position in range(min(len(rest), self._plan.trickle_bytes)):
            await _pass(writer, rest[position : position + 1])
            await asyncio.sleep(0)
        await self._pass_and_go_on(writer, rest[self._plan.trickle_bytes :])

    async def _pass_late(self, writer: asyncio.StreamWriter, rest: bytes) -> None:
        """Pass on a few pieces, each of them late."""
        for position in range(0, len(rest), LATE_PIECE_BYTES):
            await asyncio.sleep(self._plan.seconds / 10)
            await _pass(writer, rest[position : position + LATE_PIECE_BYTES])
        await self._pass_and_go_on(writer, b"")

    async def _pass_and_go_on(self, writer: asyncio.StreamWriter, rest: bytes) -> None:
        await _pass(writer, rest)
        self._plan = self._proxy.draw()
        self._left = self._plan.after_bytes


async def _pass(writer: asyncio.StreamWriter, data: bytes) -> None:
    if data:
        writer.write(data)
        await writer.drain()
