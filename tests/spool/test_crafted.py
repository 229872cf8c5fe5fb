"""Shows that a file costs a recoverer about its length, whatever is in it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logship import BackgroundClient, Settings
from logship._buffer.buffer import Buffer
from logship._protocol.entries import unpack_entries
from logship._settings.settings import RECORD_BYTES_MAX
from logship._spool import adoption, chunks, files, inspection, survey
from logship._spool.chunks import (
    ENTRIES_MAX,
    PAYLOAD_BYTES_MAX,
    read_chunk_header,
    read_payload,
)
from logship._spool.inspection import inspect_spool
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship.errors import SettingsError
from tests.spool import crafted
from tests.spool.programs import NOWHERE, spools_in
from tests.spool.recoveries import Sidecar, dead_life, log_some, recover
from tests.spool.spools import offer
from tests.support.memory import traced_memory
from tests.support.packing import pack_record

EMPTY_ENTRY = pack_record({}, 1, 0)
COUNT = 5000
"""Headers in a file: it has 640 KB."""


class Disk:
    """Counts what is read of files.

    Attributes:
        bytes_read: Since the beginning.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes_read = 0
        self._pread_all = files.pread_all
        monkeypatch.setattr(files, "pread_all", self._read)

    def _read(self, descriptor: int, size: int, offset: int) -> bytes:
        data = self._pread_all(descriptor, size, offset)
        self.bytes_read += len(data)
        return data


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


CRAFTED = [
    crafted.headers_in_a_record,
    crafted.headers_that_claim_all,
    crafted.linked_headers_that_claim_all,
    crafted.linked_headers,
    crafted.loose_headers,
]


@pytest.mark.parametrize("craft", CRAFTED)
def test_a_file_costs_no_more_than_a_few_times_its_length(
    tmp_path: Path, disk: Disk, craft: Callable[[int], bytes]
) -> None:
    """To look at it, and to recover it."""
    size = crafted.dead_process(tmp_path, craft(COUNT)).stat().st_size
    (found,) = inspect_spool(tmp_path)
    assert found["state"] == "dead"
    assert size <= disk.bytes_read <= 20 * size
    disk.bytes_read = 0
    recover(tmp_path)
    assert size <= disk.bytes_read <= 40 * size


@pytest.mark.parametrize("craft", [crafted.linked_headers, crafted.loose_headers])
def test_headers_that_hold_nothing_are_not_held(
    tmp_path: Path, craft: Callable[[int], bytes]
) -> None:
    size = crafted.dead_process(tmp_path, craft(COUNT)).stat().st_size
    with traced_memory() as memory:
        assert len(list(inspect_spool(tmp_path))) == 1
        recover(tmp_path)
    assert memory.peak_bytes < 5 * size


def test_too_much_damage_in_a_file_is_named_once(tmp_path: Path) -> None:
    crafted.dead_process(tmp_path, crafted.headers_that_claim_all(COUNT))
    sidecar = recover(tmp_path)
    counters = sidecar.orphans.counters
    notes = [each for each in counters.notes if "the rest of the file is not read" in each]
    assert len(notes) == 1
    assert counters.damaged < 100
    assert not sidecar.orphans.is_complete


def test_more_chunks_than_are_held_come_in_several_recoveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 300))
    for module in (survey, inspection):
        monkeypatch.setattr(module, "CHUNKS_MAX", 10)
    (found,) = inspect_spool(tmp_path)
    assert found == {**found, "state": "refused", "reason": survey.TOO_MANY_CHUNKS}
    seconds = itertools.count(0, 3600)
    sidecar = Sidecar(Orphans(tmp_path, monotonic=lambda: next(seconds)))
    for _ in range(10):
        sidecar.take_in()
        if not life.exists():
            break
    assert survey.TOO_MANY_CHUNKS in str(sidecar.orphans.counters.notes)
    assert not sidecar.orphans.is_complete
    assert sorted(sidecar.markers) == sorted(f"m{number}" for number in range(300))
    assert not life.exists()


