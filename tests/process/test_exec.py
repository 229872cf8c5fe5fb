"""Shows what becomes of records that a `preexec_fn` logs, in a child that is about to exec.

The child's memory and threads end with the exec, so no buffer could deliver a record.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import LOGSHIP
from tests.support.programs import Programs
from tests.support.programs_judge import Verdict

RUNS_A_CHILD = """
    import logship

    def run(**options):
        ended = subprocess.run(["echo", "the child"], check=True, **options)
        progress(f"child {ended.stdout}")
"""


def assert_refused(verdict: Verdict, records: int) -> None:
    """The children's records are on this program's stderr, and all others arrived."""
    verdict.assert_reports_add_up()
    assert verdict.missing == []
    assert len(verdict.refused) == records
    assert len(verdict.delivered) == len(verdict.ended.ledger) - records
    assert set(verdict.refused.values()) == {1}


@pytest.mark.parametrize(
    ("stderr", "threads"), [("None", 0), ("subprocess.PIPE", 0), ("subprocess.DEVNULL", 4)]
)
def test_a_record_of_a_preexec_fn_is_on_stderr(
    programs: Programs, stderr: str, threads: int
) -> None:
    """On that of the program, wherever that of its child goes."""
    ended = programs.start(
        RUNS_A_CHILD,
        f"""
        logship.install(level="INFO")
        is_over = threading.Event()

        def work():
            while not is_over.wait(0.001):
                log("in a thread")

        threads = [threading.Thread(target=work) for _ in range({threads})]
        for thread in threads:
            thread.start()
        log("before")
        for _ in range(5):
            run(preexec_fn=lambda: log("in the child"), stdout=subprocess.PIPE, stderr={stderr})
        is_over.set()
        for thread in threads:
            thread.join()
        log("behind")
        """,
    ).end(returncode=0)
    assert ended.progress == (r"child b'the child\n'",) * 5
    assert_refused(ended.verdict, records=5)


OTHERS = {
    "a client on an event loop": (
        1,
        """
        async def main():
            async with logship.Client() as client:
                logging.getLogger().addHandler(logship.Handler(client))
                logging.getLogger().setLevel("INFO")
                log("before")
                child = await asyncio.create_subprocess_exec(
                    "true", preexec_fn=lambda: log("in the child")
                )
                await child.wait()
                log("behind")

        asyncio.run(main())
        """,
    ),
    # It has a program's life or ends with `_exit`; it cannot return either.
    "a child of such a child": (
        2,
        """
        logship.install(level="INFO")

        def fork_and_log():
            child = os.fork()
            log("in the child, and in its child")
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)

        run(preexec_fn=fork_and_log, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        """,
    ),
    # It ships its records, also where its parent has run commands before.
    "a later child that only forks": (
        1,
        """
        logship.install(level="INFO")
        run(preexec_fn=lambda: log("in the child"), stdout=subprocess.PIPE)
        child = os.fork()
        log("after the fork")
        if child == 0:
            sys.exit()
        os.waitpid(child, 0)
        """,
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_it_is_so_for(programs: Programs, what: str) -> None:
    records, source = OTHERS[what]
    assert_refused(programs.start(RUNS_A_CHILD, source).end(returncode=0).verdict, records)


def test_a_client_called_by_hand_says_that_it_keeps_no_record(programs: Programs) -> None:
    ended = programs.start(
        RUNS_A_CHILD,
        """
        client = logship.BackgroundClient()

        def in_the_child():
            marker = new_marker()
            progress(f"emit {client.emit({'message': marker})}")
            write_down(marker)
            try:
                client.send({"message": "in the child"})
            except logship.ClientClosed:
                progress("closed")

        run(preexec_fn=in_the_child, stdout=subprocess.PIPE)
        """,
    ).end(returncode=0)
    assert ended.progress == ("emit False", "closed", r"child b'the child\n'")
    assert_refused(ended.verdict, records=1)


def test_a_signal_in_such_a_child_is_none_of_the_parent(programs: Programs) -> None:
    """The handler in C writes the signal's number at once, and must not write it to the parent."""
    ended = programs.start(
        """
        import logship
        client = logship.install(level="INFO")
        log("before")
        die = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run(["true"], preexec_fn=die)
        watchdog = next(each for each in threading.enumerate() if each.name == "logship-watchdog")
        watchdog.join(0.5)
        progress(f"watched {watchdog.is_alive()}, open {not client.intake_closed}")
        log("behind")
        """
    ).end(returncode=0)
    assert ended.progress == ("watched True, open True",)
    ended.verdict.assert_delivered_once(2)


def test_a_spool_keeps_such_a_record_for_the_next_process(
    programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    ended = programs.start(
        RUNS_A_CHILD,
        """
        logship.install(level="INFO")
        run(preexec_fn=lambda: log("in the child"), stdout=subprocess.PIPE)
        """,
        environ={"LOGSHIP_SPOOL_DIR": str(tmp_path / "spool")},
    ).end()
    recover = [*LOGSHIP, "recover", "--spool", str(tmp_path / "spool")]
    programs.start_command(recover).end()
    verdict = ended.verdict
    assert len(ended.ledger) == 1
    assert verdict.missing == []
    assert len(verdict.refused) == 0
