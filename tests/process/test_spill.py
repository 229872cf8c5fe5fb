"""Shows the last resort: what is written to stderr when the sidecar does not take it, and when."""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import LOGSHIP, ran
from tests.support.programs import Programs
from tests.support.programs_gate import Gate
from tests.support.programs_judge import numbers_of

LOGS_200_AND_WAITS = """
    logship.install(level="INFO")
    log("x" * 400, times=200)
    ready()
    forever()
"""


def is_readable(descriptor: int) -> bool:
    """Tell whether a descriptor can be read now; it may be above 1,023, which `select` refuses."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def test_the_spill_begins_before_the_deadline_and_sending_goes_on(
    programs: Programs, black_hole: Gate
) -> None:
    """Nothing acked for a fifth of 20 s: all is on stderr, and the program still tries."""
    program = programs.start(
        LOGS_200_AND_WAITS,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "20"},
    )
    program.stop()
    # The bound lies between the early spill and that of the deadline, far from both.
    program.until_true(lambda: program.stderr.count('"spilled",') >= 200, "an early spill", 11.0)
    assert program.is_alive
    black_hole.open()
    ended = program.end(returncode=-signal.SIGTERM)
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert len(verdict.delivered) == 200
    assert len(verdict.spilled) == 200
    assert not verdict.numbers_not_delivered()  # a spilled copy carries the same stamp


LOGS_TO_ITS_LAST_BREATH = """
    stop = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    import logship
    client = logship.install(level="INFO")

    def work():
        while not client.intake_closed:
            log("x" * 400)

    ready()
    while not stop:
        time.sleep(0.05)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(143)
"""


@pytest.mark.parametrize(
    "buffer_bytes_max",
    [
        pytest.param(2 << 20, id="small"),
        pytest.param(64 << 20, id="large", marks=pytest.mark.proof),
    ],
)
@pytest.mark.parametrize("mood", ["shut", "silent"])
def test_what_is_logged_until_the_deadline_goes_to_stderr_in_time(
    programs: Programs, gate: Gate, mood: str, buffer_bytes_max: int
) -> None:
    """Four threads log as fast as they can, without a sidecar: no record is lost."""
    if mood == "silent":
        gate.silence()
    ended = programs.start(
        LOGS_TO_ITS_LAST_BREATH,
        endpoint=gate.endpoint,
        environ={
            "LOGSHIP_STOP_TIMEOUT_SECONDS": "3",
            "LOGSHIP_BUFFER_BYTES_MAX": str(buffer_bytes_max),
        },
    ).stopped(returncode=143)
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert verdict.missing == [], "nor is anything only named"
    (report,) = ended.reports
    assert report["unacked"] == report["dropped"] == 0
    assert 0 < report["spilled"] <= len(verdict.spilled)


@pytest.mark.parametrize("mood", ["shut", "silent"])
def test_a_program_that_logs_on_while_no_sidecar_takes_it_dies_in_time(
    programs: Programs, gate: Gate, mood: str
) -> None:
    """It has no handler for SIGTERM. What it logs after intake has closed never returns."""
    if mood == "silent":
        gate.silence()
    program = programs.start(
        """
        logship.install(level="INFO")

        def work():
            while True:
                log("x" * 400)

        ready()
        for _ in range(4):
            threading.Thread(target=work).start()
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "3"},
    )
    program.until_logged(1000)
    program.signal(signal.SIGTERM)
    ended = program.end(returncode=-signal.SIGTERM, seconds_max=20.0)
    assert ended.refused == []
    ended.verdict.assert_nothing_lost()
    (report,) = ended.reports
    assert report["unacked"] == 0


