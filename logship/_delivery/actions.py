"""What delivery tells the client to do. PURE."""

from __future__ import annotations

from typing import Generic

from logship._delivery.chunks import HandleT
from logship._settings import Endpoint


class _Action:
    """Equal to another action of its kind with the same contents.

    These are plain classes, because each start of a program defines them. A dataclass generates and
    compiles code, which costs more time than it saves.
    """

    __match_args__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Return whether both say the same."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """Return it as it is written."""
        return f"{type(self).__name__}({', '.join(map(repr, vars(self).values()))})"


class _ChunkAction(_Action, Generic[HandleT]):
    """What is to be done with a chunk."""

    __match_args__ = ("chunk",)

    def __init__(self, chunk: HandleT) -> None:
        self.chunk = chunk


class Connect(_Action):
    """Try to connect to `endpoint`; answer with `connected` or `connect_failed`."""

    __match_args__ = ("endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint


class Send(_ChunkAction[HandleT]):
    """Write the chunk to the connection."""


class Release(_ChunkAction[HandleT]):
    """The chunk was acked: free it."""


class Quarantine(_ChunkAction[HandleT]):
    """The chunk is a single record that the server does not take: keep it aside, declare it."""


class Disconnect(_Action):
    """End the connection or the attempt, and ignore all that it still says."""


class Warn(_Action):
    """Warn the operator, at most once a minute for each `kind`."""

    __match_args__ = ("kind", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text


Actions = list[Connect | Send[HandleT] | Release[HandleT] | Quarantine[HandleT] | Disconnect | Warn]
