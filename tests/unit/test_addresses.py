"""Which hosts are addresses, and which of them are this machine: without a DNS query."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from logship._delivery.resolver import Resolver
from logship._settings.addresses import is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "localhost"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "::", "fe80::1%lo", "::ffff:10.0.0.1", "127.0.0.1.example", "127.1", "", "a\0b"],
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "family"),
    [("10.0.0.1", socket.AF_INET), ("fd00::1", socket.AF_INET6), ("fe80::1%lo", socket.AF_INET6)],
)
def test_an_address_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, host: str, family: socket.AddressFamily
) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise OSError("it was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with contextlib.closing(Resolver(20.0)) as resolver:
        assert asyncio.run(resolver.resolve(host, 24224)) == [(family, (host, 24224))]