def test_a_sidecar_that_comes_while_the_spill_is_ahead_gets_what_is_logged_then_too(
    programs: Programs, gate: Gate
) -> None:
    """The spill does not close intake: records from before and after its beginning arrive."""
    program = programs.start(
        """
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
        import logship
        client = logship.install(level="INFO", buffer_bytes_max=1 << 26)
        log("x" * 20_000, times=1500)
        try:
            ready()
            forever()
        finally:
            wait_for("the sidecar")
            log("afterwards")
            progress("open" if not client.intake_closed else "closed")
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "14"},
    )
    program.stop()
    program.until_true(lambda: '"spilled",' in program.stderr, "the spill ahead")
    gate.open()
    ended = program.finish("the sidecar", returncode=143)
    assert "open" in ended.progress
    verdict = ended.verdict
    verdict.assert_all_delivered()
    assert verdict.spilled
    assert ended.reports == [], f"all was acked: {ended.stderr[-1500:]}"


def test_the_report_names_exactly_the_records_that_are_missing(
    programs: Programs, gate: Gate
) -> None:
    gate.open()
    program = programs.start(
        """
        client = logship.install(level="INFO")
        log("acked", times=50)
        assert client.flush(timeout=30).all_acked
        progress("flushed")
        wait_for("silence")
        log("not acked", times=70)
        ready()
        forever()
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.until("flushed")
    gate.silence()
    program.let_go("silence")
    ended = program.stopped(returncode=-signal.SIGTERM)
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert set(verdict.spilled) == set(ended.ledger[50:])
    (report,) = ended.reports
    (stream,) = report["streams"]
    assert (report["accepted"], report["acked"]) == (120, 50)
    assert report["spilled"] + report["unacked"] == 70
    named = numbers_of(stream["spilled"]) | numbers_of(stream["unacked"])
    applications = set(range(1, 121))  # control records, which come later, may be named as well
    assert named & applications == set(range(51, 121))
    assert verdict.numbers_not_delivered()[stream["stream"]] & applications == named & applications
    assert max(named) <= stream["last"]


def test_stderr_closed_is_not_waited_for_nor_mistaken_for_another_file(
    programs: Programs, black_hole: Gate
) -> None:
    """The ledger gets descriptor 2 here: a spill into "stderr" would be written into it."""
    program = programs.start(
        """
        import application
        assert application.LEDGER == 2 or application.PROGRESS == 2
        """,
        LOGS_200_AND_WAITS,
        before=("sh", "-c", 'exec "$@" 2>&-', "sh"),
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2", "PYTHONFAULTHANDLER": ""},
    )
    ended = program.stopped(returncode=-signal.SIGTERM)
    assert len(ended.ledger) == 200
    assert all(marker.startswith(program.run) for marker in ended.ledger)
    assert [word for word in ended.progress if not word.startswith("ready ")] == []


@pytest.fixture
def stalled_pipe() -> Iterator[tuple[int, int]]:
    """A full pipe that no process reads: its reading and its writing end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"." * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    "settings",
    ["", ", buffer_bytes_max=65536, chunk_bytes_max=4096, block_seconds_max=0.0"],
    ids=["spill at the deadline", "overflow while running"],
)
def test_a_stalled_stderr_is_never_waited_for_past_the_deadline(
    programs: Programs, black_hole: Gate, stalled_pipe: tuple[int, int], settings: str
) -> None:
    reading, writing = stalled_pipe
    programs.start(
        LOGS_200_AND_WAITS.replace('level="INFO"', f'level="INFO"{settings}'),
        stderr=writing,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    ).stopped(returncode=-signal.SIGTERM)
    # All processes that have an open file share its flags: a shell, the application.
    assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK
    assert is_readable(reading)


def test_a_stalled_pipe_in_the_place_of_a_regular_file_is_not_waited_for(
    programs: Programs, black_hole: Gate
) -> None:
    programs.start(
        """
        logship.install(level="INFO", exit_drain_seconds_max=2.0)
        log()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)
        os.dup2(writing, 2)
        """,
        endpoint=black_hole.endpoint,
    ).end(returncode=0)


def test_a_slow_reader_of_stderr_still_gets_whole_lines(
    programs: Programs, black_hole: Gate, stalled_pipe: tuple[int, int]
) -> None:
    """The pipe is full when the spill begins; what is read later must parse."""
    reading, writing = stalled_pipe
    program = programs.start(
        LOGS_200_AND_WAITS,
        stderr=writing,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "12"},
    )
    program.stop()
    os.set_blocking(reading, False)
    taken = bytearray()

    def were_read(spilled: int) -> bool:
        while is_readable(reading):
            taken.extend(os.read(reading, 2048))
        return taken.count(b'"spilled",') >= spilled

    program.until_true(lambda: were_read(200), "200 spilled records")
    black_hole.open()
    program.until_true(lambda: were_read(200) and not program.is_alive, "the end")
    (program.directory / "stderr").write_bytes(taken.lstrip(b"."))
    program.end().verdict.assert_nothing_lost(spilled=200)


def test_a_line_is_ended_once_stderr_is_read_again_though_the_program_logs_nothing(
    programs: Programs, black_hole: Gate
) -> None:
    """Other processes with that stderr wait until it is."""
    reading, writing = os.pipe()
    program = programs.start(
        """
        logship.install(
            level="INFO", buffer_bytes_max=300_000, chunk_bytes_max=100_000, block_seconds_max=0.0
        )
        log("x" * 100_000, times=5)
        ready()
        forever()
        """,
        stderr=writing,
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    os.close(writing)
    program.until_ready()
    taken = bytearray()

    def is_whole() -> bool:
        while is_readable(reading):
            taken.extend(os.read(reading, 65536))
        return b'"spilled"' in taken and taken.endswith(b"\n")

    program.until_true(is_whole, "the end of the line")
    os.close(reading)
    program.stopped(returncode=-signal.SIGTERM)


def test_processes_with_one_stderr_leave_each_others_long_lines_whole(
    programs: Programs, black_hole: Gate
) -> None:
    """The workers of a server spill at the same moment, and a traceback is longer than PIPE_BUF."""
    reading, writing = os.pipe()
    program = programs.start(
        """
        logship.install(level="INFO", exit_stall_seconds=0.5)
        children = []
        for _ in range(4):
            if child := os.fork():
                children.append(child)
                continue
            log("x" * 20_000, times=25)
            sys.exit()
        for child in children:
            os.waitpid(child, 0)
        """,
        stderr=writing,
        endpoint=black_hole.endpoint,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as stderr:
        (program.directory / "stderr").write_bytes(stderr.read())
    program.end(returncode=0).verdict.assert_nothing_lost(spilled=100)


def test_overflow_while_running_goes_to_stderr_and_is_declared(
    programs: Programs, gate: Gate
) -> None:
    """The buffer is full and the sidecar down: stderr, paced; the rest is dropped and declared."""
    program = programs.start(
        """
        logship.install(level="INFO", buffer_bytes_max=65536, chunk_bytes_max=4096,
                        block_seconds_max=0.0, spill_bytes_per_second_max=16384,
                        backoff_seconds_base=0.05, backoff_seconds_max=0.2)
        log("x" * 400, times=1000)
        progress("logged")
        wait_for("end")
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_REPORT": "1"},
    )
    program.until("logged")
    gate.open()
    ended = program.finish("end")
    verdict = ended.verdict
    verdict.assert_nothing_lost()
    assert verdict.spilled
    assert verdict.missing  # dropped: more than the pace allowed
    (report,) = ended.reports
    assert report["dropped"] == len(verdict.missing)
    gaps = [line["record"]["logship_gap"] for line in verdict.lines if _is_gap(line["record"])]
    assert numbers_of(gaps) >= numbers_of(report["streams"][0]["dropped"])


