"""Decoding msgpack from a peer: bytes in any split, bounded memory, EventTimes understood."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from logship.errors import ProtocolError
from logship.hooks.interruptions import is_interruption

ITEMS_MAX = 1 << 20
"""Elements in one array or map that are decoded; room is made for all before the first is read."""

_EVENT_TIME = struct.Struct(">II")


class BoundedUnpacker:
    """Decodes values one after the other.

    Args:
        bytes_max: the longest value taken, in bytes.
        unicode_errors: how text that is not UTF-8 is decoded, as `bytes.decode` names it.
    """

    def __init__(self, bytes_max: int, unicode_errors: str) -> None:
        self._bytes_max = bytes_max
        self._fed = 0
        self._decoded = 0
        self._unpacker = new_unpacker(bytes_max, unicode_errors, _decode_extension)

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Any]:
        """Take the next bytes and yield all values that are now complete.

        An EventTime becomes the tuple (seconds, nanoseconds), and nothing else exactly a tuple.

        Raises:
            ProtocolError: the bytes are not msgpack, or a value is too long. Values before it
                have been yielded; the unpacker cannot be used any more.
        """
        try:
            self._unpacker.feed(data)
            self._fed += len(data)
            for value in self._unpacker:
                self._decoded = self._unpacker.tell()
                yield value
        except Exception as error:
            if is_interruption(error):
                raise
            raise ProtocolError(f"no msgpack: {type(error).__name__}: {error}") from error
        if self.pending_bytes > self._bytes_max:
            raise ProtocolError(f"a value is longer than {self._bytes_max} bytes")

    @property
    def pending_bytes(self) -> int:
        """How many bytes have been fed of a value that is not complete."""
        return self._fed - self._decoded


def new_unpacker(
    bytes_max: int,
    unicode_errors: str,
    extension: Callable[[int, bytes], Any],
    *,
    bin_bytes_max: int | None = None,
    use_list: bool = True,
) -> msgpack.Unpacker:
    """Return an unpacker that makes room for no more than a value of `bytes_max` can hold.

    Args:
        bytes_max: the longest text, bytes or extension taken.
        unicode_errors: how text that is not UTF-8 is decoded, as `bytes.decode` names it.
        extension: makes a value of an extension's type and bytes.
        bin_bytes_max: the longest bytes taken, where that is not `bytes_max`.
        use_list: whether an array becomes a list, else a tuple.
    """
    return msgpack.Unpacker(
        raw=False,
        use_list=use_list,
        unicode_errors=unicode_errors,
        strict_map_key=False,
        ext_hook=extension,
        max_buffer_size=0,  # it would bound one read; what must be bounded is one value
        max_str_len=bytes_max,
        max_bin_len=bytes_max if bin_bytes_max is None else bin_bytes_max,
        max_ext_len=bytes_max,
        max_array_len=ITEMS_MAX,
        max_map_len=ITEMS_MAX,
    )


def _decode_extension(code: int, data: bytes) -> Any:
    if code == 0 and len(data) == 8:
        seconds, nanoseconds = _EVENT_TIME.unpack(data)
        return seconds, nanoseconds
    return msgpack.ExtType(code, data)
