"""The states of a connection, and the table of what may happen in each. PURE.

IDLE        nothing to send, not connected
CONNECTING  an attempt is under way
READY       connected; chunks go out, acks come in
WAITING     a connection failed or ended; the next attempt waits
CLOSED      for good
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where the connection stands."""

    IDLE = auto()
    CONNECTING = auto()
    READY = auto()
    WAITING = auto()
    CLOSED = auto()


class Event(Enum):
    """What moves the connection from state to state."""

    WANTED = auto()  # there is a chunk to send
    CONNECTED = auto()
    FAILED = auto()  # the attempt
    LOST = auto()  # the connection
    RETRY = auto()  # the wait is over
    CLOSE = auto()


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.IDLE, Event.WANTED): State.CONNECTING,
    (State.CONNECTING, Event.CONNECTED): State.READY,
    (State.CONNECTING, Event.FAILED): State.WAITING,
    (State.READY, Event.LOST): State.WAITING,
    (State.WAITING, Event.RETRY): State.CONNECTING,
    (State.IDLE, Event.CLOSE): State.CLOSED,
    (State.CONNECTING, Event.CLOSE): State.CLOSED,
    (State.READY, Event.CLOSE): State.CLOSED,
    (State.WAITING, Event.CLOSE): State.CLOSED,
}
