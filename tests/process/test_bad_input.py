"""Shows what a wrong setting, a wrong server and strict interpreters meet: one clear word each."""

from __future__ import annotations

import signal

import pytest

from tests.support.programs import PATHS, Programs
from tests.support.programs_gate import Gate


def test_variables_that_no_program_reads_are_one_warning(programs: Programs) -> None:
    environ = {"LOGSHIP_TAGG": "hidden", "LOGSHIP_OUTPUT": "file", "LOGSHIP_LINGER_SECOND": "1s"}
    program = "import logship\nlogship.install()\nlogship.install()"
    ended = programs.start(program, environ=environ).end()
    assert ended.returncode == 0
    (warning,) = ended.warnings
    assert "LOGSHIP_TAGG (did you mean LOGSHIP_TAG?)" in warning
    assert "LOGSHIP_LINGER_SECOND (did you mean LOGSHIP_LINGER_SECONDS?)" in warning
    assert "LOGSHIP_OUTPUT" not in warning
    assert "hidden" not in ended.stderr


def test_a_sampled_level_that_is_misspelt_is_a_warning(programs: Programs) -> None:
    """Levels like none that there are may be added later."""
    environ = {"LOGSHIP_SAMPLE": "DEBG=0.1,WARN=0.5,info=1,NOTICE=0.5,TRACE=0"}
    program = "import logship\nlogship.install()\nlogship.install()"
    ended = programs.start(program, environ=environ).end()
    assert ended.returncode == 0
    (warning,) = ended.warnings
    assert warning.endswith("sample: logging has no level DEBG (did you mean DEBUG?)")


GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n",
    "an ack that no client waits for": b"\x81\xa3ack\xa3???",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_port_where_something_else_listens_loses_nothing(
    programs: Programs, gate: Gate, answer: bytes
) -> None:
    """Reconnects, says so once a minute at most, and delivers when the sidecar is back."""
    gate.answer(answer)
    program = programs.start(
        """
        logship.install(level="INFO", backoff_seconds_base=0.05, backoff_seconds_max=0.2)
        log("x" * 400, times=100)
        progress("logged")
        wait_for("end")
        sys.exit(3)
        """,
        endpoint=gate.endpoint,
    )
    program.until("logged")
    program.until_true(lambda: gate.connections_taken >= 4, "4 connections")
    gate.open()
    ended = program.finish("end", returncode=3)
    assert ended.spilled == []
    warning, recovery = ended.warnings
    assert gate.endpoint in warning
    assert "acks records now" in recovery
    ended.verdict.assert_all_delivered()


STRICT = [
    pytest.param(("-X", "dev", "-W", "error", "-b", "-X", "tracemalloc"), id="all warnings"),
    pytest.param(("-O", "-I", "-u"), id="other modes"),
]


@pytest.mark.parametrize("python", STRICT)
def test_a_strict_interpreter_finds_nothing_to_say_at_a_normal_exit(
    programs: Programs, python: tuple[str, ...]
) -> None:
    # -I ignores PYTHONPATH, where the tests' own module is found.
    ended = programs.start(
        f"""
        sys.path[:0] = {PATHS!r}
        import logging
        import logship
        from application import log
        logship.install(level="INFO")
        log(times=100)
        logging.shutdown()
        """,
        python=python,
    ).end()
    assert ended.stderr == ""
    assert ended.returncode == 0
    ended.verdict.assert_all_delivered()


@pytest.mark.parametrize("python", STRICT[:1])
def test_a_strict_interpreter_finds_nothing_to_say_at_sigterm(
    programs: Programs, python: tuple[str, ...]
) -> None:
    ended = programs.start(
        """
        logship.install(level="INFO")
        log()
        ready()
        forever()
        """,
        python=python,
    ).stopped(returncode=-signal.SIGTERM)
    assert ended.stderr == ""
    ended.verdict.assert_all_delivered()
