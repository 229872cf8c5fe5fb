"""Decoding msgpack from a peer: bytes in any split, bounded memory and time, EventTimes understood.

What a peer sends decides how much work it makes. So the bytes of a value are bounded, and so is the
number of values in it, because an empty map of one byte takes 64 bytes of memory. And no key is a
number: Python hashes text and bytes with a secret, but numbers and tuples without one, and a few
thousand numbers can be chosen so that each look-up in a dict meets all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from logship._hooks.interruptions import is_interruption
from logship.errors import ProtocolError

ITEMS_MAX = 1 << 20
"""Elements in one array or map that are decoded; room is made for all before the first is read."""

VALUES_MAX = 1 << 21
"""Values, arrays and maps among them, that are decoded of one message, or of one value of another
stream. A record of one field has five; the longest message has as many in records of 40 bytes."""

_BUFFER_BYTES = 64 * 1024
"""Room that an unpacker makes at first."""

_EVENT_TIME = struct.Struct(">II")
_NAMES_OF_KEYS: dict[type, Callable[[Any], str]] = {
    int: int.__repr__,
    float: float.__repr__,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda key: "null",
}
"""How JSON writes a key that is neither text nor bytes."""


class BoundedUnpacker:
    """Decodes values one after the other.

    Args:
        bytes_max: the longest value taken, in bytes.
        unicode_errors: how text that is not UTF-8 is decoded, as `bytes.decode` names it.
        allowance: how many values may be decoded in all; by default `VALUES_MAX` in each value.
    """

    def __init__(
        self, bytes_max: int, unicode_errors: str, allowance: Allowance | None = None
    ) -> None:
        self._bytes_max = bytes_max
        self._fed = 0
        self._decoded = 0
        self._is_renewed = allowance is None
        self._allowance = allowance or Allowance()
        self._unpacker = new_unpacker(
            bytes_max,
            unicode_errors,
            _decode_extension,
            list_hook=self._allowance.spend_on_list,
            object_pairs_hook=self._allowance.spend_on_map,
        )

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Any]:
        """Take the next bytes and yield all values that are now complete.

        An EventTime becomes the tuple (seconds, nanoseconds), and nothing else exactly a tuple. A
        map's key stays text or bytes; a number, true, false or nil becomes the text that JSON has
        for it. Of keys that are then the same the last one counts.

        Raises:
            ProtocolError: the bytes are not msgpack, a value is too long or holds too many values,
                or a key is of another kind. Values before it have been yielded; the unpacker
                cannot be used any more.
        """
        try:
            self._unpacker.feed(data)
            self._fed += len(data)
            for value in self._unpacker:
                self._decoded = self._unpacker.tell()
                if self._is_renewed:
                    self._allowance.values = VALUES_MAX
                yield value
        except ProtocolError:
            raise
        except Exception as error:
            if is_interruption(error):
                raise
            raise ProtocolError(f"not msgpack: {type(error).__name__}: {error}") from error
        if self.pending_bytes > self._bytes_max:
            raise ProtocolError(f"a value is longer than {self._bytes_max} bytes")

    @property
    def pending_bytes(self) -> int:
        """How many bytes have been fed of a value that is not complete."""
        return self._fed - self._decoded


class Allowance:
    """How many values may still be decoded.

    Attributes:
        values: So many.
    """

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values = VALUES_MAX

    def spend_on_list(self, items: list[Any]) -> list[Any]:
        """Return the items.

        Raises:
            ProtocolError: these are too many.
        """
        self._spend(len(items))
        return items

    def spend_on_map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        """Return the pairs as a mapping whose keys are text or bytes.

        Raises:
            ProtocolError: these are too many, or a key is something else.
        """
        self._spend(len(pairs))
        if {type(key) for key, _ in pairs} <= {str, bytes}:
            return dict(pairs)
        return {_name(key): value for key, value in pairs}

    def _spend(self, count: int) -> None:
        self.values -= count + 1
        if self.values < 0:
            raise ProtocolError(f"there are more than {VALUES_MAX} values")


def new_unpacker(
    bytes_max: int,
    unicode_errors: str,
    extension: Callable[[int, bytes], Any],
    *,
    bin_bytes_max: int | None = None,
    **options: Any,
) -> msgpack.Unpacker:
    """Return an unpacker that makes room for no more than a value of `bytes_max` can hold.

    Without `object_pairs_hook` it takes no keys but text and bytes.

    Args:
        bytes_max: the longest text, bytes or extension taken.
        unicode_errors: how text that is not UTF-8 is decoded, as `bytes.decode` names it.
        extension: makes a value of an extension's type and bytes.
        bin_bytes_max: the longest bytes taken, where that is not `bytes_max`.
        options: further ones of `msgpack.Unpacker`.
    """
    items_max = min(ITEMS_MAX, bytes_max)
    return msgpack.Unpacker(
        raw=False,
        unicode_errors=unicode_errors,
        strict_map_key="object_pairs_hook" not in options,
        ext_hook=extension,
        max_buffer_size=0,  # it would bound one read; what must be bounded is one value
        read_size=min(max(bytes_max, 1), _BUFFER_BYTES),
        max_str_len=bytes_max,
        max_bin_len=bytes_max if bin_bytes_max is None else bin_bytes_max,
        max_ext_len=bytes_max,
        max_array_len=items_max,
        max_map_len=items_max,
        **options,
    )


def _name(key: Any) -> Any:
    """Return a map's key, as text where it is a number.

    Raises:
        ProtocolError: it is not text, and JSON has no text for it.
    """
    kind = type(key)
    if kind is str or kind is bytes:
        return key
    if kind not in _NAMES_OF_KEYS:
        raise ProtocolError(f"a map's key is a {kind.__name__}; keys are text or numbers")
    return _NAMES_OF_KEYS[kind](key)


def _decode_extension(code: int, data: bytes) -> Any:
    if code == 0 and len(data) == 8:
        seconds, nanoseconds = _EVENT_TIME.unpack(data)
        return seconds, nanoseconds
    return msgpack.ExtType(code, data)
