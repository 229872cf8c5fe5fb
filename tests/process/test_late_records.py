"""What is logged behind the end of the client is on stderr, also where it is the first record."""

from __future__ import annotations

import pytest

from tests.support.programs import Programs, json_lines

HOOK = """
    parent = os.getpid()
    atexit.register(lambda: logging.getLogger().warning("late") if {condition} else None)
    import logship
    logship.install(console=False)
    {then}
"""
LATE_CHILD = """
    def fork_and_log():
        child = 0
        with contextlib.suppress(RuntimeError):  # Python 3.12 does not fork here
            child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            logging.getLogger().warning("late")

    atexit.register(fork_and_log)
    import logship
    logship.install(console=False)
"""
LATE_CLIENT = """
    def log_through_a_client():
        handler = logship.Handler(logship.{client}())
        handler.handle(logging.makeLogRecord({{"msg": "late"}}))

    atexit.register(log_through_a_client)
    import logship
    {then}
"""
DESTRUCTOR = """
    logship.install(console=False)
    class Late:
        def __del__(self, log=logging.getLogger()):
            log.warning("late")
    kept = Late()
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(HOOK.format(condition="True", then=""), id="an earlier hook"),
        pytest.param(
            HOOK.format(
                condition="os.getpid() != parent",
                then="os.waitpid(child, 0) if (child := os.fork()) else None",
            ),
            id="an earlier hook in a forked child",
        ),
        pytest.param(LATE_CHILD, id="a child that an earlier hook forks"),
        pytest.param(
            LATE_CLIENT.format(client="BackgroundClient", then=""),
            id="a client that an earlier hook makes",
        ),
        pytest.param(
            LATE_CLIENT.format(client="Client", then="logship.install(console=False)"),
            id="an asyncio client that an earlier hook makes",
        ),
        pytest.param(DESTRUCTOR, id="a destructor"),
    ],
)
def test_a_first_record_after_the_exit_hook_is_on_stderr(programs: Programs, program: str) -> None:
    ended = programs.start(program).end()
    assert ended.returncode == 0
    assert [each["record"]["message"] for each in ended.refused] == ["late"]
    others = [each for each in json_lines(ended.stderr) if each not in ended.refused]
    assert {each["logship"] for each in others} <= {"report correction"}, "if logging ends later"


def test_a_program_that_logs_nothing_says_nothing(programs: Programs) -> None:
    ended = programs.start("logship.install(console=False)").end()
    assert (ended.returncode, ended.stderr) == (0, "")


THREADS_AND_A_LOOP = """
    all_log = threading.Barrier(5)

    async def log_on_a_loop():
        log("x" * 60, times=50)
        all_log.wait()
        while True:
            log("x" * 60, times=50)
            await asyncio.sleep(0)

    def log_in_a_thread():
        log("x" * 60, times=50)
        all_log.wait()
        while True:
            log("x" * 60)

    class Late:
        def __init__(self):
            self.log = log

        def __del__(self):
            for _ in range(20):
                self.log("late")

    late = [Late() for _ in range(10)]
    logship.install(level="INFO")
    targets = [log_in_a_thread] * 3 + [lambda: asyncio.run(log_on_a_loop())]
    for target in targets:
        threading.Thread(target=target, daemon=True).start()
    all_log.wait()
"""


def test_threads_and_an_event_loop_that_log_to_the_end_lose_nothing(programs: Programs) -> None:
    """The interpreter freezes them wherever they are: a line whose call has returned is out."""
    for _ in range(2):
        ended = programs.start(THREADS_AND_A_LOOP).end()
        assert ended.refused, "threads logged behind the client's end"
        ended.verdict.assert_nothing_lost()
