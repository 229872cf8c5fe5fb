"""Shows that a bug in the buffer loses no record in silence: stderr tells of it and of each record.

Each program has a buffer, with or without a spool, in which one step raises from some call on.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.programs import Programs
from tests.support.programs_gate import Gate
from tests.support.programs_judge import Verdict

BREAKS = """
    import logship

    def break_down(name, sound):
        owner, _, name = name.rpartition(".")
        owner, calls = pkgutil.resolve_name(owner), 0
        real = getattr(owner, name)

        def method(*args, **named):
            nonlocal calls
            calls += 1
            if calls > sound:
                raise ValueError("a bug")
            return real(*args, **named)

        setattr(owner, name, method)
"""
LOGS = """
    log("x" * 200, times=150)
"""
ENVIRON = {
    "LOGSHIP_CHUNK_BYTES_MAX": "4096",
    "LOGSHIP_EXIT_STALL_SECONDS": "0.5",
    "LOGSHIP_REPORT": "1",
}


def assert_told(verdict: Verdict) -> None:
    """Each record is delivered, on the spool or on stderr, and the report and a warning say so."""
    verdict.assert_reports_add_up()
    (report,) = verdict.ended.reports
    assert len(verdict.missing) == report["spooled"]
    assert report["refused"] == len(verdict.refused) > 0
    assert report["accepted"] + report["refused"] == len(verdict.ended.ledger)
    assert "Exception ignored" not in verdict.ended.stderr
    (warning,) = (each for each in verdict.ended.warnings if "an error of its own" in each)
    assert "ValueError: a bug" in warning


@pytest.mark.parametrize(
    ("storage", "step", "chunk_bytes"),
    [
        ("logship._spool.storage.SpoolStorage", "open_chunk", 4096),
        ("logship._spool.storage.SpoolStorage", "has_room", 2048),  # these are no small entries
        ("logship._spool.mapped.SpoolChunk", "write", 4096),
        ("logship._buffer.chunk.MemoryChunk", "write", 4096),
        ("logship._buffer.chunk.MemoryStorage", "link", 4096),
    ],
)
def test_records_that_a_bug_keeps_from_being_numbered_are_told(
    programs: Programs, tmp_path: Path, storage: str, step: str, chunk_bytes: int
) -> None:
    spool = {"LOGSHIP_SPOOL_DIR": str(tmp_path)} if "spool" in storage else {}
    ended = programs.start(
        BREAKS,
        f"break_down('{storage}.{step}', 3)",
        "logship.install(level='INFO')",
        LOGS,
        environ={**ENVIRON, **spool, "LOGSHIP_CHUNK_BYTES_MAX": str(chunk_bytes)},
    ).end(returncode=0)
    assert len(ended.ledger) == 150
    verdict = ended.verdict
    assert_told(verdict)
    assert verdict.delivered


def test_the_deadline_finds_records_that_could_not_be_numbered(programs: Programs) -> None:
    """The main thread is in no state to end anything: the watchdog tells of them."""
    ended = programs.start(
        BREAKS,
        "break_down('logship._buffer.chunk.MemoryStorage.open_chunk', 3)",
        "logship.install(level='INFO')",
        LOGS,
        """
        ready()
        forever()
        """,
        environ=ENVIRON,
    ).stopped(returncode=-signal.SIGTERM)
    assert_told(ended.verdict)


def test_a_client_on_an_event_loop_tells_of_them_too(programs: Programs) -> None:
    ended = programs.start(
        BREAKS,
        "break_down('logship._buffer.chunk.MemoryStorage.open_chunk', 3)",
        """
        async def main():
            async with logship.Client() as client:
                for _ in range(150):
                    emit_marker(client, pad="x" * 200)
                assert not (await client.flush(timeout=0.2)).all_acked

        asyncio.run(main())
        """,
        environ=ENVIRON,
    ).end(returncode=0)
    assert_told(ended.verdict)


def test_a_client_that_is_not_closed_tells_of_them_at_exit(programs: Programs) -> None:
    """Nothing of it is in a chunk."""
    ended = programs.start(
        BREAKS,
        "break_down('logship._buffer.chunk.MemoryStorage.open_chunk', 0)",
        """
        client = logship.Client()
        for _ in range(150):
            emit_marker(client)
        """,
        environ=ENVIRON,
    ).end(returncode=0)
    assert_told(ended.verdict)


def test_a_client_whose_end_fails_does_not_keep_the_others_from_theirs(programs: Programs) -> None:
    programs.start(
        BREAKS,
        """
        clients = [logship.BackgroundClient() for _ in range(8)]
        for client in clients[::2]:
            client.drain = None  # what the exit hook calls
        for client in clients[1::2]:
            emit_marker(client)
        """,
        environ={**ENVIRON, "LOGSHIP_LINGER_SECONDS": "60"},
    ).end().verdict.assert_all_delivered(4)


@pytest.mark.parametrize(
    "step",
    ["logship._stderr.spill.Spill.step", "logship._client.closing.Closing.correct_report"],
)
def test_a_process_dies_by_its_signal_though_its_last_words_fail(
    programs: Programs, black_hole: Gate, step: str
) -> None:
    """The main thread computes, so only the watchdog can end the process."""
    ended = programs.start(
        BREAKS,
        f"break_down('{step}', 0)",
        "logship.install(level='INFO', console=False)",
        LOGS,
        """
        ready()
        while True:
            pass
        """,
        endpoint=black_hole.endpoint,
        environ={**ENVIRON, "LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    ).stopped(returncode=-signal.SIGTERM)
    assert "Exception in thread" not in ended.stderr
    assert any("an error of its own" in each for each in ended.warnings)
