"""Compression of a chunk's entries, decompression of a client's, and where zstd comes from. PURE.

gzip is in every Python; zstd is in the standard library since 3.14, and before that in the package
`backports.zstd`, which the extra `logship-forward[zstd]` installs. The level is the cheapest one:
a shipper that takes the CPU away from its application has missed the point, and log lines give
most of their redundancy to any level.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from logship._quoting import quoted_value
from logship.errors import ProtocolError

MEMBERS_MAX = 1 << 17
"""Members of gzip or frames of zstd in one message. Fluentd makes one for each append to a chunk;
as many of 128 bytes are the longest message."""

_PIECE_BYTES = 16 * 1024
_GZIP_WBITS = 31
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1


def compressor(method: str) -> Callable[[bytes | bytearray | memoryview], bytes] | None:
    """Return what compresses one chunk's entries, or None for `none`.

    Args:
        method: `none`, `gzip` or `zstd`.

    Raises:
        ImportError: This Python has no zstd.
    """
    if method == "gzip":
        return lambda data: zlib.compress(data, _GZIP_LEVEL, wbits=_GZIP_WBITS)
    if method == "zstd":
        zstd = zstd_module()
        return lambda data: bytes(zstd.compress(bytes(data), level=_ZSTD_LEVEL))
    return None


def decompressed(data: bytes, method: Any, bytes_max: int) -> bytes:
    """Return what members of gzip or frames of zstd hold, one behind the other.

    Args:
        data: as a client sent it.
        method: its option `compressed`.
        bytes_max: the most that may come out.

    Raises:
        ProtocolError: the data are not of that method or not whole, the members are too many, too
            much comes out, or the method is not known here.
    """
    new_decompressor = _decompressor(method)
    decompressor, members, parts = new_decompressor(), 1, []
    at, left, view = 0, bytes_max, memoryview(data)
    while at < len(data):
        if decompressor.eof:
            decompressor, members = new_decompressor(), members + 1
            if members > MEMBERS_MAX:
                raise ProtocolError(f"entries are more than {MEMBERS_MAX} members of {method}")
        piece = view[at : at + _PIECE_BYTES]  # what is behind a member's end is copied each time
        try:
            part = decompressor.decompress(piece, left + 1)
        except Exception as error:
            raise ProtocolError(f"entries are not {method}: {error}") from error
        at += len(piece) - len(decompressor.unused_data)
        left -= len(part)
        if left < 0:
            raise ProtocolError(f"entries decompress to more than {bytes_max} bytes")
        parts.append(part)
    if data and not decompressor.eof:
        raise ProtocolError(f"entries end in the middle of their {method}")
    return b"".join(parts)


def _decompressor(method: Any) -> Callable[[], Any]:
    """Return what makes a decompressor of one member (gzip) or frame (zstd)."""
    if method == "gzip":
        return lambda: zlib.decompressobj(wbits=_GZIP_WBITS)
    if method == "zstd":
        try:
            decompressor: Callable[[], Any] = zstd_module().ZstdDecompressor
        except ImportError as error:
            reason = "entries are zstd, which needs Python 3.14 or pip install backports.zstd"
            raise ProtocolError(reason) from error
        return decompressor
    raise ProtocolError(
        f"entries are compressed with {quoted_value(method)}; only gzip and zstd are known"
    )


def zstd_module() -> ModuleType:
    """Return the module that speaks zstd.

    Raises:
        ImportError: There is none in this Python.
    """
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return importlib.import_module("backports.zstd")
