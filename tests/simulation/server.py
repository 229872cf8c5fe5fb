"""A sidecar that stores, acks, dies, stalls and refuses as its history wants.

Over bytes it is the receiver's own session that reads them; whole chunks it takes as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgpack

from logship._protocol.messages import Message
from logship._receiver.session import Close
from tests.simulation.network import EMPTY, GARBAGE, Item, Link
from tests.simulation.wire import Frame, Violation

if TYPE_CHECKING:
    from tests.simulation.history import History

_RATES_OF_AN_ACK = (
    "ack lost",
    "ack withheld",
    "ack late",
    "ack duplicated",
    "ack unknown",
    "ack empty",
    "ack garbage",
)
_SLOW_SECONDS_MAX = 4.0
_LATE_SECONDS_MAX = 3.0


class SimulatedServer:
    """One endpoint.

    Attributes:
        is_up: Whether it accepts connections.
        modes: What is wrong with it at the moment: `blocked`, `slow`, `full`, `one by one`.
    """

    def __init__(self, history: History, index: int) -> None:
        self.is_up = True
        self.modes: set[str] = set()
        self._history = history
        self._index = index
        self._links: list[Link] = []
        self._unacked: dict[str, Frame] = {}
        self._life = 0

    def accept(self, link: Link) -> None:
        self._links = [each for each in self._links if each.server_open]
        self._links.append(link)

    def arrive(self, link: Link, item: Item) -> None:
        if link.server_open:
            link.inbox.append(item)
            if not link.working:
                self._work(link)

    # -- what goes wrong -------------------------------------------------------------------------

    def begin(self, mode: str, seconds: float) -> None:
        self.modes.add(mode)
        self._history.clock.after(seconds, self._end, mode)

    def crash(self, restart_seconds: float, *, vanishes: bool) -> None:
        """Die: what was not acked may be lost, what was acked is kept."""
        self.is_up = False
        self._life += 1
        if self._history.draw.random() < 0.5:
            for frame in self._unacked.values():
                self._history.judge.forgotten(self._index, frame)
        self._unacked.clear()
        for link in self._links:
            link.inbox.clear()
            if vanishes:
                link.vanish()
            elif link.server_open:
                link.close(resets=True)
        self._links.clear()
        self._history.clock.after(restart_seconds, self._restart)

    def reset(self) -> None:
        for link in self._links:
            if link.server_open:
                link.close(resets=True)

    def heal(self) -> None:
        """Behave well from now on, but for poison."""
        self.is_up = True
        self.modes.clear()
        self._resume()

    def _restart(self) -> None:
        self.is_up = True

    def _end(self, mode: str) -> None:
        self.modes.discard(mode)
        self._resume()

    def _resume(self) -> None:
        for link in list(self._links):
            if not link.working:
                self._work(link)

    # -- what goes well --------------------------------------------------------------------------

    def _work(self, link: Link) -> None:
        """Look at what has arrived, unless something keeps the server from it."""
        modes = self.modes
        while link.inbox and link.server_open:
            if modes:
                if "blocked" in modes:
                    self._history.fired["blocked"] += 1
                    return
                if "slow" in modes:
                    self._history.fired["slow"] += 1
                    link.working = True
                    pause = self._history.draw.uniform(0.0, _SLOW_SECONDS_MAX)
                    self._history.clock.after(pause, self._work_slowly, link)
                    return
            self._take(link, link.inbox.popleft())

    def _work_slowly(self, link: Link) -> None:
        link.working = False
        if link.inbox and link.server_open:
            self._take(link, link.inbox.popleft())
            self._work(link)

    def _take(self, link: Link, item: Item) -> None:
        if isinstance(item, Frame):
            self._take_frame(link, item)
            return
        for event in link.session.receive(item):
            match event:
                case Message():
                    if link.server_open:
                        self._take_frame(link, self._frame_of(event))
                case Close(reason=reason):
                    raise Violation(f"the receiver cannot read what the client sent: {reason}")

    def _frame_of(self, message: Message) -> Frame:
        """Return the frame that the client sent, checked against what the receiver understood."""
        frame = self._history.judge.frame(msgpack.unpackb(message.ack)["ack"])
        if frame is None:
            raise Violation("the receiver understood an id that was not sent")
        key = self._history.options.stamp_key
        stamps = [f"{frame.stream}:{number:010d}" for number in frame.numbers]
        lines = [json.loads(line) for line in message.lines.splitlines()]
        if [line["record"][key] for line in lines] != stamps or lines[0]["tag"] != frame.tag:
            raise Violation(f"the receiver understood other records than {frame.id} has")
        return frame

    def _take_frame(self, link: Link, frame: Frame) -> None:
        """Store a chunk and ack it, or not."""
        history = self._history
        if "full" in self.modes:
            history.fired["full"] += 1
            link.close(resets=True)
            return
        refusal = self._refusal(frame)
        if refusal is not None:
            history.judge.refused(frame, history.clock.now, closes=refusal == "closes")
            if refusal == "closes":
                link.close(resets=True)
            return
        fault = history.strike(_RATES_OF_AN_ACK)
        if fault == "ack empty" and history.draw.random() < 0.5:
            history.judge.refused(frame, history.clock.now, closes=False)
            link.answer(EMPTY)
            return
        history.judge.stored(self._index, frame)
        self._unacked[frame.id] = frame
        self._answer(link, frame, fault)

    def _refusal(self, frame: Frame) -> str | None:
        """Return whether a frame is refused for what it is: `closes`, `ignored` or None."""
        options = self._history.options
        if 0 < options.frame_bytes_max < len(frame.payload):
            self._history.fired["too large"] += 1
            return "closes" if options.limit_closes else "ignored"
        if frame.poison:
            self._history.fired[f"poison {frame.poison}"] += 1
            return frame.poison
        return None

    def _answer(self, link: Link, frame: Frame, fault: str | None) -> None:
        seconds = self._history.options.store_seconds
        match fault:
            case None if not seconds:
                self._ack(link, frame, self._life)
                return
            case "ack withheld":
                return
            case "ack empty":
                link.answer(EMPTY)
                return
            case "ack garbage":
                link.answer(GARBAGE)
                return
            case "ack lost":
                self._ack(link, frame, self._life, lost=True)
                return
            case "ack unknown":
                link.answer("no such chunk")
            case "ack duplicated":
                self._history.clock.after(seconds, self._ack, link, frame, self._life)
            case "ack late":
                seconds += self._history.draw.uniform(0.0, _LATE_SECONDS_MAX)
        self._history.clock.after(seconds, self._ack, link, frame, self._life)

    def _ack(self, link: Link, frame: Frame, life: int, lost: bool = False) -> None:
        """Say that the chunk is safe, which it is from now on."""
        if life != self._life:
            return
        self._unacked.pop(frame.id, None)
        self._history.judge.acked_by(self._index, frame)
        if not link.server_open:
            return
        if lost:
            link.loses_answers = True
            link.close(resets=False)
            return
        link.answer(frame.id)
        if "one by one" in self.modes:
            self._history.fired["one by one"] += 1
            link.close(resets=False)
