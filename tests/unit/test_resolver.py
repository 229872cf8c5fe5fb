"""Names that are none, names that went away: the resolver answers each; addresses need no query."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from logship._delivery.resolver import Resolver
from logship._hooks.threads import OwnThread
from logship._settings.addresses import is_loopback
from tests.support.raising import raising


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    fresh = Resolver(20.0)
    yield fresh
    fresh.close()


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.example", ""])
async def test_what_cannot_be_a_name_is_an_error_and_the_next_is_answered(
    resolver: Resolver, host: str
) -> None:
    with pytest.raises(OSError, match="name"):
        await resolver.resolve(f".{host}", 1)
    assert (socket.AF_INET, ("127.0.0.1", 1)) in await resolver.resolve("localhost", 1)


async def test_a_look_up_that_finds_no_memory_is_an_error_and_the_next_is_answered(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", raising(MemoryError))
        async with asyncio.timeout(20):
            with pytest.raises(OSError, match="MemoryError"):
                await resolver.resolve("sidecar", 7)
    async with asyncio.timeout(20):
        assert (socket.AF_INET, ("127.0.0.1", 1)) in await resolver.resolve("localhost", 1)


async def test_an_address_of_one_link_keeps_its_zone(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("fe80::1", 7, 0, 4)
    found = [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await resolver.resolve("sidecar", 7) == [(socket.AF_INET6, place)]


async def test_the_address_that_worked_last_is_tried_first(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ((socket.AF_INET, (f"127.0.0.{last}", 7)) for last in (1, 2))
    found = [(family, socket.SOCK_STREAM, 0, "", place) for family, place in (first, second)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await resolver.resolve("sidecar", 7) == [first, second]
    resolver.remember("sidecar", 7, second)
    assert await resolver.resolve("sidecar", 7) == [second, first]


async def test_a_name_that_is_gone_keeps_its_last_good_address(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver.remember("sidecar", 7, (socket.AF_INET, ("127.0.0.1", 7)))
    monkeypatch.setattr(socket, "getaddrinfo", raising(gone))
    assert await resolver.resolve("sidecar", 7) == [(socket.AF_INET, ("127.0.0.1", 7))]
    for host, port in (("elsewhere", 7), ("sidecar", 8)):
        with pytest.raises(socket.gaierror):
            await resolver.resolve(host, port)


async def test_a_name_whose_look_up_hangs_keeps_its_last_good_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(20) and [])
    with contextlib.closing(Resolver(0.01)) as resolver:
        resolver.remember("sidecar", 7, (socket.AF_INET, ("127.0.0.1", 7)))
        assert await resolver.resolve("sidecar", 7) == [(socket.AF_INET, ("127.0.0.1", 7))]
        is_over.set()


async def test_names_that_no_attempt_awaits_any_more_are_not_looked_up(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up hangs, and attempts to connect give up one after the other meanwhile."""
    asked: list[int] = []
    hangs, is_over = threading.Event(), threading.Event()

    def look_up(_: str, port: int, **__: Any) -> None:
        asked.append(port)
        hangs.set()
        assert is_over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    attempts = [asyncio.create_task(resolver.resolve("sidecar", n)) for n in range(5)]
    await asyncio.sleep(0)  # so that each has asked
    assert hangs.wait(20)
    for each in attempts:
        each.cancel()
    await asyncio.wait(attempts)
    is_over.set()
    with pytest.raises(socket.gaierror):
        await resolver.resolve("sidecar", 7)
    assert asked == [0, 7]


async def test_a_name_whose_look_up_hangs_holds_up_no_other(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, is_over = threading.Event(), threading.Event()

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host == "hangs":
            hangs.set()
            assert is_over.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    hanging = asyncio.create_task(resolver.resolve("hangs", 7))
    await asyncio.sleep(0)  # so that it has asked
    assert hangs.wait(20)
    async with asyncio.timeout(10):
        assert await resolver.resolve("answers", 7) == [(socket.AF_INET, ("127.0.0.1", 7))]
    is_over.set()
    assert await hanging == [(socket.AF_INET, ("127.0.0.1", 7))]


async def test_a_thread_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The container has as many as it may, for now."""
    with monkeypatch.context() as patch:
        patch.setattr(OwnThread, "start", raising(RuntimeError("can't start new thread")))
        resolver = Resolver(20.0, ["localhost"])
        with pytest.raises(OSError, match="localhost: can't start new thread"):
            await resolver.resolve("localhost", 1)
    with contextlib.closing(resolver):
        assert (socket.AF_INET, ("127.0.0.1", 1)) in await resolver.resolve("localhost", 1)


def test_only_names_have_threads_and_they_start_with_the_resolver() -> None:
    before = set(threading.enumerate())
    with contextlib.closing(Resolver(20.0, ["127.0.0.1", "::1", "sidecar", "other", "sidecar"])):
        assert len(set(threading.enumerate()) - before) == 2


# -- addresses, and which of them are this machine -------------------------------------------------


def test_which_hosts_are_this_machine() -> None:
    for host in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "localhost"):
        assert is_loopback(host), host
    others = ("10.0.0.1", "::", "fe80::1%lo", "::ffff:10.0.0.1", "127.0.0.1.example", "127.1")
    for host in (*others, "", "a\0b"):
        assert not is_loopback(host), host


@pytest.mark.parametrize(
    ("host", "family"),
    [("10.0.0.1", socket.AF_INET), ("fd00::1", socket.AF_INET6), ("fe80::1%lo", socket.AF_INET6)],
)
def test_an_address_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, host: str, family: socket.AddressFamily
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", raising(OSError("it was looked up")))
    with contextlib.closing(Resolver(20.0)) as resolver:
        assert asyncio.run(resolver.resolve(host, 24224)) == [(family, (host, 24224))]
