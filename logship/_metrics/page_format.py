"""The bytes of a page and of the sum of the dead. PURE.

Everything read is untrusted, because a volume may be shared.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from logship._metrics.sums import (
    LAYOUT,
    SLOTS,
    Numbers,
    Total,
    ended,
    plus_ended,
    slot,
    summed,
    zeros,
)

VERSION = 1
PAGES_MAX = 1024
"""Further pages are not read. Pages of dead processes are folded long before this number."""

_PAGE_MAGIC, _SUM_MAGIC = b"logspage", b"logs-sum"
_HEADER = struct.Struct("<8sII16s")  # magic, version, layout, id
_COPY = struct.Struct(f"<QI{len(SLOTS)}d")  # generation, flags, numbers; a CRC-32 of it follows
_CHECKSUM = struct.Struct("<I")
_COPY_BYTES = _COPY.size + _CHECKSUM.size
PAGE_BYTES = _HEADER.size + 2 * _COPY_BYTES
_DONE = 1
ID_BYTES = 16
SUM_BYTES_MAX = _HEADER.size + _COPY_BYTES + (PAGES_MAX + 1) * ID_BYTES

_VALUE_MAX = 1e30
"""Above every count and every size: a setting may give `sys.maxsize` for "no limit"."""

_ENDED_DRAINED = slot("processes_ended_total", "drained")
_ENDED_KILLED = slot("processes_ended_total", "killed")


@dataclass(slots=True)
class DeadSum:
    """The sum of dead processes: its version, and the pages that it took in last."""

    generation: int = 0
    numbers: Numbers = field(default_factory=zeros)
    taken_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page that was read."""

    name: str
    id: str
    numbers: Numbers
    is_done: bool
    lives: bool


def page_header(page_id: bytes) -> bytes:
    """Return the header of a page.

    Args:
        page_id: Sixteen bytes.
    """
    return _HEADER.pack(_PAGE_MAGIC, VERSION, LAYOUT, page_id)


def copy_offset(generation: int) -> int:
    """Return where in a page the copy of this generation is: the two alternate."""
    return _HEADER.size + (generation % 2) * _COPY_BYTES


def copy_of(generation: int, numbers: Numbers, *, is_done: bool = False) -> bytes:
    """Return a copy of the numbers, with its checksum.

    Args:
        generation: Higher than that of any copy before.
        numbers: Of a process, or of the dead.
        is_done: Whether nothing would be lost if the process were killed now.
    """
    data = _COPY.pack(generation, _DONE if is_done else 0, *numbers)
    return data + _CHECKSUM.pack(zlib.crc32(data))


def sum_file(dead: DeadSum) -> bytes:
    """Return the file of the sum of the dead."""
    header = _HEADER.pack(_SUM_MAGIC, VERSION, LAYOUT, bytes(ID_BYTES))
    ids = b"".join(map(bytes.fromhex, dead.taken_in))
    return header + copy_of(dead.generation, dead.numbers) + ids


def _unpacked(data: bytes, offset: int) -> tuple[int, int, Numbers] | None:
    """Return generation, flags and numbers; None where they are torn or impossible."""
    copy = data[offset : offset + _COPY.size]
    checksum = data[offset + _COPY.size : offset + _COPY_BYTES]
    if len(checksum) < _CHECKSUM.size or _CHECKSUM.pack(zlib.crc32(copy)) != checksum:
        return None
    generation, flags, *numbers = _COPY.unpack(copy)
    if not all(0 <= number < _VALUE_MAX for number in numbers):
        return None
    return generation, flags, numbers


def _is_ours(data: bytes, magic: bytes) -> bool:
    if len(data) < _HEADER.size:
        return False
    found, version, layout, _ = _HEADER.unpack_from(data)
    return bool((found, version, layout) == (magic, VERSION, LAYOUT))


def parsed_page(name: str, data: bytes, lives: bool) -> FoundPage | None:
    """Return what a page says; None where it cannot be understood.

    Args:
        name: Of its file.
        data: The whole file.
        lives: Whether its process lives.
    """
    if not _is_ours(data, _PAGE_MAGIC):
        return None
    found = (_unpacked(data, copy_offset(generation)) for generation in (0, 1))
    copies = [copy for copy in found if copy]
    if not copies:
        return None
    _, flags, numbers = max(copies)
    page_id = _HEADER.unpack_from(data)[3].hex()
    return FoundPage(name, page_id, numbers, bool(flags & _DONE), lives)


def parsed_sum(data: bytes) -> DeadSum:
    """Return the sum in a file; an empty one where it cannot be understood."""
    copy = _unpacked(data, _HEADER.size) if _is_ours(data, _SUM_MAGIC) else None
    if copy is None:
        return DeadSum()
    ids = data[_HEADER.size + _COPY_BYTES :]
    offsets = range(0, len(ids) - ID_BYTES + 1, ID_BYTES)
    return DeadSum(copy[0], copy[2], tuple(ids[at : at + ID_BYTES].hex() for at in offsets))


def with_dead(dead_sum: DeadSum, pages: list[FoundPage]) -> Numbers:
    """Return the sum of the dead with the pages of others that it did not take in."""
    dead = dead_sum.numbers
    for page in pages:
        if not page.lives and page.id not in dead_sum.taken_in:
            numbers = page.numbers.copy() if page.is_done else ended(page.numbers)
            numbers[_ENDED_DRAINED if page.is_done else _ENDED_KILLED] += 1
            dead = plus_ended(dead, numbers)
    return dead


def total_of(
    dead_sum: DeadSum, pages: list[FoundPage], refused: int
) -> tuple[Total, list[FoundPage]]:
    """Return the numbers of all processes, each counted once, and the pages of the living.

    Args:
        dead_sum: As it was before the pages were read.
        pages: All that could be read.
        refused: How many could not.
    """
    living = [page for page in pages if page.lives and page.id not in dead_sum.taken_in]
    numbers = summed([page.numbers for page in living], with_dead(dead_sum, pages))
    return Total(numbers, refused), living
