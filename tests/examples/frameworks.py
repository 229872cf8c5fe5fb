"""The frameworks, as a table: how each example is started, loaded, and how it must end.

One row is all that a new framework needs.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from tests.support.programs import PATHS

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTARY = Path(__file__).parent / "notary"

BY_SIGTERM = -signal.SIGTERM
PYTHON = (sys.executable,)
GUNICORN = (*PYTHON, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2")
UVICORN = (*PYTHON, "-m", "uvicorn", "--port", "{port}")
UWSGI = ("{uwsgi}", "--http-socket", "127.0.0.1:{port}", "--module", "wsgi_app:app")
UWSGI_GRACEFUL = ("--master", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all")
UWSGI_HEARS_SIGTERM = "(master-start)"
UWSGI_OPTIONS = (
    *UWSGI_GRACEFUL,
    "--die-on-term",
    "--lazy-apps",
    "--enable-threads",
    "--processes",
    "2",
)
CELERY = (*PYTHON, "-m", "celery", "--app", "celery_app", "worker", "--concurrency", "2")


@dataclass(frozen=True)
class Framework:
    """One way in which programs are run.

    Attributes:
        name: For the test's id.
        command: Words; `{port}`, `{examples}` and `{uwsgi}` are filled in.
        load: `own`, `http` or `celery`.
        needs: Modules that must be installed.
        status: Of the process that got the stop signal, as `subprocess` gives it.
        processes: How many processes log at least.
        environ: More environment variables.
        hears_sigterm: What it says on stderr once it handles SIGTERM, where that is not certain
            from the records of its workers.
        stop_signal: What its first process gets.
        proof_only: Whether the normal suite leaves it out. It does so where other rows and
            `tests/process` run the same.
        may_hang: Whether a worker may hang at the stop signal without logship too, until gunicorn
            kills it. The handler of its threaded worker for SIGQUIT shuts the pool of threads down,
            and hangs if the signal came while that thread gave the pool work.
    """

    name: str
    command: tuple[str, ...]
    load: str = "own"
    needs: tuple[str, ...] = ()
    status: int = BY_SIGTERM
    processes: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)
    hears_sigterm: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    proof_only: bool = False
    may_hang: bool = False

    @property
    def why_not_here(self) -> str:
        return missing(self.needs) or (why_no_uwsgi() if "{uwsgi}" in self.command else "")

    def words(self, port: int) -> list[str]:
        return [word.format(port=port, examples=EXAMPLES, uwsgi=uwsgi()) for word in self.command]


def missing(modules: Iterable[str]) -> str:
    absent = [each for each in modules if not _is_installed(each)]
    return f"not installed: {', '.join(absent)}" if absent else ""


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there either
        return False


def script(name: str, *arguments: str) -> tuple[str, ...]:
    return (*PYTHON, f"{{examples}}/{name}", *arguments)


def environ() -> dict[str, str]:
    """Return what every example's environment needs: the examples, and the notary."""
    paths = [str(NOTARY), *PATHS, str(EXAMPLES)]
    return {"PYTHONPATH": ":".join(paths)}


@cache
def uwsgi() -> str:
    """Return the uWSGI that is built for the Python that runs the tests, or nothing."""
    beside = Path(sys.executable).with_name("uwsgi")
    for found in (str(beside) if beside.exists() else None, shutil.which("uwsgi")):
        if found is not None and _python_of(found) == sys.version.split()[0]:
            return found
    return ""


def _python_of(command: str) -> str:
    said = subprocess.run(
        [command, "--python-version"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


def why_no_uwsgi() -> str:
    if uwsgi():
        return ""
    return f"no uwsgi for Python {sys.version.split()[0]}: pip install uwsgi (it needs a compiler)"


FRAMEWORKS = (
    Framework("script", script("script.py")),
    Framework("threads", script("threads.py")),
    Framework("asyncio", script("asyncio_service.py"), status=0),
    Framework("batch", script("batch.py", "1000000")),
    *(
        Framework(
            f"multiprocessing-{method}",
            script("multiprocess.py", method),
            processes=3,
            proof_only=method == "spawn",
        )
        for method in ("fork", "spawn", "forkserver")
    ),
    Framework("uvicorn", (*UVICORN, "asgi_app:app"), "http", ("uvicorn",), proof_only=True),
    Framework(
        "uvicorn-workers", (*UVICORN, "--workers", "2", "asgi_app:app"), "http", ("uvicorn",), 0, 2
    ),
    Framework(
        "gunicorn", (*GUNICORN, "wsgi_app:app"), "http", ("gunicorn",), 0, 2, proof_only=True
    ),
    Framework(
        "gunicorn-preload", (*GUNICORN, "--preload", "wsgi_app:app"), "http", ("gunicorn",), 0, 2
    ),
    Framework(
        "gunicorn-threads",
        (*GUNICORN, "--threads", "4", "wsgi_app:app"),
        "http",
        ("gunicorn",),
        0,
        2,
    ),
    Framework(
        "gunicorn-max-requests",
        (*GUNICORN, "--max-requests", "50", "wsgi_app:app"),
        "http",
        ("gunicorn",),
        0,
        3,
    ),
    Framework(
        "gunicorn-uvicorn",
        (*GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", "asgi_app:app"),
        "http",
        ("gunicorn", "uvicorn_worker"),
        0,
        2,
    ),
    Framework("uwsgi", (*UWSGI, *UWSGI_OPTIONS), "http", (), 0, 2, {}, UWSGI_HEARS_SIGTERM),
    Framework(
        "celery",
        CELERY,
        "celery",
        ("celery",),
        0,
        2,
        {"BROKER_URL": "filesystem://", "CELERY_CONFIG_MODULE": "queue_on_disk"},
    ),
    Framework(
        "django", (*GUNICORN, "django_site:application"), "http", ("django", "gunicorn"), 0, 2
    ),
    Framework("fastapi", (*UVICORN, "fastapi_app:app"), "http", ("fastapi", "uvicorn")),
)

BY_OTHER_SIGNALS = tuple(
    replace(
        each,
        name=f"{name}-{stop_signal.name}",
        stop_signal=stop_signal,
        status=status,
        proof_only=True,
        may_hang=(name, stop_signal) == ("gunicorn-threads", signal.SIGQUIT),
    )
    for name, stop_signal, status in (
        ("multiprocessing-fork", signal.SIGQUIT, -signal.SIGQUIT),
        ("gunicorn-preload", signal.SIGQUIT, 0),
        ("gunicorn-preload", signal.SIGINT, 0),
        ("gunicorn-threads", signal.SIGQUIT, 0),
    )
    for each in FRAMEWORKS
    if each.name == name
)
"""What other stop signals do to some that are not in the table of `tests/stops/table.py`."""
