"""Shows how programs that end by themselves drain: their last lines are as precious as any."""

from __future__ import annotations

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Programs, json_lines
from tests.support.programs_gate import Gate
from tests.support.programs_judge import numbers_of

COUNT_TO_100 = """
    import logship
    logship.install(level="INFO")
    for _ in range(100):
        log("x" * 400)
"""


@pytest.mark.parametrize(
    ("last_lines", "status"),
    [
        pytest.param("", 0, id="end of the program"),
        pytest.param("import sys\nsys.exit(3)", 3, id="sys.exit(3)"),
        pytest.param("raise SystemExit('a text')", 1, id="SystemExit with a text"),
        pytest.param("import sys\nlog('last')\nsys.exit(True)", 1, id="sys.exit(True)"),
    ],
)
def test_a_batch_delivers_all_and_keeps_its_exit_code(
    programs: Programs, sidecar: Sidecar, last_lines: str, status: int
) -> None:
    ended = programs.start(COUNT_TO_100, last_lines).end(returncode=status)
    assert ended.reports == []
    sidecar.output.verdict(ended).assert_delivered_once()


def test_a_batch_that_takes_no_time_at_all_delivers_all(
    programs: Programs, sidecar: Sidecar
) -> None:
    """It ends before its first connection is made."""
    ended = programs.start(
        "import logship\nfrom application import log\nlogship.install(level='INFO')\nlog()"
    ).end(returncode=0)
    assert ended.stderr == ""
    sidecar.output.verdict(ended).assert_all_delivered()


