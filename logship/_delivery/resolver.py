"""The addresses behind a sidecar's name.

asyncio's own way to connect resolves names in the default executor, which at interpreter exit
refuses new work (`cannot schedule new futures after shutdown`), just when the last records are to
be sent. So each name is resolved on a thread of our own, started before it is needed, and the last
good addresses are kept for the time when even that cannot answer. A look-up that hangs for half a
minute holds up no other name.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import functools
import socket
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from logship._hooks.threads import OwnThread
from logship._settings.addresses import packed_address

if TYPE_CHECKING:
    from queue import SimpleQueue

    Questions = SimpleQueue[Callable[[], None] | None]

Address = tuple[socket.AddressFamily, tuple[Any, ...] | str]


class Resolver:
    """Looks names up, each on a thread of its own, and remembers what worked last.

    Args:
        patience_seconds: How long a look-up is waited for if an address is known that has worked.
        hosts: What will be asked for. The threads of names among them start with the object: at
            interpreter exit none can be started.
    """

    def __init__(self, patience_seconds: float, hosts: Iterable[str] = ()) -> None:
        self._patience_seconds = patience_seconds
        self._last_good: dict[tuple[str, int], Address] = {}
        self._questions: dict[str, Questions] = {}
        for host in hosts:
            if _literal(host, 0) is None:
                with contextlib.suppress(OSError):  # it is tried again with each question
                    self._questions_for(host)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of `host`, the one that worked last first.

        Raises:
            OSError: The name is unknown and no address of it ever worked, or there is no thread
                to look it up.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()
        self._questions_for(host).put(lambda: _look_up(host, port, loop, answer))
        last_good = self._last_good.get((host, port))
        try:
            async with asyncio.timeout(None if last_good is None else self._patience_seconds):
                addresses = await answer
        except OSError:  # a `TimeoutError` is one too
            if last_good is None:
                raise
            return [last_good]
        if last_good in addresses:
            addresses.remove(last_good)
            addresses.insert(0, last_good)
        return addresses

    def remember(self, host: str, port: int, address: Address) -> None:
        """Note that a connection to this address of `host` was made."""
        self._last_good[host, port] = address

    def close(self) -> None:
        """End the threads, once they have answered what they were asked."""
        for questions in self._questions.values():
            questions.put(None)

    def _questions_for(self, host: str) -> Questions:
        """Return what the thread of this name reads.

        Raises:
            OSError: The thread cannot be started.
        """
        if host not in self._questions:
            from queue import SimpleQueue  # noqa: PLC0415 - an address needs no thread

            # Otherwise `socket` would import it in the new thread, where a fork may interrupt that.
            codecs.lookup("idna")
            questions: Questions = SimpleQueue()
            try:
                OwnThread(functools.partial(_answer, questions), "resolver").start()
            except RuntimeError as error:
                raise OSError(f"cannot look up the name {host}: {error}") from error
            self._questions[host] = questions
        return self._questions[host]


def _answer(questions: Questions) -> None:
    while (question := questions.get()) is not None:
        question()


def _literal(host: str, port: int) -> Address | None:
    """Return the address that `host` spells out, or None where it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        if packed_address(family, host):
            return family, (host, port)
    return None


def _look_up(
    host: str, port: int, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[Address]]
) -> None:
    """Resolve on the resolver's thread, and answer on the loop, if the answer is still awaited."""
    if answer.done():  # cancelled while the look-up before this one hung
        return
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = _alternating([(family, place) for family, *_, place in found])
        tell = functools.partial(answer.set_result, addresses)
    except OSError as error:
        tell = functools.partial(answer.set_exception, error)
    except Exception as error:  # noqa: BLE001 - no such name can be, or there is no memory
        why = OSError(f"cannot look up the name {host}: {error!r}")
        tell = functools.partial(answer.set_exception, why)

    def settle() -> None:
        if not answer.done():
            tell()

    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(settle)


def _alternating(addresses: list[Address]) -> list[Address]:
    """Return the addresses, their families in turns: often a whole family leads nowhere."""
    families: dict[int, list[Address]] = {}
    for each in addresses:
        families.setdefault(each[0], []).append(each)
    return [each for turn in zip_longest(*families.values()) for each in turn if each is not None]
