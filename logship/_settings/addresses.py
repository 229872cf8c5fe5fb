"""What an address says about itself, without asking the network."""

from __future__ import annotations

import socket

_FOUR_IN_SIX = bytes(10) + b"\xff\xff"
_LOOPBACK_SIX = bytes(15) + b"\x01"


def is_loopback(host: str) -> bool:
    """Tell whether `host` spells out this machine, as far as that can be seen without asking."""
    four, six = packed_address(socket.AF_INET, host), packed_address(socket.AF_INET6, host)
    if six.startswith(_FOUR_IN_SIX):
        four = six.removeprefix(_FOUR_IN_SIX)
    return four[:1] == b"\x7f" or six == _LOOPBACK_SIX or host == "localhost"


def packed_address(family: socket.AddressFamily, host: str) -> bytes:
    """Return the bytes of a spelt out address, or none; `ipaddress` is a large import for that."""
    try:
        return socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return b""
