"""Shows that uWSGI is refused where its options would lose records, and only there.

The decision is tried with a module that answers as uWSGI's does, and with uWSGI itself where it
is installed.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from logship._hooks.runtimes import is_uwsgi, refuse_unsupported
from logship.errors import UnsupportedRuntime
from tests.examples.frameworks import (
    UWSGI,
    UWSGI_GRACEFUL,
    UWSGI_HEARS_SIGTERM,
    UWSGI_OPTIONS,
    environ,
    uwsgi,
    why_no_uwsgi,
)
from tests.examples.load import Visitors
from tests.examples.test_sigterm import processes_of
from tests.process.conftest import Sidecar
from tests.support.programs import Program, Programs
from tests.support.programs_gate import Gate

GRACEFUL = {"hook-master-start": b"unix_signal:15 gracefully_kill_them_all"}


def _embed(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    """Put a module in place that answers as uWSGI's: a lazy worker, unless told otherwise."""
    given = {
        "opt": GRACEFUL,
        "has_threads": 1,
        "numproc": 2,
        "worker_id": 1,
        "masterpid": 100,
    } | answers
    module = ModuleType("uwsgi")
    for name, value in given.items():
        answer = (lambda value=value: value) if name in ("worker_id", "masterpid") else value
        setattr(module, name, answer)
    monkeypatch.setitem(sys.modules, "uwsgi", module)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        pytest.param({"has_threads": 0}, "--enable-threads", id="no threads"),
        pytest.param({"opt": {**GRACEFUL, "skip-atexit": True}}, "--skip-atexit", id="no end"),
        pytest.param({"opt": {}}, "--hook-master-start", id="no end for the busy"),
        pytest.param({"worker_id": 0}, "--lazy-apps", id="a master before its fork"),
        pytest.param({"worker_id": 0, "masterpid": 0}, "--lazy-apps", id="the first of several"),
    ],
)
def test_what_would_lose_records_is_refused(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], says: str
) -> None:
    _embed(monkeypatch, **answers)
    with pytest.raises(UnsupportedRuntime, match=says):
        refuse_unsupported(is_spooled=False)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({}, id="a lazy worker"),
        pytest.param({"worker_id": 0, "masterpid": 0, "numproc": 1}, id="the only process"),
    ],
)
def test_what_loses_nothing_is_accepted(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]
) -> None:
    _embed(monkeypatch, **answers)
    refuse_unsupported(is_spooled=False)
    assert is_uwsgi()


def test_records_on_a_spool_outlive_an_end_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    _embed(monkeypatch, opt={"skip-atexit": True})
    refuse_unsupported(is_spooled=True)


def test_a_module_that_only_has_the_name_is_not_uwsgi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    refuse_unsupported(is_spooled=False)
    assert not is_uwsgi()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param((*UWSGI_GRACEFUL, "--processes", "2"), "--lazy-apps", id="a master"),
        pytest.param(("--processes", "2"), "--lazy-apps", id="no master"),
        pytest.param(
            ("--master", "--lazy-apps", "--die-on-term"), "--hook-master-start", id="no end"
        ),
    ],
)
def test_uwsgi_itself_is_refused(
    programs: Programs, port: int, options: tuple[str, ...], says: str
) -> None:
    """With --need-app, which a container should have: uWSGI would serve errors without it."""
    program = _start(programs, port, "--need-app", *options)
    program.until_true(lambda: says in program.stderr, says)
    assert "UnsupportedRuntime: install: " in program.stderr


def test_without_a_sidecar_a_worker_reports_and_spills_at_its_end(
    programs: Programs, sidecar: Sidecar, gate: Gate, port: int
) -> None:
    """A worker that drained for as long as a batch may would be killed before it spilled."""
    gate.silence()
    program = _start(
        programs,
        port,
        *UWSGI_OPTIONS,
        LOGSHIP_ENDPOINTS=gate.endpoint,
        LOGSHIP_EXIT_DRAIN_SECONDS="1",
    )
    with Visitors(port):
        program.until_logged(20)
        # A worker that still loads the program would miss uWSGI's request to end.
        program.until_true(lambda: processes_of(program) == 2, "both workers have logged")
        program.until_true(lambda: UWSGI_HEARS_SIGTERM in program.stderr, "SIGTERM is heard")
        program.process.terminate()
        ended = program.end()
    assert ended.returncode == 0
    verdict = sidecar.output.verdict(ended)
    verdict.assert_nothing_lost()
    assert len(verdict.spilled) >= 20


def _start(programs: Programs, port: int, *options: str, **more: str) -> Program:
    if why_no_uwsgi():
        pytest.skip(why_no_uwsgi())
    words = [word.format(port=port, uwsgi=uwsgi()) for word in UWSGI]
    return programs.start_command([*words, *options], environ={**environ(), **more})
