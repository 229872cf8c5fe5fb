"""Shows a client with a spool from its settings to its report, in one process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from logship import BackgroundClient, Settings
from logship._delivery.drain import DrainPlan
from logship._process.clock import Started, StopClock
from logship._recover import Recoverer, RecoveryReport
from logship._spool import files
from logship._stderr.last_resort import LastResort
from tests.spool.programs import NOWHERE
from tests.spool.recoveries import dead_life, log_some
from tests.spool.spools import SEGMENT_BYTES
from tests.spool.test_quarantine import damage_all, log_in_many_chunks
from tests.support.receiver_process import ReceiverProcess
from tests.support.waiting import wait_until


def settings(spool: Path, endpoint: str = NOWHERE, **more: Any) -> Settings:
    return Settings(
        endpoints=endpoint,
        spool_dir=str(spool),
        backoff_seconds_base=0.01,
        backoff_seconds_max=0.05,
        **more,
    )


def test_a_record_is_on_the_spool_before_emit_returns(tmp_path: Path) -> None:
    client = BackgroundClient(settings(tmp_path))
    assert client.emit({"message": "precious words"})
    (life,) = tmp_path.iterdir()
    data = b"".join(each.read_bytes() for each in life.glob("segment-*"))
    assert b"precious words" in data
    report = client.close(timeout=1)
    assert (report.accepted, report.spooled, report.unacked) == (1, 1, 0)
    assert life.exists()


def test_a_relative_path_in_a_directory_that_was_removed_is_no_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    client = BackgroundClient(settings(Path("spool"), metrics_port=0))
    assert client.emit({"message": "precious words"})
    assert client.close(timeout=1).spilled == 1
    said = capfd.readouterr().err
    assert "precious words" in said
    assert "the spool cannot be written (spool: " in said


def test_what_was_on_a_spool_that_is_removed_just_before_the_end_goes_to_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = BackgroundClient(settings(tmp_path))
    assert client.emit({"message": "precious words"})
    (life,) = tmp_path.iterdir()
    shutil.rmtree(life)
    report = client.close(timeout=1)
    assert (report.accepted, report.spooled, report.spilled) == (1, 0, 1)
    assert "precious words" in capfd.readouterr().err


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_what_is_on_a_spool_that_has_its_path_no_more_goes_to_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    """As where a volume is mounted over it, or unmounted while it is in use."""
    spool = _made(tmp_path)
    client = BackgroundClient(settings(spool))
    assert client.emit({"message": "precious words"})
    spool.rename(tmp_path / "aside")
    if how == "replaced":
        spool.mkdir()
    report = client.close(timeout=1)
    assert (report.accepted, report.spooled, report.spilled) == (1, 0, 1)
    stderr = capfd.readouterr().err
    assert "precious words" in stderr
    assert "was a volume mounted or unmounted?" in stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root directory")
def test_a_program_that_changes_its_root_directory_keeps_its_spool(tmp_path: Path) -> None:
    spool, jail = _made(tmp_path), tmp_path / "jail"
    jail.mkdir()
    program = """
        import os, sys
        from logship import BackgroundClient, Settings
        client = BackgroundClient(Settings(endpoints=sys.argv[1], spool_dir=sys.argv[2]))
        client.emit({"message": "precious words"})
        os.chroot(sys.argv[3])
        print(client.close(timeout=1).spooled)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), NOWHERE, str(spool), str(jail)]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"1\n"


def test_the_next_client_ships_it_and_counts_its_own_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = BackgroundClient(settings(_made(tmp_path)))
    assert first.emit({"message": "old"})
    first.close(timeout=1)
    (left,) = _made(tmp_path).iterdir()
    with ReceiverProcess.start(tmp_path / "out") as receiver:
        second = BackgroundClient(settings(_made(tmp_path), receiver.endpoint))
        assert second.emit({"message": "new"})
        receiver.wait_for_records(3)
        wait_until(lambda: len(list(_made(tmp_path).iterdir())) == 1, "the old life is gone")
        report = second.close(timeout=20)
        messages = [each["record"]["message"] for each in receiver.records()]
    assert (report.accepted, report.acked) == (1, 1)
    assert len(report.streams) == 1
    assert sorted(messages) == sorted(["old", "new"] + ["logship: stream closed"] * 2)
    assert list(_made(tmp_path).iterdir()) == []
    told = f"shipped 1 record that a dead process (directory {left.name}) left (took "
    assert told in capfd.readouterr().err


def test_a_relative_spool_stays_where_it_is_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = dead_life(_made(tmp_path), log_some)
    monkeypatch.chdir(tmp_path)
    with ReceiverProcess.start(tmp_path / "out") as receiver:
        client = BackgroundClient(settings(Path("spool"), receiver.endpoint))
        monkeypatch.chdir("/")
        assert client.emit({"message": "new"})
        wait_until(lambda: not left.exists(), "the old life is shipped")
        client.close(timeout=20)


def _made(tmp_path: Path) -> Path:
    path = tmp_path / "spool"
    path.mkdir(exist_ok=True)
    return path


def test_a_client_tells_of_damage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    life = dead_life(tmp_path, log_in_many_chunks)
    damaged = damage_all(life)
    with ReceiverProcess.start(tmp_path / "out") as receiver:
        client = BackgroundClient(settings(tmp_path, receiver.endpoint))
        wait_until(lambda: not life.exists(), "the dead life is gone")
        client.close(timeout=20)
    assert capfd.readouterr().err.count("a chunk is damaged") == damaged


