"""Programs that have no descriptors left, or close those of logship."""

from __future__ import annotations

import errno
import os
import re
import signal

import pytest

from tests.support.programs import Programs

TAKE_ALL = """
    def take_all_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            return taken

    def give_back(taken):
        for descriptor in taken:
            os.close(descriptor)
"""


@pytest.mark.parametrize("forks", [False, True])
def test_a_daemon_gets_no_signals_number_into_its_files(programs: Programs, forks: bool) -> None:
    """It closes all descriptors, and CPython does not forget the one that is told of signals."""
    ended = programs.start(f"""
        from application import DIRECTORY, LEDGER, PROGRESS, end_of, log, progress
        signal.signal(signal.SIGUSR1, lambda *_: progress("called"))
        logship.install(level="INFO")
        log()
        if {forks} and (child := os.fork()):
            end_of(child)
            sys.exit()
        os.closerange(max(LEDGER, PROGRESS) + 1, 4096)
        files = [open(DIRECTORY / f"file {{each}}", "wb", buffering=0) for each in range(20)]
        signal.raise_signal(signal.SIGUSR1)
        progress(f"written {{[file.tell() for file in files if file.tell()]}}")
        os._exit(0)
    """).end(returncode=0)
    assert ended.progress[:2] == ("called", "written []")


@pytest.mark.parametrize("is_given_back", [True, False])
def test_a_child_without_descriptors_at_its_first_record(
    programs: Programs, is_given_back: bool
) -> None:
    """It ships as soon as there are some. Otherwise its records are written to stderr.

    The end of the interpreter takes longer than any thread of logship sleeps. Without a descriptor
    glibc aborts the process if one of them goes on then.
    """
    ended = programs.start(
        TAKE_ALL,
        f"""
        class TakesLong:
            def __del__(self, sleep=time.sleep):
                sleep(1.2)
        client = logship.install(level="INFO")
        log("in the parent")
        child = os.fork()
        if child == 0:
            taken = take_all_descriptors()
            log("without descriptors", times=20)
            if {is_given_back}:
                give_back(taken)
                while not client.flush().all_acked:
                    pass
                log("with descriptors")
            takes_long = TakesLong()
            sys.exit(4)
        end_of(child)
        """,
        environ={"LOGSHIP_EXIT_STALL_SECONDS": "0.5"},
    ).end()
    assert ended.progress == ("child 4",)
    assert "Exception ignored" not in ended.stderr
    assert [each for each in ended.warnings if os.strerror(errno.EMFILE) in each]
    ended.verdict.assert_nothing_lost(spilled=0 if is_given_back else 20)


def test_install_without_descriptors_ships_once_there_are_some(programs: Programs) -> None:
    ended = programs.start(
        TAKE_ALL,
        """
        install = logship.install
        taken = take_all_descriptors()
        client = install(level="INFO")
        log("without descriptors")
        give_back(taken)
        while not client.flush().all_acked:
            pass
        log("with descriptors")
        """,
    ).end(returncode=0)
    assert len(ended.ledger) == 2
    assert [each for each in ended.warnings if os.strerror(errno.EMFILE) in each]
    ended.verdict.assert_all_delivered()


def test_clients_of_loops_that_end_without_descriptors(programs: Programs) -> None:
    """No loop can be made for them, and nothing but their records is written to stderr."""
    ended = programs.start(
        TAKE_ALL,
        """
        from application import emit_marker
        for client in logship.Client(), logship.Client():
            emit_marker(client)
        take_all_descriptors()
        """,
        environ={"PYTHONWARNINGS": "always"},
    ).end(returncode=0)
    assert ended.verdict.spilled.total() == 2
    assert not re.search("Warning|Error|Exception", ended.stderr)


def test_a_program_without_descriptors_dies_by_its_stop_signal(programs: Programs) -> None:
    programs.start(
        TAKE_ALL,
        """
        install = logship.install
        taken = take_all_descriptors()
        install(level="INFO")
        log("without descriptors")
        ready()
        forever()
        """,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    ).stopped(returncode=-signal.SIGTERM).verdict.assert_nothing_lost(spilled=1)


def test_a_program_that_closes_all_descriptors(programs: Programs) -> None:
    """The numbers of logship's descriptors are those of the program's own files from then on."""
    program = programs.start("""
        from application import LEDGER, PROGRESS, log
        files = []

        def close_all():
            if not files:
                os.closerange(max(LEDGER, PROGRESS) + 1, 1000)
                files.extend(os.open(f"file-{n}", os.O_RDWR | os.O_CREAT) for n in range(20))

        client = logship.install(level="INFO")
        client.shipper.on_progress(close_all)  # on the loop, so its next look finds them closed
        log("before")
        while "logship-shipper" in {thread.name for thread in threading.enumerate()}:
            threading.Event().wait(0.005)
        log("after")
        for descriptor in files:
            os.write(descriptor, b"of the program")
    """)
    ended = program.end(returncode=0)
    assert {each.read_bytes() for each in program.directory.glob("file-*")} == {b"of the program"}
    assert "Exception in thread" not in ended.stderr
    assert [each for each in ended.warnings if "event loop has failed" in each]
    ended.verdict.assert_nothing_lost()


def test_a_program_that_gives_its_own_files_the_numbers_of_all_descriptors(
    programs: Programs,
) -> None:
    """The watchdog reads nothing from them, and goes on."""
    program = programs.start("""
        from application import LEDGER, PROGRESS, progress, wait_for
        logship.install(level="INFO").close()  # an event loop reads what wakes it
        ours, peer = socket.socketpair()
        peer.send(b"of the program")
        kept = {0, 1, 2, LEDGER, PROGRESS, ours.fileno(), peer.fileno()}
        for number in set(map(int, os.listdir("/proc/self/fd"))) - kept:
            os.dup2(ours.fileno(), number)
        logging.getLogger().removeHandler(logship.installed_handler())
        wait_for("warning")
        progress(ours.recv(100).decode())
    """)
    program.until_true(lambda: "was removed" in program.stderr, "the watchdog warns")
    ended = program.finish("warning")
    assert ended.progress == ("of the program",)
    assert "an error of its own" not in ended.stderr