def test_more_streams_than_are_held_come_in_several_recoveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most have no slot, so that their chunks must show that they ended, until they are acked."""
    monkeypatch.setattr("logship._buffer.stream.STREAMS_MAX", 4)
    monkeypatch.setattr("logship._spool.format.SLOTS", 4)
    monkeypatch.setattr(survey, "CHUNKS_MAX", 20)

    def log_by_tag(buffer: Buffer) -> None:
        for number in range(100):
            assert offer(buffer, f"m{number}", f"t{number}")

    life = dead_life(tmp_path, log_by_tag)
    seconds = itertools.count(0, 3600)
    sidecar = Sidecar(Orphans(tmp_path, monotonic=lambda: next(seconds)))
    for _ in range(20):
        sidecar.take_in()
        if not life.exists():
            break
    assert sorted(sidecar.markers) == sorted(f"m{number}" for number in range(100))
    assert len({each["logship_id"] for each in sidecar.controls}) == len(sidecar.controls) == 100
    assert not life.exists()


def test_whatever_a_client_accepts_fits_into_a_chunk() -> None:
    assert PAYLOAD_BYTES_MAX > RECORD_BYTES_MAX + 1_000_000
    assert len(EMPTY_ENTRY) * ENTRIES_MAX > 1_000_000
    with pytest.raises(SettingsError):
        Settings.from_env({}, endpoints=NOWHERE, tag="t", chunk_bytes_max=1_000_001)


@pytest.mark.parametrize("claimed", [1, ENTRIES_MAX, ENTRIES_MAX + 1])
def test_no_more_entries_are_decoded_than_a_chunk_has(
    monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    decoded = 0

    def count(payload: bytes) -> Iterator[tuple[int, dict[Any, Any]]]:
        nonlocal decoded
        for entry in unpack_entries(payload):
            decoded += 1
            yield entry

    monkeypatch.setattr(chunks, "unpack_entries", count)
    payload = EMPTY_ENTRY * (PAYLOAD_BYTES_MAX // len(EMPTY_ENTRY))
    header = crafted.header(1, entries=claimed, size=len(payload))
    chunk = read_chunk_header(header, 0, crafted.OWNER)
    assert chunk is not None
    assert isinstance(read_payload(chunk, payload), str)
    assert decoded <= min(claimed, ENTRIES_MAX) + 1


def test_a_payload_that_no_chunk_has_is_not_read(tmp_path: Path, disk: Disk) -> None:
    size = PAYLOAD_BYTES_MAX + 64
    chunk = crafted.header(1, entries=1, size=size)
    crafted.dead_process(tmp_path, chunk + b"\xc1" * size)
    with traced_memory() as memory:
        sidecar = recover(tmp_path)
    assert "says more than the file or a chunk can hold" in str(sidecar.orphans.counters.notes)
    assert memory.peak_bytes < 3 * PAYLOAD_BYTES_MAX


ENDLESS = (
    "import itertools, logship._spool.adoption as adoption\n"
    "adoption.survey = lambda _: itertools.repeat(adoption.RecoveryState.WORKING)\n"
)


def test_a_recoverer_that_is_not_done_ends_in_time(tmp_path: Path) -> None:
    with spools_in(tmp_path) as spools:
        dead_life(spools.spool, log_some)
        code = f"{ENDLESS}from logship._cli import main; main()"
        words = ("recover", "--spool", str(spools.spool), "--watch", "--stop-timeout", "2")
        with subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=spools.environ(NOWHERE),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as recoverer:
            assert recoverer.stderr is not None
            assert b"watching" in recoverer.stderr.readline()
            recoverer.send_signal(signal.SIGTERM)
            try:
                recoverer.communicate(timeout=30)
            finally:
                recoverer.kill()
    assert recoverer.returncode == 1


def test_a_client_ships_its_own_records_beside_a_file_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "survey", lambda _: itertools.repeat(RecoveryState.WORKING))
    with spools_in(tmp_path) as spools:
        dead_life(spools.spool, log_some)
        environ = spools.environ(LOGSHIP_SPOOL_DIR=str(spools.spool), LOGSHIP_TAG="t")
        client = BackgroundClient(Settings.from_env(environ))
        assert client.emit({"message": "own"})
        assert client.flush(timeout=30)
        assert spools.delivered == ["own"]
        client.close()