def _is_gap(record: dict[str, object]) -> bool:
    return "logship_gap" in record


@pytest.mark.parametrize(
    ("stops", "is_spooled"), [(True, True), (False, False)], ids=["SIGTERM-spool", "exit-memory"]
)
def test_where_all_records_were_acked_the_end_record_holds_up_no_end(
    programs: Programs, gate: Gate, tmp_path: Path, stops: bool, is_spooled: bool
) -> None:
    """A record that waited would have an hour here. The end record is on stderr, or spooled."""
    hour = {f"LOGSHIP_{name}_SECONDS": "3600" for name in ("STOP_TIMEOUT", "EXIT_STALL")}
    spool = {"LOGSHIP_SPOOL_DIR": str(tmp_path / "spool")} if is_spooled else {}
    gate.open()
    program = programs.start(
        """
        client = logship.install(level="INFO")
        log(times=10)
        assert client.flush(timeout=30).all_acked
        ready()
        wait_for("its end")
        """,
        endpoint=gate.endpoint,
        environ={**hour, "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "3600", **spool},
    )
    program.until_ready()
    gate.shut()
    ended = program.stopped(returncode=-signal.SIGTERM) if stops else program.finish("its end")
    assert ended.reports == []
    ended.verdict.assert_delivered_once(10)
    if is_spooled:
        assert ended.spilled == []
        gate.open()
        endpoint = {**os.environ, "LOGSHIP_ENDPOINTS": gate.endpoint}
        ran(*LOGSHIP, "recover", "--spool", tmp_path / "spool", env=endpoint)
    ended.verdict.assert_all_ended()