def test_a_recoverer_without_time_tells_of_damage_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = damage_all(dead_life(tmp_path, log_in_many_chunks))

    async def run() -> RecoveryReport:
        # The time for shipping is over, and the time for writing to stderr does not pass.
        recoverer = Recoverer(settings(tmp_path), tmp_path, monotonic=lambda: 0.0)
        recoverer.finish(DrainPlan.until(0.0, 0.1))
        return await recoverer.run()

    report = asyncio.run(run())
    assert report.counters.damaged == damaged
    assert capfd.readouterr().err.count("a chunk is damaged") == damaged


def test_a_recoverer_stops_at_its_deadline_though_stderr_takes_every_line(tmp_path: Path) -> None:
    """A large spool, or a busy processor: its estimate of the time was too low."""
    dead_life(tmp_path, log_some)
    seconds = [0.0]

    class Slow(LastResort):
        def write_line(self, line: bytes) -> bool:
            seconds[0] += 0.01
            return super().write_line(line)

    async def run() -> RecoveryReport:
        recoverer = Recoverer(
            settings(tmp_path), tmp_path, last_resort=Slow(), monotonic=lambda: seconds[0]
        )
        recoverer.finish(DrainPlan.until(0.0, 0.1))
        return await recoverer.run()

    report = asyncio.run(run())
    assert 0 < report.counters.records_abandoned < 30
    assert seconds[0] == pytest.approx(0.1, abs=0.011)


def test_a_recoverer_lets_records_in_memory_go_first_to_stderr(tmp_path: Path) -> None:
    """Its own are on the spool. A client of the same process has nothing else than memory."""
    dead_life(tmp_path, log_some)
    last_resort = LastResort(monotonic=lambda: 0.0)

    async def run() -> RecoveryReport:
        recoverer = Recoverer(settings(tmp_path), tmp_path, last_resort=last_resort)
        now = time.monotonic()
        recoverer.finish(DrainPlan.until(now, now + 0.4))
        return await recoverer.run()

    client = threading.Thread(target=last_resort.begin_spill)
    client.start()
    client.join()
    assert asyncio.run(run()).counters.records_abandoned == 0
    last_resort.end_spill()
    assert asyncio.run(run()).counters.records_abandoned == 30


def test_a_recoverer_has_patience_with_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it searches a file, the sidecar has nothing to ack."""
    left, seconds, read = dead_life(_made(tmp_path), log_in_many_chunks), [0.0], files.pread_all

    async def run(endpoint: str) -> RecoveryReport:
        recoverer = Recoverer(
            settings(left.parent, endpoint), left.parent, monotonic=lambda: seconds[0]
        )

        def read_slowly(descriptor: int, size: int, offset: int) -> bytes:
            seconds[0] += 60.0 * (size >= SEGMENT_BYTES)
            recoverer.look_now()  # it looks at the clock after this turn
            return read(descriptor, size, offset)

        monkeypatch.setattr(files, "pread_all", read_slowly)
        return await recoverer.run()

    with ReceiverProcess.start(tmp_path / "out") as receiver:
        assert asyncio.run(run(receiver.endpoint)).complete


def test_a_last_recoverer_waits_for_its_finish_after_the_stop_too(tmp_path: Path) -> None:
    """The command may clean up after the signal, in a process that is not there yet."""
    clock = StopClock(3600)
    clock.start(Started(time.monotonic(), "SIGTERM"))

    async def run() -> RecoveryReport:
        recoverer = Recoverer(settings(tmp_path), tmp_path, clock=clock, is_last=True)
        task = asyncio.create_task(recoverer.run())
        _, waiting = await asyncio.wait([task], timeout=0.5)
        assert waiting == {task}
        dead_life(tmp_path, log_some)
        now = time.monotonic()
        recoverer.finish(DrainPlan.until(now, now + 0.4))  # too little: it goes to stderr
        return await task

    report = asyncio.run(run())
    assert (report.counters.lives, report.counters.records_abandoned) == (1, 30)
    assert not report.complete


def test_an_unusable_spool_is_said_on_stderr_and_nothing_is_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ReceiverProcess.start(tmp_path / "out") as receiver:
        client = BackgroundClient(settings(tmp_path / "no" / "where", receiver.endpoint))
        for number in range(50):
            assert client.emit({"message": f"m{number}"})
        report = client.close(timeout=20)
    assert (report.accepted, report.acked) == (50, 50)
    said = capfd.readouterr().err
    assert said.count("the spool cannot be written") == 1
    assert str(tmp_path / "no" / "where") in said
    assert client.shipper.buffer.unspooled == 50


def test_a_spill_announces_only_what_is_not_on_the_spool(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = BackgroundClient(settings(tmp_path))
    for number in range(3):
        assert client.emit({"message": f"spooled{number}"})
    assert client.emit({"message": "from memory"}, tag="longer than a header can hold" * 10)
    report = client.close(timeout=2)
    assert (report.spooled, report.spilled) == (3, 1)
    said = capfd.readouterr().err
    assert ": 1 waiting record is written to stderr" in said
    lines = [json.loads(each) for each in said.splitlines() if each.startswith("{")]
    spilled = [each["record"]["message"] for each in lines if each["logship"] == "spilled"]
    assert "from memory" in spilled


def test_a_disabled_client_touches_no_spool(tmp_path: Path) -> None:
    client = BackgroundClient(settings(tmp_path, disabled=True))
    assert not client.emit({"message": "m"})
    client.close()
    assert list(tmp_path.iterdir()) == []
