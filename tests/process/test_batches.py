"""Shows how programs that end by themselves drain: their last lines are as precious as any."""

from __future__ import annotations

import pytest

from tests.support.programs import Programs, json_lines
from tests.support.programs_gate import Gate
from tests.support.programs_judge import numbers_of

COUNT_TO_100 = """
    logship.install(level="INFO")
    log("x" * 400, times=100)
"""


def test_an_excepthook_of_the_application_is_called_too(programs: Programs) -> None:
    ended = programs.start("""
        sys.excepthook = lambda kind, error, trace: sys.stderr.write(f"theirs: {error}\\n")
        import logship
        from application import log
        logship.install(level="INFO")
        log()
        raise LookupError("no such parcel")
    """).end(returncode=1)
    assert ended.stderr == "theirs: no such parcel\n"
    verdict = ended.verdict
    assert any("no such parcel" in str(line["record"]) for line in verdict.lines)


def test_a_sidecar_that_was_never_reached_gets_the_batch_spilled(
    programs: Programs, gate: Gate
) -> None:
    ended = programs.start(COUNT_TO_100, "raise SystemExit(3)", endpoint=gate.endpoint).end()
    assert ended.returncode == 3
    assert len(ended.reports) == 1
    assert any(gate.endpoint in warning for warning in ended.warnings)
    ended.verdict.assert_nothing_lost(spilled=100)
    # A log driver that cuts stderr short then keeps the names, which are few, before the rest.
    first = next(json_lines(ended.stderr))
    (stream,) = first["streams"]
    assert first["logship"] != "spilled"
    assert numbers_of(stream["unacked"]) >= {*range(1, 101)}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_sidecar_that_comes_up_during_the_exit_drain_gets_everything(
    programs: Programs, gate: Gate, host: str
) -> None:
    """At exit the interpreter takes no new futures, which asyncio resolves `localhost` with."""
    program = programs.start(
        """
        atexit.register(progress, "exiting")
        """,
        COUNT_TO_100,
        endpoint=f"tcp://{host}:{gate.port}",
        environ={"LOGSHIP_BACKOFF_SECONDS_BASE": "0.05", "LOGSHIP_BACKOFF_SECONDS_MAX": "0.2"},
    )
    program.until("exiting")
    gate.open()
    program.end(returncode=0).verdict.assert_all_delivered(100)


def test_a_batch_whose_sidecar_stops_acking_ends_and_spills(programs: Programs, gate: Gate) -> None:
    """It drains as long as acks make progress; then it gives up and says what is missing."""
    gate.open()
    program = programs.start(
        """
        client = logship.install(level="INFO", exit_stall_seconds=1.0)
        log("acked", times=30)
        assert client.flush(timeout=30).all_acked
        progress("flushed")
        wait_for("silence")
        log("not acked", times=20)
        sys.exit(3)
        """,
        endpoint=gate.endpoint,
    )
    program.until("flushed")
    gate.silence()
    ended = program.finish("silence", returncode=3)
    (report,) = ended.reports
    assert report["acked"] == 30
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert set(verdict.spilled) == set(ended.ledger[30:])
