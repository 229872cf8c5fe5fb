"""How each entrypoint of the table is started, and which of its processes gets the signal."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.examples.frameworks import (
    CELERY,
    FRAMEWORKS,
    GUNICORN,
    PYTHON,
    UVICORN,
    environ,
    missing,
)
from tests.stops.table import IGNORED, OWN, Cell
from tests.support.commands import LOGSHIP
from tests.support.programs import (
    Program,
    Programs,
    as_pid_1_words,
    children_of,
    why_no_pid_namespace,
)

PROGRAMS = Path(__file__).parent / "programs"
SCRIPT = (*PYTHON, str(PROGRAMS / "script.py"))
LOOP = (*PYTHON, str(PROGRAMS / "loop.py"))
RUN = (*LOGSHIP, "run", "--", *SCRIPT, "print")
CELERY_COMMAND = (str(Path(sys.executable).with_name("celery")), *CELERY[3:])
"""As its users start it: `python -m celery` cannot start itself again at SIGHUP."""
(_CELERY,) = (each for each in FRAMEWORKS if each.name == "celery")


@dataclass(frozen=True)
class Entrypoint:
    """One way in which a program is started.

    Attributes:
        command: Its words; `{port}` and `{own}`, a prefix of a server's module, are filled in.
        load: `own`, `http` or `celery`.
        needs: Modules that must be installed.
        processes: How many processes log at least.
        shows_128: Whether a death by a signal is seen as the status that a shell shows.
        is_pid_1: Whether its first process is PID 1.
    """

    command: tuple[str, ...]
    load: str = "own"
    needs: tuple[str, ...] = ()
    processes: int = 1
    shows_128: bool = False
    is_pid_1: bool = False

    @property
    def why_not_here(self) -> str:
        """Why it cannot be tested here, or nothing."""
        return missing(self.needs) or (why_no_pid_namespace() if self.is_pid_1 else "")

    def start(self, programs: Programs, cell: Cell, port: int) -> Program:
        """Start it with the disposition of a cell."""
        own = cell.disposition == OWN
        ignoring = ("sh", "-c", f"trap '' {cell.signum.name[3:]}; exec \"$@\"", "sh")
        words = (
            *(as_pid_1_words() if self.is_pid_1 else ()),
            *(ignoring if cell.disposition == IGNORED else ()),
            *(each.format(port=port, own="own_" if own else "") for each in self.command),
        )
        more = {"OWN": cell.signum.name} if own else {}
        more["TMPDIR"] = str(programs.directory)
        return programs.start_command(words, environ={**self._environ(), **more})

    def _environ(self) -> dict[str, str]:
        """Return variables; the last records must be in an open chunk when the signal comes."""
        found = {"LOGSHIP_LINGER_SECONDS": "5"}
        if self.load != "own":
            found["PYTHONPATH"] = f"{environ()['PYTHONPATH']}:{PROGRAMS}"
        return found | (dict(_CELERY.environ) if self.load == "celery" else {})

    def first_process(self, program: Program) -> int:
        """Return the process that a container's runtime would signal."""
        pid = program.process.pid
        if not self.is_pid_1:
            return pid
        program.until_true(lambda: children_of(pid) != [], "it is PID 1")
        return children_of(pid)[0]


ENTRYPOINTS = {
    "script": Entrypoint(SCRIPT),
    "asyncio": Entrypoint((*LOOP, "asyncio")),
    "uvloop": Entrypoint((*LOOP, "uvloop"), needs=("uvloop",)),
    "gunicorn": Entrypoint((*GUNICORN, "{own}wsgi_app:app"), "http", ("gunicorn",), 2),
    "uvicorn": Entrypoint((*UVICORN, "{own}asgi_app:app"), "http", ("uvicorn",)),
    "celery": Entrypoint(CELERY_COMMAND, "celery", ("celery",), 2),
    "run": Entrypoint(RUN, shows_128=True),
    "pid1": Entrypoint(SCRIPT, shows_128=True, is_pid_1=True),
    "run-pid1": Entrypoint(RUN, shows_128=True, is_pid_1=True),
}
