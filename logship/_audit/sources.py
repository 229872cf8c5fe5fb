"""Reads the files that a proof is made from, plain or gzip.

A killed server leaves files that are torn or half compressed. What such a file lacks counts as
missing. A file that cannot be read at all ends the audit.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from logship._audit.lines import Refused, Unreadable, read_line, refused_in
from logship._audit.reports import Report
from logship.errors import LogshipError

BLOCK_BYTES: Final = 16 * 1024
"""Bytes read at a time. zlib copies the rest of a block at each end of a member."""
UNPACKED_BYTES_MAX: Final = 256 * 1024
"""Bytes unpacked at a time. A block of packed newlines would make 16 million lines at once."""
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""logship sends records of up to 5 MB, and escaping turns one byte into at most six."""
GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP_PADDING: Final = b"\0"
"""Tapes and block devices leave it between members."""
FOREIGN: Final = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"\xfd7zXZ\0": ("xz", "xzcat"),
    b"BZh": ("bzip2", "bzcat"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4cat"),
    b"\xff\xfe": ("UTF-16", "iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("UTF-16", "iconv -f UTF-16 -t UTF-8"),
}
"""How a file begins in which no stamp would be seen, what it is, and what makes text of it."""
SEEMS_EXPECTED: Final = re.compile(
    rb'logship\\*":\s?\\*"(?:drain report|spill begins|report correction|refused)'
)
"""Matches also inside a string, where quotes are escaped. A report that matches must be read."""
ASK_AGAIN: Final = "was it rotated meanwhile? Then ask again"

Opened = Callable[[], AbstractContextManager[BinaryIO]]


class Source:
    """One input: its lines in batches, unpacked where they are gzip.

    Args:
        name: Of a file, or `-` for standard input.
        start: Where in a plain file a line begins, to be the first that is read.
        opened: Opens what is no file, or a file that must be looked at first.
        size: How many bytes the input has at least. If it has fewer, it was cut.

    Attributes:
        note: After reading, what is odd about a file that could be read; None if nothing is.
        position: Where in a plain file the first line begins that was not wholly there.
        is_packed: Whether it is gzip.
    """

    def __init__(
        self, name: str, start: int = 0, opened: Opened | None = None, size: int = 0
    ) -> None:
        self.name = "standard input" if name == "-" else name
        self.note: str | None = None
        self.position = self._start = start
        self.is_packed = False
        self._opened: Opened = opened or partial(_opened, name)
        self._size = size
        self._bytes_read = 0
        self._rest = b""

    def batches(self) -> Iterator[list[bytes]]:
        """Yield lines without their ends, and what follows the last end of line.

        Raises:
            CannotRead: The input cannot be opened, read or unpacked, is not text, or was cut.
        """
        yield from self.whole_lines()
        if self._bytes_read < self._size:
            raise CannotRead(f"cannot read {self.name}: it was cut meanwhile; {ASK_AGAIN}")
        if self._rest:
            yield [self._rest]

    def whole_lines(self) -> Iterator[list[bytes]]:
        """Yield only those lines that have an end: `batches` of a file that is being written.

        Raises:
            CannotRead: As of `batches`.
        """
        try:
            with self._opened() as file:
                yield from self._split(self._unpacked(file))
        except OSError as error:
            raise CannotRead(f"cannot read {self.name}: {error.strerror or error}") from error

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        blocks = self._blocks(file)
        if self._start:  # in the middle of a plain file
            file.seek(self._start)
            return blocks
        first = next(blocks, b"")
        for magic, (kind, tool) in FOREIGN.items():
            if first.startswith(magic):
                how = f"pipe it: {tool} ... | logship audit -"
                raise CannotRead(f"cannot read {self.name}: it is {kind}; {how}")
        self.is_packed = first.startswith(GZIP_MAGIC)
        every = chain([first], blocks)
        return self._gunzipped(every) if self.is_packed else every

    def _blocks(self, file: BinaryIO) -> Iterator[bytes]:
        while block := file.read(BLOCK_BYTES):
            self._bytes_read += len(block)
            yield block

    def _gunzipped(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Unpack one member after the other, and keep what a cut-off last member holds.

        The gzip module would discard the last block when the data ends too early.
        """
        member, began = zlib.decompressobj(wbits=31), False
        try:
            for block in blocks:
                rest = block if began else block.lstrip(GZIP_PADDING)
                while rest:
                    began = True
                    yield member.decompress(rest, UNPACKED_BYTES_MAX)
                    rest = member.unconsumed_tail
                    if member.eof:
                        rest = member.unused_data.lstrip(GZIP_PADDING)
                        member, began = zlib.decompressobj(wbits=31), False
            if began:
                yield member.flush()
        except zlib.error as error:
            text = f"cannot read {self.name}: its gzip data is damaged ({error})"
            raise CannotRead(text) from error
        if began:
            self.note = (
                f"{self.name}: the gzip data is cut off (its writer was killed, or is still "
                "writing); records in the missing part count as missing"
            )

    def _split(self, blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
        begun = bytearray()
        for block in blocks:
            begun += block
            if b"\n" in block:
                *lines, rest = bytes(begun).split(b"\n")
                self.position += len(begun) - len(rest)
                begun = bytearray(rest)
                yield lines
            elif len(begun) > LINE_BYTES_MAX:
                text = f"cannot read {self.name}: no end of line in 64 MiB; is it a text file?"
                raise CannotRead(text)
        self._rest = bytes(begun)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input under the name `-`."""
    if name != "-":
        with Path(name).open("rb") as file:
            yield file
    elif sys.stdin is None:
        raise CannotRead("cannot read standard input: it is closed")
    else:
        yield sys.stdin.buffer


class CannotRead(LogshipError):  # noqa: N818 - it says what happened, as its siblings do
    """An input cannot be read, so nothing can be said about what is missing."""


@contextmanager
def telling(name: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of a library into one that names the source."""
    try:
        yield
    except errors as error:
        raise CannotRead(f"cannot read {name}: {error}") from error


def expected_in(source: Source, stamp_key: str) -> Iterator[Report | Refused]:
    """Yield the drain reports and refused records among the lines that an application wrote.

    Raises:
        CannotRead: The source cannot be read, or a report in it is torn.
    """
    for number, line in enumerate(chain.from_iterable(source.batches()), start=1):
        if not SEEMS_EXPECTED.search(line):
            continue
        text = line.decode("utf-8", "replace")
        for found in read_line(text, stamp_key):
            if isinstance(found, Unreadable) and found.is_report:
                raise CannotRead(f"{source.name}, line {number}: {found.why}")
            expected = refused_in(text) if isinstance(found, Unreadable) else found
            if isinstance(expected, Report | Refused):
                yield expected
