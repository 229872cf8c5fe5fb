"""What to send, when to connect, what counts as delivered: decisions without I/O. PURE.

A chunk is delivered when the server has acked its id. That the kernel took the bytes says nothing,
because a server that dies takes them with it. So every sent chunk stays in the in-flight window
until its ack. When the connection ends, the whole window goes out again, in its old order and with
its old ids, and a reader of the output can recognise the duplicates by their stamps.
"""

from __future__ import annotations

from logship._delivery.actions import (
    Action,
    Actions,
    Connect,
    Disconnect,
    Quarantine,
    Release,
    Send,
    Warn,
)
from logship._delivery.attempts import UNANSWERED_FAILURES, UNANSWERED_SECONDS
from logship._delivery.chunks import Flight
from logship._delivery.counters import ACK_SECONDS_BOUNDS, DeliveryCounters
from logship._delivery.delivery import Delivery
from logship._delivery.states import TRANSITIONS, Event, State

__all__ = [
    "ACK_SECONDS_BOUNDS",
    "TRANSITIONS",
    "UNANSWERED_FAILURES",
    "UNANSWERED_SECONDS",
    "Action",
    "Actions",
    "Connect",
    "Delivery",
    "DeliveryCounters",
    "Disconnect",
    "Event",
    "Flight",
    "Quarantine",
    "Release",
    "Send",
    "State",
    "Warn",
]
