"""Spools as files of the tree, and the damage that is done to copies of them.

Damage is done by the offsets in `docs/spool-format.md`, without any code of logship's.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent / "data"

_CHUNK_MAGIC = b"LGSPCHK\n"
_ID_AT, _EXTENT_AT, _COMMIT_AT, _STATE_AT, _HEADER_BYTES_AT = 40, 16, 24, 32, 96


def pack(directory: Path, archive: Path) -> None:
    """Write all files of a directory into an archive that is the same for the same files."""

    def bare(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        return member

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(directory.rglob("*")):
            tar.add(path, path.relative_to(directory), recursive=False, filter=bare)
    archive.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))


def unpack(name: str, directory: Path) -> Path:
    """Write a golden spool into `directory`, damaged if its name says so; return the spool.

    Args:
        name: Of an archive in `data/spools`, of a damage, or `two_processes`.
        directory: An empty directory; the spool gets a directory in it, beside its ledger.
    """
    damage = DAMAGES.get(name)
    for archive in PAIRS.get(name, (damage.base if damage else name,)):
        with tarfile.open(DATA / "spools" / f"{archive}.tar.gz") as tar:
            # Python 3.11.0 to 3.11.3 have no filters, and later ones warn if none is given.
            safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(directory, **safely)
    spool = directory / "spool"
    if damage:
        (process_directory,) = (each for each in spool.iterdir() if each.name != "quarantine")
        damage.do(process_directory)
    return spool


class Damage(NamedTuple):
    """What a disk, a crash or a person does to the files of one process.

    Attributes:
        base: The golden spool that it is done to.
        do: Does it, in the process's directory.
    """

    base: str
    do: Callable[[Path], None]


def _segment(process_directory: Path) -> Path:
    return process_directory / "segment-00000001.spool"


def _chunks_at(data: bytes | bytearray) -> list[int]:
    found, offset = [], data.find(_CHUNK_MAGIC)
    while offset >= 0:
        found += [offset] if offset % 64 == 0 else []
        offset = data.find(_CHUNK_MAGIC, offset + 1)
    return found


def _payload_at(data: bytes | bytearray, chunk_at: int) -> int:
    header_bytes: int = struct.unpack_from("=I", data, chunk_at + _HEADER_BYTES_AT)[0]
    return chunk_at + header_bytes


def _changed(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def _flip(data: bytearray, offset: int) -> None:
    data[offset] ^= 0x01


def _cut(process_directory: Path) -> None:
    path = _segment(process_directory)
    data = path.read_bytes()
    path.write_bytes(data[: _payload_at(data, _chunks_at(data)[4]) + 100])


def _in_segment(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    return lambda process_directory: _changed(_segment(process_directory), change)


def _in_streams(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    return lambda process_directory: _changed(process_directory / "streams", change)


def _flip_in_chunk(index: int, at: int) -> Callable[[Path], None]:
    """Return what flips a bit in the header of a chunk."""
    return _in_segment(lambda data: _flip(data, _chunks_at(data)[index] + at))


def _flip_in_payload(data: bytearray) -> None:
    _flip(data, _payload_at(data, _chunks_at(data)[1]) + 20)


def _change_stamp(data: bytearray) -> None:
    """Change the last digit of a stamp in the second chunk."""
    at = data.index(b":00000000", _payload_at(data, _chunks_at(data)[1]))
    data[at + 10] = ord("1")


def _lead_astray(data: bytearray) -> None:
    struct.pack_into("=Q", data, _chunks_at(data)[1] + _EXTENT_AT, 64 * 12_345)


def _count_one_more(data: bytearray) -> None:
    at = _chunks_at(data)[1] + _COMMIT_AT
    struct.pack_into("=Q", data, at, struct.unpack_from("=Q", data, at)[0] + (1 << 32))


def _tear_tail(data: bytearray) -> None:
    """Put half an entry behind what the last chunk has committed."""
    at = _chunks_at(data)[-1]
    size = struct.unpack_from("=Q", data, at + _COMMIT_AT)[0] & 0xFFFFFFFF
    end = _payload_at(data, at) + size
    data[end : end + 20] = data[_payload_at(data, at) : _payload_at(data, at) + 20]


def _of_version_2(data: bytearray) -> None:
    struct.pack_into("=I", data, 8, 2)


DAMAGES = {
    "cut_file": Damage("partial_acks", _cut),
    "flipped_payload_byte": Damage("partial_acks", _in_segment(_flip_in_payload)),
    "changed_stamp": Damage("one_tag", _in_segment(_change_stamp)),
    "damaged_chunk_header": Damage("partial_acks", _flip_in_chunk(2, _ID_AT)),
    "damaged_extent": Damage("partial_acks", _in_segment(_lead_astray)),
    "damaged_commit": Damage("partial_acks", _in_segment(_count_one_more)),
    "damaged_state": Damage("partial_acks", _flip_in_chunk(0, _STATE_AT + 4)),
    "damaged_segment_header": Damage("partial_acks", _in_segment(lambda data: _flip(data, 56))),
    "segment_of_version_2": Damage("partial_acks", _in_segment(_of_version_2)),
    "damaged_streams_header": Damage("partial_acks", _in_streams(lambda data: _flip(data, 40))),
    "damaged_slot": Damage("partial_acks", _in_streams(lambda data: _flip(data, 320 + 44))),
    "streams_of_version_2": Damage("partial_acks", _in_streams(_of_version_2)),
    "missing_streams": Damage("partial_acks", lambda directory: (directory / "streams").unlink()),
    "torn_tail": Damage("partial_acks", _in_segment(_tear_tail)),
}

PAIRS = {"two_processes": ("partial_acks", "one_tag")}
"""Spools of several processes in one directory."""