def test_the_report_is_printed_on_demand_when_all_was_acked(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start(COUNT_TO_100, environ={"LOGSHIP_REPORT": "1"}).end()
    (report,) = ended.reports
    assert (report["accepted"], report["acked"]) == (100, 100)
    (stream,) = report["streams"]
    assert stream["accepted"] == 100
    assert stream["unacked"] == stream["spilled"] == stream["dropped"] == []
    sidecar.output.verdict(ended).assert_all_delivered()


def test_an_uncaught_exception_becomes_a_record_and_is_printed(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start(COUNT_TO_100, "raise LookupError('no such ' + 'parcel')").end(
        returncode=1
    )
    assert ended.stderr.count("Traceback") == 1
    assert ended.stderr.rstrip().endswith("LookupError: no such parcel")
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    told = [line for line in verdict.lines if "LookupError: no such parcel" in str(line["record"])]
    assert len(told) == 1
    assert "program.py" in str(told[0]["record"])  # the traceback is in it


def test_an_excepthook_of_the_application_is_called_too(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start("""
        import sys
        sys.excepthook = lambda kind, error, trace: sys.stderr.write(f"theirs: {error}\\n")
        import logship
        from application import log
        logship.install(level="INFO")
        log()
        raise LookupError("no such parcel")
    """).end(returncode=1)
    assert ended.stderr == "theirs: no such parcel\n"
    verdict = sidecar.output.verdict(ended)
    assert any("no such parcel" in str(line["record"]) for line in verdict.lines)


def test_an_exception_of_a_thread_becomes_a_record_and_the_program_goes_on(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start("""
        import threading
        import logship
        logship.install(level="INFO")

        def fail():
            log("in the thread")
            raise LookupError("no such parcel")

        thread = threading.Thread(target=fail, name="sorter")
        thread.start()
        thread.join()
        log("after")
    """).end(returncode=0)
    assert "Exception in thread sorter" in ended.stderr
    assert ended.stderr.count("Traceback") == 1
    verdict = sidecar.output.verdict(ended)
    verdict.assert_all_delivered()
    assert any("LookupError: no such parcel" in str(line["record"]) for line in verdict.lines)


def test_a_sidecar_that_was_never_reached_gets_the_batch_spilled(
    programs: Programs, sidecar: Sidecar, gate: Gate
) -> None:
    ended = programs.start(COUNT_TO_100, "raise SystemExit(3)", endpoint=gate.endpoint).end()
    assert ended.returncode == 3
    assert len(ended.reports) == 1
    assert any(gate.endpoint in warning for warning in ended.warnings)
    verdict = sidecar.output.verdict(ended)
    verdict.assert_nothing_lost()
    assert len(verdict.spilled) == 100


def test_all_numbers_are_named_before_the_first_record_is_spilled(
    programs: Programs, sidecar: Sidecar, gate: Gate
) -> None:
    """A log driver that cuts stderr short then keeps the names, which are few, before the rest."""
    ended = programs.start(COUNT_TO_100, endpoint=gate.endpoint).end()
    first = next(json_lines(ended.stderr))
    assert first["logship"] != "spilled"
    (stream,) = first["streams"]
    named = numbers_of(stream["spilled"]) | numbers_of(stream["unacked"])
    assert set(range(1, 101)) <= named
    sidecar.output.verdict(ended).assert_nothing_lost()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_sidecar_that_comes_up_during_the_exit_drain_gets_everything(
    programs: Programs, sidecar: Sidecar, gate: Gate, host: str
) -> None:
    """At exit the interpreter takes no new futures, which asyncio resolves `localhost` with."""
    program = programs.start(
        """
        import atexit
        import logship
        atexit.register(progress, "exiting")
        """,
        COUNT_TO_100,
        endpoint=f"tcp://{host}:{gate.port}",
        environ={"LOGSHIP_BACKOFF_SECONDS_BASE": "0.05", "LOGSHIP_BACKOFF_SECONDS_MAX": "0.2"},
    )
    program.until("exiting")
    gate.open()
    ended = program.end(returncode=0)
    sidecar.output.verdict(ended).assert_all_delivered(100)


def test_a_sidecar_that_restarts_during_the_exit_drain_gets_everything(
    programs: Programs, sidecar: Sidecar, gate: Gate
) -> None:
    gate.open()
    program = programs.start(
        """
        import atexit
        import logship
        logship.install(level="INFO")
        atexit.register(progress, "exiting")
        log("connects")
        progress("logged")
        wait_for("shut")
        for _ in range(100):
            log()
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_BACKOFF_SECONDS_BASE": "0.05", "LOGSHIP_BACKOFF_SECONDS_MAX": "0.2"},
    )
    program.until("logged")
    sidecar.output.until_arrived(program.ledger[0])
    gate.shut()
    program.let_go("shut")
    program.until("exiting")
    gate.open()
    ended = program.end(returncode=0)
    sidecar.output.verdict(ended).assert_all_delivered(101)


def test_a_batch_whose_sidecar_stops_acking_ends_and_spills(
    programs: Programs, sidecar: Sidecar, gate: Gate
) -> None:
    """It drains as long as acks make progress; then it gives up and says what is missing."""
    gate.open()
    program = programs.start(
        """
        import sys
        import logship
        client = logship.install(level="INFO", exit_stall_seconds=1.0)
        for _ in range(30):
            log("acked")
        assert client.flush(timeout=30).all_acked
        progress("flushed")
        wait_for("silence")
        for _ in range(20):
            log("not acked")
        sys.exit(3)
        """,
        endpoint=gate.endpoint,
    )
    program.until("flushed")
    gate.silence()
    ended = program.finish("silence", returncode=3)
    (report,) = ended.reports
    assert report["acked"] == 30
    verdict = sidecar.output.verdict(ended)
    verdict.assert_nothing_lost()
    assert set(verdict.spilled) == set(ended.ledger[30:])


def test_a_large_batch_through_a_small_buffer_delivers_all(
    programs: Programs, sidecar: Sidecar
) -> None:
    """Emit waits for space as long as acks come: backpressure, not loss."""
    ended = programs.start("""
        import logship
        logship.install(level="INFO", buffer_bytes_max=65536, chunk_bytes_max=8192,
                        block_seconds_max=60.0)
        for _ in range(3000):
            log("x" * 400)
    """).end(returncode=0)
    assert ended.spilled == []
    sidecar.output.verdict(ended).assert_delivered_once()
