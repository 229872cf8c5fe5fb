"""What `install` does while tests run.

An `install` that names no sidecar ships into nothing. In a test that uses a fixture it ships to the
sidecar of that test, and what it took of the process is given back afterwards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from logship._client.background import BackgroundClient
from logship._installation import parts
from logship._installation.installation import (
    Installation,
    exchange,
    install,
    installed_client,
)
from logship._protocol.messages import Message
from logship._settings import Settings
from logship._settings.environment import values_from
from logship._spool.orphans import Orphans
from logship.testing._memory import MemoryTransport
from logship.testing._sidecar import Delivered, Sidecar

FLUSH_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 1.0
"""How long the end of a test waits for a sidecar that acks nothing."""

_stand_ins: weakref.WeakSet[BackgroundClient] = weakref.WeakSet()
"""Clients that make way for that of an application which calls `install` in the test."""


def parts_without_sidecar(given: Mapping[str, Any]) -> parts.Parts:
    """Return a transport into nothing, unless `install` or the environment names a sidecar."""
    if "endpoints" in given or "endpoints" in values_from(dataclasses.fields(Settings), os.environ):
        return {}
    return _parts_in_memory(_Nothing())


def _parts_in_memory(sidecar: Sidecar) -> parts.Parts:
    """Return a transport to this sidecar, which gets no records of dead processes.

    What a test's sidecar acks is lost, and the spool may be that of an application in production.
    """
    no_orphans = Orphans(Path(os.devnull))
    no_orphans.close()
    return {"transport": MemoryTransport(sidecar), "parts": {"orphans": no_orphans}}


class _Nothing(Sidecar):
    """Acks everything and keeps nothing."""

    def keep(self, message: Message) -> None:
        """Let it go."""


class ShippedRecords(Sequence[Delivered]):  # noqa: PLW1641 - what grows has no hash
    """What an application has shipped in a test: a list that grows, and is equal to such a list.

    Each look at it first ships what was logged before.

    Args:
        sidecar: What the application ships to.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, index: int) -> Delivered: ...

    @overload
    def __getitem__(self, index: slice) -> list[Delivered]: ...

    def __getitem__(self, index: int | slice) -> Delivered | list[Delivered]:
        return self._now()[index]

    def __iter__(self) -> Iterator[Delivered]:
        return iter(self._now())

    def __eq__(self, other: object) -> bool:
        return self._now() == other

    def __repr__(self) -> str:
        return repr(self._now())

    def _now(self) -> list[Delivered]:
        client = installed_client()
        if client is not None:
            client.flush(FLUSH_SECONDS_MAX)
        return self._sidecar.records


@contextlib.contextmanager
def recorded_installation() -> Iterator[ShippedRecords]:
    """Have `install` ship to memory, and install if the application has not.

    An application that calls `install` itself gets what it asks for: what stands in for it makes
    way.
    """
    sidecar = Sidecar()
    with own_installation(lambda given: _parts_in_memory(sidecar), spool_dir=None):
        _stand_ins.add(installed_client() or install())
        yield ShippedRecords(sidecar)


@contextlib.contextmanager
def own_installation(parts_for: parts.PartsFor, **settings: Any) -> Iterator[None]:
    """Give back in the end what an `install` in between has taken.

    What the application installed before is set aside meanwhile, and installed once more with its
    own settings.

    Args:
        parts_for: Of the clients that are installed in between.
        settings: That take the place of the application's own.
    """

    def parts_in_its_place(given: Mapping[str, Any]) -> parts.Parts:
        client = installed_client()
        if client is not None and client in _stand_ins:
            _uninstall()
        return parts_for(given)

    root = logging.getLogger()
    with contextlib.ExitStack() as undo:
        # Without a runner's handlers on the root logger, `install` would choose INFO.
        level = logging.INFO if root.level == logging.WARNING else root.level
        undo.callback(root.setLevel, root.level)
        before = exchange(None)
        undo.callback(exchange, before)
        undo.callback(root.setLevel, root.level)
        undo.callback(setattr, parts, "parts_for", parts.parts_for)
        undo.callback(_uninstall)
        parts.parts_for = parts_in_its_place
        root.setLevel(level)
        if before is not None:
            again = _again(before, parts_for(settings), settings)
            exchange(again)
            if before.client in _stand_ins:  # the other fixture began before this one
                _stand_ins.add(again.client)
        yield


def _again(before: Installation, client_parts: parts.Parts, changes: Any) -> Installation:
    settings = dataclasses.replace(before.client.settings, **changes)
    return Installation(settings, before.level, False, client_parts)


def _uninstall() -> None:
    client = installed_client()
    if client is not None:
        client.close(CLOSE_SECONDS_MAX)
    exchange(None)
