"""Shows what a wrong setting, a wrong server and strict interpreters meet: one clear word each."""

from __future__ import annotations

import pytest

from tests.process.conftest import Launch, Sidecar
from tests.support.programs import PATHS, Programs
from tests.support.programs_gate import Gate


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("LOGSHIP_ENDPOINTS", "http://sidecar:24224", "tcp://"),
        ("LOGSHIP_ENDPOINTS", "tcp://sidecar:99999", "65535"),
        ("LOGSHIP_ENDPOINTS", "tcp://sidecar", "tcp://"),
        ("LOGSHIP_ENDPOINTS", ",", "tcp://"),
        ("LOGSHIP_OVERFLOW", "sometimes", "drop_oldest"),
        ("LOGSHIP_LAST_RESORT", "syslog", "stderr"),
        ("LOGSHIP_LINGER_SECONDS", "soon", "number"),
        ("LOGSHIP_LINGER_SECONDS", "-1", "0"),
        ("LOGSHIP_CHUNK_BYTES_MAX", "12.5", "whole number"),
        ("LOGSHIP_BUFFER_BYTES_MAX", "1", "65536"),
        ("LOGSHIP_STOP_TIMEOUT_SECONDS", "nan", "number"),
        ("LOGSHIP_STOP_TIMEOUT_SECONDS", "0", "0.5"),
        ("LOGSHIP_STAMP", "perhaps", "1"),
        ("LOGSHIP_INFLIGHT_CHUNKS_MAX", "0", "1"),
    ],
)
def test_a_wrong_setting_is_one_error_that_names_it(
    programs: Programs, variable: str, value: str, allowed: str
) -> None:
    ended = programs.start(
        "import logship\nlogship.install(level='INFO')", environ={variable: value}
    ).end(returncode=1)
    assert ended.stderr.count("Traceback") == 1
    last = ended.stderr.rstrip().splitlines()[-1]
    assert "SettingsError: " in last
    said = last.partition("SettingsError: ")[2]
    assert variable in said or variable.removeprefix("LOGSHIP_").lower() in said
    assert value in said
    assert allowed in said


def test_variables_that_no_program_reads_are_one_warning(
    programs: Programs, sidecar: Sidecar
) -> None:
    environ = {"LOGSHIP_TAGG": "hidden", "LOGSHIP_OUTPUT": "file", "LOGSHIP_LINGER_SECOND": "1s"}
    program = "import logship\nlogship.install()\nlogship.install()"
    ended = programs.start(program, environ=environ).end()
    assert ended.returncode == 0
    (warning,) = ended.warnings
    assert "LOGSHIP_TAGG (did you mean LOGSHIP_TAG?)" in warning
    assert "LOGSHIP_LINGER_SECOND (did you mean LOGSHIP_LINGER_SECONDS?)" in warning
    assert "LOGSHIP_OUTPUT" not in warning
    assert "hidden" not in ended.stderr


GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a map without an ack": b"\x80",
    "an integer": b"\x07",
    "a byte that is no msgpack": b"\xc1",
    "an ack that nobody waits for": b"\x81\xa3ack\xa3???",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_port_where_something_else_listens_loses_nothing(
    programs: Programs, sidecar: Sidecar, gate: Gate, answer: bytes
) -> None:
    """Reconnects, says so once a minute at most, and delivers when the sidecar is back."""
    gate.answer(answer)
    program = programs.start(
        """
        import sys
        import logship
        logship.install(level="INFO", backoff_seconds_base=0.05, backoff_seconds_max=0.2)
        for _ in range(100):
            log("x" * 400)
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
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_sidecar_that_is_not_there_is_warned_of_once(
    programs: Programs, sidecar: Sidecar, gate: Gate
) -> None:
    program = programs.start(
        """
        import logship
        logship.install(level="INFO", backoff_seconds_base=0.01, backoff_seconds_max=0.02)
        log()
        progress("logged")
        wait_for("end")
        """,
        endpoint=gate.endpoint,
    )
    program.until("logged")
    program.until_true(lambda: gate.endpoint in program.stderr, "a warning that names the endpoint")
    gate.open()
    sidecar.output.until_arrived(program.ledger[0])
    ended = program.finish("end")
    warning, recovery = ended.warnings
    assert "cannot connect" in warning
    assert f"{gate.endpoint} acks records now, after" in recovery
    sidecar.output.verdict(ended).assert_all_delivered()


STRICT = [
    pytest.param(("-W", "error"), id="-W error"),
    pytest.param(("-X", "dev"), id="-X dev"),
    pytest.param(("-X", "dev", "-W", "error", "-b", "-X", "tracemalloc"), id="all of them"),
    pytest.param(("-O",), id="-O"),
    pytest.param(("-I",), id="-I"),
    pytest.param(("-u",), id="-u"),
]


@pytest.mark.parametrize("python", STRICT)
def test_a_strict_interpreter_finds_nothing_to_say_at_a_normal_exit(
    programs: Programs, sidecar: Sidecar, python: tuple[str, ...]
) -> None:
    # -I ignores PYTHONPATH, where the tests' own module is found.
    ended = programs.start(
        f"""
        import sys
        sys.path[:0] = {PATHS!r}
        import logging
        import logship
        from application import log
        logship.install(level="INFO")
        for _ in range(100):
            log()
        logging.shutdown()
        """,
        python=python,
    ).end()
    assert ended.stderr == ""
    assert ended.returncode == 0
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize("python", STRICT[:3])
def test_a_strict_interpreter_finds_nothing_to_say_at_sigterm(
    launch: Launch, sidecar: Sidecar, python: tuple[str, ...]
) -> None:
    program = launch.start(
        """
        import logship
        logship.install(level="INFO")
        log()
        ready()
        forever()
        """,
        python=python,
    )
    ended = program.stopped()
    assert ended.stderr == ""
    assert ended.returncode == launch.status_of_sigterm
    sidecar.output.verdict(ended).assert_all_delivered()
