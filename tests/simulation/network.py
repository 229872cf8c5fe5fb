"""One connection, with everything that a network can do to it."""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING

from logship._protocol.messages import ack_message
from logship._receiver.session import Session
from tests.simulation.wire import Frame

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.ledgers import Life
    from tests.simulation.port import SimulatedPort
    from tests.simulation.server import SimulatedServer

Item = Frame | bytes
"""What arrives at a server: a whole chunk, or any piece of the bytes."""

Answer = str
"""What a server says: an id that it acks, or one of the next two."""

EMPTY = "{}"
GARBAGE = "garbage"
_BAD_ANSWERS = {EMPTY: b"\x80", GARBAGE: b"\x93\xa4HELO\xc0\xc0"}

_RATES_OF_A_CHUNK = ("cut", "black hole", "congestion", "delay", "split")


class Link:
    """A connection. Both ends see its bytes in order, and its end when it reaches them.

    Attributes:
        outstanding: Chunks that were sent on it and not acked, in the order of sending.
        acks: Acks of such chunks that reached the client.
        quiet_since: Since when the client waits for an ack.
        condemned_seconds: When the client stopped waiting for a chunk that was passed over.
        gave_up_seconds: When it gave up a record last.
        highest_sent: For each stream, the highest number that was sent.
        inbox: What has arrived at the server and was not looked at.
    """

    __slots__ = (
        "_answers",
        "_history",
        "_is_cut",
        "_to_client_seconds",
        "_to_server_seconds",
        "acks",
        "client_open",
        "condemned_seconds",
        "gave_up_seconds",
        "highest_sent",
        "inbox",
        "life",
        "loses_answers",
        "opened_seconds",
        "outstanding",
        "port",
        "quiet_since",
        "server",
        "server_open",
        "session",
        "silent",
        "working",
    )

    def __init__(self, history: History, port: SimulatedPort, server: SimulatedServer) -> None:
        self.life: Life = port.life
        self.port = port
        self.server = server
        self.client_open = self.server_open = True
        self.silent = self.loses_answers = self.working = False
        self.outstanding: dict[str, Frame] = {}
        self.acks = 0
        self.opened_seconds = self.quiet_since = history.clock.now
        self.condemned_seconds = self.gave_up_seconds = -1.0
        self.highest_sent: dict[str, int] = {}
        self.inbox: deque[Item] = deque()
        self.session = Session()
        self._history = history
        self._is_cut = False
        self._answers: list[Answer] = []
        self._to_server_seconds = self._to_client_seconds = 0.0

    # -- the client's end ------------------------------------------------------------------------

    def send(self, frame: Frame, wire: bytes) -> None:
        """Carry a chunk to the server, or what the faults leave of it."""
        history = self._history
        fault = history.strike(_RATES_OF_A_CHUNK)
        if fault == "black hole":
            self.silent = True
        if self.silent or self._is_cut:
            return
        if fault == "cut":
            self._cut(frame, wire)
            return
        if fault == "congestion":
            history.clock.after(history.draw.uniform(0.0, 3.0), self._relieve)
            self.port.writable_changed(self, False)
        delay = history.draw.uniform(0.0, 5.0) if fault == "delay" else 0.0
        if not history.options.framed:
            self._carry(frame, delay)
            return
        for piece in self._pieces(wire, cuts=4 if fault == "split" else 0):
            self._carry(piece, delay)

    def abort(self) -> None:
        """The client closes; what has left it may still arrive."""
        self.client_open = False
        if not self.silent:
            due = max(self._history.clock.now, self._to_server_seconds)
            self._history.clock.at(due, self._close_server_end)

    # -- the server's end ------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """Carry an answer to the client; what is said meanwhile arrives with it."""
        if self.silent or not self.server_open:
            return
        self._answers.append(answer)
        if len(self._answers) == 1:
            history = self._history
            due = max(self._to_client_seconds, history.clock.now + history.options.latency_seconds)
            self._to_client_seconds = due
            history.clock.at(due, self._answers_arrive)

    def close(self, *, resets: bool) -> None:
        """The server closes; a reset may overtake what it has said."""
        self.server_open = False
        if resets and self._history.draw.random() < 0.5:
            self.loses_answers = True
        self._tell_end()

    def vanish(self) -> None:
        """The server's machine is gone without a word."""
        self.server_open = False
        self.silent = True

    # -- inside ----------------------------------------------------------------------------------

    def _carry(self, item: Item, delay_seconds: float) -> None:
        history = self._history
        due = history.clock.now + history.options.latency_seconds + delay_seconds
        self._to_server_seconds = due = max(due, self._to_server_seconds)
        history.clock.at(due, self.server.arrive, self, item)

    def _pieces(self, wire: bytes, cuts: int) -> list[bytes]:
        draw = self._history.draw
        places = sorted({draw.randint(1, len(wire)) for _ in range(cuts)} | {len(wire)})
        starts = [0, *places[:-1]]
        return [wire[start:end] for start, end in zip(starts, places, strict=True)]

    def _cut(self, frame: Frame, wire: bytes) -> None:
        """End the connection in the middle of this chunk, which may just be through."""
        draw = self._history.draw
        self._is_cut = True
        if draw.random() < 0.3:
            self._carry(wire if self._history.options.framed else frame, 0.0)
        elif self._history.options.framed:
            self._carry(wire[: draw.randrange(len(wire))], 0.0)
        self.loses_answers = True
        due = max(self._history.clock.now, self._to_server_seconds)
        self._history.clock.at(due, self._close_server_end)
        self._tell_end()

    def _relieve(self) -> None:
        if self.client_open:
            self.port.writable_changed(self, True)

    def _close_server_end(self) -> None:
        """The server reads the end of the stream behind everything that it has received."""
        if self.inbox:
            self._history.clock.after(0.5, self._close_server_end)
        else:
            self.server_open = False

    def _tell_end(self) -> None:
        history = self._history
        due = history.clock.now + history.options.latency_seconds
        self._to_client_seconds = due = max(due, self._to_client_seconds)
        history.clock.at(due, self._end_arrives)

    def _end_arrives(self) -> None:
        if self.client_open and not self.silent:
            self.client_open = False
            self.port.connection_ended(self)

    def _answers_arrive(self) -> None:
        answers, self._answers = self._answers, []
        if not self.client_open or self.loses_answers or self.silent:
            return
        if not self._history.options.framed:
            self._hand_over(answers, b"")
            return
        parts = [_BAD_ANSWERS.get(each) or ack_message(each) for each in answers]
        wire = b"".join(parts)
        ends = list(accumulate(map(len, parts)))
        cuts = 3 if self._history.strike(("split",)) else 0
        start = 0
        for piece in self._pieces(wire, cuts):
            end = start + len(piece)
            whole = [each for each, at in zip(answers, ends, strict=True) if start < at <= end]
            self._hand_over(whole, piece)
            start = end

    def _hand_over(self, answers: list[Answer], wire: bytes) -> None:
        if self.client_open:
            self.port.answered(self, answers, wire)
