"""Compression of a chunk's entries, and where zstd comes from. PURE.

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

_GZIP_WBITS = 31
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1


def compressor(method: str) -> Callable[[bytes | bytearray | memoryview], bytes] | None:
    """Return what compresses one chunk's entries, or None for `none`.

    Args:
        method: `none`, `gzip` or `zstd`.

    Raises:
        ImportError: zstd is not to be had in this Python.
    """
    if method == "gzip":
        return lambda data: zlib.compress(data, _GZIP_LEVEL, wbits=_GZIP_WBITS)
    if method == "zstd":
        zstd = zstd_module()
        return lambda data: bytes(zstd.compress(bytes(data), level=_ZSTD_LEVEL))
    return None


def zstd_module() -> ModuleType:
    """Return the module that speaks zstd.

    Raises:
        ImportError: There is none in this Python.
    """
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return importlib.import_module("backports.zstd")
