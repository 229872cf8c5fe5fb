"""The first record of a process may come when the exit hook has run: it is on stderr then."""

from __future__ import annotations

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Programs

HOOK = """
    parent = os.getpid()
    atexit.register(lambda: logging.getLogger().warning("late") if {condition} else None)
    import logship
    logship.install(console=False)
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
        pytest.param(DESTRUCTOR, id="a destructor"),
    ],
)
def test_a_first_record_after_the_exit_hook_is_on_stderr(
    programs: Programs, sidecar: Sidecar, program: str
) -> None:
    ended = programs.start(program, endpoint=sidecar.endpoint).end()
    assert ended.returncode == 0
    lines = [line for line in ended.stderr.splitlines() if line.startswith("{")]
    assert [line for line in lines if '"late"' in line and '"refused"' in line] == lines
    assert len(lines) == 1


def test_a_program_that_logs_nothing_says_nothing(programs: Programs, sidecar: Sidecar) -> None:
    program = "import logship; logship.install(console=False)"
    ended = programs.start(program, endpoint=sidecar.endpoint).end()
    assert (ended.returncode, ended.stderr) == (0, "")
