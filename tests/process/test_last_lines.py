"""Lines that the handler writes to stderr behind the client's end, while threads go on logging."""

from __future__ import annotations

import pytest

from tests.support.programs import Programs, let_pass

LOOP_AND_THREADS = """
    async def log_on_a_loop():
        while True:
            log("x" * 60, times=50)
            await asyncio.sleep(0)

    def log_in_a_thread():
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
    ready()
    {last}
"""


@pytest.mark.parametrize("last", ["forever()", "__import__('time').sleep(0.2)"])
def test_threads_and_an_event_loop_that_log_to_the_end_lose_nothing(
    programs: Programs, last: str
) -> None:
    """The interpreter freezes them wherever they are: a line whose call has returned is out."""
    for _ in range(4):
        program = programs.start(LOOP_AND_THREADS.format(last=last))
        program.until_ready()
        if last == "forever()":
            let_pass(0.2)
            program.process.terminate()
        ended = program.end()
        if last != "forever()":  # else their calls do not return
            assert ended.refused, "threads logged behind the client's end"
        ended.verdict.assert_nothing_lost()
